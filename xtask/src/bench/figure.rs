//! A measured figure, what it is held against, and the table of them all.

use serde::Serialize;

/// What is wanted of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Goal {
    /// At least this much of the baseline.
    RatioAtLeast(f64),
    /// At most this much of the baseline.
    RatioAtMost(f64),
    /// At most this.
    AtMost(f64),
}

/// A figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Figure {
    name: String,
    unit: &'static str,
    /// Nothing when the machine lacks what it takes to measure it.
    moongate: Option<f64>,
    baseline: Option<f64>,
    goal: Option<Goal>,
}

impl Figure {
    pub(super) fn new(name: impl Into<String>, unit: &'static str, moongate: Option<f64>) -> Self {
        Self { name: name.into(), unit, moongate, baseline: None, goal: None }
    }

    pub(super) fn beside(self, baseline: Option<f64>) -> Self {
        Self { baseline, ..self }
    }

    pub(super) fn wanted(self, goal: Goal) -> Self {
        Self { goal: Some(goal), ..self }
    }

    /// Whether the goal is met; nothing when there is none, or no figure.
    pub(super) fn is_met(&self) -> Option<bool> {
        match self.goal? {
            Goal::RatioAtLeast(least) => self.ratio().map(|ratio| ratio >= least),
            Goal::RatioAtMost(most) => self.ratio().map(|ratio| ratio <= most),
            Goal::AtMost(most) => self.moongate.map(|figure| figure <= most),
        }
    }

    fn ratio(&self) -> Option<f64> {
        Some(self.moongate? / self.baseline.filter(|baseline| *baseline > 0.0)?)
    }

    /// The figure as a table's row.
    pub(super) fn row(&self) -> String {
        let number = |figure: Option<f64>| figure.map_or("–".to_owned(), shown);
        let moongate = self.moongate.map_or("not measured".to_owned(), shown);
        let ratio = self.ratio().map_or(String::new(), |ratio| format!("{ratio:.2}"));
        let goal = match self.goal {
            Some(Goal::RatioAtLeast(least)) => format!("ratio ≥ {least}"),
            Some(Goal::RatioAtMost(most)) => format!("ratio ≤ {most}"),
            Some(Goal::AtMost(most)) => format!("≤ {most}"),
            None => String::new(),
        };
        let verdict = match self.is_met() {
            Some(true) => "met",
            Some(false) => "missed",
            None => "",
        };
        let (name, unit, baseline) = (&self.name, self.unit, number(self.baseline));
        format!("| {name} | {unit} | {moongate} | {baseline} | {ratio} | {goal} | {verdict} |")
    }
}

/// All figures as one Markdown table.
pub(super) fn table(figures: &[Figure]) -> String {
    let head = "| figure | unit | Moongate | baseline | ratio | goal | |\n| --- | --- | --- | --- | --- | --- | --- |\n";
    figures.iter().fold(head.to_owned(), |table, figure| table + &figure.row() + "\n")
}

/// Three digits that mean something.
fn shown(figure: f64) -> String {
    let decimals = match figure.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{figure:.decimals$}")
}

/// The middle one of what several rounds measured.
pub(super) fn median(rounds: &[f64]) -> Option<f64> {
    let mut rounds = rounds.to_vec();
    rounds.sort_by(f64::total_cmp);
    let upper = *rounds.get(rounds.len() / 2)?;
    let lower = *rounds.get((rounds.len() - 1) / 2)?;
    Some((lower + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_at_its_border_and_missed_past_it() {
        let of = |goal, moongate, baseline| {
            Figure::new("x", "ms", Some(moongate)).beside(Some(baseline)).wanted(goal).is_met()
        };
        assert_eq!(of(Goal::RatioAtLeast(0.5), 50.0, 100.0), Some(true));
        assert_eq!(of(Goal::RatioAtLeast(0.5), 49.0, 100.0), Some(false));
        assert_eq!(of(Goal::RatioAtMost(2.0), 200.0, 100.0), Some(true));
        assert_eq!(of(Goal::RatioAtMost(2.0), 201.0, 100.0), Some(false));
        assert_eq!(of(Goal::AtMost(20.0), 20.5, 0.0), Some(false));
        assert_eq!(of(Goal::RatioAtMost(2.0), 1.0, 0.0), None, "no ratio to nothing");
        assert_eq!(Figure::new("x", "ms", None).wanted(Goal::AtMost(1.0)).is_met(), None);
    }

    #[test]
    fn a_row_says_everything() {
        let figure = Figure::new("turns", "1/s", Some(3000.4)).beside(Some(6001.0));
        let row = figure.wanted(Goal::RatioAtLeast(0.5)).row();
        assert_eq!(row, "| turns | 1/s | 3000 | 6001 | 0.50 | ratio ≥ 0.5 | missed |");
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
