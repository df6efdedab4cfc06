//! DNS over TCP (RFC 7766): two octets of length before each message, several queries a connection, and limits, so
//! that slow or many clients take nothing from the others.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::warn;

use super::{Answerer, HEADER, MAX_MESSAGE, Occasionally, Transport, guarded};

/// How long accepting rests after an error of the system: out of descriptors, say.
const ERROR_REST: Duration = Duration::from_millis(100);

/// What a connection reads ahead, octets: a few pipelined queries.
const READ_AHEAD: usize = 1024;

/// What TCP clients may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpLimits {
    /// Connections in all.
    pub connections: usize,
    /// Connections of one IPv4 address or one IPv6 /64.
    pub connections_per_address: usize,
    /// A connection without a query for so long is closed (RFC 7766 section 6.2.3).
    pub idle: Duration,
    /// A query has to be here so long after its first octet.
    pub receive: Duration,
    /// A response has to be taken within so long.
    pub send: Duration,
    /// The biggest query, octets.
    pub query_size: usize,
}

impl Default for TcpLimits {
    fn default() -> TcpLimits {
        TcpLimits {
            connections: 1024,
            connections_per_address: 64,
            idle: Duration::from_secs(30),
            receive: Duration::from_secs(5),
            send: Duration::from_secs(10),
            query_size: MAX_MESSAGE,
        }
    }
}

/// What all TCP listeners share.
#[derive(Clone)]
pub(super) struct Server {
    answerer: Arc<dyn Answerer>,
    limits: TcpLimits,
    clients: Arc<Mutex<Clients>>,
    stop: watch::Receiver<bool>,
}

#[derive(Default)]
struct Clients {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A counted connection; its drop takes it off the count.
struct Place {
    clients: Arc<Mutex<Clients>>,
    address: IpAddr,
}

impl Server {
    pub(super) fn new(answerer: Arc<dyn Answerer>, limits: TcpLimits, stop: watch::Receiver<bool>) -> Server {
        Server { answerer, limits, clients: Arc::default(), stop }
    }

    /// Accepts connections until it is stopped. No client ends it.
    pub(super) async fn accept(mut self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = self.stop.changed() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    // A client beyond the limits is closed at once (RFC 7766 section 6.2.2 lets a server do so).
                    if let Some(place) = self.place(peer) {
                        tokio::spawn(self.clone().connection(stream, peer, place));
                    }
                }
                Err(error) => {
                    static ACCEPTING: Occasionally = Occasionally::new();
                    ACCEPTING.run(|before| warn!("accepting over TCP: {error} ({before} times before)"));
                    tokio::time::sleep(ERROR_REST).await;
                }
            }
        }
    }

    fn place(&self, peer: SocketAddr) -> Option<Place> {
        let address = counted_address(peer.ip());
        let mut clients = self.clients.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let of_address = clients.by_address.get(&address).copied().unwrap_or(0);
        if clients.total >= self.limits.connections {
            static FULL: Occasionally = Occasionally::new();
            let limit = self.limits.connections;
            FULL.run(|before| warn!("TCP: {limit} connections, {peer} is turned away ({before} before it)"));
            return None;
        }
        if of_address >= self.limits.connections_per_address {
            static MANY: Occasionally = Occasionally::new();
            MANY.run(|before| {
                warn!("TCP: {of_address} connections from {address}, one more is turned away ({before} before it)");
            });
            return None;
        }
        clients.total += 1;
        clients.by_address.insert(address, of_address + 1);
        Some(Place { clients: self.clients.clone(), address })
    }

    async fn connection(mut self, mut stream: TcpStream, peer: SocketAddr, place: Place) {
        let _ = stream.set_nodelay(true);
        // Errors end the connection and are the client's business only.
        let _ = self.converse(&mut stream, peer).await;
        drop(place);
    }

    async fn converse(&mut self, stream: &mut TcpStream, peer: SocketAddr) -> io::Result<()> {
        let (reader, mut writer) = stream.split();
        let mut reader = BufReader::with_capacity(READ_AHEAD, reader);
        loop {
            let first = tokio::select! {
                first = timeout(self.limits.idle, reader.read_u8()) => first??,
                _ = self.stop.changed() => return Ok(()),
            };
            let query = timeout(self.limits.receive, receive(&mut reader, first, self.limits.query_size)).await??;
            let Some(response) = respond(&*self.answerer, peer, &query) else { continue };
            drop(query);
            timeout(self.limits.send, writer.write_all(&response)).await??;
        }
    }
}

async fn receive(reader: &mut (impl AsyncRead + Unpin), first: u8, limit: usize) -> io::Result<Vec<u8>> {
    let length = usize::from(u16::from_be_bytes([first, reader.read_u8().await?]));
    if length < HEADER || length > limit {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // Grows as octets arrive: who promises 64 KiB and sends none takes none.
    let mut query = Vec::with_capacity(length.min(READ_AHEAD));
    reader.take(length as u64).read_to_end(&mut query).await?;
    if query.len() < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(query) }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut clients = self.clients.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        clients.total -= 1;
        if let Some(count) = clients.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                clients.by_address.remove(&self.address);
            }
        }
    }
}

/// The response with its length before it, in one piece: one segment where it fits (RFC 7766 section 8).
fn respond(answerer: &dyn Answerer, peer: SocketAddr, query: &[u8]) -> Option<Vec<u8>> {
    thread_local! {
        static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; MAX_MESSAGE]);
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let length = guarded(answerer, peer, Transport::Tcp, query, scratch)?;
        let mut framed = Vec::with_capacity(2 + length);
        framed.extend_from_slice(&u16::try_from(length).ok()?.to_be_bytes());
        framed.extend_from_slice(&scratch[..length]);
        Some(framed)
    })
}

/// One IPv6 customer has at least a /64.
fn counted_address(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}
