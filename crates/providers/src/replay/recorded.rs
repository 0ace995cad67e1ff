//! Recorded streams, whole and cut at every byte.

use moongate_core::Piece;
use moongate_protocol::{ErrorCode, StopReason, Tokens};

use super::{Outcome, arguments, replay, sealed, start, text};
use crate::config::Wire;

pub(super) fn recorded(wire: Wire) -> &'static str {
    match wire {
        Wire::OpenAiChat => include_str!("../../tests/streams/openai_chat.sse"),
        Wire::OpenAiResponses => include_str!("../../tests/streams/openai_responses.sse"),
        Wire::Anthropic => include_str!("../../tests/streams/anthropic.sse"),
    }
}

/// The recorded answer is the same on all three wires but for its signatures and the order of its calls.
pub(super) fn expected(wire: Wire) -> Vec<Piece> {
    let tokyo =
        if wire == Wire::OpenAiChat { "{\"city\": \"T\\u014dkyō\"}" } else { "{\"city\": \"Tōkyō\"}" };
    let zurich = "{\"city\": \"Zürich\", \"units\": {\"t\": \"C\"}}";
    let usage = |output, reasoning, cache_write| {
        Piece::Usage(Tokens { input: 321, output, reasoning, cache_read: 256, cache_write })
    };
    let mut pieces = Vec::new();
    if wire == Wire::Anthropic {
        pieces.push(usage(3, 0, 20));
    }
    pieces.push(Piece::Reasoning("Two cities, so two calls — おけ.".into()));
    pieces.extend(match wire {
        Wire::OpenAiChat => vec![sealed(None, "")],
        Wire::OpenAiResponses => vec![sealed(Some("rs_1"), "gAAAAAB-opaque==")],
        Wire::Anthropic => {
            vec![sealed(None, "EqMB+opaque/=="), sealed(Some("redacted_thinking"), "EmwKopaque==")]
        }
    });
    pieces.push(text("I will look both up: 東京 ✈ 🗼\n"));
    if wire == Wire::OpenAiResponses {
        let (one, two) = (tokyo.split_at(9), zurich.split_at(31));
        pieces.extend([start(0, "weather"), start(1, "weather")]);
        pieces.extend([arguments(0, one.0), arguments(1, two.0), arguments(0, one.1), arguments(1, two.1)]);
    } else {
        pieces.extend([start(0, "weather"), arguments(0, tokyo), start(1, "weather"), arguments(1, zurich)]);
    }
    pieces.push(match wire {
        Wire::Anthropic => usage(87, 0, 20),
        _ => usage(87, 31, 0),
    });
    pieces.push(Piece::Finish(StopReason::ToolUse));
    pieces
}

#[test]
fn recorded_streams_are_read_whole() {
    for wire in Wire::ALL {
        let outcome = replay(wire, &[recorded(wire).as_bytes()]);
        assert_eq!(outcome, Outcome { pieces: expected(wire), fault: None }, "{wire:?}");
    }
}

#[test]
fn any_line_ends_give_the_same_answer() {
    for wire in Wire::ALL {
        let whole = replay(wire, &[recorded(wire).as_bytes()]);
        for end in ["\r\n", "\r"] {
            assert_eq!(
                replay(wire, &[recorded(wire).replace('\n', end).as_bytes()]),
                whole,
                "{wire:?} {end:?}"
            );
        }
    }
}

#[test]
fn a_split_at_any_byte_changes_nothing() {
    for wire in Wire::ALL {
        let bytes = recorded(wire).as_bytes();
        let whole = replay(wire, &[bytes]);
        for at in 0..bytes.len() {
            assert_eq!(replay(wire, &[&bytes[..at], &bytes[at..]]), whole, "{wire:?} at {at}");
        }
        for size in 1..32 {
            let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
            assert_eq!(replay(wire, &chunks), whole, "{wire:?} in {size}s");
        }
    }
}

#[test]
fn a_cut_at_any_byte_is_a_cut_and_never_an_end() {
    for wire in Wire::ALL {
        let bytes = recorded(wire).as_bytes();
        let whole = replay(wire, &[bytes]).pieces;
        // After its finish_reason a chat answer is complete, whether or not its usage and [DONE] still come.
        let complete = match wire {
            Wire::OpenAiChat => {
                let reason = recorded(wire).find("\"tool_calls\"}]}").unwrap();
                reason + recorded(wire)[reason..].find("\n\n").unwrap() + 2
            }
            _ => bytes.len(),
        };
        for at in 0..bytes.len() {
            let outcome = replay(wire, &[&bytes[..at]]);
            let ended = matches!(outcome.pieces.last(), Some(Piece::Finish(_)));
            assert_eq!(ended, at >= complete, "{wire:?} at {at}");
            assert_eq!(outcome.fault, (at < complete).then_some(ErrorCode::ProviderCut), "{wire:?} at {at}");
            assert!(outcome.pieces.len() <= whole.len(), "{wire:?} at {at}");
        }
    }
}
