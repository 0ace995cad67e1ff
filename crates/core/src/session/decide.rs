//! Deciding: a command and a state give events or a refusal. Pure but for the ids and times it is handed.

use std::sync::Arc;

use moongate_protocol::{
    Cancel, CancelReason, Command, ErrorCode, Event, InputAccepted, InputId, InputWithdrawn, NewInput,
    Overlap, Part, Principal, Said, SessionDeleted, SessionPatch, SessionUpdated, Timestamp, TurnCancelled,
    TurnId, TurnStarted,
};

use super::{approvals, open_calls, questions, state::State};
use crate::{
    Catalog, Fence, Ids, Limits, Refusal, history,
    limits::{INPUT_PARTS, INPUT_TEXT_BYTES, METADATA_BYTES, TITLE_BYTES},
};

/// What deciding may look at besides the state.
pub(crate) struct Context<'a> {
    pub(crate) ids: &'a Ids,
    pub(crate) limits: &'a Limits,
    pub(crate) catalog: &'a Arc<Catalog>,
    pub(crate) fence: Fence,
    pub(crate) by: &'a Principal,
}

/// What to do about a running turn once the events are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnChange {
    Keep,
    /// Start the turn the events begin.
    Start,
    /// Stop the running turn; its end is another append.
    Stop,
    /// Let a turn that waits for a person go on.
    Resume,
}

/// What a command leads to.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) events: Vec<Event>,
    pub(crate) change: TurnChange,
    /// The input that was accepted.
    pub(crate) input: Option<InputId>,
    /// It was decided before, by somebody else.
    pub(crate) already: bool,
}

impl Decision {
    pub(super) fn only(events: Vec<Event>) -> Self {
        Self { events, change: TurnChange::Keep, input: None, already: false }
    }

    /// The turn does not begin yet.
    pub(super) fn hold(&mut self) {
        self.events.retain(|event| !matches!(event, Event::TurnStarted(_)));
        self.change = TurnChange::Keep;
    }
}

/// Decides on a command.
///
/// # Errors
/// A refusal; nothing changes then.
pub(crate) fn decide(state: &State, command: &Command, context: &Context<'_>) -> Result<Decision, Refusal> {
    match command {
        Command::Submit(input) => submit(state, input, context),
        Command::TakeIn(said) => take_in(state, said, context),
        Command::Withdraw(input) => withdraw(state, *input, context.by),
        Command::Cancel(cancel) | Command::Abort(cancel) => cancel_turn(state, *cancel, context.by),
        Command::Update(patch) => update(patch, context),
        Command::Resolve(resolve) => approvals::resolve(state, resolve, context),
        Command::Answer(answer) => questions::answer(state, answer, context),
        Command::Delete => Ok(delete(state, context)),
        Command::Forget(since) => forget(state, *since, context),
    }
}

/// Nothing is removed that somebody uses.
fn forget(state: &State, since: Timestamp, context: &Context<'_>) -> Result<Decision, Refusal> {
    let is_used = state.turn.is_some() || state.queue().next().is_some() || state.view().updated_at > since;
    if is_used {
        return Err(Refusal::new(ErrorCode::Conflict, "the session is in use"));
    }
    Ok(delete(state, context))
}

fn submit(state: &State, input: &NewInput, context: &Context<'_>) -> Result<Decision, Refusal> {
    check_input(input)?;
    check_settings(input)?;
    if input.after.is_some_and(|after| after != state.head().seq) {
        return Err(Refusal::new(ErrorCode::Conflict, "something was said in this session since"));
    }
    let agent = input.overrides.agent.as_ref().unwrap_or(&state.view().agent);
    let agent = context.catalog.agent(agent)?;
    open_calls::check_tools(&input.client_tools, agent)?;
    open_calls::check_results(state, input)?;
    if let Some(model) = &input.overrides.model
        && context.catalog.models.get(model).is_none()
    {
        let message = format!("there is no model named {model}; GET /models lists them");
        return Err(Refusal::new(ErrorCode::Unprocessable, message));
    }
    let busy = state.turn.is_some();
    if input.overlap == Overlap::Reject {
        check_idle(state)?;
    }
    let waiting = state.view().queue.len();
    let present = waiting + usize::from(busy);
    let is_full =
        waiting >= context.limits.queue_inputs || input.queue_limit.is_some_and(|most| present >= most);
    if is_full {
        let message = format!("{waiting} inputs wait already");
        return Err(Refusal::later(ErrorCode::QueueFull, message, std::time::Duration::from_secs(5)));
    }
    let id = context.ids.make(InputId::new);
    let accepted = Event::InputAccepted(InputAccepted {
        input: id,
        author: context.by.clone(),
        parts: input.parts.clone(),
        overlap: input.overlap,
        idempotency_key: input.idempotency.as_ref().map(|i| i.key.clone()),
        overrides: input.overrides.clone(),
        client_tools: input.client_tools.clone(),
        metadata: input.metadata.clone(),
        agents: input.agents.clone(),
    });
    let mut events = vec![accepted];
    let change = match (busy, input.overlap) {
        (false, _) if waiting == 0 => {
            let model = input.overrides.model.as_ref();
            events.push(Event::TurnStarted(TurnStarted {
                turn: context.ids.make(TurnId::new),
                inputs: vec![id],
                agent: agent.snapshot(model, state.policy(agent), &context.catalog.policy_rules),
                attempt: 1,
                fence: context.fence.0,
            }));
            TurnChange::Start
        }
        (true, Overlap::Interrupt) => TurnChange::Stop,
        _ => TurnChange::Keep,
    };
    Ok(Decision { events, change, input: Some(id), already: false })
}

fn check_idle(state: &State) -> Result<(), Refusal> {
    if state.turn.is_none() && state.view().queue.is_empty() {
        return Ok(());
    }
    let wait = std::time::Duration::from_secs(1);
    Err(Refusal::later(ErrorCode::Busy, "a turn is running", wait))
}

/// What was said elsewhere becomes turns that are over, after all that is there.
fn take_in(state: &State, said: &[Said], context: &Context<'_>) -> Result<Decision, Refusal> {
    history::check(said)?;
    open_calls::check_said(state, said)?;
    check_idle(state)?;
    let agent = context.catalog.agent(&state.view().agent)?;
    let agent = agent.snapshot(None, state.policy(agent), &context.catalog.policy_rules);
    let writer = history::Writer { ids: context.ids, by: context.by, agent, fence: context.fence };
    Ok(Decision::only(writer.write(said.to_vec())))
}

fn check_input(input: &NewInput) -> Result<(), Refusal> {
    let invalid = |message: String| Err(Refusal::new(ErrorCode::InvalidRequest, message));
    let too_large = |message: String| Err(Refusal::new(ErrorCode::TooLarge, message));
    if input.parts.len() > INPUT_PARTS {
        return too_large(format!("an input has at most {INPUT_PARTS} parts"));
    }
    let mut text_bytes = 0;
    let mut says_something = false;
    for part in &input.parts {
        match part {
            Part::Text { text } => {
                text_bytes += text.len();
                says_something |= !text.trim().is_empty();
            }
            Part::Image { .. } | Part::File { .. } | Part::ToolResult { .. } => says_something = true,
            Part::Reasoning { .. } | Part::ToolCall { .. } => {
                return invalid("an input has text, images, files and results only".into());
            }
        }
    }
    if text_bytes > INPUT_TEXT_BYTES {
        return too_large(format!("an input has at most {INPUT_TEXT_BYTES} bytes of text"));
    }
    if !says_something {
        return invalid("an input says something: its text is empty".into());
    }
    check_metadata(&input.metadata)
}

fn check_settings(input: &NewInput) -> Result<(), Refusal> {
    let overrides = &input.overrides;
    if overrides.instructions.as_ref().is_some_and(|text| text.len() > INPUT_TEXT_BYTES) {
        let message = format!("instructions have at most {INPUT_TEXT_BYTES} bytes");
        return Err(Refusal::new(ErrorCode::TooLarge, message));
    }
    let message = if overrides.temperature.is_some_and(|t| !(0.0..=2.0).contains(&t)) {
        "a temperature is from 0 to 2"
    } else if overrides.max_output_tokens == Some(0) {
        "an answer has at least one token"
    } else if overrides.approval_secs == Some(0) {
        "a person has at least one second to decide"
    } else {
        return Ok(());
    };
    Err(Refusal::new(ErrorCode::InvalidRequest, message))
}

/// Checks client-chosen labels against their bound.
///
/// # Errors
/// `too_large`.
pub(crate) fn check_metadata(metadata: &moongate_protocol::Metadata) -> Result<(), Refusal> {
    let bytes: usize = metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > METADATA_BYTES {
        return Err(Refusal::new(
            ErrorCode::TooLarge,
            format!("metadata has at most {METADATA_BYTES} bytes"),
        ));
    }
    Ok(())
}

/// Checks a title against its bound.
///
/// # Errors
/// `too_large`.
pub(crate) fn check_title(title: Option<&String>) -> Result<(), Refusal> {
    if title.is_some_and(|title| title.len() > TITLE_BYTES) {
        return Err(Refusal::new(ErrorCode::TooLarge, format!("a title has at most {TITLE_BYTES} bytes")));
    }
    Ok(())
}

fn withdraw(state: &State, input: InputId, by: &Principal) -> Result<Decision, Refusal> {
    if !state.waiting.contains_key(&input) {
        return Err(Refusal::not_found("waiting input"));
    }
    Ok(Decision::only(vec![Event::InputWithdrawn(InputWithdrawn { input, by: by.clone() })]))
}

fn cancel_turn(state: &State, cancel: Cancel, by: &Principal) -> Result<Decision, Refusal> {
    let running = state.turn.as_ref().map(|turn| turn.id);
    if cancel.turn.is_some() && cancel.turn != running {
        return Err(Refusal::new(ErrorCode::Conflict, "that turn is not running"));
    }
    let withdrawn = |input| Event::InputWithdrawn(InputWithdrawn { input, by: by.clone() });
    let events = if cancel.clear_queue { state.queue().map(withdrawn).collect() } else { Vec::new() };
    let change = if running.is_some() { TurnChange::Stop } else { TurnChange::Keep };
    Ok(Decision { change, ..Decision::only(events) })
}

fn update(patch: &SessionPatch, context: &Context<'_>) -> Result<Decision, Refusal> {
    check_title(patch.title.as_ref())?;
    patch.metadata.as_ref().map_or(Ok(()), check_metadata)?;
    if let Some(agent) = &patch.agent {
        context.catalog.agent(agent)?;
    }
    if *patch == SessionPatch::default() {
        return Ok(Decision::only(Vec::new()));
    }
    let patch = patch.clone();
    Ok(Decision::only(vec![Event::SessionUpdated(SessionUpdated {
        title: patch.title,
        metadata: patch.metadata,
        archived: patch.archived,
        agent: patch.agent,
        policy: patch.policy,
        auto_approve: patch.auto_approve,
        by: context.by.clone(),
    })]))
}

/// The last events of a session: its turn ends, then it does.
fn delete(state: &State, context: &Context<'_>) -> Decision {
    let by = context.by;
    let ended = state.turn.as_ref().map(|turn| {
        Event::TurnCancelled(TurnCancelled {
            turn: turn.id,
            by: by.clone(),
            stopped: vec!["session".into()],
            reason: CancelReason::Delete,
            usage: turn.usage,
        })
    });
    let deleted = Event::SessionDeleted(SessionDeleted { by: by.clone() });
    let mut unanswered = approvals::voided(&state.approvals, by);
    unanswered.extend(questions::voided(state, by, context.ids.now()));
    Decision::only(unanswered.into_iter().chain(ended).chain([deleted]).collect())
}

/// The event that begins the next turn, when an input waits and nothing runs.
pub(crate) fn start_next(state: &State, context: &Context<'_>) -> Option<Event> {
    if state.turn.is_some() {
        return None;
    }
    let input = state.queue().next()?;
    let overrides = state.waiting.get(&input).map(|waiting| &waiting.overrides);
    let model = overrides.and_then(|overrides| overrides.model.as_ref());
    let view = state.view();
    let wanted = overrides.and_then(|overrides| overrides.agent.as_ref()).unwrap_or(&view.agent);
    // An agent that was removed since: the turn begins with the default one rather than never.
    let catalog = context.catalog;
    let agent = catalog.agents.get(wanted).or_else(|| catalog.agents.get(&catalog.default_agent))?;
    Some(Event::TurnStarted(TurnStarted {
        turn: context.ids.make(TurnId::new),
        inputs: vec![input],
        agent: agent.snapshot(model, state.policy(agent), &context.catalog.policy_rules),
        attempt: 1,
        fence: context.fence.0,
    }))
}
