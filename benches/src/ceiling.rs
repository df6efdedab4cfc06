//! Ceilings: servers that do as little as can be done. One echoes, one finds each response ready in a table; over UDP in batches, over TCP
//! a read, a write and whatever is between. No server over the same system calls can be faster than they are.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;

use danelaw::answer::{Context, MESSAGE_MAX, Transport, answer};
use danelaw::dns::{Name, Timestamp};
use danelaw::zone::{Draft, NoIncludes, Snapshot, ZoneSnapshot, parse};
use rustix::event::epoll;
use rustix::net::sockopt;

use crate::system::{BATCH, Batch, DATAGRAM, fetch};
use crate::zones::{Set, Workload};
use crate::{Error, Result};

/// What makes responses.
pub trait Responder {
    /// Steps of looking ahead.
    const STAGES: u8;
    /// A step of it for one query: what it will need is asked for.
    fn prefetch(&self, stage: u8, query: &[u8]);
    /// Writes the response, gives its length.
    fn respond(&self, query: &[u8], out: &mut [u8]) -> usize;
}

/// Sends the query back.
pub struct Echo;

impl Responder for Echo {
    const STAGES: u8 = 0;

    fn prefetch(&self, _: u8, _: &[u8]) {}

    fn respond(&self, query: &[u8], out: &mut [u8]) -> usize {
        out[..query.len()].copy_from_slice(query);
        out[2] |= 0x80;
        query.len()
    }
}

/// Where a response is.
#[derive(Clone, Copy, Default)]
struct Slot {
    hash: u64,
    at: u32,
    /// Of the query behind its ID; 0 for an empty slot.
    key: u16,
    /// Of the response behind its ID.
    response: u16,
}

/// Every response to a workload's questions. It knows nothing else.
pub struct Table {
    slots: Vec<Slot>,
    octets: Vec<u8>,
}

fn hash(key: &[u8]) -> u64 {
    let mix = |state: u64, word: u64| {
        let wide = u128::from(state ^ word) * 0xa076_1d64_78bd_642f;
        wide as u64 ^ (wide >> 64) as u64
    };
    let (words, rest) = key.as_chunks::<8>();
    let state = words.iter().fold(key.len() as u64, |state, word| mix(state, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(state, u64::from_le_bytes(last))
}

impl Table {
    /// The responses that danelaw's answer function gives about signed zones.
    pub fn new(snapshot: &Snapshot, queries: &[Vec<u8>], now: Timestamp) -> Table {
        let responses: HashMap<&[u8], Vec<u8>> = {
            let mut out = vec![0; MESSAGE_MAX];
            let context = Context::new([127, 0, 0, 1].into(), Transport::Udp, now);
            let mut response =
                |query: &[u8]| answer(snapshot, &context, query, &mut out).map(|length| out[2..length].to_vec());
            queries.iter().filter_map(|query| Some((&query[2..], response(query)?))).collect()
        };
        let mut table =
            Table { slots: vec![Slot::default(); (2 * responses.len()).next_power_of_two()], octets: Vec::new() };
        for (key, response) in responses {
            // A line of the cache each.
            table.octets.resize(table.octets.len().next_multiple_of(64), 0);
            let slot = Slot {
                hash: hash(key),
                at: table.octets.len() as u32,
                key: key.len() as u16,
                response: response.len() as u16,
            };
            let mask = table.slots.len() - 1;
            let mut at = slot.hash as usize & mask;
            while table.slots[at].key != 0 {
                at = (at + 1) & mask;
            }
            table.slots[at] = slot;
            table.octets.extend_from_slice(key);
            table.octets.extend_from_slice(&response);
        }
        table
    }

    fn find(&self, key: &[u8]) -> Option<&[u8]> {
        let (hash, mask) = (hash(key), self.slots.len() - 1);
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            let (known, rest) = self.octets[slot.at as usize..].split_at(usize::from(slot.key));
            match slot.key {
                0 => return None,
                _ if slot.hash == hash && known == key => return Some(&rest[..usize::from(slot.response)]),
                _ => at = (at + 1) & mask,
            }
        }
    }
}

impl Responder for Table {
    const STAGES: u8 = 2;

    fn prefetch(&self, stage: u8, query: &[u8]) {
        let slot = &self.slots[hash(&query[2..]) as usize & (self.slots.len() - 1)];
        if stage == 0 {
            return fetch(slot);
        }
        let end = slot.at as usize + usize::from(slot.key) + usize::from(slot.response);
        (slot.at as usize..end).step_by(64).for_each(|at| fetch(&self.octets[at]));
    }

    fn respond(&self, query: &[u8], out: &mut [u8]) -> usize {
        let Some(response) = self.find(&query[2..]) else {
            let length = Echo.respond(query, out);
            // SERVFAIL: it is seen among the response codes.
            out[3] = 2;
            return length;
        };
        out[..2].copy_from_slice(&query[..2]);
        out[2..2 + response.len()].copy_from_slice(response);
        2 + response.len()
    }
}

/// The zones of a set as they stand in a folder of signed files.
pub fn signed_zones(set: Set, folder: &std::path::Path) -> Result<Snapshot> {
    let mut zones = Vec::new();
    for zone in set.zones() {
        let text = std::fs::read(folder.join(format!("{zone}.zone")))?;
        let wrong = |why: String| Error::new(format!("{zone}: {why}"));
        let origin: Name = zone.parse().map_err(|error| wrong(format!("{error}")))?;
        let parsed = parse(&origin, &zone, &text, &mut NoIncludes);
        let contents = parsed.contents.ok_or_else(|| wrong("a signed zone that can't be read".to_owned()))?;
        let draft = Draft::unsigned(&contents).map_err(|error| wrong(error.to_string()))?;
        let serial = draft.file_serial();
        let published = draft.finish(serial).map_err(|error| wrong(error.to_string()))?;
        zones.push(Arc::new(ZoneSnapshot::build(&published).map_err(|error| wrong(error.to_string()))?));
    }
    Ok(Snapshot::new(zones, []))
}

/// A table for a workload.
pub fn table(set: Set, workload: Workload, count: usize, folder: &std::path::Path, now: Timestamp) -> Result<Table> {
    let questions = set.questions(workload, count);
    let queries: Vec<Vec<u8>> = questions.iter().map(|question| question.query(workload != Workload::Nodo)).collect();
    Ok(Table::new(&signed_zones(set, folder)?, &queries, now))
}

/// Serves UDP until it is killed.
pub fn serve_udp<R: Responder>(responder: &R, port: u16) -> Result<()> {
    let socket = UdpSocket::bind(("127.0.0.1", port))?;
    for size in [sockopt::set_socket_recv_buffer_size, sockopt::set_socket_send_buffer_size] {
        size(&socket, 4 << 20).map_err(std::io::Error::from)?;
    }
    let (mut queries, mut responses) = (Batch::new(false), Batch::new(false));
    loop {
        let received = queries.receive(&socket, true)?;
        for stage in 0..R::STAGES {
            (0..received).for_each(|number| responder.prefetch(stage, queries.datagram(number)));
        }
        let mut count = 0;
        for number in (0..received).filter(|number| queries.datagram(*number).len() >= 12) {
            responses.put(count, |out| responder.respond(queries.datagram(number), out));
            responses.answer(count, &queries, number);
            count += 1;
        }
        responses.send(&socket, count);
    }
}

/// Octets of responses that go out together.
const TOGETHER: usize = 64 << 10;

struct Connection {
    stream: TcpStream,
    /// The beginning of a query.
    input: Vec<u8>,
    /// What the client has not taken yet.
    output: Vec<u8>,
}

/// What the connections share.
struct Buffers {
    inbox: Vec<u8>,
    outbox: Vec<u8>,
}

/// Serves TCP until it is killed.
pub fn serve_tcp<R: Responder>(responder: &R, port: u16) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(std::io::Error::from)?;
    let listening = epoll::EventData::new_u64(u64::MAX);
    epoll::add(&poll, &listener, listening, epoll::EventFlags::IN).map_err(std::io::Error::from)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events = Vec::with_capacity(128);
    let mut buffers = Buffers { inbox: vec![0; 64 << 10], outbox: vec![0; TOGETHER + DATAGRAM + 2] };
    loop {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None).map_err(std::io::Error::from)?;
        for event in &events {
            let which = event.data.u64();
            if which == u64::MAX {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let data = epoll::EventData::new_u64(connections.len() as u64);
                    // Told of changes only: what is not taken now is taken at the next.
                    let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
                    epoll::add(&poll, &stream, data, flags).map_err(std::io::Error::from)?;
                    connections.push(Some(Connection { stream, input: Vec::new(), output: Vec::new() }));
                }
            } else if let Some(place) = connections.get_mut(which as usize)
                && place.as_mut().is_some_and(|connection| !connection.run(responder, &mut buffers))
            {
                *place = None;
            }
        }
    }
}

impl Connection {
    /// False where it has ended.
    fn run<R: Responder>(&mut self, responder: &R, buffers: &mut Buffers) -> bool {
        loop {
            let waiting = std::mem::take(&mut self.output);
            if !self.send(&waiting) {
                return false;
            }
            if !self.output.is_empty() {
                return true;
            }
            let Buffers { inbox, outbox } = buffers;
            let read = match self.stream.read(inbox) {
                Ok(0) => return false,
                Ok(read) => read,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            };
            if !self.take(responder, &inbox[..read], outbox) {
                return false;
            }
            // Less than there was room for: that was all, and what comes next is told.
            if read < inbox.len() {
                return true;
            }
        }
    }

    /// What isn't taken is kept; none is out of turn.
    fn send(&mut self, mut octets: &[u8]) -> bool {
        while !octets.is_empty() && self.output.is_empty() {
            match self.stream.write(octets) {
                Ok(count) => octets = &octets[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        self.output.extend_from_slice(octets);
        true
    }

    fn take<R: Responder>(&mut self, responder: &R, read: &[u8], outbox: &mut [u8]) -> bool {
        let joined;
        let mut rest = if self.input.is_empty() {
            read
        } else {
            self.input.extend_from_slice(read);
            joined = std::mem::take(&mut self.input);
            &joined
        };
        let mut queries = [&[][..]; BATCH];
        let mut filled = 0;
        loop {
            let mut count = 0;
            while count < BATCH
                && let Some((query, after)) = framed(rest)
            {
                (queries[count], rest) = (query, after);
                count += 1;
            }
            if count == 0 {
                break;
            }
            for stage in 0..R::STAGES {
                queries[..count].iter().for_each(|query| responder.prefetch(stage, query));
            }
            for query in &queries[..count] {
                if filled > TOGETHER {
                    if !self.send(&outbox[..filled]) {
                        return false;
                    }
                    filled = 0;
                }
                let length = responder.respond(query, &mut outbox[filled + 2..]);
                outbox[filled..filled + 2].copy_from_slice(&(length as u16).to_be_bytes());
                filled += 2 + length;
            }
        }
        self.input = rest.to_vec();
        self.send(&outbox[..filled])
    }
}

/// The first message of a stream (RFC 1035 section 4.2.2), and what follows it; none where it isn't whole.
pub fn framed(stream: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = stream.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}
