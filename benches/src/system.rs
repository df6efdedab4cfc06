//! System calls that take pointers: datagrams in batches, another process's CPU clock, and the choice of a core.
#![expect(unsafe_code, reason = "system calls take pointers")]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Datagrams of one system call.
pub const BATCH: usize = 64;
/// The longest datagram here.
pub const DATAGRAM: usize = 4096;

/// Datagrams that came together or go together.
pub struct Batch {
    octets: Vec<u8>,
    lengths: [usize; BATCH],
    addresses: [libc::sockaddr_in; BATCH],
    /// Of a connected socket the other side's address is not asked for.
    connected: bool,
}

impl Batch {
    /// An empty one, for a connected socket or another.
    pub fn new(connected: bool) -> Batch {
        // SAFETY: all-zero octets are a sockaddr_in.
        let addresses = unsafe { zeroed() };
        Batch { octets: vec![0; BATCH * DATAGRAM], lengths: [0; BATCH], addresses, connected }
    }

    /// A datagram.
    pub fn datagram(&self, number: usize) -> &[u8] {
        &self.octets[number * DATAGRAM..][..self.lengths[number]]
    }

    /// Room for a datagram; its length is what the function gives.
    pub fn put(&mut self, number: usize, write: impl FnOnce(&mut [u8]) -> usize) {
        self.lengths[number] = write(&mut self.octets[number * DATAGRAM..][..DATAGRAM]);
    }

    /// A datagram goes to where one of the other batch came from.
    pub fn answer(&mut self, number: usize, other: &Batch, others: usize) {
        self.addresses[number] = other.addresses[others];
    }

    /// Receives what is there, at least one where it may wait; gives how many.
    pub fn receive(&mut self, socket: &UdpSocket, wait: bool) -> io::Result<usize> {
        self.lengths = [DATAGRAM; BATCH];
        let flags = if wait { libc::MSG_WAITFORONE } else { libc::MSG_DONTWAIT };
        let mut seen = [0; BATCH];
        let received = self.with_headers(BATCH, |headers| {
            // SAFETY: as many headers as are told, each with one buffer that outlives the call.
            let received = unsafe {
                libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), BATCH as u32, flags, std::ptr::null_mut())
            };
            seen.iter_mut().zip(headers).for_each(|(seen, header)| *seen = header.msg_len as usize);
            received
        });
        self.lengths = seen;
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }

    /// Sends the first `count`. What the kernel does not take is lost, as on any network.
    pub fn send(&mut self, socket: &UdpSocket, count: usize) {
        self.with_headers(count, |headers| {
            let mut sent = 0;
            while sent < count {
                let left = &mut headers[sent..];
                // SAFETY: as in `receive`.
                let taken = unsafe { libc::sendmmsg(socket.as_raw_fd(), left.as_mut_ptr(), left.len() as u32, 0) };
                match usize::try_from(taken) {
                    Ok(taken) if taken > 0 => sent += taken,
                    _ => return,
                }
            }
        });
    }

    fn with_headers<T>(&mut self, count: usize, call: impl FnOnce(&mut [libc::mmsghdr]) -> T) -> T {
        // SAFETY: all-zero octets are an iovec and a mmsghdr.
        let (mut vectors, mut headers): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) = unsafe { zeroed() };
        let base = self.octets.as_mut_ptr();
        for number in 0..count {
            vectors[number] =
                libc::iovec { iov_base: base.wrapping_add(number * DATAGRAM).cast(), iov_len: self.lengths[number] };
            let header = &mut headers[number].msg_hdr;
            header.msg_iov = &raw mut vectors[number];
            header.msg_iovlen = 1;
            if !self.connected {
                header.msg_name = (&raw mut self.addresses[number]).cast();
                header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            }
        }
        call(&mut headers[..count])
    }
}

/// Has this thread, and what it starts, run on one core.
pub fn run_on(core: usize) -> io::Result<()> {
    if core >= libc::CPU_SETSIZE as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: all-zero octets are an empty cpu_set_t, the core is one that it can hold, and the length is its own.
    let result = unsafe {
        let mut set: libc::cpu_set_t = zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What CPU time a process has had, its threads that ended among them.
pub fn cpu_time(process: u32) -> io::Result<Duration> {
    let mut clock = 0;
    // SAFETY: a clock and a time to write into.
    unsafe {
        if libc::clock_getcpuclockid(process as libc::pid_t, &raw mut clock) != 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut time: libc::timespec = zeroed();
        if libc::clock_gettime(clock, &raw mut time) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }
}

/// Asks for a cache line, and does not wait for it.
pub fn fetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect on memory, and the address is that of a reference.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// User and system time of all children that have ended and were waited for.
pub fn cpu_time_of_children() -> io::Result<Duration> {
    // SAFETY: all-zero octets are a rusage, and it is there to be written into.
    let used = unsafe {
        let mut used: libc::rusage = zeroed();
        if libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut used) != 0 {
            return Err(io::Error::last_os_error());
        }
        used
    };
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    Ok(time(used.ru_utime) + time(used.ru_stime))
}
