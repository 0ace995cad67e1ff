//! Moongate's engine. It knows no transport, no database and no vendor.
//!
//! A [`Gateway`] holds the sessions that are in use. Each is owned by one actor that decides on commands
//! (pure), appends the events they lead to (durable), applies them (pure) and publishes them. A turn is a
//! task the actor starts. Doors submit commands and follow events; nothing hangs on a connection.

mod activity;
mod agent;
mod approval_list;
mod approvals;
mod bill;
mod birth;
mod caller;
mod child;
mod clock;
mod delegate;
mod derived;
mod device;
mod ephemeral;
mod expiry;
mod feed;
mod find;
mod follow;
mod gateway;
mod history;
mod ledger;
pub mod limits;
mod lists;
mod memory;
mod model;
mod open;
mod plan;
mod policy;
mod prune;
mod record;
mod refusal;
mod rule;
mod session;
mod shutdown;
mod spend;
mod store;
mod submission;
mod summary;
#[doc(hidden)]
pub mod testing;
mod tool;
mod tool_policy;
mod totals;
mod turn;
mod turn_list;
mod turns;
mod uploads;
mod usage;
mod words;

pub use activity::{ActivityFollower, Happening};
pub use agent::*;
pub use approvals::{ApprovalFilter, ApprovalQuery, ApprovalView};
pub use bill::{Bill, SpentRow};
pub use caller::*;
pub use clock::*;
pub use derived::*;
pub use device::Device;
pub use ephemeral::Ephemeral;
pub use feed::{Encoding, Feed, Frame, FrameBody};
pub use find::{FIND_TOOL, FIND_TOOL_USE};
pub use follow::Follower;
pub use gateway::{Created, Gateway, NewSession, Parts, SessionPage};
pub use history::{Beginning, blob_hash};
pub use limits::Limits;
pub use memory::*;
pub use model::*;
pub use policy::{Verdict, judge};
pub use prune::Prune;
pub use record::*;
pub use refusal::Refusal;
pub use session::{Accepted, Cancelled, Gate, Identity, SessionHandle, TakenIn};
pub use spend::{Allowance, SpendLimits, Spending, Spent};
pub use store::*;
pub use submission::*;
pub use summary::*;
pub use tool::*;
pub use tool_policy::*;
pub use totals::Totals;
pub use turn_list::{TurnChange, TurnCounts, TurnEnding, TurnQuery, TurnRow};
pub use uploads::*;
pub use usage::*;
pub use words::*;
