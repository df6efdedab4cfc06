//! Tells secondaries of new versions, and asks which they have: NOTIFY and SOA over UDP, signed where a key is named (RFC 1996, RFC 8945).
//!
//! What to send comes in as orders; what comes back goes out as news. When to send again is decided elsewhere.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::dns::header::{AA, NOTIFY};
use crate::dns::question::is_response;
use crate::dns::tsig::{Key, Responses, sign_request};
use crate::dns::{Name, Question, Rtype, Timestamp};
use crate::transfer::notify::{Copy, Send};
use crate::zone::serial;

/// Longer messages than this are no answers to a NOTIFY or to a question for one record.
const MESSAGE_MAX: usize = 4096;
/// So many questions may be open. When there are more all are forgotten: they are asked again.
const OPEN_MAX: usize = 4096;
/// Before a socket that can't be read is read again.
const PAUSE: Duration = Duration::from_millis(100);

/// What is to be sent.
#[derive(Debug)]
pub struct Order {
    /// To whom, and what.
    pub send: Send,
    /// The key to sign it with.
    pub key: Option<Arc<Key>>,
}

/// What a secondary said, or the system's resolver of a nameserver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It answers the NOTIFY of a serial: the response code.
    Answered(Copy, u32, u8),
    /// The serial that it has.
    Shows(Copy, u32),
    /// The addresses of a host, or why there are none.
    Resolved(Name, Result<Vec<IpAddr>, String>),
}

/// A question that waits for its answer.
struct Open {
    send: Send,
    question: Question,
    responses: Option<Responses>,
}

impl Open {
    fn secondary(&self) -> SocketAddr {
        match &self.send {
            Send::Notify(copy, _) | Send::Soa(copy) => copy.secondary,
        }
    }

    fn opcode(&self) -> u8 {
        match &self.send {
            Send::Notify(..) => NOTIFY,
            Send::Soa(_) => 0,
        }
    }
}

/// Sends what it is ordered to until nobody can order any more, and tells what comes back.
pub async fn run(mut orders: mpsc::Receiver<Order>, news: mpsc::Sender<News>, now: fn() -> Timestamp) {
    let (v4, v6) = (bind(Ipv4Addr::UNSPECIFIED.into()).await, bind(Ipv6Addr::UNSPECIFIED.into()).await);
    let mut open: HashMap<u16, Open> = HashMap::new();
    let (mut in_v4, mut in_v6) = ([0; MESSAGE_MAX], [0; MESSAGE_MAX]);
    loop {
        let (length, from, message) = tokio::select! {
            order = orders.recv() => {
                let Some(order) = order else { return };
                if open.len() >= OPEN_MAX {
                    open.clear();
                }
                let Some((id, packet, asked)) = compose(order, &open, now()) else { continue };
                let secondary = asked.secondary();
                let socket = if secondary.is_ipv4() { &v4 } else { &v6 };
                let Some(socket) = socket else { continue };
                match socket.send_to(&packet, secondary).await {
                    Ok(_) => drop(open.insert(id, asked)),
                    Err(error) => debug!("{secondary} can't be told of a new version: {error}"),
                }
                continue;
            }
            (length, from) = receive(v4.as_ref(), &mut in_v4) => (length, from, &in_v4),
            (length, from) = receive(v6.as_ref(), &mut in_v6) => (length, from, &in_v6),
        };
        if let Some(said) = hear(&mut open, from, &message[..length], now()) {
            // Who wants to know may have gone.
            let _ = news.send(said).await;
        }
    }
}

async fn bind(address: IpAddr) -> Option<UdpSocket> {
    match UdpSocket::bind((address, 0)).await {
        Ok(socket) => Some(socket),
        Err(error) => {
            debug!("no socket for NOTIFY at {address}: {error}");
            None
        }
    }
}

/// The next datagram; never, where there is no socket.
async fn receive(socket: Option<&UdpSocket>, into: &mut [u8]) -> (usize, SocketAddr) {
    let Some(socket) = socket else { return std::future::pending().await };
    loop {
        match socket.recv_from(into).await {
            Ok(received) => return received,
            Err(error) => {
                debug!("an answer of a secondary can't be read: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The packet of an order, the identifier that it has, and what is remembered of it.
fn compose(order: Order, open: &HashMap<u16, Open>, now: Timestamp) -> Option<(u16, Vec<u8>, Open)> {
    let mut id = [0; 2];
    loop {
        SystemRandom::new().fill(&mut id).ok()?;
        if !open.contains_key(&u16::from_be_bytes(id)) {
            break;
        }
    }
    let id = u16::from_be_bytes(id);
    let (flags, zone) = match &order.send {
        Send::Notify(copy, _) => (NOTIFY | AA, &copy.zone),
        Send::Soa(copy) => (0, &copy.zone),
    };
    let question = Question::new(zone, Rtype::SOA);
    let mut packet = question.message(id, flags);
    let responses = match &order.key {
        None => None,
        Some(key) => {
            let length = packet.len();
            packet.resize(MESSAGE_MAX, 0);
            let (length, responses) = sign_request(key, &mut packet, length, now)?;
            packet.truncate(length);
            Some(responses)
        }
    };
    Some((id, packet, Open { send: order.send, question, responses }))
}

/// What a message says, where it answers an open question: sent by whom it was asked, about the same, signed as it was.
fn hear(open: &mut HashMap<u16, Open>, from: SocketAddr, message: &[u8], now: Timestamp) -> Option<News> {
    let id = u16::from_be_bytes([*message.first()?, *message.get(1)?]);
    let asked = open.get_mut(&id)?;
    if from != asked.secondary() || !is_response(message, id, asked.opcode()) || !asked.question.stands_in(message) {
        return None;
    }
    if let Some(responses) = &mut asked.responses
        && let Err(why) = responses.verify(message, now)
    {
        warn!("{from} answers a signed question, and is not believed: {why}");
        return None;
    }
    let asked = open.remove(&id)?;
    match (asked.send, message[3] & 0xf) {
        (Send::Notify(copy, serial), rcode) => Some(News::Answered(copy, serial, rcode)),
        (Send::Soa(copy), _) => {
            let serial = serial::shown(message, 1, &copy.zone)?;
            Some(News::Shows(copy, serial))
        }
    }
}
