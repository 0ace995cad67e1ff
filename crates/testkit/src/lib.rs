//! What tests of Moongate share: a gateway that can be crashed, scripted models and tools, a following client
//! that panics where a promise is broken, and a clock and chance the test owns.

mod client;
mod clock;
mod faulty;
mod gate;
mod gateway;
mod model;
pub mod store_suite;
mod tools;
pub mod upstream;
pub mod validators;

pub use client::{Client, View};
pub use clock::{SeededEntropy, TestClock, ids};
pub use faulty::{Death, FaultyStore};
pub use gate::Gate;
pub use gateway::{AGENT, MODEL, Setup, TestGateway, admin, bob, caller, log_of, narrowed, says};
pub use model::{Script, ScriptedModel, ScriptedModels, Step};
pub use tools::{CallLedger, ScriptedTool};
