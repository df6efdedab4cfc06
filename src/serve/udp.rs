//! One thread a socket: receive a batch, answer it from one snapshot, send it. No lock and no allocation on the way,
//! but for what is signed with TSIG, and for a response that comes later, which goes out from the thread that has it.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::counters::Tally;
use super::handle::Stop;
use super::mmsg::Batch;
use super::{Answerer, Occasionally, Transport, guarded};
use crate::answer::TOGETHER;

pub(super) use super::mmsg::tell_destination;

/// How long a thread waits for a packet before it looks whether it should stop.
pub(super) const STOP_LOOK: Duration = Duration::from_millis(200);
/// How long it rests after an error that isn't a packet's own fault, so as not to spin.
const ERROR_REST: Duration = Duration::from_millis(10);

/// Answers until `stop`. No packet ends it.
pub(super) fn serve(socket: &Arc<UdpSocket>, address: SocketAddr, answerer: &dyn Answerer, tally: &Tally, stop: &Stop) {
    let mut batch = Batch::new();
    while !stop.is_set() {
        let received = match batch.receive(socket) {
            Ok(received) => received,
            Err(error) if is_quiet(&error) => continue,
            Err(error) => {
                static RECEIVING: Occasionally = Occasionally::new();
                RECEIVING.run(|before| warn!("receiving over UDP at {address}: {error} ({before} times before)"));
                std::thread::sleep(ERROR_REST);
                continue;
            }
        };
        answerer.batch(&mut |view| answer(&mut batch, received, socket, view, tally));
        if let Err(error) = batch.send(socket)
            && !is_quiet(&error)
        {
            static SENDING: Occasionally = Occasionally::new();
            SENDING.run(|before| warn!("answering over UDP at {address}: {error} ({before} times before)"));
        }
    }
}

fn answer(batch: &mut Batch, received: usize, socket: &Arc<UdpSocket>, view: &dyn Answerer, tally: &Tally) {
    for slot in 0..received {
        if slot % TOGETHER == 0 {
            let mut queries = [&[][..]; TOGETHER];
            let slots = slot..received.min(slot + TOGETHER);
            let count = queries.iter_mut().zip(slots).map(|(query, slot)| *query = batch.query(slot)).count();
            view.prefetch(&queries[..count]);
        }
        let Some((query, peer, out)) = batch.slot(slot) else { continue };
        let reply = guarded(view, peer, Transport::Udp, query, out);
        tally.note(Transport::Udp, &peer, query, &reply, out);
        if let Some(length) = reply.length {
            batch.respond(slot, length);
        } else if let Some(later) = reply.later {
            let (way, socket) = (batch.way_back(slot), Arc::clone(socket));
            // It is lost as any datagram may be: its asker asks again.
            later.by(move |response| drop(way.send(&socket, response)));
        }
    }
}

/// The read timeout, a signal, and what other hosts' ICMP messages say of earlier responses.
fn is_quiet(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock
            | ErrorKind::TimedOut
            | ErrorKind::Interrupted
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
    )
}
