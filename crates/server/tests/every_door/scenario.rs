//! What is played at every door.

use moongate_protocol::ErrorCode;
use moongate_testkit::{Gate, Script};
use serde_json::{Value, json};

use crate::{
    kit::soon,
    shown::{Cause, Ending, Outcome, Shown, Tool},
};

/// A script, what a client does, and what it shows then.
pub(crate) struct Scenario {
    pub(crate) scripts: Vec<Script>,
    acts: Vec<Act>,
    pub(crate) shown: Vec<Shown>,
}

/// What a client does.
enum Act {
    Say(&'static str),
    /// Waits until it is asked, and answers.
    Decide(bool),
    /// Waits until it is asked, and stops the turn instead.
    CancelWhenAsked,
    /// Waits until the model stands at the gate, and stops the turn.
    CancelAt(Gate),
    /// Lets the model go on.
    Open(Gate),
    /// Reads a turn to its end.
    Show,
}

/// A client of one door, in one session.
pub(crate) trait Client {
    /// Says something; returns when it was accepted, or is certain to be before what is said next.
    async fn say(&mut self, text: &str);
    /// Waits until a call waits for a person.
    async fn asked(&mut self);
    /// Answers the call that waits.
    async fn decide(&mut self, approve: bool);
    /// Stops what runs.
    async fn cancel(&mut self);
    /// Shows the oldest turn that was not shown yet.
    async fn shown(&mut self) -> Shown;
}

/// A client that shows a turn while it goes on.
pub(crate) trait Watches {
    /// What it shows by now.
    fn so_far(&self) -> &Shown;
    /// Takes the next frame in; says whether the turn is over.
    async fn step(&mut self) -> bool;

    /// Reads until some text is shown.
    async fn until(&mut self, text: &str) {
        while !self.so_far().text.ends_with(text) {
            assert!(!self.step().await, "it ended without {text:?}");
        }
    }
}

/// Plays a scenario.
pub(crate) async fn play(mut client: impl Client, scenario: Scenario) -> Vec<Shown> {
    let mut all = Vec::new();
    for act in scenario.acts {
        match act {
            Act::Say(text) => client.say(text).await,
            Act::Decide(approve) => {
                client.asked().await;
                client.decide(approve).await;
            }
            Act::CancelWhenAsked => {
                client.asked().await;
                client.cancel().await;
            }
            Act::CancelAt(gate) => {
                soon(gate.reached()).await;
                client.cancel().await;
            }
            Act::Open(gate) => gate.open(),
            Act::Show => all.push(client.shown().await),
        }
    }
    all
}

fn said(text: &str, usage: (u64, u64)) -> Shown {
    Shown { text: text.into(), usage: Some(usage), ending: Ending::Completed, ..Shown::default() }
}

fn called(name: &str, arguments: Value, outcome: Outcome) -> Tool {
    Tool { name: name.into(), arguments, outcome: Some(outcome) }
}

/// One input, played to its end.
fn one(scripts: Vec<Script>, between: Option<Act>, shown: Shown) -> Scenario {
    let acts = [Some(Act::Say("go")), between, Some(Act::Show)].into_iter().flatten().collect();
    Scenario { scripts, acts, shown: vec![shown] }
}

pub(crate) fn a_text_is_shown_alike() -> Scenario {
    let script = Script::new().text("Grüße, ").text("世界 ").text("🐕!").usage(7, 3).end();
    one(vec![script], None, said("Grüße, 世界 🐕!", (7, 3)))
}

pub(crate) fn reasoning_is_shown_alike() -> Scenario {
    let script = Script::new().reasoning("Let me see.", None).text("Yes.").usage(5, 9).end();
    one(vec![script], None, Shown { reasoning: "Let me see.".into(), ..said("Yes.", (5, 9)) })
}

pub(crate) fn a_tool_between_two_texts_is_shown_alike() -> Scenario {
    let arguments = json!({"city": "Oslo", "days": [1, 2]});
    let asks = Script::new().text("I look.").call("look", &arguments).usage(10, 2);
    let asks = asks.finish(moongate_protocol::StopReason::ToolUse);
    let shown = Shown {
        tools: vec![called("look", arguments, Outcome::Ok("12 °C".into()))],
        ..said("I look.\n\nMild.", (20, 4))
    };
    one(vec![asks, Script::says("Mild.")], None, shown)
}

pub(crate) fn a_tool_that_fails_is_shown_alike() -> Scenario {
    let shown = Shown {
        tools: vec![called("fail", json!({}), Outcome::Failed("it broke".into()))],
        ..said("It broke.", (20, 4))
    };
    one(vec![Script::calls(&[("fail", json!({}))]), Script::says("It broke.")], None, shown)
}

fn send() -> (Value, Script) {
    let arguments = json!({"to": "ann"});
    (arguments.clone(), Script::calls(&[("send", arguments)]))
}

pub(crate) fn a_call_that_was_approved_is_shown_alike() -> Scenario {
    let (arguments, asks) = send();
    let shown = Shown {
        tools: vec![called("send", arguments, Outcome::Ok("done".into()))],
        ..said("Sent.", (20, 4))
    };
    one(vec![asks, Script::says("Sent.")], Some(Act::Decide(true)), shown)
}

pub(crate) fn a_call_that_was_denied_is_shown_alike() -> Scenario {
    let (arguments, asks) = send();
    let told = "Tool call 'send' was denied by the user.";
    let shown = Shown {
        tools: vec![called("send", arguments, Outcome::Failed(told.into()))],
        ..said("Not sent.", (20, 4))
    };
    one(vec![asks, Script::says("Not sent.")], Some(Act::Decide(false)), shown)
}

pub(crate) fn a_failure_before_any_text_is_shown_alike() -> Scenario {
    let script = Script::new().fault(ErrorCode::ProviderOverloaded);
    let ending = Ending::Failed(Cause::Provider);
    one(vec![script], None, Shown { ending, usage: None, ..said("", (0, 0)) })
}

pub(crate) fn a_failure_after_some_text_is_shown_alike() -> Scenario {
    let script = Script::new().text("Half of ").usage(6, 2).text("it").fault(ErrorCode::ProviderCut);
    let ending = Ending::Failed(Cause::Provider);
    one(vec![script], None, Shown { ending, ..said("Half of it", (6, 2)) })
}

pub(crate) fn a_turn_that_was_cancelled_is_shown_alike() -> Scenario {
    let gate = Gate::new();
    let script = Script::new().text("One ").text("two ").usage(4, 2).gate(&gate).text("three").end();
    let shown = Shown { ending: Ending::Cancelled, ..said("One two ", (4, 2)) };
    one(vec![script], Some(Act::CancelAt(gate)), shown)
}

pub(crate) fn a_turn_that_was_cancelled_while_it_asked_is_shown_alike() -> Scenario {
    let (arguments, asks) = send();
    let shown = Shown {
        tools: vec![called("send", arguments, Outcome::Failed("The turn was stopped before.".into()))],
        ending: Ending::Cancelled,
        ..said("", (10, 2))
    };
    one(vec![asks], Some(Act::CancelWhenAsked), shown)
}

pub(crate) fn two_quick_inputs_are_shown_alike() -> Scenario {
    let gate = Gate::new();
    let first = Script::new().gate(&gate).text("1.").usage(3, 1).end();
    Scenario {
        scripts: vec![first, Script::says("2.")],
        acts: vec![Act::Say("one"), Act::Say("two"), Act::Open(gate), Act::Show, Act::Show],
        shown: vec![said("1.", (3, 1)), said("2.", (10, 2))],
    }
}
