//! The table of sessions in use, and everything that is asked of more than one session.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use moongate_protocol::{AgentName, Alias, ErrorCode, Metadata, Namespace, SessionId, SessionView};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use crate::turns::TurnPermit;
use crate::{
    ActivityFollower, Caller, Catalog, Ids, Limits, ListQuery, Refusal, Scope, Store,
    activity::Activity,
    expiry::Expiries,
    ledger::Ledger,
    limits::{InForce, UPLOAD_WAIT},
    session::Slot,
    shutdown::Shutdown,
    turns::Turns,
};

/// How often slots nobody uses are dropped.
const HOUSEKEEPING: Duration = Duration::from_secs(60);
/// How long an idempotency key is kept.
const IDEMPOTENCY_KEPT: Duration = Duration::from_secs(25 * 3600);

/// What a gateway is made of.
pub struct Parts {
    /// The durable log.
    pub store: Arc<dyn Store>,
    /// Agents, models, tools.
    pub catalog: Catalog,
    /// Clock and chance.
    pub ids: Ids,
    /// Bounds.
    pub limits: Limits,
}

/// What all actors, turns and handles of a gateway share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ids: Ids,
    pub(crate) limits: InForce,
    pub(crate) turns: Turns,
    pub(crate) tasks: TaskTracker,
    pub(crate) activity: Activity,
    /// What was spent today.
    pub(crate) ledger: Arc<Ledger>,
    /// The sessions that wait for a person.
    pub(crate) expiries: Expiries,
    /// A session's actor ended with its turn unfinished, because its log took no append.
    pub(crate) broken_off: AtomicBool,
    pub(crate) shutdown: Shutdown,
    catalog: RwLock<Arc<Catalog>>,
    slots: Mutex<HashMap<SessionId, Arc<Slot>>>,
}

impl Shared {
    /// The configuration in force.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn slots(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops a deleted session's slot.
    pub(crate) fn forget(&self, session: SessionId) {
        self.slots().remove(&session);
        self.expiries.set(session, None);
    }

    /// Drops slots without actor and followers.
    fn tidy_up(&self) {
        self.slots().retain(|_, slot| Arc::strong_count(slot) > 1 || slot.is_live());
    }
}

/// The server is about to stop.
pub(crate) fn going_away() -> Refusal {
    Refusal::later(ErrorCode::Unavailable, "the server is going away; try again soon", Duration::from_secs(2))
}

/// The caller's rights do not reach this far.
pub(crate) fn forbidden(message: &str) -> Refusal {
    Refusal::new(ErrorCode::Forbidden, message)
}

/// What a caller wants a new session to be.
#[derive(Clone, Debug, Default)]
pub struct NewSession {
    /// Who answers; the default agent when absent.
    pub agent: Option<AgentName>,
    /// What to show in a list.
    pub title: Option<String>,
    /// Where it belongs; the caller's own namespace when absent.
    pub namespace: Option<Namespace>,
    /// Labels.
    pub metadata: Metadata,
    /// The client's own name for it.
    pub alias: Option<Alias>,
    /// It belongs to its namespace: to every key that was granted that namespace or one above it, whoever holds
    /// it. The caller has to be granted it too.
    pub shared: bool,
}

/// A session that was made, or found under its alias.
#[derive(Clone, Debug)]
pub struct Created {
    /// What clients are shown.
    pub view: SessionView,
    /// It was there before.
    pub existed: bool,
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct SessionPage {
    /// Newest activity first.
    pub items: Vec<SessionView>,
    /// More rows follow after the last item.
    pub more: bool,
}

/// All sessions of a node. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    pub(crate) shared: Arc<Shared>,
}

impl Gateway {
    /// A gateway that has not begun to work; see [`Gateway::recover`].
    pub fn new(parts: Parts) -> Self {
        let shared = Arc::new(Shared {
            turns: Turns::new(&parts.limits),
            ledger: Arc::new(Ledger::new(Arc::clone(&parts.store))),
            store: parts.store,
            ids: parts.ids,
            limits: InForce::new(parts.limits),
            tasks: TaskTracker::new(),
            activity: Activity::new(),
            expiries: Expiries::default(),
            broken_off: AtomicBool::new(false),
            shutdown: Shutdown::default(),
            catalog: RwLock::new(Arc::new(parts.catalog)),
            slots: Mutex::default(),
        });
        shared.tasks.spawn(keep_house(Arc::clone(&shared)));
        shared.tasks.spawn(crate::expiry::watch(Arc::clone(&shared)));
        Self { shared }
    }

    /// Takes up what earlier processes left: turns without an end and inputs that wait.
    /// Returns how many sessions were taken up. Comes before anything else is asked of the gateway.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn recover(&self) -> Result<usize, Refusal> {
        let shared = &self.shared;
        let unfinished = shared.store.unfinished().await?;
        for session in &unfinished {
            match self.open(*session).await {
                Ok(slot) => self.handle(slot, Caller::gateway()).wake().await,
                Err(refusal) => {
                    tracing::error!(session.id = %session, %refusal, "a session cannot be taken up");
                }
            }
        }
        Ok(unfinished.len())
    }

    /// The store behind it all.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    /// Clock and chance.
    pub fn ids(&self) -> &Ids {
        &self.shared.ids
    }

    /// The configuration in force.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.shared.catalog()
    }

    /// Exchanges the configuration; a running turn keeps what it began with.
    pub fn set_catalog(&self, catalog: Catalog) {
        *self.shared.catalog.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalog);
    }

    /// Number of running turns.
    pub fn running_turns(&self) -> usize {
        self.shared.turns.count()
    }

    /// Number of sessions with an actor or a follower.
    pub fn open_sessions(&self) -> usize {
        self.shared.slots().len()
    }

    /// Makes a session, or finds the one the same door's client gave this alias.
    ///
    /// # Errors
    /// When the caller may not, or a value is not acceptable.
    pub async fn create(&self, caller: &Caller, door: &str, new: NewSession) -> Result<Created, Refusal> {
        crate::session::check_title(new.title.as_ref())?;
        crate::session::check_metadata(&new.metadata)?;
        self.may_begin(caller)?;
        if let Some(alias) = &new.alias
            && let Some(id) = self.shared.store.by_alias(caller.tenant(), door, alias).await?
        {
            let view = self.session(caller, id).await?.view().await?;
            return Ok(Created { view, existed: true });
        }
        crate::birth::create(self, caller, door, self.plan(caller, new)?).await
    }

    /// The sessions the caller may see, newest activity first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn list(&self, caller: &Caller, mut query: ListQuery) -> Result<SessionPage, Refusal> {
        require_read(caller)?;
        let limit = query.limit;
        query.limit = limit + 1;
        if !caller.sees_all_owners() {
            query.owner = Some(caller.principal().clone());
        }
        let mut items = Vec::new();
        let mut more = true;
        // Narrowed keys skip rows: go on until the page is full or the list ends.
        while more && items.len() <= limit {
            let rows = self.shared.store.list(caller.tenant(), &query).await?;
            more = rows.len() == query.limit;
            query.after = rows.last().map(|row| (row.view.updated_at, row.view.id));
            let visible =
                |view: &SessionView| caller.may_enter(&view.namespace) && caller.may_use(&view.agent);
            items.extend(rows.into_iter().map(|row| row.view).filter(visible));
        }
        let more = items.len() > limit;
        items.truncate(limit);
        Ok(SessionPage { items, more })
    }

    /// Follows the events of all sessions the caller may see, from now on.
    pub fn follow_all(&self, caller: &Caller) -> ActivityFollower {
        self.shared.activity.follow(caller.clone())
    }

    /// Drops what nobody uses and what has expired, as it is done now and then anyway.
    pub async fn tidy(&self) {
        tidy(&self.shared).await;
    }

    /// Takes no new work; lets running turns go on for `patience`, then stops everything. Turns that did not
    /// end are taken up again at the next start.
    pub async fn drain(&self, patience: Duration) {
        self.shared.shutdown.draining.cancel();
        let over = tokio::time::Instant::now() + patience;
        while self.running_turns() > 0 && tokio::time::Instant::now() < over {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.shared.shutdown.stopped.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    /// Fires when the server begins to go away.
    pub fn draining(&self) -> &CancellationToken {
        &self.shared.shutdown.draining
    }
}

pub(crate) fn require(caller: &Caller, scope: Scope) -> Result<(), Refusal> {
    if caller.may(scope) {
        return Ok(());
    }
    Err(forbidden(&format!("this key lacks the scope {}", scope.as_str())))
}

pub(crate) fn require_read(caller: &Caller) -> Result<(), Refusal> {
    require(caller, Scope::SessionsRead)
}

pub(crate) fn own_namespace(caller: &Caller) -> Namespace {
    let text = format!("user:{}", caller.principal());
    #[expect(
        clippy::expect_used,
        reason = "a principal's alphabet is within a namespace's, and it is shorter"
    )]
    text.parse().expect("a namespace")
}

async fn keep_house(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = shared.shutdown.stopped.cancelled() => return,
            () = tokio::time::sleep(HOUSEKEEPING) => {}
        }
        tidy(&shared).await;
        go_on(&shared).await;
    }
}

/// Drops what nobody uses and what has expired.
async fn tidy(shared: &Shared) {
    shared.tidy_up();
    let now = shared.ids.now();
    if let Err(error) = shared.store.sweep(now.minus(IDEMPOTENCY_KEPT)).await {
        tracing::warn!(%error, "expired rows could not be removed");
    }
    if let Err(error) = shared.store.uploads().sweep(now.minus(UPLOAD_WAIT)).await {
        tracing::warn!(%error, "files no input used could not be removed");
    }
}

/// Takes up turns that were broken off, once the store takes writes again: nobody may ever ask for them.
async fn go_on(shared: &Arc<Shared>) {
    let can_write = shared.store.fault().is_none() && !shared.shutdown.draining.is_cancelled();
    if can_write && shared.broken_off.swap(false, Ordering::Relaxed) {
        let gateway = Gateway { shared: Arc::clone(shared) };
        if let Err(refusal) = gateway.recover().await {
            tracing::warn!(%refusal, "turns that were broken off could not be taken up");
            shared.broken_off.store(true, Ordering::Relaxed);
        }
    }
}
