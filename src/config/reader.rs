//! Walks parsed TOML and collects every mistake with its line and column. Knows types and spelling, no meaning.

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::zone::{Diagnostic, Severity};

/// Where something stands in the text, in bytes.
pub(super) type Span = Range<usize>;

/// The text of the file and what was found wrong in it.
pub(super) struct Problems<'t> {
    file: Arc<str>,
    text: &'t str,
    found: Vec<(usize, Diagnostic)>,
}

impl<'t> Problems<'t> {
    pub(super) fn new(file: &str, text: &'t str) -> Problems<'t> {
        Problems { file: file.into(), text, found: Vec::new() }
    }

    /// An error at `span`: what is wrong, and what was expected.
    pub(super) fn error(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        let start = floor(self.text, span.start);
        let end = floor(self.text, span.end).max(start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        let source = self.text[line_start..line_end].trim_end_matches('\r').to_owned();
        let help = help.into();
        self.found.push((
            start,
            Diagnostic {
                severity: Severity::Error,
                file: self.file.clone(),
                line: count(self.text[..start].matches('\n').count()),
                column: count(self.text[line_start..start].chars().count()),
                source,
                width: count(self.text[start..end.min(line_end).max(start)].chars().count()).saturating_sub(1).max(1),
                message: message.into(),
                help: (!help.is_empty()).then_some(help),
            },
        ));
    }

    pub(super) fn found_any(&self) -> bool {
        !self.found.is_empty()
    }

    /// Errors in the order of the file, one a line: after a broken token the rest of a line is guesswork.
    pub(super) fn first_of_each_line(self) -> Vec<Diagnostic> {
        let mut diagnostics = self.into_diagnostics();
        diagnostics.dedup_by_key(|diagnostic| diagnostic.line);
        diagnostics
    }

    /// All errors in the order of the file.
    pub(super) fn into_diagnostics(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|(start, _)| *start);
        self.found.into_iter().map(|(_, diagnostic)| diagnostic).collect()
    }
}

/// A mistake that shows only outside of a text, such as a file that is not there: at a key's value in one of its tables.
pub fn mistake_in(file: &str, text: &str, table: &str, key: &str, message: String, help: &str) -> Option<Diagnostic> {
    let (root, _) = DeTable::parse_recoverable(text);
    let value = root.get_ref().get(table)?;
    let span = value.get_ref().as_table()?.get(key).map_or(value.span(), Spanned::span);
    let mut problems = Problems::new(file, text);
    problems.error(span, message, help);
    problems.into_diagnostics().pop()
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX).saturating_add(1)
}

fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// One table of the file; the keys that were asked for are the known ones.
pub(super) struct Section<'t> {
    /// How the table is written: empty for the file itself.
    pub(super) title: String,
    /// Where its head stands.
    pub(super) span: Span,
    table: &'t DeTable<'t>,
    known: Vec<&'static str>,
}

impl<'t> Section<'t> {
    pub(super) fn new(title: &str, span: Span, table: &'t DeTable<'t>) -> Section<'t> {
        Section { title: title.to_owned(), span, table, known: Vec::new() }
    }

    /// The value of a key, which is a known one from now on.
    pub(super) fn value(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.known.push(key);
        self.table.get(key)
    }

    /// Where a key's value stands, or the table's head.
    pub(super) fn span_of(&self, key: &str) -> Span {
        self.table.get(key).map_or(self.span.clone(), Spanned::span)
    }

    /// Whether the key is there, whatever its value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// All keys and values in the file's order, for a table whose keys are names and not ours.
    pub(super) fn entries(&self) -> Vec<(&'t str, Span, &'t Spanned<DeValue<'t>>)> {
        let entries = self.table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value));
        let mut entries: Vec<_> = entries.collect();
        entries.sort_by_key(|(_, span, _)| span.start);
        entries
    }

    pub(super) fn text(&mut self, key: &'static str, problems: &mut Problems<'_>) -> Option<(&'t str, Span)> {
        let value = self.value(key)?;
        text_of(value, &format!("`{key}`"), problems)
    }

    /// A string that `read` understands; `expected` says what it wants.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        problems: &mut Problems<'_>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (text, span) = self.text(key, problems)?;
        read(text).map_err(|why| problems.error(span, format!("`{key}`: {why}"), expected)).ok()
    }

    /// A list of strings that `read` understands, with their places. None when the key is absent.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        problems: &mut Problems<'_>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<(T, Span)>> {
        list_of(key, self.value(key)?, expected, problems, read)
    }

    pub(super) fn boolean(&mut self, key: &'static str, problems: &mut Problems<'_>) -> Option<bool> {
        let value = self.value(key)?;
        if let DeValue::Boolean(answer) = value.get_ref() {
            return Some(*answer);
        }
        let message = wrong_type(&format!("`{key}`"), "true or false", value.get_ref());
        problems.error(value.span(), message, "true or false, without quotes");
        None
    }

    /// Seconds within `bounds`: a number, or text such as `90s`, `1h30m`, `2w`.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        bounds: std::ops::RangeInclusive<u64>,
        problems: &mut Problems<'_>,
    ) -> Option<u64> {
        let value = self.value(key)?;
        let expected = "a time such as \"90s\", \"1h30m\", \"14d\" or \"2w\", or a number of seconds";
        let seconds = match value.get_ref() {
            DeValue::String(text) => super::values::parse_duration(text),
            DeValue::Integer(number) => number.to_string().parse().ok(),
            other => {
                problems.error(value.span(), wrong_type(&format!("`{key}`"), "a time", other), expected);
                return None;
            }
        };
        let Some(seconds) = seconds else {
            problems.error(value.span(), format!("`{key}`: not a time"), expected);
            return None;
        };
        if !bounds.contains(&seconds) {
            let (low, high) =
                (super::values::show_duration(*bounds.start()), super::values::show_duration(*bounds.end()));
            let message = format!("`{key}`: {} is out of bounds", super::values::show_duration(seconds));
            problems.error(value.span(), message, format!("from {low} to {high}"));
            return None;
        }
        Some(seconds)
    }

    /// One of the words in `choices`.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
        problems: &mut Problems<'_>,
    ) -> Option<T> {
        let (text, span) = self.text(key, problems)?;
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text) {
            return Some(*choice);
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let expected = format!("one of {}", quoted(&words));
        problems.error(span, format!("`{key}`: \"{text}\" is not known{}", suggestion(text, &words)), expected);
        None
    }

    /// A whole number within `bounds`.
    pub(super) fn integer(
        &mut self,
        key: &'static str,
        bounds: std::ops::RangeInclusive<u64>,
        problems: &mut Problems<'_>,
    ) -> Option<u64> {
        let value = self.value(key)?;
        let expected = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        let number = match value.get_ref() {
            DeValue::Integer(number) => number.to_string().parse::<u64>().ok(),
            other => {
                problems.error(value.span(), wrong_type(&format!("`{key}`"), "a number", other), expected);
                return None;
            }
        };
        let number = number.filter(|number| bounds.contains(number));
        if number.is_none() {
            problems.error(value.span(), format!("`{key}` is out of bounds"), expected);
        }
        number
    }

    /// A table under this one.
    pub(super) fn section(&mut self, key: &'static str, problems: &mut Problems<'_>) -> Option<Section<'t>> {
        let value = self.value(key)?;
        let title = self.titled(key);
        as_section(&title, value, problems)
    }

    /// The tables of a `[[key]]`.
    pub(super) fn sections(&mut self, key: &'static str, problems: &mut Problems<'_>) -> Option<Vec<Section<'t>>> {
        let value = self.value(key)?;
        let title = self.titled(key);
        let DeValue::Array(items) = value.get_ref() else {
            let message = wrong_type(&format!("`{title}`"), "a list of tables", value.get_ref());
            problems.error(value.span(), message, format!("write its head with two brackets: [[{title}]]"));
            return None;
        };
        Some(items.iter().filter_map(|item| as_section(&title, item, problems)).collect())
    }

    /// Complains of every key that nobody asked for.
    pub(super) fn finish(self, problems: &mut Problems<'_>) {
        for (key, span, _) in self.entries() {
            if self.known.contains(&key) {
                continue;
            }
            let place = if self.title.is_empty() { "the file".to_owned() } else { format!("[{}]", self.title) };
            let message = format!("unknown key `{key}` in {place}{}", suggestion(key, &self.known));
            let mut known = self.known.clone();
            known.sort_unstable();
            known.dedup();
            problems.error(span, message, format!("known here: {}", known.join(", ")));
        }
    }

    fn titled(&self, key: &str) -> String {
        if self.title.is_empty() { key.to_owned() } else { format!("{}.{key}", self.title) }
    }
}

/// A value that has to be a table.
pub(super) fn as_section<'t>(
    title: &str,
    value: &'t Spanned<DeValue<'t>>,
    problems: &mut Problems<'_>,
) -> Option<Section<'t>> {
    if let DeValue::Table(table) = value.get_ref() {
        return Some(Section::new(title, value.span(), table));
    }
    let message = wrong_type(&format!("`{title}`"), "a table", value.get_ref());
    problems.error(value.span(), message, format!("write [{title}] and its keys below it"));
    None
}

/// The items of a key's list of strings.
pub(super) fn list_of<T>(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    expected: &str,
    problems: &mut Problems<'_>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<Vec<(T, Span)>> {
    let DeValue::Array(items) = value.get_ref() else {
        let help = format!("write a list: {key} = [\"...\"]; {expected}");
        problems.error(value.span(), wrong_type(&format!("`{key}`"), "a list", value.get_ref()), help);
        return None;
    };
    let mut read_items = Vec::new();
    for item in items {
        let Some((text, span)) = text_of(item, &format!("each item of `{key}`"), problems) else { continue };
        match read(text) {
            Ok(read) => read_items.push((read, span)),
            Err(why) => problems.error(span, format!("`{key}`: {why}"), expected),
        }
    }
    Some(read_items)
}

/// A string.
pub(super) fn text_of<'t>(
    value: &'t Spanned<DeValue<'_>>,
    what: &str,
    problems: &mut Problems<'_>,
) -> Option<(&'t str, Span)> {
    if let DeValue::String(text) = value.get_ref() {
        return Some((text, value.span()));
    }
    problems.error(value.span(), wrong_type(what, "a text", value.get_ref()), "text in quotes: \"...\"");
    None
}

fn wrong_type(what: &str, wanted: &str, value: &DeValue<'_>) -> String {
    let article = if matches!(value, DeValue::Integer(_) | DeValue::Array(_)) { "an" } else { "a" };
    format!("{what} must be {wanted}, and this is {article} {}", value.type_str())
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

/// ": did you mean ...?" when a known word is near.
fn suggestion(word: &str, known: &[&str]) -> String {
    let folded = word.to_ascii_lowercase().replace('_', "-");
    let near = known
        .iter()
        .map(|candidate| (distance(&folded, candidate), folded.len().abs_diff(candidate.len()), candidate))
        .min();
    match near {
        Some((steps, _, candidate)) if steps <= (candidate.len() / 3).max(1) => {
            format!(": did you mean `{candidate}`?")
        }
        _ => String::new(),
    }
}

/// How many letters have to be put in, taken out, replaced or swapped with their neighbour.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}
