//! Binds every listen address for UDP and TCP on one port, and says what to do when that fails.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::ops::Range;
use std::sync::Arc;

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tracing::warn;

use super::clients::Clients;
use super::counters::{Counters, Door};
use super::{Answerer, Handle, ServeError, TcpLimits, Transport, tcp, udp};

/// Port 0 becomes one of these: below those that systems give to clients. A client that binds with SO_REUSEPORT (dig
/// does) can be given the very port that our UDP sockets share, and then hears itself instead of us.
const FREE_PORTS: Range<u16> = 20_000..32_768;
/// How many of them are tried.
const PORT_TRIES: usize = 64;
/// Asked for as each UDP socket's receive buffer, bytes: bursts wait in it. The system may give less.
const RECEIVE_BUFFER: usize = 1 << 20;
const BACKLOG: i32 = 1024;

/// Bound sockets that nobody reads yet. Privileges can be dropped between [`Listeners::bind`] and [`Listeners::run`].
pub struct Listeners {
    places: Vec<Place>,
}

struct Place {
    address: SocketAddr,
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
}

impl Listeners {
    /// Binds each address for UDP and TCP: `cores` sockets of each that share the port, at least one. Port 0 becomes a
    /// free one, the same for both.
    ///
    /// `[::]` is left out with a warning where the machine has no IPv6 and other addresses remain.
    pub fn bind(addresses: &[SocketAddr], cores: usize) -> Result<Listeners, ServeError> {
        let mut places = Vec::with_capacity(addresses.len());
        let mut skipped = None;
        for &address in addresses {
            match bind_place(address, cores.max(1)) {
                Ok(place) => places.push(place),
                Err(error) if lacks_ipv6(&error) && address.ip().is_unspecified() => {
                    warn!("not listening on {address}: this machine has no IPv6");
                    skipped = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        match skipped {
            Some(error) if places.is_empty() => Err(error),
            _ => Ok(Listeners { places }),
        }
    }

    /// Where it listens, ports filled in.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.places.iter().map(|place| place.address).collect()
    }

    /// Begins to answer in threads of its own, with the default limits.
    pub fn run(self, answerer: &Arc<dyn Answerer>, counters: &Counters) -> Result<Handle, ServeError> {
        self.run_with(answerer, counters, TcpLimits::default())
    }

    /// [`Listeners::run`] with other limits for TCP.
    pub fn run_with(
        self,
        answerer: &Arc<dyn Answerer>,
        counters: &Counters,
        limits: TcpLimits,
    ) -> Result<Handle, ServeError> {
        let mut handle = Handle::new(self.local_addrs())?;
        let clients = Clients::new("TCP connections", limits.connections, limits.connections_per_address);
        counters.door(Door { transport: Transport::Tcp, clients: Arc::clone(&clients), handshakes: None });
        let mut of_thread: Vec<Vec<TcpListener>> = Vec::new();
        for place in self.places {
            for (index, socket) in place.udp.into_iter().enumerate() {
                let (answerer, tally, stop) = (Arc::clone(answerer), counters.tally(), handle.stop());
                handle.spawn(format!("udp {index} {}", place.address), move || {
                    udp::serve(&Arc::new(socket), place.address, &*answerer, &tally, &stop);
                })?;
            }
            for (index, listener) in place.tcp.into_iter().enumerate() {
                if index == of_thread.len() {
                    of_thread.push(Vec::new());
                }
                of_thread[index].push(listener);
            }
        }
        for (index, listeners) in of_thread.into_iter().enumerate() {
            let server = tcp::Server::new(listeners, Arc::clone(&clients), limits, counters.tally(), handle.stop());
            let (server, answerer) = (server.map_err(ServeError::Start)?, Arc::clone(answerer));
            handle.spawn(format!("tcp {index}"), move || server.run(&*answerer))?;
        }
        Ok(handle)
    }
}

fn bind_place(address: SocketAddr, cores: usize) -> Result<Place, ServeError> {
    if address.port() != 0 {
        return bind_both(address, cores);
    }
    let mut tries = 0;
    loop {
        tries += 1;
        match bind_both(SocketAddr::new(address.ip(), any_port()), cores) {
            Err(ServeError::Bind { why, .. }) if why.kind() == ErrorKind::AddrInUse && tries < PORT_TRIES => {}
            bound => return bound,
        }
    }
}

fn bind_both(address: SocketAddr, cores: usize) -> Result<Place, ServeError> {
    let tcp = bind_tcp_shared(address, cores).map_err(|why| bind_error(address, "TCP", why))?;
    let udp = bind_udp(address, cores).map_err(|why| bind_error(address, "UDP", why))?;
    Ok(Place { address, udp, tcp })
}

/// One of [`FREE_PORTS`], another one each time.
fn any_port() -> u16 {
    let random = RandomState::new().hash_one(()) % u64::from(FREE_PORTS.end - FREE_PORTS.start);
    FREE_PORTS.start + random as u16
}

/// A listener that shares its port with nobody.
pub(super) fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    bind_listener(address, false)
}

fn bind_tcp_shared(address: SocketAddr, cores: usize) -> io::Result<Vec<TcpListener>> {
    // As for UDP below.
    drop(bind_listener(address, false)?);
    (0..cores).map(|_| bind_listener(address, true)).collect()
}

fn bind_listener(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    only_its_family(&socket, address)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn bind_udp(address: SocketAddr, cores: usize) -> io::Result<Vec<UdpSocket>> {
    // A socket that shares nothing finds another server that would share the port with us unseen.
    drop(bind_udp_socket(address, false)?);
    (0..cores).map(|_| bind_udp_socket(address, true)).collect()
}

fn bind_udp_socket(address: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    only_its_family(&socket, address)?;
    if shared {
        socket.set_reuse_port(true)?;
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        socket.set_read_timeout(Some(udp::STOP_LOOK))?;
    }
    socket.bind(&address.into())?;
    let socket = UdpSocket::from(socket);
    if shared && address.ip().is_unspecified() {
        udp::tell_destination(&socket, address)?;
    }
    Ok(socket)
}

pub(super) fn only_its_family(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv6() { socket.set_only_v6(true) } else { Ok(()) }
}

pub(super) fn lacks_ipv6(error: &ServeError) -> bool {
    let ServeError::Bind { address, why, .. } = error else { return false };
    let errno = Errno::from_io_error(why);
    address.is_ipv6() && matches!(errno, Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

pub(super) fn bind_error(address: SocketAddr, transport: &'static str, why: io::Error) -> ServeError {
    let port = address.port();
    let advice = match why.kind() {
        ErrorKind::PermissionDenied if port < 1024 => format!(
            ": port {port} needs the right to it: AmbientCapabilities=CAP_NET_BIND_SERVICE in the systemd unit, or \
             setcap cap_net_bind_service=+ep on the danelaw binary, or another port with --listen"
        ),
        ErrorKind::AddrInUse if port == 53 => ": another DNS server has it (ss -lunp 'sport = 53' shows which). If it \
             is systemd-resolved, list this machine's public addresses in `listen` instead of 0.0.0.0, or set \
             DNSStubListener=no in /etc/systemd/resolved.conf"
            .to_owned(),
        ErrorKind::AddrInUse => format!(": another process has it (ss -lntup 'sport = {port}' shows which)"),
        ErrorKind::AddrNotAvailable => ": it is not an address of this machine, or not yet".to_owned(),
        _ => String::new(),
    };
    ServeError::Bind { address, transport, why, advice }
}
