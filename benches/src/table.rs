//! What was measured, as a Markdown table or as JSON.

use std::fmt::Write;

use serde_json::{Map, Value, json};

/// A field.
#[derive(Clone, Debug)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A number, and how many decimals of it mean something.
    Number(f64, usize),
}

/// Rows under one title.
pub struct Table {
    title: String,
    columns: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
    notes: Vec<String>,
}

impl Table {
    /// Without rows.
    pub fn new(title: impl Into<String>, columns: &'static [&'static str]) -> Table {
        Table { title: title.into(), columns, rows: Vec::new(), notes: Vec::new() }
    }

    /// Adds a row, a cell for each column.
    pub fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    /// Adds a line below.
    pub fn note(&mut self, line: impl Into<String>) {
        self.notes.push(line.into());
    }

    /// As Markdown.
    pub fn markdown(&self) -> String {
        let mut out = format!("{}\n\n| {} |\n|", self.title, self.columns.join(" | "));
        for at in 0..self.columns.len() {
            let is_text = self.rows.iter().any(|row| matches!(row[at], Cell::Text(_)));
            out += if is_text { "---|" } else { "--:|" };
        }
        for row in &self.rows {
            out += "\n|";
            for cell in row {
                // A String takes everything.
                let _ = match cell {
                    Cell::Text(text) => write!(out, " {text} |"),
                    Cell::Number(number, decimals) => write!(out, " {number:.decimals$} |"),
                };
            }
        }
        out.push('\n');
        for note in &self.notes {
            let _ = write!(out, "\n{note}\n");
        }
        out
    }

    /// As JSON: an object a row.
    pub fn json(&self) -> Value {
        let row = |cells: &Vec<Cell>| -> Value {
            let fields = self.columns.iter().zip(cells).map(|(column, cell)| {
                let value = match cell {
                    Cell::Text(text) => json!(text),
                    Cell::Number(number, _) => json!(number),
                };
                ((*column).to_owned(), value)
            });
            Value::Object(fields.collect::<Map<_, _>>())
        };
        json!({ "title": self.title, "rows": self.rows.iter().map(row).collect::<Vec<_>>(), "notes": self.notes })
    }
}

/// The middle one; of an even number the lesser of the two.
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// The least.
pub fn least(numbers: &[f64]) -> f64 {
    numbers.iter().copied().fold(f64::NAN, f64::min)
}

/// The most.
pub fn most(numbers: &[f64]) -> f64 {
    numbers.iter().copied().fold(f64::NAN, f64::max)
}
