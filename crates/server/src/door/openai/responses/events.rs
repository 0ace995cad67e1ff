//! The events of a response's stream, each with its number.

use serde::Serialize;

use super::{
    items::{Content, Item, Summary},
    object::Response,
};

/// An event as it is told: with its name and its number.
#[derive(Serialize)]
pub(super) struct Numbered<'a> {
    #[serde(rename = "type")]
    name: &'static str,
    #[serde(flatten)]
    event: &'a Event<'a>,
    sequence_number: u64,
}

impl<'a> Numbered<'a> {
    pub(super) fn new(event: &'a Event<'a>, sequence_number: u64) -> Self {
        Self { name: event.name(), event, sequence_number }
    }
}

/// An event.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Event<'a> {
    Created {
        response: &'a Response,
    },
    InProgress {
        response: &'a Response,
    },
    Completed {
        response: &'a Response,
    },
    Incomplete {
        response: &'a Response,
    },
    Failed {
        response: &'a Response,
    },
    ItemAdded {
        output_index: usize,
        item: &'a Item,
    },
    ItemDone {
        output_index: usize,
        item: &'a Item,
    },
    PartAdded {
        item_id: &'a str,
        output_index: usize,
        content_index: usize,
        part: &'a Content,
    },
    PartDone {
        item_id: &'a str,
        output_index: usize,
        content_index: usize,
        part: &'a Content,
    },
    TextDelta {
        item_id: &'a str,
        output_index: usize,
        content_index: usize,
        delta: &'a str,
        logprobs: [(); 0],
    },
    TextDone {
        item_id: &'a str,
        output_index: usize,
        content_index: usize,
        text: &'a str,
        logprobs: [(); 0],
    },
    SummaryAdded {
        item_id: &'a str,
        output_index: usize,
        summary_index: usize,
        part: &'a Summary,
    },
    SummaryDone {
        item_id: &'a str,
        output_index: usize,
        summary_index: usize,
        part: &'a Summary,
    },
    SummaryDelta {
        item_id: &'a str,
        output_index: usize,
        summary_index: usize,
        delta: &'a str,
    },
    SummaryTextDone {
        item_id: &'a str,
        output_index: usize,
        summary_index: usize,
        text: &'a str,
    },
    ArgumentsDelta {
        item_id: &'a str,
        output_index: usize,
        delta: &'a str,
    },
    ArgumentsDone {
        item_id: &'a str,
        output_index: usize,
        name: &'a str,
        arguments: &'a str,
    },
}

impl Event<'_> {
    /// Its name.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "response.created",
            Self::InProgress { .. } => "response.in_progress",
            Self::Completed { .. } => "response.completed",
            Self::Incomplete { .. } => "response.incomplete",
            Self::Failed { .. } => "response.failed",
            Self::ItemAdded { .. } => "response.output_item.added",
            Self::ItemDone { .. } => "response.output_item.done",
            Self::PartAdded { .. } => "response.content_part.added",
            Self::PartDone { .. } => "response.content_part.done",
            Self::TextDelta { .. } => "response.output_text.delta",
            Self::TextDone { .. } => "response.output_text.done",
            Self::SummaryAdded { .. } => "response.reasoning_summary_part.added",
            Self::SummaryDone { .. } => "response.reasoning_summary_part.done",
            Self::SummaryDelta { .. } => "response.reasoning_summary_text.delta",
            Self::SummaryTextDone { .. } => "response.reasoning_summary_text.done",
            Self::ArgumentsDelta { .. } => "response.function_call_arguments.delta",
            Self::ArgumentsDone { .. } => "response.function_call_arguments.done",
        }
    }
}
