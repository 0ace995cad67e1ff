//! Trying again: only before anything was shown, within a budget, as the provider asks.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use moongate_core::{Entropy, Fault, Model, ModelInfo, ModelRequest, ModelStream, Piece, SystemEntropy};
use moongate_protocol::{Tokens, WaitingOn};
use tokio::time::{Instant, sleep_until};

/// When a call is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Most attempts, the first one included.
    pub attempts: u32,
    /// No attempt begins later than this after the first one.
    pub budget: Duration,
    /// The wait before the second attempt; doubles each time.
    pub first_wait: Duration,
    /// The longest wait of our own choice. A provider may ask for a longer one.
    pub longest_wait: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 4,
            budget: Duration::from_mins(2),
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(20),
        }
    }
}

impl RetryPolicy {
    /// Never tries again.
    pub const NEVER: Self = Self {
        attempts: 1,
        budget: Duration::ZERO,
        first_wait: Duration::ZERO,
        longest_wait: Duration::ZERO,
    };

    /// The wait before the attempt after this one: half fixed, half by chance, so that calls that failed
    /// together do not come back together.
    fn wait(&self, attempt: u32, chance: u8) -> Duration {
        let doubled = self.first_wait.saturating_mul(1 << attempt.saturating_sub(1).min(16));
        let whole = doubled.min(self.longest_wait);
        whole / 2 + whole.mul_f64(f64::from(chance) / 510.0)
    }
}

/// Retries one provider may be sent at once, by all its calls together: so many, then only as many as calls
/// succeed and time passes. When a provider is down, calls fail at once instead of tripling its load.
pub struct RetryBudget(Mutex<Bucket>);

struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl RetryBudget {
    const CAPACITY: f64 = 64.0;
    const PER_SUCCESS: f64 = 0.2;
    const PER_SECOND: f64 = 0.5;

    /// A full budget.
    pub fn new() -> Self {
        Self(Mutex::new(Bucket { tokens: Self::CAPACITY, filled: Instant::now() }))
    }

    fn take(&self) -> bool {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let gained = (now - bucket.filled).as_secs_f64() * Self::PER_SECOND;
        bucket.tokens = (bucket.tokens + gained).min(Self::CAPACITY);
        bucket.filled = now;
        let granted = bucket.tokens >= 1.0;
        if granted {
            bucket.tokens -= 1.0;
        }
        granted
    }

    fn succeeded(&self) {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.tokens = (bucket.tokens + Self::PER_SUCCESS).min(Self::CAPACITY);
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self::new()
    }
}

/// A model that is asked again when it fails before it has said anything.
pub struct Retrying {
    model: Arc<dyn Model>,
    policy: RetryPolicy,
    budget: Arc<RetryBudget>,
}

impl Retrying {
    /// Wraps a model. Models of one provider share one budget.
    pub fn new(model: Arc<dyn Model>, policy: RetryPolicy, budget: Arc<RetryBudget>) -> Self {
        Self { model, policy, budget }
    }
}

impl Model for Retrying {
    fn info(&self) -> &ModelInfo {
        self.model.info()
    }

    fn call(&self, request: Arc<ModelRequest>) -> Box<dyn ModelStream> {
        Box::new(Attempts {
            stream: self.model.call(Arc::clone(&request)),
            model: Arc::clone(&self.model),
            policy: self.policy,
            budget: Arc::clone(&self.budget),
            request: (self.policy.attempts > 1).then_some(request),
            attempt: 1,
            begun: Instant::now(),
            resume_at: None,
            spent: Tokens::default(),
            last: Tokens::default(),
        })
    }
}

struct Attempts {
    stream: Box<dyn ModelStream>,
    model: Arc<dyn Model>,
    policy: RetryPolicy,
    budget: Arc<RetryBudget>,
    /// Kept as long as another attempt is possible.
    request: Option<Arc<ModelRequest>>,
    attempt: u32,
    begun: Instant,
    /// When the next attempt begins.
    resume_at: Option<Instant>,
    /// Tokens of attempts that failed.
    spent: Tokens,
    /// Tokens of this attempt so far.
    last: Tokens,
}

#[async_trait]
impl ModelStream for Attempts {
    async fn next(&mut self, pieces: &mut Vec<Piece>) {
        if let Some(at) = self.resume_at {
            sleep_until(at).await;
            self.resume_at = None;
            if let Some(request) = self.request.clone() {
                self.stream = self.model.call(request);
            }
            pieces.push(Piece::Working);
            return;
        }
        let before = pieces.len();
        self.stream.next(pieces).await;
        self.count_usage(&mut pieces[before..]);
        if pieces[before..].iter().any(is_visible) {
            self.request = None;
        }
        match pieces.last() {
            Some(Piece::Finish(_)) => self.budget.succeeded(),
            Some(Piece::Fault(fault)) => {
                if let Some((on, at)) = self.next_attempt(fault) {
                    self.attempt += 1;
                    self.resume_at = Some(at);
                    self.spent.add(std::mem::take(&mut self.last));
                    pieces.pop();
                    pieces.push(Piece::Waiting(on));
                }
            }
            _ => {}
        }
    }

    fn model(&self) -> &ModelInfo {
        self.stream.model()
    }
}

impl Attempts {
    /// When to try again after this fault, if at all.
    fn next_attempt(&self, fault: &Fault) -> Option<(WaitingOn, Instant)> {
        if self.request.is_none() || self.attempt >= self.policy.attempts || !fault.code.retryable() {
            return None;
        }
        let mut chance = [0];
        SystemEntropy.fill(&mut chance);
        let own = self.policy.wait(self.attempt, chance[0]);
        let at = Instant::now() + fault.retry_after.map_or(own, |asked| asked.max(own));
        if at > self.begun + self.policy.budget || !self.budget.take() {
            return None;
        }
        let limited = fault.code == moongate_protocol::ErrorCode::ProviderRateLimited;
        tracing::info!(
            model.name = %self.model.info().name,
            error.code = fault.code.as_str(),
            attempt = self.attempt,
            "a model call is tried again"
        );
        Some((if limited { WaitingOn::RateLimit } else { WaitingOn::Model }, at))
    }

    /// Adds what failed attempts used: the provider may charge for them.
    fn count_usage(&mut self, pieces: &mut [Piece]) {
        for piece in pieces {
            if let Piece::Usage(tokens) = piece {
                self.last = *tokens;
                tokens.add(self.spent);
            }
        }
    }
}

/// Whether a piece is a part of the answer that somebody may already have seen.
pub(crate) fn is_visible(piece: &Piece) -> bool {
    match piece {
        Piece::Waiting(_) | Piece::Working | Piece::Usage(_) | Piece::Finish(_) | Piece::Fault(_) => false,
        Piece::Text(_)
        | Piece::Reasoning(_)
        | Piece::ReasoningEnd { .. }
        | Piece::ToolCallStart { .. }
        | Piece::ToolCallArguments { .. } => true,
    }
}
