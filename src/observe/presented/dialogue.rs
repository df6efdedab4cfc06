//! A conversation in the clear up to TLS, and its end, in whichever protocol. Reads no more than a server may say.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::protocol::{Command, Line, Protocol};
use super::{NotPresented, Stage};

/// Octets of a reply's line: RFC 5321 section 4.5.3.1.5 has 512, and wants more taken where that is possible; Postfix takes as many.
/// Others bound none, and their capabilities are shorter.
const LINE_MAX: usize = 2048;
/// Lines of a reply.
const LINES_MAX: usize = 100;
/// Characters of a reply that people get to see.
const TEXT_MAX: usize = 200;

/// A conversation with a server.
pub(super) struct Dialogue<S> {
    protocol: &'static Protocol,
    stream: S,
    /// What came and is not read yet.
    rest: Vec<u8>,
    /// A greeting comes that nobody asked for.
    is_greeted_again: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Dialogue<S> {
    pub(super) fn new(protocol: &'static Protocol, stream: S) -> Dialogue<S> {
        Dialogue { protocol, stream, rest: Vec::new(), is_greeted_again: false }
    }

    /// The same conversation, after TLS has begun.
    pub(super) fn over_tls(protocol: &'static Protocol, stream: S) -> Dialogue<S> {
        Dialogue { is_greeted_again: protocol.greets_again, ..Dialogue::new(protocol, stream) }
    }

    pub(super) fn into_stream(self) -> S {
        self.stream
    }

    /// Until TLS may begin.
    pub(super) async fn start_tls(&mut self, ourselves: &str, stage: &mut Stage) -> Result<(), NotPresented> {
        let Protocol { offer, start_tls, .. } = self.protocol;
        *stage = Stage::Banner;
        let mut offered = self.yes(None, *stage).await?;
        if let Some(offer) = offer {
            *stage = Stage::Offer(offer.word);
            let ourselves = if self.protocol.is_introduced { ourselves } else { "" };
            self.say(offer, ourselves).await.map_err(|error| NotPresented::Broken(*stage, error.kind()))?;
            offered = self.yes(Some(offer), *stage).await?;
        }
        if !(self.protocol.offers_tls)(&offered) {
            return Err(NotPresented::NoStartTls(start_tls.word));
        }
        *stage = Stage::StartTls(start_tls.word);
        self.say(start_tls, "").await.map_err(|error| NotPresented::Broken(*stage, error.kind()))?;
        self.yes(Some(start_tls), *stage).await?;
        if self.rest.is_empty() { Ok(()) } else { Err(NotPresented::Injected) }
    }

    /// Takes leave, waits for the answer, and closes.
    pub(super) async fn leave(mut self) -> Result<(), Error> {
        let leave = &self.protocol.leave;
        self.say(leave, "").await?;
        // Whatever it says to that.
        if !self.is_greeted_again || self.reply(None).await.is_ok() {
            let _ = self.reply(Some(leave)).await;
        }
        self.stream.shutdown().await
    }

    async fn say(&mut self, Command { tag, word }: &Command, argument: &str) -> Result<(), Error> {
        let words = [*tag, *word, argument].into_iter().filter(|word| !word.is_empty());
        let line = words.collect::<Vec<_>>().join(" ") + "\r\n";
        self.stream.write_all(line.as_bytes()).await?;
        self.stream.flush().await
    }

    /// A reply that says yes, or the greeting.
    async fn yes(&mut self, to: Option<&Command>, stage: Stage) -> Result<Vec<String>, NotPresented> {
        match self.reply(to).await {
            Ok((lines, true)) => Ok(lines),
            Ok((lines, false)) => Err(NotPresented::TurnedAway { stage, said: shown(&lines.join(" ")) }),
            Err(Fault::Broken(kind)) => Err(NotPresented::Broken(stage, kind)),
            Err(Fault::NoReply(line)) => Err(NotPresented::NotSpoken { protocol: self.protocol.name, stage, line }),
        }
    }

    /// The lines of the next reply, and whether it says yes.
    async fn reply(&mut self, to: Option<&Command>) -> Result<(Vec<String>, bool), Fault> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await?;
            let read = (self.protocol.read)(to, &lines, &line).filter(|_| lines.len() < LINES_MAX);
            let Some(read) = read else { return Err(Fault::NoReply(shown(&line))) };
            lines.push(line);
            if read != Line::More {
                return Ok((lines, read == Line::Yes));
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
