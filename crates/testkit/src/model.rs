//! Models that follow a script.

mod script;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use moongate_core::{Model, ModelInfo, ModelRequest, ModelStream, Models, Piece, Price, PromptMessage};
use moongate_protocol::ModelName;
use tokio::time::Instant;

pub use script::{Script, Step};

type Answering = dyn Fn(&ModelRequest, usize) -> Script + Send + Sync;

/// A model that answers each call with the next script it was given.
pub struct ScriptedModel {
    info: ModelInfo,
    state: Arc<Mutex<State>>,
    /// What it answers when it has no script left, given the request and how many came before.
    otherwise: Box<Answering>,
}

#[derive(Default)]
struct State {
    scripts: VecDeque<Script>,
    requests: Vec<Arc<ModelRequest>>,
}

impl ScriptedModel {
    /// A model without scripts, which says `ok`.
    pub fn new(name: ModelName) -> Self {
        Self::answering(name, |_, _| Script::says("ok"))
    }

    /// A model that makes up an answer when it has no script.
    pub fn answering(
        name: ModelName,
        otherwise: impl Fn(&ModelRequest, usize) -> Script + Send + Sync + 'static,
    ) -> Self {
        let info = ModelInfo { name, context_window: None, price: None };
        Self { info, state: Arc::default(), otherwise: Box::new(otherwise) }
    }

    /// The same with a window of so many tokens.
    #[must_use]
    pub fn with_window(mut self, tokens: u64) -> Self {
        self.info.context_window = Some(tokens);
        self
    }

    /// The same with a price.
    #[must_use]
    pub fn with_price(mut self, price: Price) -> Self {
        self.info.price = Some(price);
        self
    }

    /// Adds scripts for the next calls.
    pub fn push(&self, scripts: impl IntoIterator<Item = Script>) {
        self.state().scripts.extend(scripts);
    }

    /// The requests it got, oldest first.
    pub fn requests(&self) -> Vec<Arc<ModelRequest>> {
        self.state().requests.clone()
    }

    /// The conversations it was handed, oldest call first.
    pub fn prompts(&self) -> Vec<Vec<PromptMessage>> {
        let own = |request: &Arc<ModelRequest>| {
            request.messages.iter().map(|message| PromptMessage::clone(message)).collect()
        };
        self.state().requests.iter().map(own).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Model for ScriptedModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn call(&self, request: Arc<ModelRequest>) -> Box<dyn ModelStream> {
        let mut state = self.state();
        let before = state.requests.len();
        let script = state.scripts.pop_front().unwrap_or_else(|| (self.otherwise)(&request, before));
        state.requests.push(request);
        Box::new(ScriptedStream { info: self.info.clone(), steps: script.into_steps(), until: None })
    }
}

struct ScriptedStream {
    info: ModelInfo,
    steps: VecDeque<Step>,
    /// When the pause it is in ends.
    until: Option<Instant>,
}

#[async_trait]
impl ModelStream for ScriptedStream {
    async fn next(&mut self, pieces: &mut Vec<Piece>) {
        loop {
            match self.steps.front() {
                None | Some(Step::Hang) => std::future::pending().await,
                Some(Step::Pause(duration)) => {
                    let until = *self.until.get_or_insert_with(|| Instant::now() + *duration);
                    tokio::time::sleep_until(until).await;
                    self.until = None;
                }
                Some(Step::Gate(gate)) => gate.pass().await,
                Some(Step::Block(barrier)) => {
                    barrier.wait();
                    barrier.wait();
                }
                Some(Step::Panic) => panic!("the script says so"),
                Some(Step::Piece(piece)) => {
                    pieces.push(piece.clone());
                    self.steps.pop_front();
                    return;
                }
            }
            self.steps.pop_front();
        }
    }

    fn model(&self) -> &ModelInfo {
        &self.info
    }
}

/// The models of a test, by name.
#[derive(Clone, Default)]
pub struct ScriptedModels(Arc<BTreeMap<ModelName, Arc<ScriptedModel>>>);

impl ScriptedModels {
    /// A registry of these models.
    pub fn new(models: impl IntoIterator<Item = ScriptedModel>) -> Self {
        Self(Arc::new(models.into_iter().map(|m| (m.info.name.clone(), Arc::new(m))).collect()))
    }

    /// The model of this name.
    ///
    /// # Panics
    /// When there is none.
    pub fn scripted(&self, name: &str) -> &Arc<ScriptedModel> {
        self.0.get(name).unwrap_or_else(|| panic!("the test has no model named {name}"))
    }
}

impl Models for ScriptedModels {
    fn get(&self, name: &ModelName) -> Option<Arc<dyn Model>> {
        let model = self.0.get(name)?;
        Some(Arc::<ScriptedModel>::clone(model))
    }

    fn list(&self) -> Vec<ModelInfo> {
        self.0.values().map(|model| model.info.clone()).collect()
    }
}
