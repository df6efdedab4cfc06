//! What is wrong with a zone file, and where: file, line, column, the source line with a caret, what was expected.

use std::fmt;
use std::sync::Arc;

/// Whether a zone with this diagnostic can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Served, but probably not what was meant.
    Warning,
    /// Not served; the last good zone stays.
    Error,
}

/// One finding in a zone file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// The file as it was named: the zone file's or the included file's path.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// The source line, without its line end.
    pub source: String,
    /// How many characters the caret line underlines, at least 1.
    pub width: u32,
    /// What is wrong.
    pub message: String,
    /// What was expected, or what to do.
    pub help: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        writeln!(f, "{}:{}:{}: {word}: {}", self.file, self.line, self.column, self.message)?;
        let number = self.line.to_string();
        // A tab stays a tab in front of the caret, so that the caret stands below its character.
        let indent: String = self
            .source
            .chars()
            .take(self.column.saturating_sub(1) as usize)
            .map(|character| if character == '\t' { '\t' } else { ' ' })
            .collect();
        writeln!(f, "  {number} | {}", self.source)?;
        write!(f, "  {:width$} | {indent}{}", "", "^".repeat(self.width.max(1) as usize), width = number.len())?;
        if let Some(help) = &self.help {
            write!(f, "\n  {:width$} = {help}", "", width = number.len())?;
        }
        Ok(())
    }
}
