//! DoT, DoH and DoQ over the same answers as UDP and TCP, with limits on handshakes, connections and streams.
//!
//! The certificate is handed in and may be another one at any moment ([`Presented`]); nothing here reads a file. TLS 1.3
//! only: every resolver that speaks these transports to authoritative servers has it, and QUIC has nothing else.

mod https;
mod presented;
mod quic;
mod tls;

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::watch;
use tracing::warn;

use super::clients::Clients;
use super::counters::{Counters, Door, SharedTally};
use super::stream::Asker;
use super::{Answerer, ServeError, TcpLimits, Transport, bind};

pub use presented::{Presented, PresentedError};

/// What the clients of an encrypted transport may take, of each transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncryptedLimits {
    /// Connections, their silence, and their queries.
    pub connection: TcpLimits,
    /// Unfinished handshakes in all.
    pub handshakes: usize,
    /// Unfinished handshakes of one IPv4 address or one IPv6 /64.
    pub handshakes_per_address: usize,
    /// A handshake has to be done within so long.
    pub handshake: Duration,
    /// Queries of one connection under way at once, in HTTP/2 and QUIC.
    pub streams: u32,
}

impl Default for EncryptedLimits {
    fn default() -> EncryptedLimits {
        EncryptedLimits {
            connection: TcpLimits::default(),
            handshakes: 256,
            handshakes_per_address: 32,
            handshake: Duration::from_secs(5),
            streams: 32,
        }
    }
}

/// Bound sockets that nobody reads yet.
pub struct EncryptedListeners {
    streams: Vec<(Transport, TcpListener)>,
    quic: Vec<UdpSocket>,
    addresses: Vec<(Transport, SocketAddr)>,
}

/// Serving goes on while this lives; dropping it stops it.
pub struct EncryptedHandle {
    stop: watch::Sender<bool>,
    addresses: Vec<(Transport, SocketAddr)>,
}

impl EncryptedHandle {
    /// Where it listens and for what, ports filled in.
    pub fn local_addrs(&self) -> &[(Transport, SocketAddr)] {
        &self.addresses
    }
}

impl Drop for EncryptedHandle {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
    }
}

impl EncryptedListeners {
    /// Binds each address for its transport; those for UDP and TCP are none of this place's business and left out.
    ///
    /// `[::]` is left out with a warning where the machine has no IPv6.
    pub fn bind(wanted: &[(Transport, SocketAddr)]) -> Result<EncryptedListeners, ServeError> {
        let mut listeners = EncryptedListeners { streams: Vec::new(), quic: Vec::new(), addresses: Vec::new() };
        for &(transport, address) in wanted {
            match listeners.bind_one(transport, address) {
                Err(error) if bind::lacks_ipv6(&error) && address.ip().is_unspecified() => {
                    warn!("not listening on {address}: this machine has no IPv6");
                }
                bound => bound?,
            }
        }
        Ok(listeners)
    }

    fn bind_one(&mut self, transport: Transport, address: SocketAddr) -> Result<(), ServeError> {
        let name = match transport {
            Transport::Tls => "TLS",
            Transport::Https => "HTTPS",
            Transport::Quic => "QUIC",
            Transport::Udp | Transport::Tcp => return Ok(()),
        };
        let failed = |why| bind::bind_error(address, name, why);
        let bound = if transport == Transport::Quic {
            let socket = bind_quic(address).map_err(failed)?;
            let bound = socket.local_addr().map_err(failed)?;
            self.quic.push(socket);
            bound
        } else {
            let listener = bind::bind_tcp(address).map_err(failed)?;
            let bound = listener.local_addr().map_err(failed)?;
            self.streams.push((transport, listener));
            bound
        };
        self.addresses.push((transport, bound));
        Ok(())
    }

    /// Begins to answer on `runtime` with the default limits.
    pub fn run(
        self,
        runtime: &tokio::runtime::Handle,
        answerer: &Arc<dyn Answerer>,
        counters: &Counters,
        presented: &Presented,
    ) -> Result<EncryptedHandle, ServeError> {
        self.run_with(runtime, answerer, counters, presented, EncryptedLimits::default())
    }

    /// [`EncryptedListeners::run`] with other limits.
    pub fn run_with(
        self,
        runtime: &tokio::runtime::Handle,
        answerer: &Arc<dyn Answerer>,
        counters: &Counters,
        presented: &Presented,
        limits: EncryptedLimits,
    ) -> Result<EncryptedHandle, ServeError> {
        let (stop, stopped) = watch::channel(false);
        let _inside = runtime.enter();
        let started = |error: rustls::Error| ServeError::Start(std::io::Error::other(error));
        let tally = counters.shared();
        let service = |transport| {
            let service = Service::new(transport, Arc::clone(answerer), tally.clone(), limits, stopped.clone());
            if self.addresses.iter().any(|(bound, _)| *bound == transport) {
                let (clients, handshakes) = (Arc::clone(&service.clients), Some(Arc::clone(&service.handshakes)));
                counters.door(Door { transport, clients, handshakes });
            }
            service
        };
        let (dot, doh, doq) = (service(Transport::Tls), service(Transport::Https), service(Transport::Quic));
        let (dot_tls, doh_tls) =
            (presented.acceptor(b"dot").map_err(started)?, presented.acceptor(b"h2").map_err(started)?);
        for (transport, listener) in self.streams {
            let listener = tokio::net::TcpListener::from_std(listener).map_err(ServeError::Start)?;
            let (service, acceptor) = if transport == Transport::Tls { (&dot, &dot_tls) } else { (&doh, &doh_tls) };
            runtime.spawn(tls::accept(service.clone(), acceptor.clone(), listener));
        }
        for socket in self.quic {
            let endpoint = quic::endpoint(socket, presented, &limits).map_err(ServeError::Start)?;
            runtime.spawn(quic::accept(doq.clone(), endpoint));
        }
        Ok(EncryptedHandle { stop, addresses: self.addresses })
    }
}

/// What all listeners of one transport share.
#[derive(Clone)]
struct Service {
    transport: Transport,
    answerer: Arc<dyn Answerer>,
    tally: SharedTally,
    limits: EncryptedLimits,
    clients: Arc<Clients>,
    handshakes: Arc<Clients>,
    stop: watch::Receiver<bool>,
}

impl Service {
    fn new(
        transport: Transport,
        answerer: Arc<dyn Answerer>,
        tally: SharedTally,
        limits: EncryptedLimits,
        stop: watch::Receiver<bool>,
    ) -> Service {
        let (connections, handshakes) = match transport {
            Transport::Https => ("HTTPS connections", "unfinished HTTPS handshakes"),
            Transport::Quic => ("QUIC connections", "unfinished QUIC handshakes"),
            _ => ("TLS connections", "unfinished TLS handshakes"),
        };
        let TcpLimits { connections: total, connections_per_address: per_address, .. } = limits.connection;
        Service {
            transport,
            answerer,
            tally,
            limits,
            clients: Clients::new(connections, total, per_address),
            handshakes: Clients::new(handshakes, limits.handshakes, limits.handshakes_per_address),
            stop,
        }
    }

    fn asker(&self, peer: SocketAddr) -> Asker {
        let (answerer, tally) = (Arc::clone(&self.answerer), self.tally.clone());
        Asker { answerer, tally, transport: self.transport, peer }
    }
}

fn bind_quic(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    bind::only_its_family(&socket, address)?;
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
