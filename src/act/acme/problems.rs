//! Problems that are no word of the CA, and words of others made fit to be shown.

use std::fmt;

use crate::acme::Problem;

/// A problem that is no word of the CA.
pub(super) fn ours(detail: impl fmt::Display) -> Problem {
    Problem { detail: shown(&detail.to_string()), ..Problem::default() }
}

/// The most characters of what is told.
const SHOWN: usize = 600;

/// One line of bounded length: whatever a CA, or who stands in its place, has said.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
