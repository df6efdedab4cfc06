//! One thread a socket: receive, answer, send. No allocation and no lock on the way.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::libc::{in_pktinfo, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrLike, SockaddrStorage, recvmsg,
    sendmsg, setsockopt, sockopt,
};
use tracing::warn;

use super::{Answerer, MAX_MESSAGE, Occasionally, Transport, guarded};

/// How long a thread waits for a packet before it looks whether it should stop.
pub(super) const STOP_LOOK: Duration = Duration::from_millis(200);
/// How long it rests after an error that isn't a packet's own fault, so as not to spin.
const ERROR_REST: Duration = Duration::from_millis(10);

/// Makes a socket that listens on every address tell which of them a datagram was sent to. A response from another
/// one would be dropped by whoever asked.
pub(super) fn tell_destination(socket: &UdpSocket, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?,
        SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?,
    }
    Ok(())
}

/// Answers until `stop`. No packet ends it.
pub(super) fn serve(socket: &UdpSocket, answerer: &dyn Answerer, stop: &AtomicBool) {
    let mut query = vec![0u8; MAX_MESSAGE];
    let mut out = vec![0u8; MAX_MESSAGE];
    let mut control = nix::cmsg_space!(in6_pktinfo);
    while !stop.load(Ordering::Relaxed) {
        let Received { length, peer, to } = match receive(socket.as_raw_fd(), &mut query, &mut control) {
            Ok(Some(received)) => received,
            Ok(None) => continue,
            Err(error) if is_quiet(error.kind()) => continue,
            Err(error) => {
                static RECEIVING: Occasionally = Occasionally::new();
                RECEIVING.run(|before| warn!("receiving over UDP: {error} ({before} times before)"));
                std::thread::sleep(ERROR_REST);
                continue;
            }
        };
        let Some(length) = guarded(answerer, peer, Transport::Udp, &query[..length], &mut out) else { continue };
        // A response that can't be sent is lost as any datagram may be: its asker asks again.
        if let Err(error) = send(socket.as_raw_fd(), &out[..length], peer, to)
            && !is_quiet(error.kind())
        {
            static SENDING: Occasionally = Occasionally::new();
            SENDING.run(|before| warn!("answering {peer} over UDP: {error} ({before} times before)"));
        }
    }
}

struct Received {
    length: usize,
    peer: SocketAddr,
    to: Option<Destination>,
}

/// Our address that a datagram was sent to; told by sockets that listen on all of them.
enum Destination {
    V4(in_pktinfo),
    V6(in6_pktinfo),
}

fn receive(socket: RawFd, query: &mut [u8], control: &mut Vec<u8>) -> io::Result<Option<Received>> {
    let mut buffers = [IoSliceMut::new(query)];
    let message = recvmsg::<SockaddrStorage>(socket, &mut buffers, Some(control), MsgFlags::empty())?;
    let to = message.cmsgs()?.find_map(|header| match header {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(Destination::V4(info)),
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(Destination::V6(info)),
        _ => None,
    });
    let length = message.bytes;
    Ok(message.address.and_then(|peer| std_address(&peer)).map(|peer| Received { length, peer, to }))
}

fn std_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(v4), _) => Some(SocketAddr::V4((*v4).into())),
        (_, Some(v6)) => Some(SocketAddr::V6((*v6).into())),
        _ => None,
    }
}

fn send(socket: RawFd, response: &[u8], peer: SocketAddr, from: Option<Destination>) -> io::Result<()> {
    match peer {
        SocketAddr::V4(peer) => send_to(socket, response, &SockaddrIn::from(peer), from),
        SocketAddr::V6(peer) => send_to(socket, response, &SockaddrIn6::from(peer), from),
    }
}

fn send_to(socket: RawFd, response: &[u8], peer: &impl SockaddrLike, from: Option<Destination>) -> io::Result<()> {
    let buffers = [IoSlice::new(response)];
    let send = |control: &[ControlMessage<'_>]| sendmsg(socket, &buffers, control, MsgFlags::empty(), Some(peer));
    match from {
        None => send(&[])?,
        Some(Destination::V4(mut info)) => {
            // The address only: the way back is routed as any other, and need not be the way that it came.
            info.ipi_ifindex = 0;
            send(&[ControlMessage::Ipv4PacketInfo(&info)])?
        }
        Some(Destination::V6(mut info)) => {
            // A link-local address means nothing without its link.
            if info.ipi6_addr.s6_addr[0] != 0xfe {
                info.ipi6_ifindex = 0;
            }
            send(&[ControlMessage::Ipv6PacketInfo(&info)])?
        }
    };
    Ok(())
}

/// The read timeout, a signal, and what other hosts' ICMP messages say of earlier responses.
fn is_quiet(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock
            | ErrorKind::TimedOut
            | ErrorKind::Interrupted
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
    )
}
