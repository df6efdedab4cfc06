//! What README.md shows of `danelaw check --online` and `danelaw status` is what they print: line for line, in this order, but for what
//! differs from run to run (times, serials, hashes), and for lines that it leaves out.

use std::fs;

use super::{Laboratory, said};

/// How README's blocks begin.
const PROMPT: &str = "    $ danelaw ";
/// A line that stands for those that are left out.
const LEFT_OUT: &str = "...";

/// What README shows otherwise than it is printed.
pub fn differences(laboratory: &Laboratory) -> Vec<String> {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let section = readme.split("\n### As others see it\n").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let blocks: Vec<&str> = section.split(PROMPT).skip(1).collect();
    let mut found: Vec<String> = blocks.iter().flat_map(|block| compared(laboratory, block)).collect();
    if blocks.len() < 2 {
        found.push(format!("README shows {} commands", blocks.len()));
    }
    found
}

fn compared(laboratory: &Laboratory, block: &str) -> Vec<String> {
    let mut lines = block.lines();
    let arguments: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let shown = lines.take_while(|line| line.starts_with("    ")).map(|line| &line[4..]);
    let output = said(&laboratory.command(&[], &arguments));
    let printed: Vec<String> = output.lines().map(steady).collect();
    let mut at = 0;
    let mut found = Vec::new();
    for line in shown.filter(|line| *line != LEFT_OUT) {
        match printed[at..].iter().position(|printed| *printed == steady(line)) {
            Some(place) => at += place + 1,
            None => found.push(format!("danelaw {arguments:?} does not print, after the lines before: {line}")),
        }
    }
    if !found.is_empty() {
        found.push(format!("danelaw {arguments:?} prints:\n{output}"));
    }
    found
}

/// A line without what differs from run to run: words with many digits are one.
fn steady(line: &str) -> String {
    let is_unsteady = |word: &str| {
        let digits = word.bytes().filter(u8::is_ascii_digit).count();
        let is_hash = word.len() >= 16 && word.trim_end_matches('.').bytes().all(|octet| octet.is_ascii_hexdigit());
        let is_number = digits >= 4 && word.bytes().all(|octet| octet.is_ascii_digit() || octet == b'+');
        let is_moment = digits >= 8 && word.contains('T') && word.contains('Z');
        is_hash || is_number || is_moment
    };
    let words = line.split_whitespace().map(|word| {
        let bare = word.trim_matches(|character| "(),;:".contains(character));
        if is_unsteady(bare) { word.replace(bare, "~") } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ")
}
