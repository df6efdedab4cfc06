//! Asks a primary which version of a zone it has, and takes the zone in where that is a newer one: SOA, IXFR and AXFR over one TCP
//! connection, signed where a key is named (RFC 1995, RFC 5936, RFC 8945).
//!
//! What to look at comes in as orders; what came of it goes out as news. When to look again is decided elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::warn;

use crate::dns::header::AA;
use crate::dns::question::is_response;
use crate::dns::tsig::{Key, Responses, Untrusted, sign_request};
use crate::dns::{Name, Question, Rtype, Timestamp};
use crate::transfer::incoming::{Fault, Incoming, Received};
use crate::transfer::refresh::{Check, TRANSFER};
use crate::zone::{Contents, serial};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long the next message may take.
const MESSAGE: Duration = Duration::from_secs(30);
/// How long all of it may take.
const ALL: Duration = Duration::from_secs(TRANSFER - 300);
/// So many octets of a zone are taken: what its file could have.
const ZONE_MAX: u64 = 1 << 30;
/// Room for a request's signature.
const SIGNATURE: usize = 1024;

/// What is to be looked at.
#[derive(Clone, Debug)]
pub struct Order {
    /// Which zone, and what the news carry.
    pub check: Check,
    /// Whom to ask.
    pub primary: SocketAddr,
    /// The key to sign with.
    pub key: Option<Arc<Key>>,
    /// The version that we have.
    pub ours: Option<Contents>,
}

/// What came of an order.
#[derive(Debug)]
pub struct News {
    /// The order's.
    pub check: Check,
    /// What came.
    pub said: Said,
}

/// What a primary has.
#[derive(Debug)]
pub enum Said {
    /// A newer version, which comes in now: its serial.
    Newer(u32),
    /// The version that we have.
    Same,
    /// This.
    New {
        /// The zone.
        contents: Contents,
        /// Whether it came whole.
        whole: bool,
        /// In so many octets.
        octets: u64,
    },
    /// Nothing that helps: why, and what to do.
    Nothing(String),
}

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("can't be reached: {0} (is it running, and does it answer over TCP?)")]
    Unreachable(std::io::Error),
    #[error("the connection broke: {0}")]
    Broken(#[from] std::io::Error),
    #[error("nothing came for {} s", .0.as_secs())]
    Slow(Duration),
    #[error("{0} (are key and secret the same on both sides, and the clocks right?)")]
    Untrusted(#[from] Untrusted),
    #[error("the question for the SOA: {0} (does it have the zone, and may this server ask?)")]
    Soa(Fault),
    #[error("it is not authoritative for the zone (does it have it, and has it expired there?)")]
    NotAuthoritative,
    #[error("its serial, {0}, is before ours, {1} (raise it there)")]
    Behind(u32, u32),
    #[error("the transfer is refused with response code {0} (may this server transfer the zone?)")]
    Refused(u8),
    #[error("the transfer: {0}")]
    Transfer(Fault),
    #[error("the transfer ends unsigned")]
    Unproven,
    #[error("it says that it has serial {0}, and sends another version")]
    Inconstant(u32),
    #[error("the request can't be made")]
    Request,
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        match fault {
            Fault::Rcode(rcode) => Failure::Refused(rcode),
            other => Failure::Transfer(other),
        }
    }
}

/// Looks at what it is ordered to, each at its own pace, until nobody can order any more.
pub async fn run(mut orders: mpsc::Receiver<Order>, news: mpsc::Sender<News>, now: fn() -> Timestamp) {
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(order) => drop(under_way.spawn(look(order, news.clone(), now))),
                None => return,
            },
            Some(_) = under_way.join_next() => {}
        }
    }
}

async fn look(order: Order, news: mpsc::Sender<News>, now: fn() -> Timestamp) {
    let said = match timeout(ALL, check(&order, &news, now)).await {
        Ok(Ok(said)) => said,
        Ok(Err(failure)) => Said::Nothing(failure.to_string()),
        Err(_) => Said::Nothing(Failure::Slow(ALL).to_string()),
    };
    // Who wants to know may have gone.
    let _ = news.send(News { check: order.check, said }).await;
}

async fn check(order: &Order, news: &mpsc::Sender<News>, now: fn() -> Timestamp) -> Result<Said, Failure> {
    let zone = &order.check.zone;
    let mut connection = Connection::open(order, now).await?;
    let theirs = connection.serial(zone).await?;
    let ours = order.ours.as_ref().and_then(serial_of);
    match ours {
        Some(ours) if ours == theirs => return Ok(Said::Same),
        Some(ours) if !serial::is_after(theirs, ours) => return Err(Failure::Behind(theirs, ours)),
        _ => {}
    }
    let _ = news.send(News { check: order.check.clone(), said: Said::Newer(theirs) }).await;
    if order.ours.is_some() {
        match connection.transfer(zone, order.ours.as_ref(), theirs).await {
            Ok(said) => return Ok(said),
            Err(why) => warn!("{zone}: no differences from {}: {why}; asking for the whole zone", order.primary),
        }
        // What comes on the old one is not known.
        connection = Connection::open(order, now).await?;
    }
    let said = connection.transfer(zone, None, theirs).await?;
    match &said {
        // Several servers behind one address need not have the same.
        Said::New { contents, .. } if ours.is_some_and(|ours| !is_later(contents, ours)) => {
            Err(Failure::Inconstant(theirs))
        }
        _ => Ok(said),
    }
}

fn serial_of(contents: &Contents) -> Option<u32> {
    serial::of_soa(contents.soa()?.rdatas.first()?)
}

fn is_later(contents: &Contents, ours: u32) -> bool {
    serial_of(contents).is_some_and(|serial| serial::is_after(serial, ours))
}

/// A connection to a primary.
struct Connection {
    stream: TcpStream,
    key: Option<Arc<Key>>,
    now: fn() -> Timestamp,
    message: Vec<u8>,
}

impl Connection {
    async fn open(order: &Order, now: fn() -> Timestamp) -> Result<Connection, Failure> {
        let stream = timeout(CONNECT, TcpStream::connect(order.primary)).await;
        let stream = stream.map_err(|_| Failure::Slow(CONNECT))?.map_err(Failure::Unreachable)?;
        Ok(Connection { stream, key: order.key.clone(), now, message: Vec::new() })
    }

    /// The serial that the primary shows.
    async fn serial(&mut self, zone: &Name) -> Result<u32, Failure> {
        let id = identifier()?;
        let question = Question::new(zone, Rtype::SOA);
        let mut responses = self.ask(question.message(id, 0)).await?;
        self.receive(responses.as_mut()).await?;
        let message = &self.message[..];
        if !is_response(message, id, 0) {
            return Err(Failure::Soa(Fault::NotAsked));
        }
        match message[3] & 0xf {
            0 if !question.stands_in(message) => return Err(Failure::Soa(Fault::NotAsked)),
            0 if message[2] & AA == 0 => return Err(Failure::NotAuthoritative),
            0 => {}
            rcode => return Err(Failure::Soa(Fault::Rcode(rcode))),
        }
        serial::shown(message, 1, zone).ok_or(Failure::Soa(Fault::NoSoa))
    }

    /// The zone, or what changed in it since `ours`.
    async fn transfer(&mut self, zone: &Name, ours: Option<&Contents>, theirs: u32) -> Result<Said, Failure> {
        let mut incoming = Incoming::new(identifier()?, zone, ours, ZONE_MAX);
        let mut responses = self.ask(incoming.request()).await?;
        loop {
            self.receive(responses.as_mut()).await?;
            // A message may have thousands of records.
            let taken = tokio::task::block_in_place(|| incoming.take(&self.message))?;
            match taken {
                None => {}
                Some(_) if responses.as_ref().is_some_and(|responses| !responses.is_proven()) => {
                    return Err(Failure::Unproven);
                }
                Some(Received::New { contents, whole }) => {
                    return Ok(Said::New { contents, whole, octets: incoming.octets() });
                }
                Some(Received::Nothing) => return Err(Failure::Inconstant(theirs)),
            }
        }
    }

    /// Sends a request; gives what its responses are checked with.
    async fn ask(&mut self, mut request: Vec<u8>) -> Result<Option<Responses>, Failure> {
        let mut responses = None;
        if let Some(key) = &self.key {
            let length = request.len();
            request.resize(length + SIGNATURE, 0);
            let (length, signed) = sign_request(key, &mut request, length, (self.now)()).ok_or(Failure::Request)?;
            request.truncate(length);
            responses = Some(signed);
        }
        let length = u16::try_from(request.len()).map_err(|_| Failure::Request)?;
        let framed = [&length.to_be_bytes()[..], &request].concat();
        timeout(MESSAGE, self.stream.write_all(&framed)).await.map_err(|_| Failure::Slow(MESSAGE))??;
        Ok(responses)
    }

    /// Reads the next message, and looks whether it is the primary's.
    async fn receive(&mut self, responses: Option<&mut Responses>) -> Result<(), Failure> {
        let Connection { stream, message, .. } = self;
        let read = async {
            let length = stream.read_u16().await?;
            message.resize(usize::from(length), 0);
            stream.read_exact(message).await
        };
        timeout(MESSAGE, read).await.map_err(|_| Failure::Slow(MESSAGE))??;
        match responses {
            Some(responses) => Ok(responses.verify(&self.message, (self.now)()).map(drop)?),
            None => Ok(()),
        }
    }
}

/// Nobody guesses it who is not on the way.
fn identifier() -> Result<u16, Failure> {
    let mut id = [0; 2];
    SystemRandom::new().fill(&mut id).map_err(|_| Failure::Request)?;
    Ok(u16::from_be_bytes(id))
}
