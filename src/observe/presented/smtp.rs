//! SMTP up to STARTTLS, and its end (RFC 5321, RFC 3207). Reads no more than a server may say.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{NotPresented, Stage};

/// Octets of a reply's line: RFC 5321 section 4.5.3.1.5 has 512, and wants more taken where that is possible; Postfix takes as many.
const LINE_MAX: usize = 2048;
/// Lines of a reply.
const LINES_MAX: usize = 100;
/// Characters of a reply that people get to see.
const TEXT_MAX: usize = 200;

/// A server's reply (RFC 5321 section 4.2).
#[derive(Debug)]
struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Reply {
    fn is_yes(&self) -> bool {
        self.code / 100 == 2
    }

    /// Whether an EHLO keyword is offered; the first line only greets (RFC 5321 section 4.1.1.1).
    fn offers(&self, keyword: &str) -> bool {
        let word =
            |line: &String| line.split_ascii_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case(keyword));
        self.lines.iter().skip(1).any(word)
    }

    fn turned_away(self, stage: Stage) -> NotPresented {
        NotPresented::TurnedAway { stage, code: self.code, text: shown(&self.lines.join(" ")) }
    }
}

/// A conversation with a server.
pub(super) struct Dialogue<S> {
    stream: S,
    /// What came and is not read yet.
    rest: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Dialogue<S> {
    pub(super) fn new(stream: S) -> Dialogue<S> {
        Dialogue { stream, rest: Vec::new() }
    }

    pub(super) fn into_stream(self) -> S {
        self.stream
    }

    /// Until TLS may begin.
    pub(super) async fn start_tls(&mut self, ourselves: &str, stage: &mut Stage) -> Result<(), NotPresented> {
        *stage = Stage::Banner;
        self.reply_to(*stage).await?;
        *stage = Stage::Ehlo;
        self.say(&format!("EHLO {ourselves}\r\n"), *stage).await?;
        if !self.reply_to(*stage).await?.offers("STARTTLS") {
            return Err(NotPresented::NoStartTls);
        }
        *stage = Stage::StartTls;
        self.say("STARTTLS\r\n", *stage).await?;
        self.reply_to(*stage).await?;
        if self.rest.is_empty() { Ok(()) } else { Err(NotPresented::Injected) }
    }

    /// Takes leave, waits for the answer, and closes.
    pub(super) async fn quit(mut self) -> Result<(), Error> {
        self.stream.write_all(b"QUIT\r\n").await?;
        self.stream.flush().await?;
        // Whatever it says to that.
        let _ = self.reply().await;
        self.stream.shutdown().await
    }

    async fn say(&mut self, line: &str, stage: Stage) -> Result<(), NotPresented> {
        self.stream.write_all(line.as_bytes()).await.map_err(|error| NotPresented::Broken(stage, error.kind()))
    }

    /// A reply that says yes.
    async fn reply_to(&mut self, stage: Stage) -> Result<Reply, NotPresented> {
        let reply = self.reply().await.map_err(|fault| match fault {
            Fault::Broken(kind) => NotPresented::Broken(stage, kind),
            Fault::NoReply(line) => NotPresented::NotSmtp(stage, line),
        })?;
        if reply.is_yes() { Ok(reply) } else { Err(reply.turned_away(stage)) }
    }

    /// The next reply. Each of its lines has the same code; a hyphen follows it in all but the last.
    async fn reply(&mut self) -> Result<Reply, Fault> {
        let mut reply = Reply { code: 0, lines: Vec::new() };
        loop {
            let line = self.line().await?;
            let parsed = parse(&line).filter(|(code, ..)| reply.lines.is_empty() || *code == reply.code);
            let Some((code, more, text)) = parsed.filter(|_| reply.lines.len() < LINES_MAX) else {
                return Err(Fault::NoReply(shown(&line)));
            };
            reply.code = code;
            reply.lines.push(text.to_owned());
            if !more {
                return Ok(reply);
            }
        }
    }

    async fn line(&mut self) -> Result<String, Fault> {
        loop {
            if let Some(end) = self.rest.iter().take(LINE_MAX).position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned());
            }
            if self.rest.len() >= LINE_MAX {
                return Err(Fault::NoReply(shown(&String::from_utf8_lossy(&self.rest))));
            }
            let mut octets = [0; LINE_MAX];
            match self.stream.read(&mut octets).await {
                Ok(0) => return Err(Fault::Broken(ErrorKind::UnexpectedEof)),
                Ok(length) => self.rest.extend_from_slice(&octets[..length]),
                Err(error) => return Err(Fault::Broken(error.kind())),
            }
        }
    }
}

/// Why there is no reply.
enum Fault {
    Broken(ErrorKind),
    /// This stands where a reply should.
    NoReply(String),
}

/// A line's code, whether another one follows, and its text.
fn parse(line: &str) -> Option<(u16, bool, &str)> {
    let (digits, rest) = line.split_at_checked(3)?;
    let code = Some(digits).filter(|digits| digits.bytes().all(|octet| octet.is_ascii_digit()))?.parse().ok()?;
    if !(200..600).contains(&code) {
        return None;
    }
    match rest.split_at_checked(1) {
        None => Some((code, false, "")),
        Some(("-", text)) => Some((code, true, text)),
        Some((" ", text)) => Some((code, false, text)),
        Some(_) => None,
    }
}

/// As people may see it: short, and harmless on a terminal.
fn shown(text: &str) -> String {
    text.chars().take(TEXT_MAX).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Who we are: the machine's name where that is a whole one, else the address (RFC 5321 section 4.1.4).
pub(super) fn ourselves(address: Option<SocketAddr>) -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let is_whole = name.contains('.') && !name.contains("..") && !name.starts_with('.');
    let fits = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.');
    match address.map(|address| address.ip().to_canonical()) {
        Some(IpAddr::V4(address)) if !(is_whole && name.bytes().all(fits)) => format!("[{address}]"),
        Some(IpAddr::V6(address)) if !(is_whole && name.bytes().all(fits)) => format!("[IPv6:{address}]"),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_code_of_three_digits_and_says_whether_another_follows() {
        assert_eq!(parse("220 mail.example.org ESMTP"), Some((220, false, "mail.example.org ESMTP")));
        assert_eq!(parse("250-STARTTLS"), Some((250, true, "STARTTLS")));
        assert_eq!(parse("250"), Some((250, false, "")));
        for line in
            ["", "25", "HTTP/1.1 400", "+OK", "2200 x", "220x", "999 x", "100 x", "2\u{e9}0", "+20 x", "22\u{e9}"]
        {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn starttls_is_a_keyword_in_any_case_and_not_the_greeting() {
        let offers = |lines: &[&str]| {
            let lines = lines.iter().map(ToString::to_string).collect();
            Reply { code: 250, lines }.offers("STARTTLS")
        };
        assert!(offers(&["mail.example.org", "SIZE 1000", "StartTls"]));
        assert!(!offers(&["STARTTLS", "XSTARTTLS", "AUTH STARTTLS", ""]));
    }

    #[test]
    fn who_has_no_whole_name_says_where_he_is() {
        for (address, literal) in [
            ("192.0.2.1:9", "[192.0.2.1]"),
            ("[2001:db8::1]:9", "[IPv6:2001:db8::1]"),
            ("[::ffff:192.0.2.1]:9", "[192.0.2.1]"),
        ] {
            let said = ourselves(address.parse().ok());
            assert!(said == literal || said.contains('.') && said.bytes().all(|octet| octet != b'['), "{said}");
        }
    }
}
