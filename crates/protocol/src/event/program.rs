//! The steps of a program.

use serde::{Deserialize, Serialize};

use super::payload;
use crate::TurnId;

/// A step of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Finding out what is wanted.
    Interview,
    /// Writing down what is wanted.
    Seed,
    /// Doing it.
    Execute,
    /// Judging it.
    Evaluate,
    /// Improving the task description.
    Evolve,
}

payload!(
    /// Which phase began.
    PhaseEntered {
        /// Of which turn.
        turn: TurnId,
        /// Which.
        phase: Phase,
        /// A word for the person watching.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    }
);

payload!(
    /// The task an interview led to.
    SeedCrystallised {
        /// In which turn.
        turn: TurnId,
        /// The goal in one sentence.
        goal: String,
        /// What must hold.
        constraints: Vec<String>,
        /// How success is judged.
        criteria: Vec<String>,
    }
);

payload!(
    /// One criterion's judgement.
    CriterionNote {
        /// The criterion.
        criterion: String,
        /// Whether it holds.
        passed: bool,
        /// Why.
        note: String,
    }
);

payload!(
    /// A result's judgement.
    EvaluationFinished {
        /// In which turn.
        turn: TurnId,
        /// Whether it is good enough.
        passed: bool,
        /// 0 to 1.
        score: f64,
        /// Per criterion.
        notes: Vec<CriterionNote>,
    }
);
