//! Key files: what `tsig-keygen` and `keymgr -t` print, in BIND's syntax and in Knot's.
//!
//! What is wrong is told with its place and what was expected there, and never with what stands there: it may be a secret.

use std::sync::Arc;

use super::key::{Algorithm, Key};
use crate::dns::Name;

/// Where a key file is wrong, and what was expected there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct Mistake {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong, or what was expected.
    pub message: String,
}

const STATEMENT: &str = "expected `key \"name\" { algorithm hmac-sha256; secret \"...\"; };`";
const ALGORITHM: &str =
    "expected hmac-sha256, hmac-sha384 or hmac-sha512, with the fewest bits of a MAC behind a hyphen or without";
const SECRET: &str = "expected a secret in base64 (danelaw keys tsig, tsig-keygen and keymgr -t make one)";
const FIELD: &str = "expected `id: name`, `algorithm: hmac-sha256` or `secret: ...`";

/// Reads all keys of a file: one at least.
pub fn parse(text: &str) -> Result<Vec<Arc<Key>>, Mistake> {
    let first = text.lines().map(str::trim).find(|line| !matches!(line, &"" | &"---") && !line.starts_with('#'));
    let is_yaml = first.is_some_and(|line| line.split('#').next().is_some_and(|line| line.trim_end() == "key:"));
    let drafts = if is_yaml { yaml(text)? } else { statements(text)? };
    if drafts.is_empty() {
        return Err(Place { line: 1, column: 1 }.wants("no key in it: ", STATEMENT));
    }
    let mut keys: Vec<Arc<Key>> = Vec::new();
    for draft in drafts {
        let place = draft.place;
        let key = draft.finish()?;
        if keys.iter().any(|other| other.name() == key.name()) {
            return Err(place.wants("", "a second key of this name: expected another name"));
        }
        keys.push(Arc::new(key));
    }
    Ok(keys)
}

#[derive(Clone, Copy)]
struct Place {
    line: u32,
    column: u32,
}

impl Place {
    fn wants(self, before: &str, expected: &str) -> Mistake {
        Mistake { line: self.line, column: self.column, message: format!("{before}{expected}") }
    }
}

/// A key as far as it was read.
struct Draft {
    place: Place,
    name: Option<Name>,
    /// With the fewest octets of a MAC.
    algorithm: Option<(Algorithm, usize)>,
    secret: Option<Vec<u8>>,
}

impl Draft {
    fn begin(place: Place) -> Draft {
        Draft { place, name: None, algorithm: None, secret: None }
    }

    fn name(&mut self, text: &str, place: Place) -> Result<(), Mistake> {
        let once = self.name.is_none();
        let name = Name::parse(text, None).ok().filter(|name| once && text != "@" && !name.is_root());
        self.name = Some(
            name.ok_or_else(|| place.wants("", "expected the key's name, once, such as \"transfer.example.org\""))?,
        );
        Ok(())
    }

    fn algorithm(&mut self, text: &str, place: Place) -> Result<(), Mistake> {
        let once = self.algorithm.is_none();
        let algorithm = read_algorithm(text).filter(|_| once);
        self.algorithm = Some(algorithm.ok_or_else(|| place.wants("", ALGORITHM))?);
        Ok(())
    }

    fn secret(&mut self, text: &str, place: Place) -> Result<(), Mistake> {
        let once = self.secret.is_none();
        let secret = data_encoding::BASE64.decode(text.as_bytes()).ok().filter(|secret| once && !secret.is_empty());
        self.secret = Some(secret.ok_or_else(|| place.wants("", SECRET))?);
        Ok(())
    }

    fn finish(self) -> Result<Key, Mistake> {
        let missing = |what| self.place.wants("this key has none: ", what);
        let name = self.name.ok_or_else(|| missing(STATEMENT))?;
        let (algorithm, shortest) = self.algorithm.ok_or_else(|| missing(ALGORITHM))?;
        let secret = self.secret.ok_or_else(|| missing(SECRET))?;
        let key = Key::new(&name, algorithm, &secret).and_then(|key| key.taking(shortest));
        key.ok_or_else(|| self.place.wants("", ALGORITHM))
    }
}

/// `hmac-sha256`, or as BIND has it with the fewest bits of a MAC that is taken, `hmac-sha256-128`.
fn read_algorithm(text: &str) -> Option<(Algorithm, usize)> {
    if let Ok(algorithm) = text.parse::<Algorithm>() {
        return Some((algorithm, algorithm.mac_length()));
    }
    let (name, bits) = text.rsplit_once('-')?;
    let (algorithm, bits) = (name.parse::<Algorithm>().ok()?, bits.parse::<usize>().ok()?);
    let may_be = algorithm.mac_least()..=algorithm.mac_length();
    (bits % 8 == 0 && may_be.contains(&(bits / 8))).then_some((algorithm, bits / 8))
}

#[derive(Clone, Copy)]
struct Token<'t> {
    text: &'t str,
    quoted: bool,
    place: Place,
}

impl Token<'_> {
    fn is(&self, word: &str) -> bool {
        !self.quoted && self.text.eq_ignore_ascii_case(word)
    }

    /// Whether it can be a name or another value.
    fn is_value(&self) -> bool {
        self.quoted || !matches!(self.text, "{" | "}" | ";")
    }
}

/// A file in BIND's syntax.
struct Tokens<'t> {
    rest: &'t str,
    place: Place,
}

impl<'t> Tokens<'t> {
    fn skip(&mut self, octets: usize) -> &'t str {
        let (skipped, rest) = self.rest.split_at(octets);
        for character in skipped.chars() {
            match character {
                '\n' => self.place = Place { line: self.place.line + 1, column: 1 },
                _ => self.place.column += 1,
            }
        }
        self.rest = rest;
        skipped
    }

    fn skip_blank(&mut self) -> Result<(), Mistake> {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.skip(blank);
            if self.rest.starts_with("//") || self.rest.starts_with('#') {
                self.skip(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else if self.rest.starts_with("/*") {
                let end = self
                    .rest
                    .find("*/")
                    .ok_or_else(|| self.place.wants("", "this comment has no end: expected `*/`"))?;
                self.skip(end + 2);
            } else {
                return Ok(());
            }
        }
    }

    fn next(&mut self) -> Result<Option<Token<'t>>, Mistake> {
        self.skip_blank()?;
        let place = self.place;
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        if first == '"' {
            self.skip(1);
            let end = self.rest.find(['"', '\n']).filter(|end| self.rest[*end..].starts_with('"'));
            let text = self.skip(end.ok_or_else(|| place.wants("", "expected another `\"` in this line"))?);
            self.skip(1);
            return Ok(Some(Token { text, quoted: true, place }));
        }
        let is_end = |character: char| character.is_whitespace() || "{};\"".contains(character);
        let end = if is_end(first) { first.len_utf8() } else { self.rest.find(is_end).unwrap_or(self.rest.len()) };
        Ok(Some(Token { text: self.skip(end), quoted: false, place }))
    }

    fn expect(&mut self, fits: impl Fn(&Token<'t>) -> bool, expected: &str) -> Result<Token<'t>, Mistake> {
        let place = self.place;
        match self.next()? {
            Some(token) if fits(&token) => Ok(token),
            Some(token) => Err(token.place.wants("", expected)),
            None => Err(place.wants("the file ends here: ", expected)),
        }
    }
}

/// `key "name" { algorithm ...; secret "..."; };`, as often as it comes.
fn statements(text: &str) -> Result<Vec<Draft>, Mistake> {
    let mut tokens = Tokens { rest: text, place: Place { line: 1, column: 1 } };
    let mut drafts = Vec::new();
    while let Some(token) = tokens.next()? {
        if !token.is("key") {
            return Err(token.place.wants("", STATEMENT));
        }
        let mut draft = Draft::begin(token.place);
        let name = tokens.expect(Token::is_value, "expected the key's name")?;
        draft.name(name.text, name.place)?;
        tokens.expect(|token| token.is("{"), "expected `{`")?;
        loop {
            let known = |token: &Token<'_>| ["algorithm", "secret", "}"].iter().any(|word| token.is(word));
            let field = tokens.expect(known, "expected `algorithm`, `secret` or `}`")?;
            if field.is("}") {
                break;
            }
            let value = tokens.expect(Token::is_value, if field.is("secret") { SECRET } else { ALGORITHM })?;
            match field.is("secret") {
                true => draft.secret(value.text, value.place)?,
                false => draft.algorithm(value.text, value.place)?,
            }
            tokens.expect(|token| token.is(";"), "expected `;`")?;
        }
        tokens.expect(|token| token.is(";"), "expected `;`")?;
        drafts.push(draft);
    }
    Ok(drafts)
}

/// `key:` and a list of `- id`, `algorithm` and `secret` under it.
fn yaml(text: &str) -> Result<Vec<Draft>, Mistake> {
    let mut drafts: Vec<Draft> = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let line = match line.find('#') {
            Some(at) if at == 0 || line[..at].ends_with([' ', '\t']) => &line[..at],
            _ => line,
        };
        let mut rest = line.trim();
        let place = |rest: &str| {
            let before = line.trim_end().len() - rest.len();
            Place { line: number, column: line[..before].chars().count() as u32 + 1 }
        };
        if matches!(rest, "" | "---" | "key:") {
            continue;
        }
        if let Some(after) = rest.strip_prefix('-') {
            drafts.push(Draft::begin(place(rest)));
            rest = after.trim_start();
        }
        let here = place(rest);
        let Some(draft) = drafts.last_mut() else { return Err(here.wants("", "expected `- id: name`")) };
        let (field, value) = rest.split_once(':').ok_or_else(|| here.wants("", FIELD))?;
        let value = value.trim_start();
        let value_place = place(value);
        let value = match value.as_bytes() {
            [b'"', .., b'"'] | [b'\'', .., b'\''] => &value[1..value.len() - 1],
            _ => value,
        };
        match field {
            "id" => draft.name(value, value_place)?,
            "algorithm" => draft.algorithm(value, value_place)?,
            "secret" => draft.secret(value, value_place)?,
            _ => return Err(here.wants("", FIELD)),
        }
    }
    Ok(drafts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<String> {
        parse(text).unwrap_or_else(|mistake| panic!("{mistake}")).iter().map(|key| format!("{key:?}")).collect()
    }

    #[test]
    fn binds_and_knots_files_are_read() {
        let tsig_keygen =
            "key \"foo.example\" {\n\talgorithm hmac-sha384;\n\tsecret \"1tHj4qNaffc/rOot5RbsrFk9\";\n};\n";
        assert_eq!(keys(tsig_keygen), ["hmac-sha384 key foo.example."]);
        let keymgr = "# hmac-sha512:foo.key:+AAfd1rHnZkRAGjjqa2vFg==\nkey:\n  - id: foo.key\n    algorithm: hmac-sha512\n    secret: +AAfd1rHnZkRAGjjqa2vFg==\n";
        assert_eq!(keys(keymgr), ["hmac-sha512 key foo.key."]);
        let several = "// one\n/* and\n another */ KEY a{secret c2Vj;algorithm HMAC-SHA256.;}; # end\nkey b { algorithm \"hmac-sha256-128\"; secret \"c2Vj\"; };";
        assert_eq!(keys(several), ["hmac-sha256 key a.", "hmac-sha256 key b."]);
        let yaml = "---\nkey: # ours\n- id: \"a.\"\n  secret: 'c2Vj'\n  algorithm: hmac-sha256\n\n- algorithm: hmac-sha256\n  id: B\n  secret: c2Vj # old\n";
        assert_eq!(keys(yaml), ["hmac-sha256 key a.", "hmac-sha256 key b."]);
    }

    #[test]
    fn the_fewest_bits_of_a_mac_stand_behind_the_algorithm() {
        for (text, expected) in [
            ("hmac-sha256", Some(32)),
            ("hmac-sha256-128", Some(16)),
            ("hmac-sha256-256", Some(32)),
            ("hmac-sha256-120", None),
            ("hmac-sha256-129", None),
            ("hmac-sha256-264", None),
            ("hmac-sha512-256", Some(32)),
            ("hmac-sha1", None),
            ("hmac-md5.sig-alg.reg.int", None),
            ("hmac-sha224", None),
        ] {
            assert_eq!(read_algorithm(text).map(|(_, shortest)| shortest), expected, "{text}");
        }
    }

    #[test]
    fn mistakes_have_a_place_and_never_a_secret() {
        let whole = "key \"a\" {\n  algorithm hmac-sha256;\n  secret \"c2VjcmV0\";\n};\n";
        for (text, place, part) in [
            ("", "1:1", "no key in it"),
            ("# nothing\n", "1:1", "no key in it"),
            ("c2VjcmV0", "1:1", "expected `key"),
            ("server 192.0.2.1 { keys c2VjcmV0; };", "1:1", "expected `key"),
            ("key \"a\" c2VjcmV0", "1:9", "expected `{`"),
            ("key \"a..b\" { secret \"c2VjcmV0\"; };", "1:5", "expected the key's name"),
            ("key { secret \"c2VjcmV0\"; };", "1:5", "expected the key's name"),
            ("key . { };", "1:5", "expected the key's name"),
            ("key a { algorithm c2VjcmV0; };", "1:19", "expected hmac-sha256"),
            ("key a { algorithm hmac-sha256\n secret \"c2VjcmV0\"; };", "2:2", "expected `;`"),
            ("key a { secret \"c2VjcmV0!\"; };", "1:16", "in base64"),
            ("key a { secret \"\"; };", "1:16", "in base64"),
            ("key a { secret \"c2VjcmV0\n\"; };", "1:16", "another `\"`"),
            ("key a { secret c2VjcmV0; secret c2VjcmV0; };", "1:33", "in base64"),
            ("key a { sercet c2VjcmV0; };", "1:9", "`algorithm`, `secret` or `}`"),
            ("\nkey a { secret c2VjcmV0; };", "2:1", "this key has none: expected hmac-sha256"),
            ("key a { algorithm hmac-sha256; };", "1:1", "this key has none: expected a secret"),
            ("key a { secret c2VjcmV0; ", "1:25", "the file ends here"),
            ("/* key a", "1:1", "expected `*/`"),
            (&format!("{whole}{whole}"), "5:1", "a second key of this name"),
            ("key:\n  id: a\n", "2:3", "expected `- id: name`"),
            ("key:\n  - id: a\n    secret: c2VjcmV0!\n", "3:13", "in base64"),
            ("key:\n  - id: a\n    c2VjcmV0\n", "3:5", "expected `id: name`"),
            ("key:\n  - id: a\n    secrets: c2VjcmV0\n", "3:5", "expected `id: name`"),
            ("key:\n  - id: a\n    secret: c2VjcmV0\n", "2:3", "this key has none"),
            ("key:\n", "1:1", "no key in it"),
        ] {
            let said = parse(text).expect_err(text).to_string();
            assert!(said.starts_with(&format!("{place}: ")) && said.contains(part), "{text:?}: {said}");
            assert!(!said.contains("c2Vj"), "{said}");
        }
    }
}
