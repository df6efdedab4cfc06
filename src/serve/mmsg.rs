//! A batch of datagrams a system call: recvmmsg, sendmmsg, and the address that a datagram was sent to.
//!
//! The one file with `unsafe`: no crate wraps sendmmsg with a source address for each message. All that the kernel is given a pointer
//! to is boxed and lives as long as its [`Batch`]; a slot's pointers are written anew before every call after which it was looked at.
#![expect(unsafe_code, reason = "recvmmsg and sendmmsg take raw pointers; everything unsafe is in this file")]

use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

/// Datagrams in a batch. More than this wait in the socket's buffer for the next one.
pub const SLOTS: usize = 64;
/// The longest datagram that is read whole, octets. A longer one is cut and so not a well-formed query.
pub const QUERY_MAX: usize = 4096;
/// Room for a response, octets.
pub const RESPONSE_MAX: usize = 4096;

/// Room for one IP_PKTINFO or IPV6_PKTINFO.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; 64]);

/// Buffers for a batch in and a batch out.
pub struct Batch {
    queries: Box<[[u8; QUERY_MAX]]>,
    responses: Box<[[u8; RESPONSE_MAX]]>,
    peers: Box<[libc::sockaddr_storage]>,
    controls: Box<[Control]>,
    parts_in: Box<[libc::iovec]>,
    parts_out: Box<[libc::iovec]>,
    incoming: Box<[libc::mmsghdr]>,
    outgoing: Box<[libc::mmsghdr]>,
    /// The slots before this one have been used since they were made ready.
    used: usize,
    queued: usize,
}

// SAFETY: the raw pointers inside point to the batch's own boxes, which move with it.
unsafe impl Send for Batch {}

fn boxed<T: Clone>(value: T) -> Box<[T]> {
    vec![value; SLOTS].into_boxed_slice()
}

impl Batch {
    /// Empty buffers.
    pub fn new() -> Batch {
        let part = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        // SAFETY: all of these are C structures for which zero octets are a value.
        let (header, peer): (libc::mmsghdr, libc::sockaddr_storage) = unsafe { (mem::zeroed(), mem::zeroed()) };
        Batch {
            queries: boxed([0; QUERY_MAX]),
            responses: boxed([0; RESPONSE_MAX]),
            peers: boxed(peer),
            controls: boxed(Control([0; 64])),
            parts_in: boxed(part),
            parts_out: boxed(part),
            incoming: boxed(header),
            outgoing: boxed(header),
            used: SLOTS,
            queued: 0,
        }
    }

    /// Waits for a datagram as long as the socket's read timeout says, and takes what else has come. Gives their number.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        for slot in 0..self.used {
            self.parts_in[slot] = libc::iovec { iov_base: self.queries[slot].as_mut_ptr().cast(), iov_len: QUERY_MAX };
            let header = &mut self.incoming[slot].msg_hdr;
            header.msg_name = (&raw mut self.peers[slot]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = &raw mut self.parts_in[slot];
            header.msg_iovlen = 1;
            header.msg_control = (&raw mut self.controls[slot]).cast();
            header.msg_controllen = size_of::<Control>() as _;
            header.msg_flags = 0;
        }
        self.queued = 0;
        // SAFETY: each of the SLOTS headers points to boxes of this batch, with their true lengths.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.incoming.as_mut_ptr(),
                SLOTS as libc::c_uint,
                libc::MSG_WAITFORONE as _,
                ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error());
        // One more may have been begun.
        self.used = received.as_ref().map_or(1, |received| (received + 1).min(SLOTS));
        received
    }

    /// The datagram in a slot.
    pub fn query(&self, slot: usize) -> &[u8] {
        &self.queries[slot][..(self.incoming[slot].msg_len as usize).min(QUERY_MAX)]
    }

    /// The datagram in a slot, who sent it, and room for its response. None where the sender has no Internet address.
    pub fn slot(&mut self, slot: usize) -> Option<(&[u8], SocketAddr, &mut [u8])> {
        let length = (self.incoming[slot].msg_len as usize).min(QUERY_MAX);
        Some((&self.queries[slot][..length], address_of(&self.peers[slot])?, &mut self.responses[slot]))
    }

    /// Queues a slot's response of so many octets, to be sent from the address that its query was sent to.
    pub fn respond(&mut self, slot: usize, length: usize) {
        let out = self.queued;
        self.parts_out[out] =
            libc::iovec { iov_base: self.responses[slot].as_mut_ptr().cast(), iov_len: length.min(RESPONSE_MAX) };
        let incoming = self.incoming[slot].msg_hdr;
        let control = source_control(&mut self.controls[slot], incoming.msg_controllen);
        let header = &mut self.outgoing[out].msg_hdr;
        header.msg_name = (&raw mut self.peers[slot]).cast();
        header.msg_namelen = incoming.msg_namelen;
        header.msg_iov = &raw mut self.parts_out[out];
        header.msg_iovlen = 1;
        header.msg_control = if control == 0 { ptr::null_mut() } else { (&raw mut self.controls[slot]).cast() };
        header.msg_controllen = control as _;
        header.msg_flags = 0;
        self.queued += 1;
    }

    /// The way to who sent the datagram in a slot, from the address that it was sent to.
    pub fn way_back(&self, slot: usize) -> WayBack {
        let incoming = &self.incoming[slot].msg_hdr;
        let mut control = self.controls[slot];
        let control_length = source_control(&mut control, incoming.msg_controllen);
        WayBack { peer: self.peers[slot], peer_length: incoming.msg_namelen, control, control_length }
    }

    /// Sends what is queued. One that can't be sent is lost as any datagram may be: its asker asks again. Gives the last error.
    pub fn send(&mut self, socket: &UdpSocket) -> io::Result<()> {
        let mut done = 0;
        let mut failed = Ok(());
        while done < self.queued {
            // SAFETY: the headers from `done` to `queued` were written by `respond` and point to boxes of this batch.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    self.outgoing.as_mut_ptr().add(done),
                    (self.queued - done) as libc::c_uint,
                    0,
                )
            };
            match usize::try_from(sent) {
                Ok(sent) => done += sent.max(1),
                Err(_) => {
                    let error = io::Error::last_os_error();
                    // A signal came in between; all else is about the first message that is left.
                    if error.kind() != io::ErrorKind::Interrupted {
                        failed = Err(error);
                        done += 1;
                    }
                }
            }
        }
        self.queued = 0;
        failed
    }
}

/// Where a response goes that comes after its batch.
pub struct WayBack {
    peer: libc::sockaddr_storage,
    peer_length: libc::socklen_t,
    control: Control,
    control_length: usize,
}

impl WayBack {
    /// Sends one datagram.
    pub fn send(mut self, socket: &UdpSocket, response: &[u8]) -> io::Result<()> {
        let mut part = libc::iovec { iov_base: response.as_ptr().cast_mut().cast(), iov_len: response.len() };
        // SAFETY: zero octets are a value of this C structure.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_name = (&raw mut self.peer).cast();
        header.msg_namelen = self.peer_length;
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        if self.control_length > 0 {
            header.msg_control = (&raw mut self.control).cast();
            header.msg_controllen = self.control_length as _;
        }
        // SAFETY: the header points to what lives until the call returns, with its true lengths; sendmsg writes to none of it.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Makes a socket that listens on every address tell which of them a datagram was sent to. A response from another one would be
/// dropped by whoever asked.
pub fn tell_destination(socket: &UdpSocket, address: SocketAddr) -> io::Result<()> {
    let (level, option) = match address {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    let on: libc::c_int = 1;
    // SAFETY: the option's value is one int, which outlives the call.
    let set = unsafe {
        let length = size_of::<libc::c_int>() as libc::socklen_t;
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), length)
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn address_of(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let at = ptr::from_ref(storage);
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the kernel says that it wrote a sockaddr_in, which is smaller than the storage and needs no more alignment.
            let v4 = unsafe { &*at.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: likewise a sockaddr_in6.
            let v6 = unsafe { &*at.cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// Turns what a datagram's ancillary data says of its destination into what sets a response's source; gives its length, 0 for none.
fn source_control(control: &mut Control, length: usize) -> usize {
    const HEADER: usize = size_of::<libc::cmsghdr>();
    if length < HEADER {
        return 0;
    }
    let at = control.0.as_mut_ptr();
    // SAFETY: the buffer is aligned for a cmsghdr, and the kernel wrote at least one into it.
    let header = unsafe { &*at.cast::<libc::cmsghdr>() };
    let data = length - HEADER;
    match (header.cmsg_level, header.cmsg_type) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) if data >= size_of::<libc::in_pktinfo>() => {
            // SAFETY: an in_pktinfo follows the header, aligned as CMSG_DATA has it.
            let info = unsafe { &mut *at.add(HEADER).cast::<libc::in_pktinfo>() };
            // The address only: the way back is routed as any other, and need not be the way that it came.
            info.ipi_ifindex = 0;
            // SAFETY: CMSG_SPACE only computes.
            unsafe { libc::CMSG_SPACE(size_of::<libc::in_pktinfo>() as u32) as usize }
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if data >= size_of::<libc::in6_pktinfo>() => {
            // SAFETY: likewise an in6_pktinfo.
            let info = unsafe { &mut *at.add(HEADER).cast::<libc::in6_pktinfo>() };
            // A link-local address means nothing without its link.
            if info.ipi6_addr.s6_addr[0] != 0xfe {
                info.ipi6_ifindex = 0;
            }
            // SAFETY: CMSG_SPACE only computes.
            unsafe { libc::CMSG_SPACE(size_of::<libc::in6_pktinfo>() as u32) as usize }
        }
        _ => 0,
    }
}
