//! Cuts zone text into entries and tokens (RFC 1035 section 5.1): comments, parentheses, quotation marks, line ends.
//!
//! Tokens are slices of the text, escapes unresolved. After an error the scanner goes on behind the broken entry.

use crate::dns::text::Word;

/// The byte order mark that some editors put before UTF-8.
pub(super) const BOM: &[u8] = b"\xef\xbb\xbf";

/// The longest entry in octets, comments and line ends included. The longest RDATA, written as `\DDD`, fits four times.
const MAX_ENTRY: usize = 1 << 20;

/// Where something stands: its line from 1, its first octet in the file, its length in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: u32,
    /// The octet of the file, from 0.
    pub offset: u32,
    /// The length in octets, quotation marks included.
    pub len: u32,
}

/// A word and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// The word.
    pub word: Word<'a>,
    /// Its place.
    pub place: Place,
}

/// What stands on one line, or on several within parentheses. It has at least one token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Whether the line begins with white space: the owner is the one before.
    pub blank_owner: bool,
    /// The line on which the entry begins, from 1.
    pub line: u32,
    /// The octet of the file at which that line begins.
    pub offset: u32,
    /// The tokens in order.
    pub tokens: Vec<Token<'a>>,
}

/// Why an entry can't be cut into tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanError {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

/// Goes through a text entry by entry.
#[derive(Clone, Debug)]
pub struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    line: u32,
    /// The octets from `block` on, as many as a block has, that may mean something: a bit for each.
    suspects: u64,
    block: usize,
    /// The entry under way is broken; its tokens are not kept.
    error: Option<ScanError>,
    /// The parentheses that are open.
    open: Vec<Place>,
    /// A parenthesis without an end was met once: the next one ends the scan, so that no text is scanned many times.
    resumed: bool,
}

impl<'a> Scanner<'a> {
    /// A scanner of a whole file.
    pub fn new(text: &'a [u8]) -> Scanner<'a> {
        let at = if text.starts_with(BOM) { BOM.len() } else { 0 };
        Scanner::at(text, at, 1)
    }

    /// A scanner that begins at the start of a line within a file.
    pub(super) fn at(text: &'a [u8], at: usize, line: u32) -> Scanner<'a> {
        let suspects = suspects(text, at);
        Scanner { text, at, line, suspects, block: at, error: None, open: Vec::new(), resumed: false }
    }

    /// Where the next entry is looked for, in octets from the start.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// Whether a line begins here: a text that ends without a line feed may go on in its last line.
    pub(super) fn is_at_line(&self) -> bool {
        self.text[..self.at].ends_with(b"\n") || self.text[..self.at] == *BOM || self.at == 0
    }

    /// Reads the next entry in the place of what is in `entry`; none at the end of the text.
    pub(super) fn read(&mut self, entry: &mut Entry<'a>) -> Option<Result<(), ScanError>> {
        while self.at < self.text.len() {
            match self.entry(entry) {
                Ok(()) if entry.tokens.is_empty() => {}
                other => return Some(other),
            }
        }
        None
    }

    fn entry(&mut self, entry: &mut Entry<'a>) -> Result<(), ScanError> {
        let start = self.at;
        let tokens = &mut entry.tokens;
        tokens.clear();
        entry.line = self.line;
        entry.offset = start as u32;
        entry.blank_owner = matches!(self.text.get(start), Some(b' ' | b'\t'));
        if self.plain(tokens) {
            return Ok(());
        }
        while let Some(&octet) = self.text.get(self.at) {
            if matches!(octet, b' ' | b'\t') {
                self.at += 1;
                continue;
            }
            if self.at - start > MAX_ENTRY && self.error.is_none() {
                let place = self.open.first().copied().unwrap_or_else(|| self.place(start, start + 1));
                self.fail(place, "this entry is longer than 1 MiB", "is a closing parenthesis missing?");
                tokens.clear();
            }
            match octet {
                b'\n' => {
                    self.newline();
                    if self.open.is_empty() {
                        break;
                    }
                }
                b'\r' => self.carriage_return(),
                b';' => self.at = self.line_end(self.at),
                b'(' => {
                    self.open.push(self.place(self.at, self.at + 1));
                    self.at += 1;
                }
                b')' => self.close(),
                _ => {
                    let token = if octet == b'"' { self.quoted() } else { self.bare() };
                    if let (Some(token), None) = (token, &self.error) {
                        tokens.push(token);
                    }
                }
            }
        }
        if let Some(open) = self.open.first().copied() {
            self.fail(open, "this parenthesis is never closed", "write `)` behind the last word of the record");
            self.resume(open);
        }
        self.error.take().map_or(Ok(()), Err)
    }

    /// Reads the line that begins here if it has words and white space only, as nearly all lines of large files do. False where it is
    /// another; nothing is read then.
    fn plain(&mut self, tokens: &mut Vec<Token<'a>>) -> bool {
        if self.at.wrapping_sub(self.block) >= BLOCK {
            (self.suspects, self.block) = (suspects(self.text, self.at), self.at);
        }
        let (text, line, mut block) = (self.text, self.line, self.block);
        let mut bits = self.suspects & u64::MAX << (self.at - block);
        let mut start = self.at;
        loop {
            while bits == 0 {
                block += BLOCK;
                if block >= text.len() || block - self.at > MAX_ENTRY {
                    tokens.clear();
                    return false;
                }
                bits = suspects(text, block);
            }
            let end = block + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            let octet = text[end];
            if !matches!(octet, b' ' | b'\t' | b'\n') {
                tokens.clear();
                return false;
            }
            if end > start {
                let place = Place { line, offset: start as u32, len: (end - start) as u32 };
                tokens.push(Token { word: Word::bare(&text[start..end]), place });
            }
            start = end + 1;
            if octet == b'\n' {
                (self.suspects, self.block, self.at) = (bits, block, start);
                self.line += 1;
                return true;
            }
        }
    }

    /// The next octet from `from` on that may mean something; the text's length when there is none.
    fn suspect(&mut self, from: usize) -> usize {
        let mut from = from;
        loop {
            let within = from.wrapping_sub(self.block);
            if within >= BLOCK {
                (self.suspects, self.block) = (suspects(self.text, from), from);
                continue;
            }
            match self.suspects >> within {
                0 => from = self.block + BLOCK,
                rest => return from + rest.trailing_zeros() as usize,
            }
            if from >= self.text.len() {
                return self.text.len();
            }
        }
    }

    fn place(&self, from: usize, to: usize) -> Place {
        Place { line: self.line, offset: from as u32, len: (to - from) as u32 }
    }

    fn fail(&mut self, place: Place, message: &str, help: &str) {
        let error = ScanError { place, message: message.to_owned(), help: help.to_owned() };
        self.error.get_or_insert(error);
    }

    fn newline(&mut self) {
        self.at += 1;
        self.line += 1;
    }

    /// The octet behind the last one of the line, its line feed not counted.
    fn line_end(&self, from: usize) -> usize {
        self.text[from..].iter().position(|&octet| octet == b'\n').map_or(self.text.len(), |length| from + length)
    }

    fn carriage_return(&mut self) {
        if !matches!(self.text.get(self.at + 1), Some(b'\n') | None) {
            let place = self.place(self.at, self.at + 1);
            self.fail(place, "a carriage return without a line feed", "save the file with LF or CRLF line ends");
        }
        self.at += 1;
    }

    fn close(&mut self) {
        if self.open.pop().is_none() {
            let place = self.place(self.at, self.at + 1);
            self.fail(
                place,
                "this parenthesis was never opened",
                "take it away, or write `(` before the record's data",
            );
        }
        self.at += 1;
    }

    /// A string in quotation marks; the scanner stands on the first of them. It ends on its line.
    fn quoted(&mut self) -> Option<Token<'a>> {
        let start = self.at;
        let Some(end) = self.closing_quote(start + 1) else {
            self.unclosed(start);
            return None;
        };
        self.at = end + 1;
        let word = Word { text: &self.text[start + 1..end], quoted: true };
        Some(Token { word, place: self.place(start, self.at) })
    }

    fn closing_quote(&mut self, from: usize) -> Option<usize> {
        let mut at = from;
        loop {
            at = self.suspect(at);
            match self.text.get(at)? {
                b'"' => return Some(at),
                b'\n' => return None,
                b'\\' if self.text.get(at + 1) != Some(&b'\n') => at += 2,
                _ => at += 1,
            }
        }
    }

    /// Skips the rest of the line of a string without an end. Parentheses in it count, as the quotation mark may be
    /// missing before them: else one slip would swallow the file.
    fn unclosed(&mut self, start: usize) {
        let place = self.place(start, start + 1);
        self.fail(
            place,
            "this quotation mark has no partner on its line",
            "close the string on the same line; a long text is several strings within parentheses",
        );
        let end = self.line_end(start);
        for at in start..end {
            match self.text[at] {
                b'(' => self.open.push(self.place(at, at + 1)),
                b')' => drop(self.open.pop()),
                _ => {}
            }
        }
        self.at = end;
    }

    /// A word without quotation marks around it. A quoted part within it (`alpn="h2,h3"`) belongs to it.
    fn bare(&mut self) -> Option<Token<'a>> {
        let start = self.at;
        loop {
            self.at = self.suspect(self.at);
            let Some(&octet) = self.text.get(self.at) else { break };
            if matches!(octet, b' ' | b'\t' | b'\n') {
                break;
            }
            match octet {
                b'\r' | b';' | b'(' | b')' => break,
                b'"' => match self.closing_quote(self.at + 1) {
                    Some(end) => self.at = end + 1,
                    None => {
                        self.unclosed(self.at);
                        return None;
                    }
                },
                b'\\' => match self.text.get(self.at + 1) {
                    None | Some(b'\n' | b'\r') => {
                        let place = self.place(self.at, self.at + 1);
                        self.fail(
                            place,
                            "a `\\` at the end of the line",
                            "long records go on within parentheses: ( ... )",
                        );
                        self.at += 1;
                    }
                    Some(_) => self.at += 2,
                },
                _ => self.at += 1,
            }
        }
        let word = Word::bare(&self.text[start..self.at]);
        Some(Token { word, place: self.place(start, self.at) })
    }

    /// After a parenthesis without an end: goes on at the next line that looks like the start of an entry.
    fn resume(&mut self, open: Place) {
        self.open.clear();
        if std::mem::replace(&mut self.resumed, true) {
            self.at = self.text.len();
            return;
        }
        self.at = open.offset as usize;
        self.line = open.line;
        loop {
            self.at = self.line_end(self.at);
            if self.at == self.text.len() {
                return;
            }
            self.newline();
            if !matches!(self.text.get(self.at), None | Some(b' ' | b'\t' | b'\r' | b'\n' | b';' | b'"' | b'(' | b')'))
            {
                return;
            }
        }
    }
}

impl<'a> Iterator for Scanner<'a> {
    type Item = Result<Entry<'a>, ScanError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut entry = Entry::default();
        self.read(&mut entry).map(|read| read.map(|()| entry))
    }
}

/// So many octets are looked at together.
const BLOCK: usize = u64::BITS as usize;

/// Whether an octet means something within a word or ends it. True of controls that don't, too.
const fn is_suspect(octet: u8) -> bool {
    // In one expression without branches it is worked out for many octets at once.
    (octet <= b' ') | (octet | 1 == b')') | (octet == b'"') | (octet == b';') | (octet == b'\\')
}

/// Which of the octets from `from` on are suspect: the lowest bit is the first one's.
fn suspects(text: &[u8], from: usize) -> u64 {
    let rest = text.get(from..).unwrap_or_default();
    let mut short = [b'-'; BLOCK];
    let block = rest.first_chunk::<BLOCK>().unwrap_or_else(|| {
        short[..rest.len()].copy_from_slice(rest);
        &short
    });
    let marks = block.map(|octet| u8::from(is_suspect(octet)));
    // The product has the lowest bits of the eight octets in its highest octet.
    let gather = |word: &[u8; 8]| u64::from_le_bytes(*word).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    marks.as_chunks::<8>().0.iter().rev().fold(0, |bits, word| bits << 8 | gather(word))
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
