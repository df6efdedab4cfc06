//! DNS over TLS (RFC 7858), and the TLS under HTTPS: accepts, shakes hands within a time, hands over.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::warn;

use super::{Service, https};
use crate::serve::clients::Place;
use crate::serve::stream::Conversation;
use crate::serve::{Occasionally, Transport};

/// How long accepting rests after an error of the system: out of descriptors, say.
const ERROR_REST: Duration = Duration::from_millis(100);

/// Accepts connections until it is stopped. No client ends it, and none waits for another's handshake.
pub(super) async fn accept(service: Service, acceptor: TlsAcceptor, listener: TcpListener) {
    let mut stop = service.stop.clone();
    while let Some((stream, peer)) = accepted(&listener, &mut stop).await {
        let Some(place) = service.clients.enter(peer) else { continue };
        let Some(handshake) = service.handshakes.enter(peer) else { continue };
        tokio::spawn(connection(service.clone(), acceptor.clone(), stream, peer, place, handshake));
    }
}

async fn connection(
    mut service: Service,
    acceptor: TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    handshake: Place,
) {
    // Errors end the connection and are the client's business only.
    let shaken = tokio::select! {
        shaken = timeout(service.limits.handshake, acceptor.accept(stream)) => shaken,
        () = place.must_leave() => return,
        () = handshake.must_leave() => return,
        _ = service.stop.changed() => return,
    };
    drop(handshake);
    let Ok(Ok(stream)) = shaken else { return service.tally.handshake_failed(service.transport) };
    place.heard();
    tokio::select! {
        () = serve(service, stream, peer, &place) => {}
        () = place.must_leave() => {}
    }
}

async fn serve(mut service: Service, mut stream: TlsStream<TcpStream>, peer: SocketAddr, place: &Place) {
    if service.transport == Transport::Https {
        return https::serve(service, stream, peer, place).await;
    }
    let asker = service.asker(peer);
    let conversation = Conversation { asker: &asker, limits: &service.limits.connection, place };
    if conversation.run(&mut stream, &mut service.stop).await.is_ok() {
        // close_notify tells an end from a cut (RFC 8446 section 6.1).
        let _ = timeout(service.limits.connection.send, stream.shutdown()).await;
    }
}

/// The next connection; none once everything is to stop.
async fn accepted(listener: &TcpListener, stop: &mut watch::Receiver<bool>) -> Option<(TcpStream, SocketAddr)> {
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
                ACCEPTING.run(|before| warn!("accepting over TLS: {error} ({before} times before)"));
                tokio::time::sleep(ERROR_REST).await;
            }
        }
    }
}
