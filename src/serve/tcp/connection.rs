//! One client's conversation over TCP: whole queries out of what has arrived, their responses in order, all of a wakeup in one piece.
//!
//! What the client doesn't take waits here, and nothing more is read from it until it has: so it holds a bounded amount of memory. A
//! response that is too long for one message (a transfer) is made in [`Connection::drain`], a message each time that all before it is
//! gone.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::mailbox::Address;
use crate::serve::clients::Place;
use crate::serve::counters::Tally;
use crate::serve::stream::{LENGTH, first_query};
use crate::serve::transfers::Outgoing;
use crate::serve::{Answerer, MAX_MESSAGE, TcpLimits, Transport, guarded};

/// Octets read at once.
const READ: usize = 16 << 10;
/// Octets of responses that go out together.
const TOGETHER: usize = 64 << 10;
/// Octets of queries, of several connections, that are answered together; one connection's may exceed it.
const GATHERED: usize = 64 << 10;
/// Queries of a connection whose memory is asked for before they are answered.
const AHEAD: usize = 64;
/// Messages of a transfer that are sent before others have their turn.
const MESSAGES: usize = 4;
/// A connection keeps room for so many octets of a query's beginning.
const KEPT: usize = 1024;

/// What the connections of one thread share.
pub(super) struct Buffers {
    /// What has arrived on one connection after the other.
    inbox: Vec<u8>,
    filled: usize,
    /// Responses of one connection.
    outbox: Vec<u8>,
    query_size: usize,
}

/// A connection's part of the inbox.
pub(super) struct Arrived {
    part: Range<usize>,
    /// It had to wait until its client took what was answered before.
    resumed: bool,
    /// It begins with a query of which nothing was there before.
    fresh: bool,
}

impl Buffers {
    pub(super) fn new(query_size: usize) -> Buffers {
        Buffers {
            inbox: vec![0; GATHERED + LENGTH + MAX_MESSAGE + READ],
            filled: 0,
            outbox: vec![0; TOGETHER + LENGTH + MAX_MESSAGE],
            query_size,
        }
    }

    /// Whether what was gathered has to be answered before more is.
    pub(super) fn is_full(&self) -> bool {
        self.filled >= GATHERED
    }

    /// What was gathered is answered.
    pub(super) fn clear(&mut self) {
        self.filled = 0;
    }

    /// The whole queries of a connection's part, a few of them.
    pub(super) fn queries(&self, arrived: &Arrived) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.inbox[arrived.part.clone()];
        std::iter::from_fn(move || {
            let query = first_query(rest, self.query_size).ok()??;
            rest = &rest[LENGTH + query.len()..];
            Some(query)
        })
        .take(AHEAD)
    }
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    /// Its client's next octets.
    Queries,
    /// That its client takes what was answered.
    Room,
    /// A response that comes later.
    Answer,
}

/// A client's connection.
pub(super) struct Connection {
    stream: Arc<TcpStream>,
    peer: SocketAddr,
    place: Place,
    /// What has arrived and isn't answered: the beginning of a query, or more when the client takes no answers.
    input: Vec<u8>,
    /// What the client has not taken yet.
    output: Vec<u8>,
    /// The rest of a response that is too long for one message.
    rest: Option<Box<Outgoing>>,
    /// Where responses come that come later.
    address: Address,
    /// The letter that brings the one it waits for.
    awaited: Option<u64>,
    /// The client sends nothing more; it may still listen.
    ended: bool,
    /// What its owner has asked to be told of.
    pub(super) watched: Wants,
    /// Since when it waits: for a query, the rest of one, or for room.
    since: Instant,
}

impl Connection {
    pub(super) fn new(
        stream: Arc<TcpStream>,
        peer: SocketAddr,
        place: Place,
        address: Address,
        now: Instant,
    ) -> Connection {
        Connection {
            stream,
            peer,
            place,
            input: Vec::new(),
            output: Vec::new(),
            rest: None,
            address,
            awaited: None,
            ended: false,
            watched: Wants::Queries,
            since: now,
        }
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn wants(&self) -> Wants {
        match self.awaited {
            _ if !self.output.is_empty() || self.rest.is_some() => Wants::Room,
            Some(_) => Wants::Answer,
            None => Wants::Queries,
        }
    }

    /// RFC 7766 section 6.2.3, and limits against who sends or takes too slowly.
    pub(super) fn is_too_slow(&self, limits: &TcpLimits, now: Instant) -> bool {
        let limit = match (self.wants(), self.input.is_empty()) {
            (Wants::Room, _) => limits.send,
            (Wants::Queries, true) | (Wants::Answer, _) => limits.idle,
            (Wants::Queries, false) => limits.receive,
        };
        now.saturating_duration_since(self.since) >= limit
    }

    /// Octets kept for the client.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.input.capacity() + self.output.capacity()
    }

    /// Puts into the inbox what was left over and what has come since; none while the client doesn't take what was answered. The buffers
    /// must not be full.
    pub(super) fn gather(&mut self, buffers: &mut Buffers, now: Instant) -> io::Result<Option<Arrived>> {
        let resumed = self.wants() == Wants::Room;
        if self.wants() == Wants::Answer {
            // All that is told then is that the client has gone.
            return Err(ErrorKind::ConnectionReset.into());
        }
        if !self.drain(&mut buffers.outbox, now)? {
            return Ok(None);
        }
        let fresh = self.input.is_empty();
        let begin = buffers.filled;
        buffers.filled += self.receive(&mut buffers.inbox[begin..], buffers.query_size)?;
        Ok(Some(Arrived { part: begin..buffers.filled, resumed, fresh }))
    }

    /// Answers what has arrived. False: the conversation is over.
    pub(super) fn answer(
        &mut self,
        arrived: &Arrived,
        buffers: &mut Buffers,
        view: &dyn Answerer,
        tally: &Tally,
        now: Instant,
    ) -> io::Result<bool> {
        let Buffers { inbox, outbox, query_size, .. } = buffers;
        let octets = &inbox[arrived.part.clone()];
        if matches!(first_query(octets, *query_size), Ok(Some(_))) {
            // Before its client hears from us: what it does then may need somebody's place.
            self.place.heard_at(now);
        }
        let answered = self.answer_all(octets, outbox, *query_size, view, tally)?;
        // A query's beginning that only grew has been waited for since before.
        if answered > 0 || arrived.resumed || (arrived.fresh && !self.input.is_empty()) {
            self.since = now;
        }
        Ok(!self.ended || self.wants() != Wants::Queries)
    }

    /// Takes the response that it has waited for. False: it waits for another one, or none.
    pub(super) fn take_letter(&mut self, letter: u64, response: &[u8], now: Instant) -> io::Result<bool> {
        if self.awaited != Some(letter) {
            return Ok(false);
        }
        self.awaited = None;
        self.since = now;
        self.place.heard_at(now);
        // It fits: a response has at most MAX_MESSAGE octets.
        self.send_or_keep(&[&(response.len() as u16).to_be_bytes(), response].concat())?;
        Ok(true)
    }

    /// Sends what waits; whether all of it is gone.
    fn drain(&mut self, outbox: &mut [u8], now: Instant) -> io::Result<bool> {
        self.send_output()?;
        let mut messages = 0;
        while self.output.is_empty() && messages < MESSAGES {
            let Some(rest) = &mut self.rest else { break };
            // A client that takes message after message is not silent, and not too slow.
            self.since = now;
            self.place.heard_at(now);
            let Some(length) = rest.next_message(&mut outbox[LENGTH..LENGTH + MAX_MESSAGE]) else {
                return Err(ErrorKind::InvalidData.into());
            };
            if rest.is_done() {
                self.rest = None;
            }
            // It fits: a message has at most MAX_MESSAGE octets.
            outbox[..LENGTH].copy_from_slice(&(length as u16).to_be_bytes());
            self.send_or_keep(&outbox[..LENGTH + length])?;
            messages += 1;
        }
        Ok(self.wants() == Wants::Queries)
    }

    fn send_output(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            let sent = send(&self.stream, &self.output)?;
            self.output.drain(..sent);
            if self.output.is_empty() {
                self.output = Vec::new();
            }
        }
        Ok(())
    }

    /// Writes what was left over and what has come since; gives the number of octets.
    fn receive(&mut self, inbox: &mut [u8], query_size: usize) -> io::Result<usize> {
        let held = self.input.len();
        inbox[..held].copy_from_slice(&self.input);
        // Where more than a part of one query is held, that comes first; else there is room.
        if self.ended || !matches!(first_query(&self.input, query_size), Ok(None)) {
            return Ok(held);
        }
        match (&*self.stream).read(&mut inbox[held..held + READ]) {
            Ok(0) => {
                self.ended = true;
                Ok(held)
            }
            Ok(received) => Ok(held + received),
            Err(error) if is_later(&error) => Ok(held),
            Err(error) => Err(error),
        }
    }

    /// Answers the whole queries at the beginning, until the client takes no more. Gives their number.
    fn answer_all(
        &mut self,
        octets: &[u8],
        outbox: &mut [u8],
        query_size: usize,
        view: &dyn Answerer,
        tally: &Tally,
    ) -> io::Result<usize> {
        let mut rest = octets;
        let (mut filled, mut answered) = (0, 0);
        let broken = loop {
            let query = match first_query(rest, query_size) {
                Ok(Some(query)) => query,
                Ok(None) => break None,
                Err(error) => break Some(error),
            };
            rest = &rest[LENGTH + query.len()..];
            answered += 1;
            let out = &mut outbox[filled + LENGTH..filled + LENGTH + MAX_MESSAGE];
            let reply = guarded(view, self.peer, Transport::Tcp, query, out);
            tally.note(Transport::Tcp, &self.peer, query, &reply, out);
            if let Some(length) = reply.length {
                // It fits: a response has at most MAX_MESSAGE octets.
                outbox[filled..filled + LENGTH].copy_from_slice(&(length as u16).to_be_bytes());
                filled += LENGTH + length;
            }
            self.rest = reply.more;
            if let Some(later) = reply.later {
                let (letter, respond) = self.address.letter();
                self.awaited = Some(letter);
                later.by(respond);
            }
            if filled >= TOGETHER || self.rest.is_some() || self.awaited.is_some() {
                self.send_or_keep(&outbox[..filled])?;
                filled = 0;
                if self.wants() != Wants::Queries {
                    break None;
                }
            }
        };
        if filled > 0 {
            self.send_or_keep(&outbox[..filled])?;
        }
        self.keep(rest);
        broken.map_or(Ok(answered), Err)
    }

    fn send_or_keep(&mut self, responses: &[u8]) -> io::Result<()> {
        let sent = send(&self.stream, responses)?;
        self.output.extend_from_slice(&responses[sent..]);
        Ok(())
    }

    /// Holds what is not answered; more room than a little only as long as it is needed.
    fn keep(&mut self, rest: &[u8]) {
        if self.input.capacity() > KEPT {
            self.input = Vec::new();
        }
        self.input.clear();
        self.input.extend_from_slice(rest);
    }
}

/// How many of the octets the client takes now.
fn send(mut stream: &TcpStream, octets: &[u8]) -> io::Result<usize> {
    match stream.write(octets) {
        Err(error) if is_later(&error) => Ok(0),
        sent => sent,
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
