//! One model answer: pieces in, deltas out, and at the end the parts of one message.

use std::collections::BTreeMap;

use moongate_protocol::{
    CallId, DeltaKind, ErrorCode, ItemId, Part, ReasoningSignature, StopReason, Tokens, TurnId,
};
use serde_json::Value;

use crate::{
    Fault, Ids, Piece,
    feed::{Feed, LivePiece},
    limits::{ANSWER_BYTES, TOOL_ARGUMENT_BYTES, TOOL_CALLS_PER_MESSAGE},
};

/// A block of the answer, in the order it began.
#[derive(Debug)]
enum Block {
    Text(String),
    Reasoning { item: ItemId, text: String, signature: Option<ReasoningSignature>, open: bool },
    Call { item: ItemId, name: String, arguments: String },
}

/// An answer being written.
pub(crate) struct Answer {
    /// The message's item.
    pub(crate) item: ItemId,
    pub(crate) usage: Option<Tokens>,
    turn: TurnId,
    ids: Ids,
    blocks: Vec<Block>,
    /// Which block a provider's slot is.
    slots: BTreeMap<u32, usize>,
    bytes: usize,
}

/// How an answer ended, as the stream said.
#[derive(Debug)]
pub(crate) enum End {
    Finish(StopReason),
    Fault(Fault),
}

impl Answer {
    pub(crate) fn new(turn: TurnId, ids: &Ids) -> Self {
        let item = ids.make(ItemId::new);
        let (blocks, slots) = (Vec::new(), BTreeMap::new());
        Self { item, usage: None, turn, ids: ids.clone(), blocks, slots, bytes: 0 }
    }

    /// Takes pieces in and shows them to followers. `Some` when the answer ended.
    pub(crate) fn take(&mut self, pieces: &mut Vec<Piece>, feed: &Feed) -> Option<End> {
        let mut live = Live::default();
        let mut end = None;
        for piece in pieces.drain(..) {
            end = self.take_one(piece, &mut live);
            if end.is_some() {
                break;
            }
        }
        live.show(feed, self.turn);
        if end.is_none() && self.bytes > ANSWER_BYTES {
            let message = format!("the model's answer is longer than {ANSWER_BYTES} bytes");
            end = Some(End::Fault(Fault::new(ErrorCode::LimitReached, message)));
        }
        end
    }

    fn take_one(&mut self, piece: Piece, live: &mut Live) -> Option<End> {
        match piece {
            Piece::Waiting(_) | Piece::Working => {}
            Piece::Text(text) => self.text(text, live),
            Piece::Reasoning(text) => self.reasoning(text, live),
            Piece::ReasoningEnd { signature } => self.end_reasoning(signature),
            Piece::ToolCallStart { slot, name } => return self.start_call(slot, name, live),
            Piece::ToolCallArguments { slot, text } => return self.arguments(slot, &text, live),
            Piece::Usage(tokens) => self.usage = Some(tokens),
            Piece::Finish(reason) => return Some(End::Finish(reason)),
            Piece::Fault(fault) => return Some(End::Fault(fault)),
        }
        None
    }

    fn text(&mut self, text: String, live: &mut Live) {
        self.bytes += text.len();
        live.push(self.item, DeltaKind::Text, &text, None);
        match self.blocks.last_mut() {
            Some(Block::Text(before)) => before.push_str(&text),
            _ => self.blocks.push(Block::Text(text)),
        }
    }

    fn reasoning(&mut self, more: String, live: &mut Live) {
        self.bytes += more.len();
        if let Some(Block::Reasoning { item, text, open: true, .. }) = self.blocks.last_mut() {
            live.push(*item, DeltaKind::Reasoning, &more, None);
            text.push_str(&more);
            return;
        }
        let item = self.ids.make(ItemId::new);
        live.push(item, DeltaKind::Reasoning, &more, None);
        self.blocks.push(Block::Reasoning { item, text: more, signature: None, open: true });
    }

    fn end_reasoning(&mut self, ended: Option<ReasoningSignature>) {
        if let Some(Block::Reasoning { signature, open, .. }) = self.blocks.last_mut()
            && *open
        {
            *open = false;
            *signature = ended;
            return;
        }
        if ended.is_some() {
            let item = self.ids.make(ItemId::new);
            let block = Block::Reasoning { item, text: String::new(), signature: ended, open: false };
            self.blocks.push(block);
        }
    }

    fn start_call(&mut self, slot: u32, name: String, live: &mut Live) -> Option<End> {
        if self.slots.len() >= TOOL_CALLS_PER_MESSAGE {
            let message =
                format!("the model asked for more than {TOOL_CALLS_PER_MESSAGE} tool calls at once");
            return Some(End::Fault(Fault::new(ErrorCode::LimitReached, message)));
        }
        if self.slots.contains_key(&slot) {
            let message = "the provider began the same tool call twice";
            return Some(End::Fault(Fault::new(ErrorCode::ProviderProtocol, message)));
        }
        let item = self.ids.make(ItemId::new);
        live.push(item, DeltaKind::ToolArguments, "", Some(&name));
        self.slots.insert(slot, self.blocks.len());
        self.blocks.push(Block::Call { item, name, arguments: String::new() });
        None
    }

    fn arguments(&mut self, slot: u32, text: &str, live: &mut Live) -> Option<End> {
        let block = self.slots.get(&slot).and_then(|index| self.blocks.get_mut(*index));
        let Some(Block::Call { item, arguments, .. }) = block else {
            let message = "the provider sent arguments of a tool call it had not begun";
            return Some(End::Fault(Fault::new(ErrorCode::ProviderProtocol, message)));
        };
        self.bytes += text.len();
        if arguments.len() + text.len() > TOOL_ARGUMENT_BYTES {
            let message = format!("a tool call's arguments are longer than {TOOL_ARGUMENT_BYTES} bytes");
            return Some(End::Fault(Fault::new(ErrorCode::LimitReached, message)));
        }
        arguments.push_str(text);
        live.push(*item, DeltaKind::ToolArguments, text, None);
        None
    }

    /// Whether followers have been shown anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The parts of the complete message.
    pub(crate) fn parts(self) -> Vec<Part> {
        let ids = self.ids;
        self.blocks.into_iter().map(|block| part(block, &ids)).collect()
    }

    /// Forgets the calls: they are not complete, or nobody knows whether they are.
    pub(crate) fn drop_calls(&mut self) {
        self.slots.clear();
        self.blocks.retain(|block| !matches!(block, Block::Call { .. }));
    }

    /// The parts to keep of a message that was broken off: its words, not its calls.
    pub(crate) fn partial_parts(mut self) -> Vec<Part> {
        self.drop_calls();
        self.parts()
    }
}

fn part(block: Block, ids: &Ids) -> Part {
    match block {
        Block::Text(text) => Part::Text { text },
        Block::Reasoning { item, text, signature, .. } => Part::Reasoning { item, text, signature },
        Block::Call { item, name, arguments } => {
            Part::ToolCall { item, call: new_call(ids), tool: name, arguments: parse(arguments) }
        }
    }
}

/// A call id of our own: providers' ids repeat, collide and have their own grammars.
fn new_call(ids: &Ids) -> CallId {
    let text = ids.make(ItemId::new).to_string().replacen(ItemId::PREFIX, "call_", 1);
    #[expect(clippy::expect_used, reason = "an item id's alphabet is within a call id's")]
    text.parse().expect("a call id")
}

/// Arguments as JSON; as a JSON string where they are none, so that the tool can say so.
fn parse(arguments: String) -> Value {
    if arguments.trim().is_empty() {
        return Value::Object(serde_json::Map::new());
    }
    serde_json::from_str(&arguments).unwrap_or(Value::String(arguments))
}

/// Pieces to show, adjacent ones of one item joined.
#[derive(Default)]
struct Live(Vec<(ItemId, DeltaKind, String, Option<String>)>);

impl Live {
    fn push(&mut self, item: ItemId, kind: DeltaKind, text: &str, tool: Option<&str>) {
        match self.0.last_mut() {
            Some((last, last_kind, joined, _)) if *last == item && *last_kind == kind => {
                joined.push_str(text);
            }
            _ => self.0.push((item, kind, text.to_owned(), tool.map(str::to_owned))),
        }
    }

    fn show(&self, feed: &Feed, turn: TurnId) {
        if self.0.is_empty() {
            return;
        }
        let pieces: Vec<_> = self
            .0
            .iter()
            .map(|(item, kind, text, tool)| LivePiece {
                item: *item,
                kind: *kind,
                text,
                tool: tool.as_deref(),
            })
            .collect();
        feed.write(turn, &pieces);
    }
}
