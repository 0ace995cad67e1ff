//! A conversation that outgrows its model's window.

use std::time::Duration;

use moongate_core::{Limits, PromptMessage};
use moongate_protocol::{Cancel, ErrorCode, Event, Part};
use moongate_testkit::validators::validate;
use moongate_testkit::{Client, Gate, MODEL, Script, ScriptedModel, Setup, TestGateway, says};
use serde_json::json;

use crate::{tools::look, turn_cancelled, turn_failed};

/// A gateway whose model has a window of 1,000 tokens.
async fn small_window() -> TestGateway {
    let model = ScriptedModel::new(MODEL.parse().unwrap()).with_window(1_000);
    Setup::default().model(model).tool(look()).start().await
}

/// Has so many exchanges, each with a tool call, that say how full the window is.
async fn talk(kit: &TestGateway, exchanges: u64) -> Client {
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    for number in 1..=exchanges {
        kit.model().push([
            Script::new().call("look", &json!({"n": number})).usage(number * 10, 5).end(),
            Script::new().text(&format!("answer {number}")).usage(number * 10, 5).end(),
        ]);
        session.submit(says(&format!("question {number}"))).await.unwrap();
        client.until_turn_ends().await;
    }
    client
}

async fn say(kit: &TestGateway, client: &mut Client, text: &str) -> moongate_protocol::Envelope {
    let session = client.view.events[0].session;
    kit.open(session).await.submit(says(text)).await.unwrap();
    client.until_turn_ends().await
}

fn summaries(client: &Client) -> Vec<String> {
    let summaries = client.view.events.iter().filter_map(|envelope| match &envelope.event {
        Event::ContextCompacted(compacted) => Some(compacted.summary.clone()),
        _ => None,
    });
    summaries.collect()
}

fn words(prompt: &[PromptMessage]) -> String {
    format!("{prompt:?}")
}

#[tokio::test(start_paused = true)]
async fn a_window_that_is_nearly_full_is_summarised_before_the_next_call_and_the_log_kept_whole() {
    let kit = small_window().await;
    let mut client = talk(&kit, 5).await;
    kit.model().push([
        Script::new().text("Fine.").usage(790, 10).end(),
        Script::new().text("They looked around.").usage(800, 20).end(),
        Script::new().text("Goodbye.").usage(100, 5).end(),
    ]);
    let before = kit.model().requests().len();
    say(&kit, &mut client, "not yet").await;
    assert_eq!(kit.model().requests().len(), before + 1);
    say(&kit, &mut client, "the last straw").await;
    assert_eq!(summaries(&client), ["They looked around."]);
    assert_eq!(client.view.answers().last().unwrap(), "Goodbye.");
    let prompts = kit.model().prompts();
    let [summarised, told] = &prompts[before + 1..] else { panic!("{}", prompts.len() - before) };
    assert_eq!((validate(summarised), validate(told)), (Ok(()), Ok(())));
    assert!(words(summarised).contains("question 1") && words(summarised).contains("Summarise"));
    assert!(words(told).contains("They looked around.") && words(told).contains("the last straw"));
    assert!(!words(told).contains("question 1\""), "what was summarised is not told again");
    assert!(words(told).contains("answer 5"), "the last messages are told as they were");
    assert!(!kit.model().requests()[before + 1].tools.is_empty(), "calls in it need their tools named");
    // Nothing of the summary was shown as if it were said, and nothing is lost.
    assert!(client.view.texts.values().all(|text| !text.contains("They looked")));
    assert!(client.view.answers().iter().any(|answer| answer == "answer 1"));
    say(&kit, &mut client, "and now?").await;
    assert_eq!(summaries(&client).len(), 1, "the window has room again");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_says_it_is_too_long_gets_a_summary_once() {
    let kit = Setup::default().tool(look()).start().await;
    let mut client = talk(&kit, 4).await;
    let before = kit.model().requests().len();
    kit.model().push([
        Script::new().fault(ErrorCode::ContextTooLong),
        Script::says("In short: looking."),
        Script::says("Now it fits."),
    ]);
    let ended = say(&kit, &mut client, "too much").await;
    assert!(matches!(ended.event, Event::TurnCompleted(_)));
    assert_eq!(summaries(&client), ["In short: looking."]);
    assert_eq!(kit.model().requests().len(), before + 3);
    assert_eq!(client.view.answers().last().unwrap(), "Now it fits.");
}

#[tokio::test(start_paused = true)]
async fn a_conversation_too_short_to_summarise_fails_as_too_long() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    kit.model().push([Script::new().fault(ErrorCode::ContextTooLong)]);
    session.submit(says("a whole book")).await.unwrap();
    let ended = client.until_turn_ends().await;
    assert_eq!(turn_failed(&ended).code, ErrorCode::ContextTooLong);
    assert_eq!(kit.model().requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_summary_that_says_nothing_replaces_nothing() {
    let kit = small_window().await;
    let mut client = talk(&kit, 5).await;
    let last_straw = Script::new().text("Fine.").usage(900, 10).end();
    kit.model().push([
        last_straw,
        Script::new().text(" \n").end(),
        Script::new().call("look", &json!({})).end(),
    ]);
    say(&kit, &mut client, "fill it").await;
    for _ in 0..2 {
        let ended = say(&kit, &mut client, "well?").await;
        assert_eq!(turn_failed(&ended).code, ErrorCode::ProviderProtocol);
    }
    assert_eq!(summaries(&client), Vec::<String>::new());
    kit.model().push([Script::says("A summary.")]);
    say(&kit, &mut client, "again").await;
    assert_eq!(summaries(&client), ["A summary."]);
}

#[tokio::test(start_paused = true)]
async fn summarising_is_cancelled_fails_and_ends_like_any_part_of_a_turn() {
    let limits = Limits { turn_duration: Duration::from_secs(60), ..Limits::default() };
    let model = ScriptedModel::new(MODEL.parse().unwrap()).with_window(1_000);
    let kit = Setup { limits, ..Setup::default() }.model(model).tool(look()).start().await;
    let mut client = talk(&kit, 5).await;
    let session = kit.open(client.view.events[0].session).await;
    let gate = Gate::new();
    kit.model().push([
        Script::new().text("Fine.").usage(900, 10).end(),
        Script::new().text("In sho").gate(&gate).end(),
        Script::new().fault(ErrorCode::ProviderOverloaded),
        Script::new().text("In").hang(),
    ]);
    say(&kit, &mut client, "fill it").await;
    session.submit(says("one")).await.unwrap();
    gate.reached().await;
    session.cancel(Cancel::default()).await.unwrap();
    turn_cancelled(&client.until_turn_ends().await);
    let ended = say(&kit, &mut client, "two").await;
    assert_eq!(turn_failed(&ended).code, ErrorCode::ProviderOverloaded);
    let ended = say(&kit, &mut client, "three").await;
    assert_eq!(turn_failed(&ended).code, ErrorCode::LimitReached);
    assert_eq!(summaries(&client), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_summary_is_summarised_in_its_turn_and_survives_a_restart() {
    let model = ScriptedModel::answering(MODEL.parse().unwrap(), |request, number| {
        let last = request.messages.last().map(|message| format!("{:?}", PromptMessage::clone(message)));
        match last {
            Some(last) if last.contains("Summarise") => Script::says(&format!("summary {number}")),
            _ => Script::new().text("more").usage(900, 10).end(),
        }
    });
    let mut kit = Setup::default().model(model.with_window(1_000)).start().await;
    let session = kit.session().await;
    for turn in 1..=12 {
        kit.open(session.id()).await.submit(says(&format!("question {turn}"))).await.unwrap();
        kit.client(session.id()).await.until_turns_end(turn).await;
        if turn % 3 == 0 {
            kit.restart().await;
        }
    }
    let mut client = kit.client(session.id()).await;
    client.until_turns_end(12).await;
    assert!(summaries(&client).len() > 2);
    let prompts = kit.model().prompts();
    let last = prompts.last().unwrap();
    assert_eq!(validate(last), Ok(()));
    let PromptMessage::User(first) = &last[0] else { panic!("{last:?}") };
    assert!(Part::join_text(first).contains(summaries(&client).last().unwrap()), "{first:?}");
    assert!(last.len() < 12, "{}", last.len());
}

/// A model that takes at most so many messages in one call, and answers what it is asked.
fn short_sighted(most: usize) -> ScriptedModel {
    ScriptedModel::answering(MODEL.parse().unwrap(), move |request, _| {
        let last = request.messages.last().map(|message| format!("{:?}", PromptMessage::clone(message)));
        let is_summary = last.is_some_and(|last| last.contains("Summarise"));
        match is_summary {
            _ if request.messages.len() > most => Script::new().fault(ErrorCode::ContextTooLong),
            true => Script::says("In short."),
            false => Script::says("Fine."),
        }
    })
}

async fn many_exchanges(kit: &TestGateway, exchanges: usize) -> Client {
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    let answers = (0..exchanges).map(|number| Script::says(&format!("answer {number}")));
    kit.model().push(answers);
    for turn in 1..=exchanges {
        session.submit(says(&format!("question {turn}"))).await.unwrap();
        client.until_turns_end(turn).await;
    }
    client
}

#[tokio::test(start_paused = true)]
async fn what_is_too_long_to_summarise_at_once_is_summarised_in_parts() {
    let kit = Setup::default().model(short_sighted(12)).start().await;
    let mut client = many_exchanges(&kit, 20).await;
    let before = kit.model().requests().len();
    let ended = say(&kit, &mut client, "and now?").await;
    assert!(matches!(ended.event, Event::TurnCompleted(_)), "{ended:?}");
    assert_eq!(client.view.answers().last().unwrap(), "Fine.");
    assert!(summaries(&client).len() > 1, "in parts");
    let prompts = kit.model().prompts();
    assert!(prompts[before..].iter().all(|prompt| validate(prompt).is_ok()));
    assert!(prompts.last().unwrap().len() <= 12);
    assert!(words(prompts.last().unwrap()).contains("answer 19"), "the last messages are told as they were");
    assert!(prompts.len() - before < 20, "{} calls", prompts.len() - before);
}

#[tokio::test(start_paused = true)]
async fn a_conversation_no_part_of_which_can_be_summarised_fails_as_too_long() {
    let kit = Setup::default().model(short_sighted(1)).start().await;
    let mut client = many_exchanges(&kit, 40).await;
    let before = kit.model().requests().len();
    let ended = say(&kit, &mut client, "and now?").await;
    let failed = turn_failed(&ended);
    assert_eq!(failed.code, ErrorCode::ContextTooLong);
    assert!(failed.message.contains("summarise"), "{}", failed.message);
    // The call itself, the whole range, and four halvings.
    assert_eq!(kit.model().requests().len(), before + 6);
    assert_eq!(summaries(&client), Vec::<String>::new(), "nothing was replaced");
}
