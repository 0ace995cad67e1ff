//! A Responses stream as pieces.

use moongate_core::Fault;
use moongate_protocol::{ReasoningSignature, StopReason};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::event::{Item, ItemText, Response, StreamEvent};
use crate::{
    answer::{Sink, protocol_fault},
    fault::{ErrorObject, from_event},
    json::{Text, filled},
    prompt::ToolNames,
    sse::Event,
    wire::Decode,
};

/// Reads one answer.
pub(crate) struct Decoder {
    mark: String,
    names: ToolNames,
    items: Vec<OpenItem>,
    refused: bool,
}

/// An output item being written.
struct OpenItem {
    index: Option<u32>,
    id: String,
    kind: Kind,
    /// Some of it has arrived piece by piece; what comes whole at its end is only a repetition.
    streamed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Message,
    Reasoning { summary: u32 },
    Call { slot: u32 },
    Other,
}

impl Decoder {
    pub(crate) fn new(mark: &str, names: ToolNames) -> Self {
        Self { mark: mark.to_owned(), names, items: Vec::new(), refused: false }
    }

    fn begin(
        &mut self,
        event: &StreamEvent<'_>,
        item: &Item<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<usize, Fault> {
        let kind = match &*item.kind {
            "message" => Kind::Message,
            "reasoning" => Kind::Reasoning { summary: 0 },
            "function_call" => {
                let name = self.names.ours(filled(&item.name).unwrap_or_default());
                Kind::Call { slot: sink.begin_call(name)? }
            }
            _ => Kind::Other,
        };
        let id = item.id.as_deref().unwrap_or_default().to_owned();
        self.items.push(OpenItem { index: event.output_index, id, kind, streamed: false });
        Ok(self.items.len() - 1)
    }

    /// The item an event belongs to, by its place, else by its id, else the last one.
    fn find(&self, event: &StreamEvent<'_>, id: &str) -> Option<usize> {
        if event.output_index.is_some() {
            return self.items.iter().rposition(|item| item.index == event.output_index);
        }
        let by_id = self.items.iter().rposition(|item| !id.is_empty() && item.id == id);
        by_id.or(if id.is_empty() { self.items.len().checked_sub(1) } else { None })
    }

    fn text(&mut self, event: &StreamEvent<'_>, sink: &mut Sink<'_>) -> Result<(), Fault> {
        if let Some(at) = self.find(event, event.item_id.as_deref().unwrap_or_default()) {
            self.items[at].streamed = true;
        }
        sink.text(&text(event.delta)?);
        Ok(())
    }

    fn reasoning(&mut self, event: &StreamEvent<'_>, sink: &mut Sink<'_>) -> Result<(), Fault> {
        let at = self.find(event, event.item_id.as_deref().unwrap_or_default());
        if let Some(item) = at.map(|at| &mut self.items[at]) {
            if let Kind::Reasoning { summary } = &mut item.kind
                && *summary != event.summary_index
            {
                *summary = event.summary_index;
                sink.reasoning("\n\n");
            }
            item.streamed = true;
        }
        sink.reasoning(&text(event.delta)?);
        Ok(())
    }

    fn arguments(&mut self, event: &StreamEvent<'_>, more: &str, sink: &mut Sink<'_>) -> Result<(), Fault> {
        let at = self.find(event, event.item_id.as_deref().unwrap_or_default());
        let Some(OpenItem { kind: Kind::Call { slot }, streamed, .. }) = at.map(|at| &mut self.items[at])
        else {
            return Err(protocol_fault("The provider sent tool arguments without a call."));
        };
        *streamed = true;
        sink.arguments(*slot, more)
    }

    /// An item is whole: what was not streamed is taken from here.
    fn end_item(
        &mut self,
        event: &StreamEvent<'_>,
        item: &Item<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), Fault> {
        let at = match self.find(event, item.id.as_deref().unwrap_or_default()) {
            Some(at) => at,
            None => self.begin(event, item, sink)?,
        };
        let OpenItem { kind, streamed, .. } = self.items[at];
        match kind {
            Kind::Message if !streamed => {
                for part in item.content.iter().flatten() {
                    self.refused |= part.refusal.is_some();
                    sink.text(filled(&part.text).or(filled(&part.refusal)).unwrap_or_default());
                }
            }
            Kind::Call { slot } if !sink.has_arguments(slot) => {
                sink.arguments(slot, item.arguments.as_deref().unwrap_or_default())?;
            }
            Kind::Reasoning { .. } => {
                if !streamed {
                    sink.reasoning(&joined(item.summary.as_deref().or(item.content.as_deref())));
                }
                self.end_reasoning(item, sink);
            }
            _ => {}
        }
        self.items[at].streamed = true;
        Ok(())
    }

    fn end_reasoning(&self, item: &Item<'_>, sink: &mut Sink<'_>) {
        match filled(&item.encrypted_content) {
            Some(data) => sink.seal_reasoning(ReasoningSignature {
                provider: self.mark.clone(),
                id: filled(&item.id).map(str::to_owned),
                data: data.to_owned(),
            }),
            None => sink.end_reasoning(None),
        }
    }

    fn finish(&self, event: &StreamEvent<'_>, sink: &mut Sink<'_>) -> Result<(), Fault> {
        let response: Option<Response<'_>> = event.response.map(read).transpose()?;
        if let Some(tokens) = response.as_ref().and_then(|it| it.usage.as_ref()).and_then(|it| it.tokens()) {
            sink.usage(tokens);
        }
        let details = response.as_ref().and_then(|it| it.incomplete_details.as_ref());
        let status = response.as_ref().and_then(|it| filled(&it.status));
        sink.finish(match details.and_then(|it| filled(&it.reason)) {
            Some("content_filter") => StopReason::Refusal,
            Some(_) => StopReason::MaxTokens,
            // Compatible servers leave the reason out, or say it only in the status.
            None if &*event.kind == "response.incomplete" || status == Some("incomplete") => {
                StopReason::MaxTokens
            }
            None if self.refused => StopReason::Refusal,
            None => StopReason::EndTurn,
        });
        Ok(())
    }
}

impl Decode for Decoder {
    fn event(&mut self, event: &Event<'_>, sink: &mut Sink<'_>) -> Result<bool, Fault> {
        let data = event.data.trim_ascii();
        if data.is_empty() || data == b"[DONE]" {
            return Ok(false);
        }
        let parsed: StreamEvent<'_> = serde_json::from_slice(data).map_err(|_| malformed())?;
        match &*parsed.kind {
            "response.output_text.delta" => self.text(&parsed, sink)?,
            "response.refusal.delta" => {
                self.refused = true;
                self.text(&parsed, sink)?;
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                self.reasoning(&parsed, sink)?;
            }
            "response.function_call_arguments.delta" => {
                self.arguments(&parsed, &text(parsed.delta)?, sink)?;
            }
            "response.function_call_arguments.done" => {
                let at = self.find(&parsed, parsed.item_id.as_deref().unwrap_or_default());
                if at.is_some_and(|at| !self.items[at].streamed) {
                    self.arguments(&parsed, parsed.arguments.as_deref().unwrap_or_default(), sink)?;
                }
            }
            "response.output_item.added" => {
                if let Some(item) = parsed.item {
                    self.begin(&parsed, &read(item)?, sink)?;
                }
            }
            "response.output_item.done" => {
                if let Some(item) = parsed.item {
                    self.end_item(&parsed, &read(item)?, sink)?;
                }
            }
            "response.completed" | "response.incomplete" => {
                self.finish(&parsed, sink)?;
                return Ok(true);
            }
            "response.failed" => {
                let error = parsed.response.map_or(&b""[..], |response| response.get().as_bytes());
                return Err(from_event(&ErrorObject::read(error).unwrap_or_default()));
            }
            "error" => return Err(from_event(&ErrorObject::read(data).unwrap_or_default())),
            _ => {}
        }
        Ok(false)
    }

    fn end(&mut self, _: &mut Sink<'_>) -> bool {
        false
    }
}

fn malformed() -> Fault {
    protocol_fault("The provider sent something that is not its protocol.")
}

fn read<'a, T: Deserialize<'a>>(json: &'a RawValue) -> Result<T, Fault> {
    serde_json::from_str(json.get()).map_err(|_| malformed())
}

fn text(json: Option<&RawValue>) -> Result<Text<'_>, Fault> {
    json.map_or_else(|| Ok(Text::default()), read)
}

fn joined(texts: Option<&[ItemText<'_>]>) -> String {
    let texts: Vec<&str> = texts.into_iter().flatten().filter_map(|it| it.text.as_deref()).collect();
    texts.join("\n\n")
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use moongate_core::Piece;

    use super::*;
    use crate::answer::Answer;

    fn stop(json: &str) -> Option<Piece> {
        let (mut answer, mut pieces) = (Answer::default(), Vec::new());
        let event = Event { name: Cow::Borrowed(""), data: json.as_bytes() };
        let mut decoder = Decoder::new("mark", ToolNames::default());
        assert_eq!(decoder.event(&event, &mut answer.sink(&mut pieces, 0)), Ok(true));
        pieces.pop()
    }

    #[test]
    fn an_incomplete_answer_is_never_a_plain_end() {
        use StopReason as S;
        for (json, reason) in [
            (r#"{"type":"response.completed","response":{"status":"completed"}}"#, S::EndTurn),
            (r#"{"type":"response.completed","response":{"status":"incomplete"}}"#, S::MaxTokens),
            (r#"{"type":"response.incomplete","response":{}}"#, S::MaxTokens),
            (
                r#"{"type":"response.incomplete","response":{"incomplete_details":{"reason":"content_filter"}}}"#,
                S::Refusal,
            ),
            (
                r#"{"type":"response.incomplete","response":{"incomplete_details":{"reason":"max_output_tokens"}}}"#,
                S::MaxTokens,
            ),
        ] {
            assert_eq!(stop(json), Some(Piece::Finish(reason)), "{json}");
        }
    }
}
