//! What a command prints: colours on a terminal only, and a closed pipe ends it quietly.

use std::io::{self, BufWriter, IsTerminal, Write};

use super::CliError;

/// Standard output, buffered.
pub struct Output {
    writer: Box<dyn Write>,
    colours: bool,
}

/// How a word is marked where colours are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// All is well.
    Good,
    /// Look at it.
    Warn,
    /// Act.
    Bad,
    /// A heading.
    Strong,
}

impl Output {
    /// The process's standard output.
    pub fn stdout() -> Output {
        let stdout = io::stdout();
        let colours = wants_colours(stdout.is_terminal());
        Output { writer: Box::new(BufWriter::new(stdout)), colours }
    }

    /// Another writer, without colours.
    pub fn to(writer: impl Write + 'static) -> Output {
        Output { writer: Box::new(writer), colours: false }
    }

    /// Prints a line, or several.
    pub fn line(&mut self, text: impl AsRef<str>) -> Result<(), CliError> {
        writeln!(self.writer, "{}", text.as_ref()).map_err(CliError::Output)
    }

    /// Prints JSON that people can read too.
    pub fn json(&mut self, value: &impl serde::Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(value).map_err(|error| CliError::Failed(error.to_string()))?;
        self.line(text)
    }

    /// Prints rows in columns, each as wide as its widest cell. The first row is the heading.
    pub fn table(&mut self, rows: &[Vec<String>]) -> Result<(), CliError> {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width =
            |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for (index, row) in rows.iter().enumerate() {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
            let line = cells.join("  ");
            let line = line.trim_end();
            self.line(if index == 0 { self.marked(Mark::Strong, line) } else { line.to_owned() })?;
        }
        Ok(())
    }

    /// The text with its colour, where colours are shown.
    pub fn marked(&self, mark: Mark, text: &str) -> String {
        if self.colours { coloured(mark, text) } else { text.to_owned() }
    }

    /// Everything is out when this returns.
    pub fn finish(&mut self) -> Result<(), CliError> {
        self.writer.flush().map_err(CliError::Output)
    }
}

/// Says on standard error what went wrong.
pub fn complain(message: &str) {
    // Diagnostics say themselves what they are.
    if message.contains(": error: ") {
        let _ = writeln!(io::stderr().lock(), "{message}");
    } else {
        say(Mark::Bad, "error:", message);
    }
}

/// Says on standard error what may not be meant so.
pub fn warn(message: &str) {
    say(Mark::Warn, "warning:", message);
}

fn say(mark: Mark, word: &str, message: &str) {
    let stderr = io::stderr();
    let word = if wants_colours(stderr.is_terminal()) { coloured(mark, word) } else { word.to_owned() };
    let _ = writeln!(stderr.lock(), "{word} {message}");
}

/// Says on standard error what takes its time, to who looks at it.
pub fn progress(message: &str) {
    if io::stderr().is_terminal() {
        let _ = writeln!(io::stderr().lock(), "{message}");
    }
}

/// Whether colours are shown on something that is or isn't a terminal (https://no-color.org).
pub fn wants_colours(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn coloured(mark: Mark, text: &str) -> String {
    let code = match mark {
        Mark::Good => "32",
        Mark::Warn => "33",
        Mark::Bad => "31",
        Mark::Strong => "1",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}
