//! The demo model, as people and tests use it.

use std::{sync::Arc, time::Duration};

use moongate_core::{Model, ModelRequest, Models, Piece, PromptMessage};
use moongate_protocol::{ErrorCode, MicroUsd, Part, StopReason, Tokens};
use moongate_providers::{DEMO_MODEL, PriceTable, Registry};
use tokio::time::Instant;

fn demo() -> Arc<dyn Model> {
    let registry = Registry::new([], PriceTable::default()).unwrap();
    assert_eq!(registry.list()[0].name.as_str(), DEMO_MODEL);
    registry.get(&DEMO_MODEL.parse().unwrap()).unwrap()
}

async fn answer(messages: Vec<PromptMessage>) -> Vec<Piece> {
    let messages = Arc::new(messages.into_iter().map(|message| Arc::new(message.into())).collect());
    let mut stream = demo().call(ModelRequest { messages, ..ModelRequest::default() }.into());
    let mut pieces = Vec::new();
    while !matches!(pieces.last(), Some(Piece::Finish(_) | Piece::Fault(_))) {
        stream.next(&mut pieces).await;
    }
    pieces
}

async fn say(text: &str) -> Vec<Piece> {
    answer(vec![PromptMessage::User(vec![Part::text(text)])]).await
}

fn text(pieces: &[Piece]) -> String {
    pieces
        .iter()
        .filter_map(|piece| if let Piece::Text(text) = piece { Some(text.as_str()) } else { None })
        .collect()
}

#[tokio::test]
async fn it_says_what_it_is_and_what_to_set_and_echoes() {
    let said = text(&say("hello there").await);
    for part in
        ["demo model", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "[providers.", "> hello there", "2 words"]
    {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(say("hello there").await, say("hello there").await);
}

#[tokio::test]
async fn it_costs_nothing_and_counts_plausibly() {
    let pieces = say("/long 100").await;
    let usage =
        pieces.iter().find_map(|piece| if let Piece::Usage(tokens) = piece { Some(*tokens) } else { None });
    let tokens = usage.unwrap();
    assert_eq!((tokens.input, tokens.output), (3, (text(&pieces).len() as u64).div_ceil(4)));
    let price = demo().info().price.clone().unwrap();
    assert_eq!(
        (price.cost(Tokens { input: 1 << 40, ..tokens }), price.source.as_str()),
        (MicroUsd(0), "builtin")
    );
}

#[tokio::test]
async fn long_answers_have_as_many_words_as_asked_for() {
    let said = text(&say("/long 250").await);
    assert_eq!(said.split_whitespace().count(), 250);
    assert!(said.starts_with("word1 word2 ") && said.ends_with("word250."));
}

#[tokio::test(start_paused = true)]
async fn slow_answers_come_word_by_word() {
    let begun = Instant::now();
    let pieces = say("/slow 50\n/long 40").await;
    assert_eq!(pieces.iter().filter(|piece| matches!(piece, Piece::Text(_))).count(), 40);
    // Forty words, the usage and the end.
    assert_eq!(begun.elapsed(), Duration::from_millis(50 * 42));
}

#[tokio::test]
async fn it_thinks_fails_and_calls_tools_on_command() {
    let thought = say("/think about it\nhello").await;
    assert_eq!(thought[..2], [Piece::Reasoning("about it".into()), Piece::ReasoningEnd { signature: None }]);
    assert!(text(&thought).contains("> hello"));
    let cut = say("/fail cut").await;
    assert!(!text(&cut).is_empty());
    let code = |pieces: &[Piece]| {
        if let Some(Piece::Fault(fault)) = pieces.last() { Some(fault.code) } else { None }
    };
    assert_eq!(code(&cut), Some(ErrorCode::ProviderCut));
    let overloaded = say("/fail overloaded").await;
    assert_eq!((text(&overloaded), code(&overloaded)), (String::new(), Some(ErrorCode::ProviderOverloaded)));
    let call = say("/tool echo {\"text\": \"hi\"}").await;
    let expected = [
        Piece::ToolCallStart { slot: 0, name: "echo".into() },
        Piece::ToolCallArguments { slot: 0, text: "{\"text\": \"hi\"}".into() },
    ];
    assert_eq!(call[..2], expected);
    assert_eq!(call.last(), Some(&Piece::Finish(StopReason::ToolUse)));
}

#[tokio::test]
async fn after_its_tools_it_describes_their_results() {
    let item = moongate_protocol::ItemId::from_bits(0);
    let call = Part::ToolCall {
        item,
        call: "c".parse().unwrap(),
        tool: "echo".into(),
        arguments: serde_json::json!({}),
    };
    let pieces = answer(vec![
        PromptMessage::User(vec![Part::text("/tool echo {}")]),
        PromptMessage::Assistant(vec![call]),
        PromptMessage::ToolResult {
            call: "c".parse().unwrap(),
            tool: "echo".into(),
            is_error: false,
            content: vec![Part::text("the result")],
        },
    ])
    .await;
    assert!(text(&pieces).contains("`echo` said: the result"));
    assert_eq!(pieces.last(), Some(&Piece::Finish(StopReason::EndTurn)));
}

#[tokio::test]
async fn what_it_does_not_understand_it_explains() {
    for wrong in ["/dance", "/long many", "/fail somehow"] {
        let said = text(&say(wrong).await);
        assert!(said.contains("`/long N`"), "{said}");
    }
}

#[tokio::test]
async fn what_an_unanswered_input_wished_is_past() {
    let said = vec![Part::text("/fail auth"), Part::text("hello again")];
    let pieces = answer(vec![PromptMessage::User(said)]).await;
    assert_eq!(pieces.last(), Some(&Piece::Finish(StopReason::EndTurn)));
}
