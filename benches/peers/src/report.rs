//! Converts samples to tables: medians, ratios to the best peer, and targets.

use std::fmt::Write;

use crate::peers::{Peer, Standing};

/// How many times its smallest sample the largest one of a figure may be, beyond which the figure is
/// marked.
const STEADY: f64 = 1.2;

/// A column: its name and its standing.
#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    pub standing: Standing,
}

/// The target of `fullduplex`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    None,
    /// At most this many times the best peer.
    TimesBest(f64),
    /// The same, and at most as much as the column that is not compared, where it was measured.
    TimesBestAndApart(f64),
    /// At most this many times the baseline, which is the last one before the column.
    TimesBare(f64),
    /// The same, or at most as much as the best peer.
    TimesBareOrBest(f64),
    AtMost(f64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    Lower,
    Higher,
}

#[derive(Debug)]
pub struct Row {
    pub label: String,
    pub better: Better,
    pub target: Target,
    /// Whether the plot shows it.
    pub plotted: bool,
    /// The samples of each column, one for each round; none if it is not supported or failed.
    pub samples: Vec<Vec<f64>>,
}

#[derive(Debug)]
pub struct Section {
    pub title: String,
    /// What is measured, and in which unit.
    pub about: String,
    pub unit: &'static str,
    pub columns: Vec<Column>,
    pub rows: Vec<Row>,
    pub failures: Vec<String>,
    /// Whether columns without samples are shown.
    pub all_columns: bool,
    /// Whether targets are for all our columns, not for one.
    pub judges_all: bool,
}

impl Section {
    pub fn new(title: &str, unit: &'static str, about: &str, peers: &[&dyn Peer]) -> Self {
        let columns =
            peers.iter().map(|peer| Column { name: peer.name().to_owned(), standing: peer.standing() });
        Self {
            title: title.to_owned(),
            about: about.to_owned(),
            unit,
            columns: columns.collect(),
            rows: Vec::new(),
            failures: Vec::new(),
            all_columns: false,
            judges_all: false,
        }
    }

    pub fn add_row(&mut self, label: impl Into<String>, better: Better, target: Target, plotted: bool) {
        let samples = vec![Vec::new(); self.columns.len()];
        self.rows.push(Row { label: label.into(), better, target, plotted, samples });
    }

    pub fn record(&mut self, row: usize, column: usize, value: f64) {
        self.rows[row].samples[column].push(value);
    }

    /// Records the failure of a cell, once.
    pub fn fail(&mut self, row: usize, column: usize, error: &anyhow::Error) {
        let failure = format!("{}, {}: {error:#}", self.columns[column].name, self.rows[row].label);
        eprintln!("failed: {failure}");
        if !self.failures.contains(&failure) {
            self.failures.push(failure);
        }
    }

    /// Returns whether any row is plotted.
    pub fn is_plotted(&self) -> bool {
        self.rows.iter().any(|row| row.plotted)
    }

    /// Returns the columns that are shown: those with samples, or all.
    fn shown(&self) -> Vec<usize> {
        (0..self.columns.len())
            .filter(|&column| self.all_columns || self.rows.iter().any(|row| !row.samples[column].is_empty()))
            .collect()
    }

    /// Returns the table as Markdown.
    pub fn to_markdown(&self) -> String {
        let shown = self.shown();
        let has_targets = self.rows.iter().any(|row| row.target != Target::None);
        let mut out = format!("## {}\n\n{} Unit: {}.\n\n|  |", self.title, self.about, self.unit);
        for &column in &shown {
            let _ = write!(out, " {} |", self.columns[column].name);
        }
        out.push_str(if has_targets { " target | |\n|---|" } else { "\n|---|" });
        out.push_str(&"---|".repeat(shown.len() + if has_targets { 2 } else { 0 }));
        out.push('\n');
        for row in &self.rows {
            self.put_row(row, &shown, has_targets, &mut out);
        }
        for failure in &self.failures {
            let _ = write!(out, "\nFailed: {failure}\n");
        }
        out
    }

    fn put_row(&self, row: &Row, shown: &[usize], has_targets: bool, out: &mut String) {
        let _ = write!(out, "| {} |", row.label);
        let best = self.best_peer(row);
        for &column in shown {
            let mark = if row.is_steady(column) { "" } else { "~" };
            match (row.median(column), best) {
                (Some(value), Some(best)) => {
                    let _ = write!(out, " {mark}{} ({:.2}) |", figure(value), value / best);
                }
                (Some(value), None) => {
                    let _ = write!(out, " {mark}{} |", figure(value));
                }
                (None, _) => out.push_str(" – |"),
            }
        }
        if has_targets {
            let (target, verdict) = self.judge(row).unwrap_or_default();
            let _ = write!(out, " {target} | {verdict} |");
        }
        out.push('\n');
    }

    /// Returns the best median of the peers.
    pub fn best_peer(&self, row: &Row) -> Option<f64> {
        let peers = self.medians(row, Standing::Peer);
        match row.better {
            Better::Lower => peers.min_by(f64::total_cmp),
            Better::Higher => peers.max_by(f64::total_cmp),
        }
    }

    fn medians<'a>(&'a self, row: &'a Row, standing: Standing) -> impl Iterator<Item = f64> + 'a {
        let columns = self.columns.iter().enumerate();
        columns
            .filter(move |(_, column)| column.standing == standing)
            .filter_map(|(index, _)| row.median(index))
    }

    /// Returns the target, and whether our first column reaches it. A target for memory applies to
    /// a connection without keep-alive, which is our last column.
    fn judge(&self, row: &Row) -> Option<(String, String)> {
        let text = match row.target {
            Target::None => return None,
            Target::TimesBest(times) => format!("{times:.2} × best peer"),
            Target::TimesBestAndApart(times) => {
                let apart = self.apart(row).map(|(name, _)| format!(", 1.00 × {name}"));
                format!("{times:.2} × best peer{}", apart.unwrap_or_default())
            }
            Target::TimesBare(times) => format!("{times:.2} × bare loop"),
            Target::TimesBareOrBest(times) => format!("{times:.2} × bare loop, or 1.00 × best peer"),
            Target::AtMost(limit) => format!("at most {}", figure(limit)),
        };
        let ours = (0..self.columns.len()).filter(|&column| self.columns[column].standing == Standing::Ours);
        let ours: Vec<usize> = ours.filter(|&column| row.median(column).is_some()).collect();
        let judged = match (ours.as_slice(), row.target) {
            (all, _) if self.judges_all => all,
            ([.., last], Target::AtMost(_)) => std::slice::from_ref(last),
            (all, _) => all.get(..1)?,
        };
        let reached: Vec<bool> =
            judged.iter().map(|&column| self.reaches(row, column)).collect::<Option<_>>()?;
        let reached = !reached.is_empty() && !reached.contains(&false);
        Some((text, if reached { "reached" } else { "**not reached**" }.to_owned()))
    }

    /// Returns whether a column reaches the target of a row; `None` if there is nothing to compare.
    fn reaches(&self, row: &Row, column: usize) -> Option<bool> {
        let limit = match row.target {
            Target::None => return None,
            Target::TimesBest(times) => times * self.best_peer(row)?,
            Target::TimesBestAndApart(times) => {
                let apart = self.apart(row).map_or(f64::INFINITY, |(_, median)| median);
                apart.min(times * self.best_peer(row)?)
            }
            Target::TimesBare(times) => times * self.baseline(row, column)?,
            Target::TimesBareOrBest(times) => (times * self.baseline(row, column)?).max(self.best_peer(row)?),
            Target::AtMost(limit) => limit,
        };
        Some(row.median(column)? <= limit)
    }

    /// Returns the median of the last baseline before a column.
    fn baseline(&self, row: &Row, column: usize) -> Option<f64> {
        let before = &self.columns[..column];
        row.median(before.iter().rposition(|before| before.standing == Standing::Baseline)?)
    }

    /// Returns the name and the median of the column that is not compared, where it was measured.
    fn apart(&self, row: &Row) -> Option<(&str, f64)> {
        let column = self.columns.iter().position(|column| column.standing == Standing::Apart)?;
        Some((&self.columns[column].name, row.median(column)?))
    }
}

impl Row {
    pub fn median(&self, column: usize) -> Option<f64> {
        median(&self.samples[column])
    }

    /// Returns whether the rounds differ little enough for small differences between columns to mean
    /// anything.
    fn is_steady(&self, column: usize) -> bool {
        let samples = self.samples[column].iter().copied();
        let (smallest, largest) = (samples.clone().reduce(f64::min), samples.reduce(f64::max));
        smallest.zip(largest).is_none_or(|(smallest, largest)| largest <= smallest * STEADY)
    }
}

pub fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.len().checked_sub(1)? / 2, sorted.len() / 2);
    Some((sorted[low] + sorted[high]) / 2.0)
}

/// Formats a number, with thousands separators.
pub fn figure(value: f64) -> String {
    if value < 9.95 {
        return format!("{value:.1}");
    }
    grouped(&format!("{value:.0}"))
}

/// Formats a count, with thousands separators.
pub fn whole(count: usize) -> String {
    grouped(&count.to_string())
}

fn grouped(digits: &str) -> String {
    let first = digits.len() % 3;
    let mut out = digits[..first].to_owned();
    for at in (first..digits.len()).step_by(3) {
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(&digits[at..at + 3]);
    }
    out
}

/// Measures each cell once a round, the peers in turn, each round beginning with another peer. Those
/// that are not present are left out.
pub fn interleave(rounds: usize, rows: usize, peers: &[&dyn Peer], mut measure: impl FnMut(usize, usize)) {
    for round in 0..rounds {
        for row in 0..rows {
            for turn in 0..peers.len() {
                let column = (turn + round) % peers.len();
                if peers[column].is_present() {
                    measure(row, column);
                }
            }
        }
        eprintln!("  round {} of {rounds}", round + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers;

    #[test]
    fn the_median_of_an_even_number_is_between_the_two() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!((median(&[]), median(&[7.0])), (None, Some(7.0)));
    }

    #[test]
    fn figures_are_short() {
        let shown = [0.44, 9.94, 12.6, 999.9, 190_000.0].map(figure);
        assert_eq!(shown, ["0.4", "9.9", "13", "1,000", "190,000"]);
    }

    #[test]
    fn a_figure_whose_rounds_differ_by_more_than_a_fifth_is_marked() {
        let mut section = Section::new("", "", "", &[]);
        let column = Column { name: "a".into(), standing: Standing::Peer };
        section.columns = vec![column.clone(), column];
        section.add_row("row", Better::Lower, Target::None, false);
        for (steady, unsteady) in [(100.0, 100.0), (120.0, 121.0), (110.0, 110.0)] {
            section.record(0, 0, steady);
            section.record(0, 1, unsteady);
        }
        assert!(section.to_markdown().ends_with("| row | 110 (1.00) | ~110 (1.00) |\n"));
    }

    /// Returns the verdict about a row of these figures.
    fn judged(judges_all: bool, target: Target, columns: &[(Standing, f64)]) -> Option<String> {
        let mut section = Section::new("", "", "", &[]);
        section.judges_all = judges_all;
        section.columns =
            columns.iter().map(|&(standing, _)| Column { name: String::new(), standing }).collect();
        section.add_row("", Better::Lower, target, false);
        for (column, &(_, value)) in columns.iter().enumerate() {
            section.record(0, column, value);
        }
        section.judge(&section.rows[0]).map(|(_, verdict)| verdict)
    }

    #[test]
    fn all_our_columns_have_to_reach_a_target_for_all() {
        use Standing::{Baseline, Ours};
        let columns = [(Baseline, 10.0), (Ours, 14.0), (Ours, 16.0)];
        let target = Target::TimesBare(1.5);
        assert_eq!(judged(false, target, &columns).as_deref(), Some("reached"));
        assert_eq!(judged(true, target, &columns).as_deref(), Some("**not reached**"));
        assert_eq!(judged(true, target, &columns[..2]).as_deref(), Some("reached"));
        assert_eq!(judged(false, Target::AtMost(15.0), &columns).as_deref(), Some("**not reached**"));
    }

    #[test]
    fn a_column_is_compared_with_the_baseline_before_it() {
        use Standing::{Baseline, Ours};
        let columns = [(Baseline, 10.0), (Ours, 14.0), (Baseline, 20.0), (Ours, 29.0)];
        assert_eq!(judged(true, Target::TimesBare(1.5), &columns).as_deref(), Some("reached"));
        assert_eq!(judged(true, Target::TimesBare(1.42), &columns).as_deref(), Some("**not reached**"));
    }

    #[test]
    fn a_column_apart_is_a_limit_only_where_it_was_measured() {
        use Standing::{Apart, Ours, Peer};
        let columns = [(Ours, 6.0), (Peer, 10.0), (Apart, 5.0)];
        let target = Target::TimesBestAndApart(0.7);
        assert_eq!(judged(false, target, &columns).as_deref(), Some("**not reached**"));
        assert_eq!(judged(false, target, &columns[..2]).as_deref(), Some("reached"));
        assert_eq!(
            judged(false, Target::TimesBestAndApart(0.5), &columns[..2]).as_deref(),
            Some("**not reached**")
        );
    }

    #[test]
    fn level_with_the_best_peer_is_as_good_as_near_the_baseline() {
        use Standing::{Baseline, Ours, Peer};
        let target = Target::TimesBareOrBest(1.04);
        for (ours, verdict) in [(10.4, "reached"), (10.5, "reached"), (10.6, "**not reached**")] {
            let columns = [(Baseline, 10.0), (Ours, ours), (Peer, 10.5)];
            assert_eq!(judged(false, target, &columns).as_deref(), Some(verdict));
        }
    }

    #[test]
    fn every_column_is_first_in_some_round() {
        let mut firsts = Vec::new();
        let mut turn = 0;
        interleave(3, 1, &peers::ALL[..3], |_, column| {
            if turn % 3 == 0 {
                firsts.push(column);
            }
            turn += 1;
        });
        assert_eq!(firsts, [0, 1, 2]);
    }
}
