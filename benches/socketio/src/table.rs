//! The table of what was measured.

use std::{collections::BTreeMap, fmt::Write};

use crate::server::Library;

#[derive(Debug)]
pub struct Table {
    rows: &'static [&'static str],
    values: BTreeMap<(usize, Library), Vec<f64>>,
}

impl Table {
    pub fn new(rows: &'static [&'static str]) -> Self {
        Self { rows, values: BTreeMap::new() }
    }

    /// Adds the values of one round, in the order of the rows.
    pub fn add<const N: usize>(&mut self, library: Library, values: [f64; N]) {
        for (row, value) in values.into_iter().enumerate() {
            self.values.entry((row, library)).or_default().push(value);
        }
    }

    /// Returns the medians as Markdown.
    pub fn markdown(&self, machine: &str) -> String {
        let mut text = format!("{machine}\n\n| | socketio | socketioxide | ratio |\n|---|---|---|---|\n");
        for (row, name) in self.rows.iter().enumerate() {
            let [ours, theirs] =
                [Library::Socketio, Library::Socketioxide].map(|library| self.median(row, library));
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| {name} | {ours:.1} | {theirs:.1} | {:.2} |", ours / theirs);
        }
        text
    }

    fn median(&self, row: usize, library: Library) -> f64 {
        let mut values = self.values.get(&(row, library)).cloned().unwrap_or_default();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }
}
