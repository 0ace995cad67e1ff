//! Time and chance as values, so that tests can own them.

use std::{
    cell::RefCell,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use moongate_protocol::{Epoch, Timestamp};

/// The wall clock. Waiting is done on tokio's monotonic clock, which a wall-clock jump does not touch.
pub trait Clock: Send + Sync {
    /// What time it is.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// Random bytes.
pub trait Entropy: Send + Sync {
    /// Fills `bytes` with unpredictable bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's random source, asked for many bytes at a time: a turn makes several ids, and each
/// question is a system call.
#[derive(Debug, Default)]
pub struct SystemEntropy;

/// Bytes asked for at a time.
const POOL: usize = 512;

/// Random bytes of one thread, and how many of them are used up. Those are wiped.
struct Pool {
    bytes: [u8; POOL],
    used: usize,
}

thread_local! {
    static SPARE: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; POOL], used: POOL }) };
}

impl Entropy for SystemEntropy {
    /// # Panics
    /// When the operating system has no random source; nothing safe can be done then.
    fn fill(&self, bytes: &mut [u8]) {
        if bytes.len() > POOL {
            return ask(bytes);
        }
        SPARE.with_borrow_mut(|pool| {
            if pool.used + bytes.len() > POOL {
                ask(&mut pool.bytes);
                pool.used = 0;
            }
            let taken = &mut pool.bytes[pool.used..pool.used + bytes.len()];
            bytes.copy_from_slice(taken);
            taken.fill(0);
            pool.used += bytes.len();
        });
    }
}

fn ask(bytes: &mut [u8]) {
    #[expect(clippy::expect_used, reason = "without a random source no id or key may be made")]
    getrandom::fill(bytes).expect("the operating system's random source");
}

/// Makes ids from the clock and the random source.
#[derive(Clone)]
pub struct Ids {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Ids {
    /// A maker of ids.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy }
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A new id of any kind: `ids.make(TurnId::new)`.
    pub fn make<T>(&self, new: fn(Timestamp, &[u8; 10]) -> T) -> T {
        new(self.now(), &self.random())
    }

    /// A new incarnation of a log; never 0.
    pub fn epoch(&self) -> Epoch {
        Epoch(u32::from_be_bytes(self.random()).max(1))
    }

    /// Unpredictable bytes.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }
}

/// The machine's clock and random source.
impl Default for Ids {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock), Arc::new(SystemEntropy))
    }
}
