//! One turn, every door: the same script is played to a client of each door over real sockets, and what the clients
//! show at the end is the same, as far as a door's protocol has a place for it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod completions;
mod construct;
mod kit;
mod native;
mod orra;
mod oxios;
mod responses;
mod scenario;
mod shown;
mod together;
mod whole;

use self::{
    kit::Kit,
    scenario::{Scenario, play},
    shown::Shows,
};

/// A way a client talks to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    NativeStream,
    NativeSocket,
    Oxios,
    Completions,
    Responses,
    ResponsesSocket,
    Orra,
    Construct,
}

impl Door {
    const ALL: [Self; 8] = [
        Self::NativeStream,
        Self::NativeSocket,
        Self::Oxios,
        Self::Completions,
        Self::Responses,
        Self::ResponsesSocket,
        Self::Orra,
        Self::Construct,
    ];

    /// What the door's protocol has a place for.
    fn shows(self) -> Shows {
        match self {
            Self::NativeStream | Self::NativeSocket | Self::Oxios | Self::Orra => Shows::ALL,
            // The agent's own tools are not the client's business, a failure is an error and nothing else, and what
            // somebody else stopped has ended.
            Self::Completions => Shows { tools: false, usage_of_failed: false, cancelled: false },
            Self::Construct => Shows { usage_of_failed: false, ..Shows::ALL },
            Self::Responses | Self::ResponsesSocket => Shows { tools: false, ..Shows::ALL },
        }
    }

    /// What a client of the door shows of a scenario, turn by turn.
    async fn play(self, kit: &Kit, scenario: Scenario) -> Vec<shown::Shown> {
        match self {
            Self::NativeStream => play(native::Streams::new(kit).await, scenario).await,
            Self::NativeSocket => play(native::Socket::new(kit).await, scenario).await,
            Self::Oxios => play(oxios::Client::new(kit, "talk").await, scenario).await,
            Self::Completions => play(completions::Client::new(kit, "talk"), scenario).await,
            Self::Responses => play(responses::Client::new(kit).await, scenario).await,
            Self::ResponsesSocket => play(responses::Client::on_a_socket(kit).await, scenario).await,
            Self::Orra => play(orra::Client::new(kit, "talk").await, scenario).await,
            Self::Construct => play(construct::Client::new(kit, "talk").await, scenario).await,
        }
    }
}

/// Plays a scenario at every door, each at a gateway of its own.
async fn at_every_door(scenario: fn() -> Scenario) {
    for door in Door::ALL {
        let kit = Kit::new().await;
        let mut scenario = scenario();
        kit.gateway.model().push(std::mem::take(&mut scenario.scripts));
        let expected: Vec<_> = scenario.shown.iter().map(|shown| shown.as_seen(door.shows())).collect();
        let shown = door.play(&kit, scenario).await;
        assert_eq!(shown, expected, "{door:?}");
        kit.stop().await;
    }
}

/// A test for each scenario.
macro_rules! scenarios {
    ($($name:ident)*) => {$(
        #[tokio::test]
        async fn $name() {
            at_every_door(scenario::$name).await;
        }
    )*};
}

scenarios! {
    a_text_is_shown_alike
    reasoning_is_shown_alike
    a_tool_between_two_texts_is_shown_alike
    a_tool_that_fails_is_shown_alike
    a_call_that_was_approved_is_shown_alike
    a_call_that_was_denied_is_shown_alike
    a_failure_before_any_text_is_shown_alike
    a_failure_after_some_text_is_shown_alike
    a_turn_that_was_cancelled_is_shown_alike
    a_turn_that_was_cancelled_while_it_asked_is_shown_alike
    two_quick_inputs_are_shown_alike
}

#[tokio::test]
async fn one_turn_is_watched_through_many_doors_at_once() {
    for door in Door::ALL {
        let kit = Kit::new().await;
        match door {
            Door::NativeStream => together::watched(&kit, door, native::Streams::new(&kit).await).await,
            Door::NativeSocket => together::watched(&kit, door, native::Socket::new(&kit).await).await,
            Door::Oxios => together::watched(&kit, door, oxios::Client::new(&kit, "talk").await).await,
            Door::Completions => together::watched(&kit, door, completions::Client::new(&kit, "talk")).await,
            Door::Responses => together::watched(&kit, door, responses::Client::new(&kit).await).await,
            Door::ResponsesSocket => {
                together::watched(&kit, door, responses::Client::on_a_socket(&kit).await).await;
            }
            Door::Orra => together::watched(&kit, door, orra::Client::new(&kit, "talk").await).await,
            Door::Construct => {
                together::watched(&kit, door, construct::Client::new(&kit, "talk").await).await;
            }
        }
        kit.stop().await;
    }
}
