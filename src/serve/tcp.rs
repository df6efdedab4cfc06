//! DNS over TCP (RFC 7766): accepts connections and gives each its conversation.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tracing::warn;

use super::clients::{Clients, Place};
use super::stream::{Conversation, TcpLimits};
use super::{Answerer, Occasionally, Transport};

/// How long accepting rests after an error of the system: out of descriptors, say.
const ERROR_REST: Duration = Duration::from_millis(100);

/// What all TCP listeners share.
#[derive(Clone)]
pub(super) struct Server {
    answerer: Arc<dyn Answerer>,
    limits: TcpLimits,
    clients: Arc<Clients>,
    stop: watch::Receiver<bool>,
}

impl Server {
    pub(super) fn new(answerer: Arc<dyn Answerer>, limits: TcpLimits, stop: watch::Receiver<bool>) -> Server {
        let clients = Clients::new("TCP connections", limits.connections, limits.connections_per_address);
        Server { answerer, limits, clients, stop }
    }

    /// Accepts connections until it is stopped. No client ends it.
    pub(super) async fn accept(self, listener: TcpListener) {
        let mut stop = self.stop.clone();
        while let Some((stream, peer)) = accepted(&listener, &mut stop).await {
            // A client beyond the limits is closed at once (RFC 7766 section 6.2.2 lets a server do so).
            if let Some(place) = self.clients.enter(peer) {
                tokio::spawn(self.clone().connection(stream, peer, place));
            }
        }
    }

    async fn connection(mut self, mut stream: TcpStream, peer: SocketAddr, place: Place) {
        let conversation = Conversation {
            answerer: &*self.answerer,
            transport: Transport::Tcp,
            limits: &self.limits,
            peer,
            place: &place,
        };
        // Errors end the connection and are the client's business only.
        tokio::select! {
            _ = conversation.run(&mut stream, &mut self.stop) => {}
            () = place.must_leave() => {}
        }
    }
}

/// The next connection; none once everything is to stop.
pub(super) async fn accepted(
    listener: &TcpListener,
    stop: &mut watch::Receiver<bool>,
) -> Option<(TcpStream, SocketAddr)> {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return None,
        };
        match accepted {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                return Some((stream, peer));
            }
            Err(error) => {
                static ACCEPTING: Occasionally = Occasionally::new();
                ACCEPTING.run(|before| warn!("accepting over TCP: {error} ({before} times before)"));
                tokio::time::sleep(ERROR_REST).await;
            }
        }
    }
}
