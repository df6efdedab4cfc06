//! The protocols in which a server is asked in the clear whether TLS may begin: what is said, and what counts as a yes.

/// How a protocol comes to TLS, and to its end.
#[derive(Debug)]
pub(super) struct Protocol {
    /// What it is called.
    pub(super) name: &'static str,
    /// Asks what the server offers; none: it greets with that.
    pub(super) offer: Option<Command>,
    /// Who asks for that says who he is.
    pub(super) is_introduced: bool,
    /// Whether TLS is among what is offered.
    pub(super) offers_tls: fn(&[String]) -> bool,
    /// Asks for TLS.
    pub(super) start_tls: Command,
    /// Once TLS has begun the server greets again.
    pub(super) greets_again: bool,
    /// Takes leave.
    pub(super) leave: Command,
    /// What a line is, after those before it, in the reply to a command or in the greeting; none: it is not of this protocol.
    pub(super) read: fn(Option<&Command>, &[String], &str) -> Option<Line>,
}

/// What is said to a server.
#[derive(Debug)]
pub(super) struct Command {
    /// What the reply begins with again; empty where there is no such thing.
    pub(super) tag: &'static str,
    pub(super) word: &'static str,
}

impl Command {
    const fn new(word: &'static str) -> Command {
        Command { tag: "", word }
    }

    const fn tagged(tag: &'static str, word: &'static str) -> Command {
        Command { tag, word }
    }
}

/// A line of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Another one follows.
    More,
    /// The last one, which says yes.
    Yes,
    /// The last one, which says no.
    No,
}

/// RFC 5321, RFC 3207.
pub(super) static SMTP: Protocol = Protocol {
    name: "SMTP",
    offer: Some(Command::new("EHLO")),
    is_introduced: true,
    // The first line only greets (RFC 5321 section 4.1.1.1).
    offers_tls: |lines| lines.iter().skip(1).filter_map(|line| line.get(4..)).any(|line| is(first(line), "STARTTLS")),
    start_tls: Command::new("STARTTLS"),
    greets_again: false,
    leave: Command::new("QUIT"),
    read: smtp,
};

/// RFC 9051 section 6.2.1.
pub(super) static IMAP: Protocol = Protocol {
    name: "IMAP",
    offer: Some(Command::tagged("a", "CAPABILITY")),
    is_introduced: false,
    offers_tls: |lines| {
        let capabilities = lines.iter().map(|line| line.split(' ')).filter(|words| {
            let mut words = words.clone();
            words.next() == Some("*") && words.next().is_some_and(|word| is(word, "CAPABILITY"))
        });
        capabilities.flatten().any(|word| is(word, "STARTTLS"))
    },
    start_tls: Command::tagged("b", "STARTTLS"),
    greets_again: false,
    leave: Command::tagged("c", "LOGOUT"),
    read: imap,
};

/// RFC 2449 section 5, RFC 2595 section 4.
pub(super) static POP3: Protocol = Protocol {
    name: "POP3",
    offer: Some(Command::new("CAPA")),
    is_introduced: false,
    offers_tls: |lines| lines.iter().skip(1).any(|line| is(first(line), "STLS")),
    start_tls: Command::new("STLS"),
    greets_again: false,
    leave: Command::new("QUIT"),
    read: pop3,
};

/// RFC 5804 sections 1.7 and 2.2.
pub(super) static SIEVE: Protocol = Protocol {
    name: "ManageSieve",
    offer: None,
    is_introduced: false,
    offers_tls: |lines| lines.iter().any(|line| is(first(line), "\"STARTTLS\"")),
    start_tls: Command::new("STARTTLS"),
    greets_again: true,
    leave: Command::new("LOGOUT"),
    read: sieve,
};

/// Each line of a reply has the same code, and a hyphen follows it in all but the last (RFC 5321 section 4.2).
fn smtp(_: Option<&Command>, before: &[String], line: &str) -> Option<Line> {
    let (code, rest) = line.split_at_checked(3)?;
    let class = code.bytes().next().filter(u8::is_ascii_digit)?;
    let is_code = code.bytes().all(|octet| octet.is_ascii_digit()) && (b'2'..b'6').contains(&class);
    if !is_code || !before.iter().all(|before| before.starts_with(code)) {
        return None;
    }
    match rest.bytes().next() {
        Some(b'-') => Some(Line::More),
        None | Some(b' ') => Some(if class == b'2' { Line::Yes } else { Line::No }),
        Some(_) => None,
    }
}

/// What has no tag stands before the reply proper (RFC 9051 section 7). Who greets with PREAUTH takes no STARTTLS any more, and does not
/// offer it.
fn imap(to: Option<&Command>, _: &[String], line: &str) -> Option<Line> {
    let (tag, rest) = line.split_once(' ')?;
    let status = first(rest);
    match to {
        None if tag != "*" => None,
        None if is(status, "OK") || is(status, "PREAUTH") => Some(Line::Yes),
        None if is(status, "BYE") => Some(Line::No),
        None => None,
        Some(to) if tag == "*" => {
            // It says so before it agrees to an end, too.
            Some(if is(status, "BYE") && to.word != IMAP.leave.word { Line::No } else { Line::More })
        }
        Some(to) if tag != to.tag => None,
        Some(_) if is(status, "OK") => Some(Line::Yes),
        Some(_) if is(status, "NO") || is(status, "BAD") => Some(Line::No),
        Some(_) => None,
    }
}

/// A status in one line (RFC 1939 section 3). What is offered comes in several, up to a full stop; who does not know CAPA offers nothing
/// (RFC 2449 section 5).
fn pop3(to: Option<&Command>, before: &[String], line: &str) -> Option<Line> {
    let is_list = to.is_some_and(|to| to.word == "CAPA");
    if is_list && !before.is_empty() {
        return Some(if line == "." { Line::Yes } else { Line::More });
    }
    let is_yes = is(first(line), "+OK");
    match is_yes || is(first(line), "-ERR") {
        false => None,
        true if is_list => Some(if is_yes { Line::More } else { Line::Yes }),
        true => Some(if is_yes { Line::Yes } else { Line::No }),
    }
}

/// The greeting has a capability a line, then a status (RFC 5804 sections 1.2 and 1.7).
fn sieve(to: Option<&Command>, _: &[String], line: &str) -> Option<Line> {
    match first(line) {
        _ if to.is_none() && line.starts_with('"') => Some(Line::More),
        status if is(status, "OK") => Some(Line::Yes),
        status if is(status, "NO") || is(status, "BYE") => Some(Line::No),
        _ => None,
    }
}

fn first(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}

fn is(word: &str, other: &str) -> bool {
    word.eq_ignore_ascii_case(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[&str]) -> Vec<String> {
        text.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_line_of_smtp_has_a_code_of_three_digits_and_says_whether_another_follows() {
        let read = |line| (SMTP.read)(None, &[], line);
        assert_eq!(read("220 mail.example.org ESMTP"), Some(Line::Yes));
        assert_eq!(read("250-STARTTLS"), Some(Line::More));
        assert_eq!(read("250"), Some(Line::Yes));
        assert_eq!(read("354 go on"), Some(Line::No));
        for line in
            ["", "25", "HTTP/1.1 400", "+OK", "2200 x", "220x", "999 x", "100 x", "2\u{e9}0", "+20 x", "22\u{e9}"]
        {
            assert_eq!(read(line), None, "{line}");
        }
        assert_eq!((SMTP.read)(None, &lines(&["250-a"]), "251 b"), None, "another code");
    }

    #[test]
    fn tls_is_a_word_among_the_offers_in_any_case() {
        for (protocol, offer) in [
            (&SMTP, &["250-mail.example.org", "250-SIZE 1000", "250 StartTls"][..]),
            (&IMAP, &["* OK still here", "* capability IMAP4rev2 StartTLS AUTH=PLAIN", "a OK done"]),
            (&POP3, &["+OK", "TOP", "stls", "."]),
            (&SIEVE, &["\"IMPLEMENTATION\" \"it\"", "\"StartTLS\"", "OK"]),
        ] {
            assert!((protocol.offers_tls)(&lines(offer)), "{}", protocol.name);
        }
        for (protocol, offer) in [
            (&SMTP, &["250-STARTTLS", "250-XSTARTTLS", "250-AUTH STARTTLS", "250 "][..]),
            (&IMAP, &["* OK [CAPABILITY STARTTLS] no", "* CAPABILITY IMAP4rev1 XSTARTTLS", "a OK STARTTLS"]),
            (&POP3, &["+OK STLS", "SASL STLS", "XSTLS", "."]),
            (&SIEVE, &["\"SASL\" \"STARTTLS\"", "OK \"STARTTLS\""]),
        ] {
            assert!(!(protocol.offers_tls)(&lines(offer)), "{}", protocol.name);
        }
    }

    #[test]
    fn what_has_no_tag_or_another_one_is_no_reply_of_imap() {
        let to = |command, line| (IMAP.read)(command, &[], line);
        let (offer, start_tls, leave) = (IMAP.offer.as_ref(), Some(&IMAP.start_tls), Some(&IMAP.leave));
        assert_eq!(to(None, "* PREAUTH welcome"), Some(Line::Yes));
        assert_eq!(to(None, "* BYE too many"), Some(Line::No));
        assert_eq!((to(None, "a OK"), to(None, "* CAPABILITY X"), to(None, "220 mail")), (None, None, None));
        assert_eq!(to(offer, "* CAPABILITY IMAP4rev1"), Some(Line::More));
        assert_eq!(to(offer, "* BYE going down"), Some(Line::No));
        assert_eq!((to(offer, "a OK done"), to(start_tls, "a OK done")), (Some(Line::Yes), None));
        assert_eq!((to(start_tls, "b NO not now"), to(start_tls, "b BAD")), (Some(Line::No), Some(Line::No)));
        assert_eq!((to(leave, "* BYE see you"), to(leave, "c OK")), (Some(Line::More), Some(Line::Yes)));
    }

    #[test]
    fn a_server_of_pop3_without_capa_offers_nothing() {
        let capa = POP3.offer.as_ref();
        assert_eq!((POP3.read)(capa, &[], "-ERR what?"), Some(Line::Yes));
        assert_eq!((POP3.read)(capa, &lines(&["+OK"]), "-ERR"), Some(Line::More), "a capability of that name");
        assert_eq!((POP3.read)(capa, &lines(&["+OK"]), "."), Some(Line::Yes));
        assert_eq!((POP3.read)(Some(&POP3.start_tls), &[], "-ERR not now"), Some(Line::No));
        assert_eq!((POP3.read)(None, &[], "* OK"), None);
    }
}
