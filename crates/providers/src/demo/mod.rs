//! `builtin/demo`: a deterministic model that needs no provider. It says what it is, echoes what it was told,
//! and shows on command what a model can do.

mod command;
mod script;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use async_trait::async_trait;
use moongate_core::{Model, ModelInfo, ModelRequest, ModelStream, Piece, Price};
use moongate_protocol::{MicroUsd, ModelName};
use tokio::time::{Instant, sleep_until};

/// The demo model's name.
pub const DEMO_MODEL: &str = "builtin/demo";

/// Tokens the demo model pretends to hold.
const CONTEXT_WINDOW: u64 = 200_000;

/// The demo model.
pub struct Demo(Arc<ModelInfo>);

impl Demo {
    /// The demo model, under its name.
    pub(crate) fn new(name: ModelName) -> Self {
        let free = MicroUsd(0);
        let price = Price {
            input: free,
            output: free,
            cache_read: None,
            cache_write: None,
            source: "builtin".to_owned(),
        };
        Self(Arc::new(ModelInfo { name, context_window: Some(CONTEXT_WINDOW), price: Some(price) }))
    }
}

impl Model for Demo {
    fn info(&self) -> &ModelInfo {
        &self.0
    }

    fn call(&self, request: Arc<ModelRequest>) -> Box<dyn ModelStream> {
        let script = script::write(&request);
        Box::new(Recital {
            info: Arc::clone(&self.0),
            pieces: script.pieces.into(),
            pause: script.pause,
            resume_at: None,
        })
    }
}

/// A script being recited.
struct Recital {
    info: Arc<ModelInfo>,
    pieces: VecDeque<Piece>,
    /// The wait before each piece.
    pause: Duration,
    resume_at: Option<Instant>,
}

#[async_trait]
impl ModelStream for Recital {
    async fn next(&mut self, pieces: &mut Vec<Piece>) {
        if self.pause.is_zero() {
            pieces.extend(self.pieces.drain(..));
            return;
        }
        let at = *self.resume_at.get_or_insert_with(|| Instant::now() + self.pause);
        sleep_until(at).await;
        self.resume_at = None;
        pieces.extend(self.pieces.pop_front());
    }

    fn model(&self) -> &ModelInfo {
        &self.info
    }
}
