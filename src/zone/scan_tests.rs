//! What the scanner makes of a text.

use super::*;

fn entries(text: &str) -> Vec<Vec<String>> {
    let words = |entry: Entry<'_>| entry.tokens.iter().map(|token| show(&token.word)).collect();
    Scanner::new(text.as_bytes()).map(|entry| words(entry.expect("an entry"))).collect()
}

fn show(word: &Word<'_>) -> String {
    let text = String::from_utf8_lossy(word.text);
    if word.quoted { format!("<{text}>") } else { text.into_owned() }
}

fn errors(text: &str) -> Vec<(u32, u32, String)> {
    let scanner = Scanner::new(text.as_bytes());
    scanner.filter_map(Result::err).map(|error| (error.place.line, error.place.offset, error.message)).collect()
}

#[test]
fn comments_parentheses_and_quotation_marks() {
    assert_eq!(
        entries("a b ; c \"\n\n  ; only\n( d\n\te;f\n  \"g;(h) \\\" i\" )j\nk"),
        [vec!["a", "b"], vec!["d", "e", "<g;(h) \\\" i>", "j"], vec!["k"]]
    );
    assert_eq!(entries("a(b)c\"d e\"\"f\""), [vec!["a", "b", "c\"d e\"\"f\""]]);
    assert_eq!(entries("s alpn=\"h2, h3\" x"), [vec!["s", "alpn=\"h2, h3\"", "x"]]);
    assert_eq!(entries(r"a\ b \; \(c"), [vec![r"a\ b", r"\;", r"\(c"]]);
}

#[test]
fn line_ends_and_the_byte_order_mark() {
    assert_eq!(entries("\u{feff}a b\r\nc (\r\n d)\r\n"), [vec!["a", "b"], vec!["c", "d"]]);
    let blank: Vec<bool> =
        Scanner::new(b"a\n b\n\tc\n(d)\n").flatten().map(|entry: Entry<'_>| entry.blank_owner).collect();
    assert_eq!(blank, [false, true, true, false]);
    assert_eq!(errors("a b\rc d\n"), [(1, 3, "a carriage return without a line feed".to_owned())]);
    assert_eq!(errors("a ;b\rc d\n"), []);
}

proptest::proptest! {
    #[test]
    fn a_block_at_once_is_like_one_by_one(octets in proptest::collection::vec(octet(), 0..200), from in 0..200usize) {
        let from = from.min(octets.len());
        let next = octets[from..].iter().position(|&octet| is_suspect(octet)).map_or(octets.len(), |at| from + at);
        let mut scanner = Scanner::new(&octets);
        proptest::prop_assert_eq!(scanner.suspect(from), next);
        proptest::prop_assert_eq!(Scanner::at(&octets, from, 1).suspect(from), next);
    }
}

proptest::proptest! {
    #[test]
    fn a_plain_line_has_the_words_that_it_has_before_a_comment(lines in proptest::collection::vec("[ \t]{0,2}([a-z.=/]{1,70}[ \t]{1,3}){0,9}", 0..6)) {
        let words = |end: &str| {
            let text: String = lines.iter().map(|line| format!("{line}{end}\n")).collect();
            let found = Scanner::new(text.as_bytes()).map(|entry| {
                let entry = entry.expect("an entry");
                let tokens = entry.tokens.iter().map(|token| (show(&token.word), token.place.line, token.place.len));
                (entry.blank_owner, entry.line, tokens.collect::<Vec<_>>())
            });
            found.collect::<Vec<_>>()
        };
        proptest::prop_assert_eq!(words(""), words(";"));
    }
}

#[test]
fn all_that_means_something_is_suspect() {
    let specials = b" \t\r\n;()\"\\";
    assert!(specials.iter().all(|&octet| is_suspect(octet)));
    assert!((b'!'..=u8::MAX).filter(|&octet| is_suspect(octet)).all(|octet| specials.contains(&octet)));
}

fn octet() -> impl proptest::strategy::Strategy<Value = u8> {
    proptest::prop_oneof![4 => proptest::prelude::any::<u8>(), 4 => b'-'..=b'z', 1 => 0..0x30u8]
}

#[test]
fn one_slip_gives_one_error() {
    assert_eq!(errors("a ( b \"c\n d \" e )\nf \"g\n").len(), 2);
    assert_eq!(errors("a ( \"b )\nc d\n").len(), 1);
    assert_eq!(errors("a ( b\n c\nd e )\nf g\n").len(), 0);
    assert_eq!(errors("a ( b\n c\nd e\nf g\n"), [(1, 2, "this parenthesis is never closed".to_owned())]);
    assert_eq!(errors("a ) b )\nc d\n").len(), 1);
    assert_eq!(errors("a b\\\nc\n").len(), 1);
}
