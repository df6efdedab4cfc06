//! One thread a socket: receive, answer, send. No allocation and no lock on the way.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::warn;

use super::{Answerer, MAX_MESSAGE, Occasionally, Transport, guarded};

/// How long a thread waits for a packet before it looks whether it should stop.
pub(super) const STOP_LOOK: Duration = Duration::from_millis(200);
/// How long it rests after an error that isn't a packet's own fault, so as not to spin.
const ERROR_REST: Duration = Duration::from_millis(10);

/// Answers until `stop`. No packet ends it.
pub(super) fn serve(socket: &UdpSocket, answerer: &dyn Answerer, stop: &AtomicBool) {
    let mut query = vec![0u8; MAX_MESSAGE];
    let mut out = vec![0u8; MAX_MESSAGE];
    while !stop.load(Ordering::Relaxed) {
        let (length, peer) = match socket.recv_from(&mut query) {
            Ok(received) => received,
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
        if let Err(error) = socket.send_to(&out[..length], peer)
            && !is_quiet(error.kind())
        {
            static SENDING: Occasionally = Occasionally::new();
            SENDING.run(|before| warn!("answering {peer} over UDP: {error} ({before} times before)"));
        }
    }
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
