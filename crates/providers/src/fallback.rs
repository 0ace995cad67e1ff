//! Several models in order: the next one answers when the one before fails before it has said anything.

use std::sync::Arc;

use async_trait::async_trait;
use moongate_core::{Model, ModelInfo, ModelRequest, ModelStream, Piece};
use moongate_protocol::{ErrorCode, Tokens};

use crate::retry::is_visible;

/// A model and those that stand in for it.
pub struct Fallback {
    first: Arc<dyn Model>,
    others: Vec<Arc<dyn Model>>,
}

impl Fallback {
    /// `first`, then `others` in order.
    pub fn new(first: Arc<dyn Model>, others: Vec<Arc<dyn Model>>) -> Self {
        Self { first, others }
    }
}

impl Model for Fallback {
    fn info(&self) -> &ModelInfo {
        self.first.info()
    }

    fn call(&self, request: Arc<ModelRequest>) -> Box<dyn ModelStream> {
        let mut others = self.others.clone();
        others.reverse();
        Box::new(InTurn {
            stream: self.first.call(Arc::clone(&request)),
            request: Some(request),
            others,
            counted: false,
        })
    }
}

struct InTurn {
    stream: Box<dyn ModelStream>,
    /// Kept until something was said.
    request: Option<Arc<ModelRequest>>,
    /// The last one is next.
    others: Vec<Arc<dyn Model>>,
    /// Tokens were reported.
    counted: bool,
}

#[async_trait]
impl ModelStream for InTurn {
    async fn next(&mut self, pieces: &mut Vec<Piece>) {
        let before = pieces.len();
        self.stream.next(pieces).await;
        if pieces[before..].iter().any(is_visible) {
            self.request = None;
        }
        let Some(Piece::Fault(fault)) = pieces.last() else {
            self.counted |= pieces[before..].iter().any(|piece| matches!(piece, Piece::Usage(_)));
            return;
        };
        if !may_another_answer(fault.code) {
            return;
        }
        let Some(request) = &self.request else { return };
        let Some(next) = self.others.pop() else { return };
        tracing::warn!(
            model.name = %self.stream.model().name,
            error.code = fault.code.as_str(),
            fallback.name = %next.info().name,
            "another model stands in"
        );
        self.stream = next.call(Arc::clone(request));
        pieces.truncate(before);
        pieces.push(Piece::Working);
        if std::mem::take(&mut self.counted) {
            // What the failed one used has another price: the tokens of this call are those of who answers it.
            pieces.push(Piece::Usage(Tokens::default()));
        }
    }

    fn model(&self) -> &ModelInfo {
        self.stream.model()
    }
}

/// Whether another provider may answer what this one would not: all passing faults, and a refused credential,
/// which says nothing about the request.
fn may_another_answer(code: ErrorCode) -> bool {
    code.retryable() || code == ErrorCode::ProviderAuth
}
