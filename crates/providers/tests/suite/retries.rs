//! When a call is made again, and by whom it is answered, on a clock of our own.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use moongate_core::{Fault, Model, ModelInfo, ModelRequest, ModelStream, Piece};
use moongate_protocol::{ErrorCode, StopReason, Tokens, WaitingOn};
use moongate_providers::{Fallback, RetryBudget, RetryPolicy, Retrying};
use tokio::time::Instant;

/// A model whose calls go as scripted, one after the other.
struct Scripted {
    info: ModelInfo,
    calls: Mutex<VecDeque<Vec<Piece>>>,
}

struct Script {
    info: ModelInfo,
    pieces: VecDeque<Piece>,
}

impl Scripted {
    fn new(name: &str, calls: impl IntoIterator<Item = Vec<Piece>>) -> Arc<Self> {
        let info = ModelInfo { name: name.parse().unwrap(), context_window: None, price: None };
        Arc::new(Self { info, calls: Mutex::new(calls.into_iter().collect()) })
    }

    fn left(&self) -> usize {
        self.calls.lock().unwrap().len()
    }
}

impl Model for Scripted {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn call(&self, _: Arc<ModelRequest>) -> Box<dyn ModelStream> {
        let pieces = self.calls.lock().unwrap().pop_front().expect("no more calls than scripted").into();
        Box::new(Script { info: self.info.clone(), pieces })
    }
}

#[async_trait]
impl ModelStream for Script {
    async fn next(&mut self, pieces: &mut Vec<Piece>) {
        pieces.push(self.pieces.pop_front().expect("nothing after the end"));
    }

    fn model(&self) -> &ModelInfo {
        &self.info
    }
}

fn policy() -> RetryPolicy {
    RetryPolicy {
        attempts: 3,
        budget: Duration::from_secs(60),
        first_wait: Duration::from_secs(1),
        longest_wait: Duration::from_secs(20),
    }
}

fn fault(code: ErrorCode, retry_after: Option<u64>) -> Piece {
    Piece::Fault(Fault { retry_after: retry_after.map(Duration::from_secs), ..Fault::new(code, "x") })
}

fn overloaded() -> Piece {
    fault(ErrorCode::ProviderOverloaded, None)
}

fn text(text: &str) -> Piece {
    Piece::Text(text.into())
}

fn good() -> Vec<Piece> {
    vec![text("hi"), Piece::Finish(StopReason::EndTurn)]
}

/// All pieces of a call, the name of who answered, and the seconds it took.
async fn run(model: &dyn Model) -> (Vec<Piece>, String, f64) {
    let begun = Instant::now();
    let mut stream = model.call(Arc::default());
    let mut pieces = Vec::new();
    while !matches!(pieces.last(), Some(Piece::Finish(_) | Piece::Fault(_))) {
        let before = pieces.len();
        stream.next(&mut pieces).await;
        assert!(pieces.len() > before);
    }
    (pieces, stream.model().name.to_string(), begun.elapsed().as_secs_f64())
}

async fn retry(calls: Vec<Vec<Piece>>, policy: RetryPolicy) -> (Vec<Piece>, usize, f64) {
    let model = Scripted::new("a/a", calls);
    let retrying = Retrying::new(Arc::clone(&model) as _, policy, Arc::new(RetryBudget::new()));
    let (pieces, _, seconds) = run(&retrying).await;
    (pieces, model.left(), seconds)
}

#[tokio::test(start_paused = true)]
async fn a_passing_fault_is_waited_out() {
    let (pieces, left, seconds) = retry(vec![vec![overloaded()], vec![overloaded()], good()], policy()).await;
    let waited = [Piece::Waiting(WaitingOn::Model), Piece::Working];
    assert_eq!(pieces, [&waited[..], &waited, &good()].concat());
    assert_eq!(left, 0);
    // Half of the wait is chance: 0.5 to 1 and 1 to 2 seconds.
    assert!((1.5..=3.1).contains(&seconds), "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn attempts_are_counted() {
    let (pieces, left, _) = retry(vec![vec![overloaded()]; 4], policy()).await;
    assert_eq!((pieces.last(), left), (Some(&overloaded()), 1));
    let (pieces, left, _) = retry(vec![vec![overloaded()]; 2], RetryPolicy::NEVER).await;
    assert_eq!((pieces, left), (vec![overloaded()], 1));
}

#[tokio::test(start_paused = true)]
async fn what_would_fail_again_is_not_tried_again() {
    for code in [ErrorCode::ProviderAuth, ErrorCode::ProviderRejected, ErrorCode::ContextTooLong] {
        let (pieces, left, _) = retry(vec![vec![fault(code, None)]; 2], policy()).await;
        assert_eq!((pieces, left), (vec![fault(code, None)], 1));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_tried_again_after_something_was_shown() {
    let reasoning = Piece::Reasoning("r".into());
    let start = Piece::ToolCallStart { slot: 0, name: "t".into() };
    for shown in [text("a"), reasoning, Piece::ReasoningEnd { signature: None }, start] {
        let call = vec![shown, overloaded()];
        let (pieces, left, _) = retry(vec![call.clone(), good()], policy()).await;
        assert_eq!((pieces, left), (call, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn the_providers_wish_is_honoured_within_the_budget() {
    let limited = |seconds| vec![fault(ErrorCode::ProviderRateLimited, Some(seconds))];
    let (pieces, _, seconds) = retry(vec![limited(45), good()], policy()).await;
    assert_eq!(pieces[..2], [Piece::Waiting(WaitingOn::RateLimit), Piece::Working]);
    assert!((45.0..46.0).contains(&seconds), "{seconds}");
    let (pieces, left, seconds) = retry(vec![limited(61), good()], policy()).await;
    assert_eq!((pieces, left), (limited(61), 1));
    assert!(seconds < 1.0);
    // The budget is one for all attempts.
    let (_, left, seconds) = retry(vec![limited(40), limited(40), good()], policy()).await;
    assert_eq!(left, 1);
    assert!((40.0..41.0).contains(&seconds), "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn tokens_of_failed_attempts_are_counted() {
    let usage = |input| Piece::Usage(Tokens { input, output: 1, ..Tokens::default() });
    let last = vec![usage(30), text("hi"), usage(40), Piece::Finish(StopReason::EndTurn)];
    let (pieces, _, _) = retry(vec![vec![usage(10), usage(20), overloaded()], last], policy()).await;
    let usages: Vec<Tokens> = pieces
        .into_iter()
        .filter_map(|it| if let Piece::Usage(tokens) = it { Some(tokens) } else { None })
        .collect();
    assert_eq!(usages.last(), Some(&Tokens { input: 60, output: 2, ..Tokens::default() }));
}

/// A hundred calls to a provider that is down are a hundred calls and a bounded number of retries.
#[tokio::test(start_paused = true)]
async fn there_is_no_retry_storm() {
    let model = Scripted::new("a/a", vec![vec![overloaded()]; 300]);
    let retrying = Arc::new(Retrying::new(Arc::clone(&model) as _, policy(), Arc::new(RetryBudget::new())));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let retrying = Arc::clone(&retrying);
        tasks.spawn(async move { run(&*retrying).await });
    }
    while tasks.join_next().await.is_some() {}
    let retries = 300 - model.left() - 100;
    assert!((60..=70).contains(&retries), "{retries}");
}

#[tokio::test(start_paused = true)]
async fn the_next_model_answers_for_the_first() {
    for code in [ErrorCode::ProviderOverloaded, ErrorCode::ProviderAuth, ErrorCode::ProviderUnreachable] {
        let first = Scripted::new("a/a", [vec![fault(code, None)]]);
        let (second, third) = (Scripted::new("b/b", [good()]), Scripted::new("c/c", [good()]));
        let fallback = Fallback::new(first, vec![second, Arc::clone(&third) as _]);
        let (pieces, name, _) = run(&fallback).await;
        assert_eq!(pieces, [&[Piece::Working][..], &good()].concat());
        assert_eq!((name.as_str(), third.left()), ("b/b", 1));
        assert_eq!(fallback.info().name.as_str(), "a/a");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_answers_for_a_model_that_has_begun_or_refused() {
    for call in [vec![text("a"), overloaded()], vec![fault(ErrorCode::ContextTooLong, None)]] {
        let second = Scripted::new("b/b", [good()]);
        let fallback = Fallback::new(Scripted::new("a/a", [call.clone()]), vec![Arc::clone(&second) as _]);
        let (pieces, name, _) = run(&fallback).await;
        assert_eq!((pieces, name.as_str(), second.left()), (call, "a/a", 1));
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_are_those_of_the_model_that_answers() {
    let tokens = Tokens { input: 9, ..Tokens::default() };
    let first = Scripted::new("a/a", [vec![Piece::Usage(tokens), overloaded()]]);
    let (pieces, ..) = run(&Fallback::new(first, vec![Scripted::new("b/b", [good()])])).await;
    let counted = [Piece::Usage(tokens), Piece::Working, Piece::Usage(Tokens::default())];
    assert_eq!(pieces, [&counted[..], &good()].concat());
}

#[tokio::test(start_paused = true)]
async fn the_last_models_fault_is_the_calls_fault() {
    let first = Scripted::new("a/a", [vec![overloaded()]]);
    let second = Scripted::new("b/b", [vec![fault(ErrorCode::ProviderTimeout, None)]]);
    let (pieces, name, _) = run(&Fallback::new(first, vec![second])).await;
    assert_eq!((pieces.last(), name.as_str()), (Some(&fault(ErrorCode::ProviderTimeout, None)), "b/b"));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_dropped_goes_on_where_it_was() {
    let model = Scripted::new("a/a", [vec![fault(ErrorCode::ProviderRateLimited, Some(30))], good()]);
    let retrying = Retrying::new(model, policy(), Arc::new(RetryBudget::new()));
    let begun = Instant::now();
    let mut stream = retrying.call(Arc::default());
    let mut pieces = Vec::new();
    while !matches!(pieces.last(), Some(Piece::Finish(_))) {
        tokio::select! {
            biased;
            () = stream.next(&mut pieces) => {}
            () = tokio::time::sleep(Duration::from_secs(7)) => {}
        }
    }
    assert!((30..36).contains(&begun.elapsed().as_secs()));
}
