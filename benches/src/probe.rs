//! Asks a server until its answers are right, or once to see whether they are. Right: AA, the expected response code, and with DO
//! the signatures of what has to be there. Signatures are not verified here.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use danelaw::dns::{Name, Rtype};

use crate::zones::{Expected, Question, Set, Workload};
use crate::{Error, Result};

/// Questions that tell whether a server is ready, all over its zones.
pub const PROBES: usize = 200;
const PAUSE: Duration = Duration::from_micros(200);

/// The records of one section: type and RDATA as it stands in the message.
type Section = Vec<(u16, Vec<u8>)>;

/// RDATA of one type.
pub type Rdatas = BTreeSet<Vec<u8>>;

/// What a response holds.
struct Response {
    flags: u16,
    answer: Section,
    authority: Section,
}

fn u16_at(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*message.get(at..)?.first_chunk()?))
}

fn after_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if length >= 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

impl Response {
    fn read(message: &[u8]) -> Option<Response> {
        let mut at = after_name(message, 12)? + 4;
        let mut section = |count_at: usize| -> Option<Section> {
            let mut records = Vec::new();
            for _ in 0..u16_at(message, count_at)? {
                at = after_name(message, at)?;
                let end = at + 10 + usize::from(u16_at(message, at + 8)?);
                records.push((u16_at(message, at)?, message.get(at + 10..end)?.to_vec()));
                at = end;
            }
            Some(records)
        };
        Some(Response { flags: u16_at(message, 2)?, answer: section(6)?, authority: section(8)? })
    }
}

fn is_signed(section: &Section, rtype: Rtype) -> bool {
    let covers = |rdata: &[u8]| u16_at(rdata, 0) == Some(rtype.0);
    section.iter().any(|(is, _)| *is == rtype.0)
        && section.iter().any(|(is, rdata)| *is == Rtype::RRSIG.0 && covers(rdata))
}

/// Why a response to a question with DO is wrong.
fn wrong(message: &[u8], question: &Question) -> Option<&'static str> {
    let Some(Response { flags, answer, authority }) = Response::read(message) else { return Some("malformed") };
    let rcode = if question.expected == Expected::NxDomain { 3 } else { 0 };
    if flags & 15 != rcode {
        return Some("another response code");
    }
    if flags & 0x0400 == 0 || flags & 0x0200 != 0 {
        return Some("without AA, or with TC");
    }
    match question.expected {
        Expected::Answer if !is_signed(&answer, question.rtype) => Some("no answer, or no signature"),
        Expected::NxDomain | Expected::NoData if !answer.is_empty() => Some("an answer"),
        Expected::NxDomain | Expected::NoData if !is_signed(&authority, Rtype::SOA) => Some("no signed SOA"),
        Expected::NxDomain | Expected::NoData if !is_signed(&authority, Rtype::NSEC) => Some("no signed NSEC"),
        _ => None,
    }
}

/// A client of one server.
pub struct Probe {
    socket: UdpSocket,
    port: u16,
    next: u16,
}

impl Probe {
    /// Of 127.0.0.1.
    pub fn new(port: u16) -> Result<Probe> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(("127.0.0.1", port))?;
        Ok(Probe { socket, port, next: 0 })
    }

    fn ask(&mut self, question: &Question, wait: Duration) -> Option<Vec<u8>> {
        self.next = self.next.wrapping_add(1);
        let mut query = question.query(true);
        query[..2].copy_from_slice(&self.next.to_be_bytes());
        self.socket.set_read_timeout(Some(wait)).ok()?;
        self.socket.send(&query).ok()?;
        let mut message = vec![0; 65_535];
        let begun = Instant::now();
        while begun.elapsed() < wait {
            let length = self.socket.recv(&mut message).ok()?;
            if length >= 12 && message[..2] == query[..2] {
                message.truncate(length);
                return Some(message);
            }
        }
        None
    }

    fn ask_tcp(&self, question: &Question) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let query = question.query(true);
        stream.write_all(&[&(query.len() as u16).to_be_bytes()[..], &query].concat())?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut message)?;
        Ok(message)
    }

    /// Waits until all of the set's questions are answered rightly; gives when the first was, and when all were. `alive` says whether
    /// there is anything to wait for.
    pub fn ready(
        &mut self,
        set: Set,
        patience: Duration,
        mut alive: impl FnMut() -> Result<()>,
    ) -> Result<(Instant, Instant)> {
        let begun = Instant::now();
        let mut first = None;
        for question in set.questions(Workload::Mix, PROBES) {
            let mut wait = Duration::from_millis(5);
            loop {
                let why = match self.ask(&question, wait) {
                    Some(message) => wrong(&message, &question),
                    None => Some("no answer"),
                };
                let Some(why) = why else { break };
                alive()?;
                if begun.elapsed() > patience {
                    return Err(Error::new(format!("not ready: {} {}: {why}", question.name, question.rtype)));
                }
                // What is slow to answer is waited for longer.
                wait = if why == "no answer" { (wait * 2).min(Duration::from_secs(1)) } else { wait };
                std::thread::sleep(PAUSE);
            }
            first.get_or_insert_with(Instant::now);
        }
        let all = Instant::now();
        Ok((first.unwrap_or(all), all))
    }

    /// The first of the set's questions that is answered wrongly over TCP.
    pub fn check_tcp(&self, set: Set) -> Result<()> {
        for question in set.questions(Workload::Mix, PROBES) {
            if let Some(why) = wrong(&self.ask_tcp(&question)?, &question) {
                return Err(Error::new(format!("{} {} over TCP: {why}", question.name, question.rtype)));
            }
        }
        Ok(())
    }

    /// The records of a type, and their signatures.
    pub fn records(&mut self, name: &str, rtype: Rtype) -> Option<(Rdatas, Rdatas)> {
        let question = Question { name: name.to_owned(), rtype, expected: Expected::Answer };
        let message = self.ask(&question, Duration::from_millis(50))?;
        let answer = Response::read(&message)?.answer;
        let of = |wanted: Rtype| answer.iter().filter(move |(is, _)| *is == wanted.0).map(|(_, rdata)| rdata.clone());
        Some((of(rtype).collect(), of(Rtype::RRSIG).collect()))
    }
}

/// A name that has to be one.
pub fn name(text: &str) -> Result<Name> {
    Name::parse(text, Some(&Name::root())).map_err(|error| Error::new(format!("{text}: {error}")))
}
