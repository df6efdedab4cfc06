//! Load: as many queries under way as the window holds, over UDP in batches, over TCP on kept connections. One thread, loopback only.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use rustix::event::epoll;

use crate::ceiling::framed;
use crate::system::{BATCH, Batch};
use crate::{Error, Result};

/// A query without an answer for so long, on a socket that is silent, is lost.
const LOST: Duration = Duration::from_millis(200);
/// How long it waits for the last answers.
const LAST: Duration = Duration::from_millis(500);

/// How to ask.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Of 127.0.0.1.
    pub port: u16,
    /// Over TCP.
    pub tcp: bool,
    /// Sockets or connections.
    pub sockets: usize,
    /// Queries under way, in all.
    pub window: usize,
    /// How long.
    pub time: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Queries sent.
    pub sent: u64,
    /// Answers received.
    pub answered: u64,
    /// Queries without one.
    pub lost: u64,
    /// Octets of the answers.
    pub octets: u64,
    /// The sum of their times.
    pub latency: Duration,
    /// How many of each response code.
    pub rcodes: [u64; 16],
    /// With TC.
    pub truncated: u64,
    /// Connections that the server ended.
    pub ended: u64,
    /// From the first query to the last answer.
    pub time: Duration,
}

impl Outcome {
    fn note(&mut self, answer: &[u8], waited: Duration) {
        self.answered += 1;
        self.octets += answer.len() as u64;
        self.latency += waited;
        self.rcodes[usize::from(answer[3] & 15)] += 1;
        self.truncated += u64::from(answer[2] >> 1 & 1);
    }
}

/// The queries under way of one socket, by the low bits of their IDs.
struct Window {
    sent: Vec<Option<(u16, Instant)>>,
    outstanding: usize,
    next: u16,
    heard: Instant,
}

impl Window {
    fn new(share: usize) -> Window {
        let size = (8 * share).next_power_of_two().min(1 << 16);
        Window { sent: vec![None; size], outstanding: 0, next: 0, heard: Instant::now() }
    }

    fn slot(&mut self, id: u16) -> &mut Option<(u16, Instant)> {
        let mask = self.sent.len() - 1;
        &mut self.sent[usize::from(id) & mask]
    }

    fn begin(&mut self, now: Instant, outcome: &mut Outcome) -> [u8; 2] {
        let id = self.next;
        if self.slot(id).replace((id, now)).is_some() {
            self.outstanding -= 1;
            outcome.lost += 1;
        }
        self.next = id.wrapping_add(1);
        self.heard = if self.outstanding == 0 { now } else { self.heard };
        self.outstanding += 1;
        outcome.sent += 1;
        id.to_be_bytes()
    }

    fn end(&mut self, answer: &[u8], now: Instant, outcome: &mut Outcome) {
        self.heard = now;
        let Some(id) = answer.first_chunk::<2>().filter(|_| answer.len() >= 12) else { return };
        let id = u16::from_be_bytes(*id);
        if let Some((_, sent)) = self.slot(id).take_if(|(known, _)| *known == id) {
            self.outstanding -= 1;
            outcome.note(answer, now.saturating_duration_since(sent));
        }
    }

    fn give_up(&mut self, outcome: &mut Outcome) {
        outcome.lost += self.outstanding as u64;
        self.outstanding = 0;
        self.sent.fill(None);
    }
}

/// The queries, again and again.
struct Queries<'a> {
    all: &'a [Vec<u8>],
    at: usize,
}

impl<'a> Queries<'a> {
    fn next(&mut self) -> &'a [u8] {
        let query = &self.all[self.at];
        self.at = if self.at + 1 == self.all.len() { 0 } else { self.at + 1 };
        query
    }
}

/// Asks `queries` in turn, from the `first` on.
pub fn run(load: &Load, queries: &[Vec<u8>], first: usize) -> Result<Outcome> {
    if queries.is_empty() || load.sockets == 0 || load.window < load.sockets {
        return Err(Error::new("queries, sockets and at least one query for each socket are needed"));
    }
    let queries = Queries { all: queries, at: first % queries.len() };
    let begun = Instant::now();
    let mut outcome = if load.tcp { tcp(load, queries)? } else { udp(load, queries)? };
    outcome.time = begun.elapsed().min(load.time);
    if outcome.answered == 0 {
        return Err(Error::new(format!("no answer from port {}", load.port)));
    }
    Ok(outcome)
}

fn udp(load: &Load, mut queries: Queries<'_>) -> Result<Outcome> {
    let (share, end) = (load.window / load.sockets, Instant::now() + load.time);
    let mut sockets = Vec::new();
    for _ in 0..load.sockets {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(("127.0.0.1", load.port))?;
        sockets.push((socket, Window::new(share)));
    }
    let (mut answers, mut batch) = (Batch::new(true), Batch::new(true));
    let mut outcome = Outcome::default();
    loop {
        let now = Instant::now();
        if now >= end && (sockets.iter().all(|(_, window)| window.outstanding == 0) || now > end + LAST) {
            break;
        }
        for (socket, window) in &mut sockets {
            // An error is that of a datagram before, or that there is none.
            let received = answers.receive(socket, false).unwrap_or(0);
            (0..received).for_each(|number| window.end(answers.datagram(number), now, &mut outcome));
            if window.outstanding > 0 && now.saturating_duration_since(window.heard) > LOST {
                window.give_up(&mut outcome);
            }
            let room = if now < end { (share - window.outstanding).min(BATCH) } else { 0 };
            for number in 0..room {
                let id = window.begin(now, &mut outcome);
                batch.put(number, |out| {
                    let query = queries.next();
                    out[..query.len()].copy_from_slice(query);
                    out[..2].copy_from_slice(&id);
                    query.len()
                });
            }
            if room > 0 {
                batch.send(socket, room);
            }
        }
    }
    sockets.iter_mut().for_each(|(_, window)| window.give_up(&mut outcome));
    Ok(outcome)
}

struct Connection {
    stream: TcpStream,
    window: Window,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Connection {
    fn open(port: u16, share: usize) -> Result<Connection> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Connection { stream, window: Window::new(share), input: Vec::new(), output: Vec::new() })
    }

    fn fill(&mut self, share: usize, queries: &mut Queries<'_>, now: Instant, outcome: &mut Outcome) {
        while self.window.outstanding < share {
            let (id, query) = (self.window.begin(now, outcome), queries.next());
            self.output.extend_from_slice(&(query.len() as u16).to_be_bytes());
            self.output.extend_from_slice(&id);
            self.output.extend_from_slice(&query[2..]);
        }
    }

    /// False where the server has ended it.
    fn flush(&mut self) -> bool {
        let mut written = 0;
        while written < self.output.len() {
            match self.stream.write(&self.output[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        self.output.drain(..written);
        true
    }

    /// Takes all that has arrived. False likewise.
    fn read(&mut self, inbox: &mut [u8], now: Instant, outcome: &mut Outcome) -> bool {
        let mut read = inbox.len();
        while read == inbox.len() {
            read = match self.stream.read(inbox) {
                Ok(0) => return false,
                Ok(read) => read,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            };
            self.take(&inbox[..read], now, outcome);
        }
        true
    }

    fn take(&mut self, read: &[u8], now: Instant, outcome: &mut Outcome) {
        self.input.extend_from_slice(read);
        let mut rest = &self.input[..];
        while let Some((answer, after)) = framed(rest) {
            self.window.end(answer, now, outcome);
            rest = after;
        }
        let used = self.input.len() - rest.len();
        self.input.drain(..used);
    }
}

fn tcp(load: &Load, mut queries: Queries<'_>) -> Result<Outcome> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(std::io::Error::from)?;
    let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
    let share = load.window / load.sockets;
    let mut connections = Vec::new();
    for number in 0..load.sockets {
        let connection = Connection::open(load.port, share)?;
        epoll::add(&poll, &connection.stream, epoll::EventData::new_u64(number as u64), flags)
            .map_err(std::io::Error::from)?;
        connections.push(connection);
    }
    let end = Instant::now() + load.time;
    let mut outcome = Outcome::default();
    let mut events = Vec::with_capacity(load.sockets);
    let mut inbox = vec![0; 256 << 10];
    let wait = rustix::event::Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
    loop {
        let now = Instant::now();
        if now >= end && (connections.iter().all(|one| one.window.outstanding == 0) || now > end + LAST) {
            break;
        }
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&wait)).map_err(std::io::Error::from)?;
        let now = Instant::now();
        for event in &events {
            let number = event.data.u64() as usize;
            let connection = &mut connections[number];
            let alive = connection.read(&mut inbox, now, &mut outcome);
            if now < end {
                connection.fill(share, &mut queries, now, &mut outcome);
            }
            if alive && connection.flush() {
                continue;
            }
            connection.window.give_up(&mut outcome);
            outcome.ended += 1;
            if now < end {
                *connection = Connection::open(load.port, share)?;
                epoll::add(&poll, &connection.stream, epoll::EventData::new_u64(number as u64), flags)
                    .map_err(std::io::Error::from)?;
            }
        }
    }
    connections.iter_mut().for_each(|one| one.window.give_up(&mut outcome));
    Ok(outcome)
}
