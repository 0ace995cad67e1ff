//! The odd things providers send.

use moongate_core::Piece;
use moongate_protocol::{ErrorCode, StopReason, Tokens};

use super::{
    Outcome, arguments,
    recorded::{expected, recorded},
    replay, sealed, start, text,
};
use crate::config::Wire;

/// Replays chat chunks given as the inside of `choices[0]`.
fn chat(choices: &[&str]) -> Outcome {
    let stream: String = choices.iter().map(|it| format!("data: {{\"choices\":[{{{it}}}]}}\n\n")).collect();
    replay(Wire::OpenAiChat, &[stream.as_bytes()])
}

fn chat_calls(deltas: &[&str]) -> Vec<Piece> {
    let deltas: Vec<String> = deltas.iter().map(|it| format!(r#""delta":{{"tool_calls":[{it}]}}"#)).collect();
    let mut choices: Vec<&str> = deltas.iter().map(String::as_str).collect();
    choices.push(r#""finish_reason":"stop""#);
    let outcome = chat(&choices);
    assert_eq!(outcome.fault, None);
    let mut pieces = outcome.pieces;
    assert_eq!(pieces.pop(), Some(Piece::Finish(StopReason::ToolUse)));
    pieces
}

#[test]
fn chat_tool_calls_however_they_are_numbered() {
    let two = [start(0, "a"), arguments(0, "{\"x\":1}"), start(1, "b"), arguments(1, "{}")];
    for deltas in [
        // No index; the id only on the first piece.
        &[
            r#"{"id":"i","function":{"name":"a","arguments":"{\"x\""}}"#,
            r#"{"function":{"arguments":":1}"}}"#,
            r#"{"id":"j","function":{"name":"b","arguments":"{}"}}"#,
        ][..],
        // Neither index nor id.
        &[
            r#"{"function":{"name":"a","arguments":"{\"x\""}}"#,
            r#"{"function":{"arguments":":1}"}}"#,
            r#"{"function":{"name":"b","arguments":"{}"}}"#,
        ],
        // Ids on every piece.
        &[
            r#"{"index":0,"id":"i","function":{"name":"a","arguments":"{\"x\""}}"#,
            r#"{"index":0,"id":"i","function":{"name":"","arguments":":1}"}}"#,
            r#"{"index":1,"id":"j","function":{"name":"b","arguments":"{}"}}"#,
        ],
        // The same index twice with another id.
        &[
            r#"{"index":0,"id":"i","function":{"name":"a","arguments":"{\"x\":1}"}}"#,
            r#"{"index":0,"id":"j","function":{"name":"b","arguments":"{}"}}"#,
        ],
        // The name again and again; then a name in pieces.
        &[
            r#"{"index":0,"id":"i","function":{"name":"a","arguments":""}}"#,
            r#"{"index":0,"id":"i","function":{"name":"a","arguments":"{\"x\":"}}"#,
            r#"{"index":0,"id":"i","function":{"name":"a","arguments":"1}"}}"#,
            r#"{"index":1,"id":"j","function":{"name":"b"}}"#,
            r#"{"index":1,"function":{"arguments":null}}"#,
        ],
        // Arguments as an object instead of text; both calls in one piece.
        &[
            r#"{"index":0,"function":{"name":"a","arguments":{"x":1}}},{"index":1,"function":{"name":"b","arguments":{}}}"#,
        ],
    ] {
        assert_eq!(chat_calls(deltas), two, "{deltas:#?}");
    }
    let pieces = chat_calls(&[
        r#"{"index":0,"id":"i","function":{"name":"get_"}}"#,
        r#"{"index":0,"function":{"name":"weather"}}"#,
        r#"{"index":0,"function":{"arguments":"{}"}}"#,
    ]);
    assert_eq!(pieces, [start(0, "get_weather"), arguments(0, "{}")]);
}

#[test]
fn chat_calls_carry_what_their_provider_wants_back() {
    let pieces = chat_calls(&[
        r#"{"index":0,"extra_content":{"google":{"thought_signature":"s"}},"function":{"name":"a","arguments":"{}"}}"#,
    ]);
    let extra = sealed(Some("extra_content"), r#"{"google":{"thought_signature":"s"}}"#);
    assert_eq!(pieces, [extra, start(0, "a"), arguments(0, "{}")]);
}

#[test]
fn chat_text_and_reasoning_in_every_shape() {
    let said = |choice: &str| chat(&[choice, r#""finish_reason":"stop""#]).pieces;
    let end = Piece::Finish(StopReason::EndTurn);
    assert_eq!(said(r#""delta":{"content":"hi"}"#), [text("hi"), end.clone()]);
    assert_eq!(
        said(
            r#""delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"t"}]},{"type":"text","text":"hi"}]}"#
        ),
        [Piece::Reasoning("t".into()), sealed(None, ""), text("hi"), end.clone()]
    );
    assert_eq!(
        said(r#""delta":{"reasoning":"t","reasoning_details":[{"text":"t"}],"content":""}"#),
        [
            Piece::Reasoning("t".into()),
            sealed(None, ""),
            sealed(Some("reasoning_details"), r#"[{"text":"t"}]"#),
            end
        ]
    );
    assert_eq!(said(r#""delta":{"refusal":"no"}"#), [text("no"), Piece::Finish(StopReason::Refusal)]);
}

#[test]
fn chat_endings() {
    let ending =
        |reason: &str| chat(&[r#""delta":{"content":"a"}"#, &format!(r#""finish_reason":"{reason}""#)]);
    for (reason, stop) in [
        ("stop", StopReason::EndTurn),
        ("eos", StopReason::EndTurn),
        ("length", StopReason::MaxTokens),
        ("content_filter", StopReason::Refusal),
        ("tool_calls", StopReason::EndTurn),
    ] {
        assert_eq!(ending(reason).pieces, [text("a"), Piece::Finish(stop)], "{reason}");
    }
    assert_eq!(ending("error").fault, Some(ErrorCode::ProviderCut));
    let short = chat(&[
        r#""delta":{"tool_calls":[{"index":0,"id":"i","function":{"name":"a","arguments":"{\"x\":"}}]}"#,
        r#""finish_reason":"length""#,
    ]);
    assert_eq!(short.pieces.last(), Some(&Piece::Finish(StopReason::MaxTokens)));
    let done = replay(
        Wire::OpenAiChat,
        &[b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n"],
    );
    assert_eq!(done, Outcome { pieces: vec![text("a")], fault: Some(ErrorCode::ProviderCut) });
}

#[test]
fn chat_usage_that_cannot_be_is_left_out_or_put_right() {
    let usage = |json: &str| {
        let stream = format!(
            "data: {{\"choices\":[{{\"finish_reason\":\"stop\"}}]}}\n\ndata: {{\"choices\":[],\"usage\":{json}}}\n\n"
        );
        replay(Wire::OpenAiChat, &[stream.as_bytes()]).pieces.into_iter().find_map(|piece| match piece {
            Piece::Usage(tokens) => Some(tokens),
            _ => None,
        })
    };
    let tokens = |input, output, reasoning, cache_read| {
        Some(Tokens { input, output, reasoning, cache_read, cache_write: 0 })
    };
    assert_eq!(usage(r#"{"prompt_tokens":-5,"completion_tokens":-1}"#), None);
    assert_eq!(usage(r#"{"prompt_tokens":1e30,"completion_tokens":7}"#), tokens(0, 7, 0, 0));
    assert_eq!(usage(r#"{"prompt_tokens":9,"completion_tokens":2000000}"#), tokens(9, 2_000_000, 0, 0));
    let cached = r#"{"prompt_tokens":9,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":99}}"#;
    assert_eq!(usage(cached), tokens(9, 1, 0, 9));
    let apart = r#"{"prompt_tokens":9,"completion_tokens":1,"total_tokens":15,"completion_tokens_details":{"reasoning_tokens":5}}"#;
    assert_eq!(usage(apart), tokens(9, 6, 5, 0));
    assert_eq!(
        usage(r#"{"prompt_tokens":9,"completion_tokens":1,"prompt_cache_hit_tokens":4}"#),
        tokens(9, 1, 0, 4)
    );
    assert_eq!(usage("null"), None);
}

/// Replays events given as JSON objects.
fn events(wire: Wire, events: &[&str]) -> Outcome {
    let stream: String = events.iter().map(|it| format!("data: {it}\n\n")).collect();
    replay(wire, &[stream.as_bytes()])
}

#[test]
fn errors_in_a_stream_are_faults() {
    let overloaded = r#"{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#;
    let failed = r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"rate_limit_exceeded","message":"x"}}}"#;
    for (wire, event, code) in [
        (Wire::OpenAiChat, r#"{"error":{"message":"x","code":503}}"#, ErrorCode::ProviderOverloaded),
        (Wire::OpenAiChat, r#"{"error":"x"}"#, ErrorCode::ProviderUnreachable),
        (Wire::OpenAiResponses, r#"{"type":"error","code":"server_error"}"#, ErrorCode::ProviderUnreachable),
        (Wire::OpenAiResponses, failed, ErrorCode::ProviderRateLimited),
        (Wire::Anthropic, overloaded, ErrorCode::ProviderOverloaded),
    ] {
        assert_eq!(events(wire, &[event]), Outcome { pieces: vec![], fault: Some(code) }, "{event}");
    }
}

#[test]
fn rubbish_is_a_fault_and_news_is_ignored() {
    for wire in Wire::ALL {
        for rubbish in ["{", "[1]", "\"a\"", "{\"type\":7,\"choices\":7}", "\u{1}"] {
            assert_eq!(
                events(wire, &[rubbish]).fault,
                Some(ErrorCode::ProviderProtocol),
                "{wire:?} {rubbish}"
            );
        }
        let news = [r#"{"type":"response.new_thing","x":{"y":[1]},"object":"new"}"#, r#"{"type":"ping"}"#];
        let stream: String = news.iter().map(|it| format!("event: new\ndata: {it}\n\n")).collect();
        let all = [stream.as_bytes(), recorded(wire).as_bytes()].concat();
        assert_eq!(replay(wire, &[&all]).pieces, expected(wire), "{wire:?}");
        let invalid =
            b"data: {\"type\":\"x\",\"choices\":[{\"delta\":{\"content\":\"\xff\"}}],\"delta\":\"\xff\"}\n\n";
        assert_eq!(replay(wire, &[invalid]).fault, Some(ErrorCode::ProviderProtocol), "{wire:?}");
    }
}

#[test]
fn responses_that_stream_nothing_but_whole_items() {
    let outcome = events(
        Wire::OpenAiResponses,
        &[
            r#"{"type":"response.output_item.done","item":{"type":"reasoning","id":"r","summary":[{"text":"a"},{"text":"b"}],"encrypted_content":"e"}}"#,
            r#"{"type":"response.output_item.done","item":{"type":"message","id":"m","content":[{"type":"output_text","text":"hi"}]}}"#,
            r#"{"type":"response.output_item.done","item":{"type":"function_call","id":"f","name":"t","arguments":"{}"}}"#,
            r#"{"type":"response.completed","response":{"usage":{"input_tokens":1,"output_tokens":2}}}"#,
        ],
    );
    let usage = Piece::Usage(Tokens { input: 1, output: 2, ..Tokens::default() });
    let call = [start(0, "t"), arguments(0, "{}"), usage, Piece::Finish(StopReason::ToolUse)];
    let said = [Piece::Reasoning("a\n\nb".into()), sealed(Some("r"), "e"), text("hi")];
    assert_eq!(outcome.pieces, said.into_iter().chain(call).collect::<Vec<_>>());
}

#[test]
fn responses_endings() {
    for (details, stop) in [
        (r#"{"reason":"max_output_tokens"}"#, StopReason::MaxTokens),
        (r#"{"reason":"content_filter"}"#, StopReason::Refusal),
    ] {
        let event =
            format!(r#"{{"type":"response.incomplete","response":{{"incomplete_details":{details}}}}}"#);
        assert_eq!(events(Wire::OpenAiResponses, &[&event]).pieces, [Piece::Finish(stop)]);
    }
    let orphan = r#"{"type":"response.function_call_arguments.delta","output_index":3,"delta":"{}"}"#;
    assert_eq!(events(Wire::OpenAiResponses, &[orphan]).fault, Some(ErrorCode::ProviderProtocol));
}

#[test]
fn anthropic_blocks_in_odd_shapes() {
    let stop = r#"{"type":"message_stop"}"#;
    let whole = r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"i","name":"t","input":{"a":1}}}"#;
    let end = r#"{"type":"content_block_stop","index":0}"#;
    let call = [start(0, "t"), arguments(0, "{\"a\":1}"), Piece::Finish(StopReason::ToolUse)];
    assert_eq!(events(Wire::Anthropic, &[whole, end, stop]).pieces, call);
    assert_eq!(events(Wire::Anthropic, &[whole, stop]).pieces, call);
    let empty = r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"i","name":"t","input":{}}}"#;
    assert_eq!(events(Wire::Anthropic, &[empty, empty, stop]).pieces[..2], [start(0, "t"), start(1, "t")]);
    let orphan =
        r#"{"type":"content_block_delta","index":9,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#;
    assert_eq!(events(Wire::Anthropic, &[orphan]).fault, Some(ErrorCode::ProviderProtocol));
    let late = [empty, end, &orphan.replace('9', "0"), stop];
    assert_eq!(events(Wire::Anthropic, &late).fault, Some(ErrorCode::ProviderProtocol));
}

#[test]
fn anthropic_endings() {
    for (reason, stop) in [
        ("end_turn", StopReason::EndTurn),
        ("max_tokens", StopReason::MaxTokens),
        ("model_context_window_exceeded", StopReason::MaxTokens),
        ("stop_sequence", StopReason::StopSequence),
        ("refusal", StopReason::Refusal),
        ("pause_turn", StopReason::EndTurn),
    ] {
        let delta = format!(
            r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}"}},"usage":{{"output_tokens":-4}}}}"#
        );
        let outcome = events(Wire::Anthropic, &[&delta, r#"{"type":"message_stop"}"#]);
        assert_eq!(outcome.pieces, [Piece::Finish(stop)], "{reason}");
    }
}
