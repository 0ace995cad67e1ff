//! Replays streams through the decoders without a network.

mod odd;
mod recorded;

use moongate_core::{Fault, Piece};
use moongate_protocol::{ErrorCode, ReasoningSignature};

use crate::{
    answer::Answer,
    config::Wire,
    prompt::ToolNames,
    sse::{Reader, TooLong},
    wire::decoder,
};

/// What a stream came to: its pieces with neighbours joined, and how it ended.
#[derive(Clone, Debug, PartialEq)]
struct Outcome {
    pieces: Vec<Piece>,
    fault: Option<ErrorCode>,
}

struct Failed(Fault);

impl From<TooLong> for Failed {
    fn from(_: TooLong) -> Self {
        Self(Fault::new(ErrorCode::ProviderProtocol, "too long"))
    }
}

fn replay(wire: Wire, chunks: &[&[u8]]) -> Outcome {
    let mut decoder = decoder(wire, "mark", ToolNames::default());
    let mut answer = Answer::default();
    let mut reader = Reader::default();
    let mut pieces = Vec::new();
    let mut ended = false;
    let mut fault = None;
    for chunk in chunks {
        let from = pieces.len();
        let mut sink = answer.sink(&mut pieces, from);
        let result = reader.feed(chunk, |event| {
            if !ended {
                ended = decoder.event(&event, &mut sink).map_err(Failed)?;
            }
            Ok(())
        });
        if let Err(Failed(failed)) = result {
            fault = Some(failed.code);
            break;
        }
    }
    if fault.is_none() && !ended {
        let from = pieces.len();
        ended = decoder.end(&mut answer.sink(&mut pieces, from));
        fault = (!ended).then_some(ErrorCode::ProviderCut);
    }
    assert_eq!(ended, matches!(pieces.last(), Some(Piece::Finish(_))), "an end is one Finish");
    Outcome { pieces: join(pieces), fault }
}

fn join(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::new();
    for piece in pieces {
        match (joined.last_mut(), piece) {
            (Some(Piece::Text(all)), Piece::Text(more))
            | (Some(Piece::Reasoning(all)), Piece::Reasoning(more)) => {
                all.push_str(&more);
            }
            (
                Some(Piece::ToolCallArguments { slot: a, text: all }),
                Piece::ToolCallArguments { slot: b, text: more },
            ) if *a == b => all.push_str(&more),
            (_, piece) => joined.push(piece),
        }
    }
    joined
}

fn text(text: &str) -> Piece {
    Piece::Text(text.to_owned())
}

fn start(slot: u32, name: &str) -> Piece {
    Piece::ToolCallStart { slot, name: name.to_owned() }
}

fn arguments(slot: u32, text: &str) -> Piece {
    Piece::ToolCallArguments { slot, text: text.to_owned() }
}

fn sealed(id: Option<&str>, data: &str) -> Piece {
    let signature =
        ReasoningSignature { provider: "mark".into(), id: id.map(str::to_owned), data: data.to_owned() };
    Piece::ReasoningEnd { signature: Some(signature) }
}
