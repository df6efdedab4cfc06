//! DNS over dedicated QUIC connections (RFC 9250): a stream for each query.
//!
//! Never waits for one client before it looks at the next. A sender whose address is not proven gets a Retry (RFC 9000
//! section 8.1.2) as soon as a quarter of the places is taken, so forged addresses take none from others. No 0-RTT.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, EndpointConfig, Incoming, RecvStream, SendStream, ServerConfig, VarInt};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{EncryptedLimits, Presented, Service};
use crate::dns::walk;
use crate::serve::HEADER;
use crate::serve::clients::Place;
use crate::serve::stream::{Asker, go_on};

/// RFC 9250 section 4.3.
const NO_ERROR: VarInt = VarInt::from_u32(0);
const PROTOCOL_ERROR: VarInt = VarInt::from_u32(2);
const REQUEST_CANCELLED: VarInt = VarInt::from_u32(3);
const EXCESSIVE_LOAD: VarInt = VarInt::from_u32(4);
const UNSPECIFIED_ERROR: VarInt = VarInt::from_u32(5);

/// How many octets one connection may have under way in each direction.
const CONNECTION_WINDOW: u32 = 256 << 10;
/// edns-tcp-keepalive (RFC 7828), which has no place in QUIC (RFC 9250 section 5.5.2).
const KEEPALIVE: u16 = 11;
/// How long the last packets have.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// An endpoint with its limits.
pub(super) fn endpoint(socket: UdpSocket, presented: &Presented, limits: &EncryptedLimits) -> io::Result<Endpoint> {
    let tls = presented.server(b"doq").map_err(io::Error::other)?;
    let tls = QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
    let mut server = ServerConfig::with_crypto(Arc::new(tls));
    server.max_incoming(limits.handshakes).migration(false);
    let mut transport = quinn::TransportConfig::default();
    let idle = u32::try_from(limits.connection.idle.as_millis()).unwrap_or(u32::MAX);
    transport
        .max_concurrent_bidi_streams(limits.streams.into())
        .max_concurrent_uni_streams(0u32.into())
        .max_idle_timeout(Some(VarInt::from_u32(idle).into()))
        .stream_receive_window(VarInt::from_u32(66_000))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(CONNECTION_WINDOW.into())
        .datagram_receive_buffer_size(None);
    server.transport_config(Arc::new(transport));
    Endpoint::new(EndpointConfig::default(), Some(server), socket, Arc::new(quinn::TokioRuntime))
}

/// Takes connections until it is stopped. No client ends it, and none waits for another's handshake.
pub(super) async fn accept(service: Service, endpoint: Endpoint) {
    let mut stop = service.stop.clone();
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            _ = stop.changed() => break,
        };
        let Some(incoming) = incoming else { return };
        let peer = incoming.remote_address();
        let pressed = service.handshakes.is_pressed_by(peer) || service.clients.is_pressed_by(peer);
        if pressed && !incoming.remote_address_validated() {
            // It fails for who brings a token of an earlier connection only; that address is validated.
            let _ = incoming.retry();
            continue;
        }
        let (Some(place), Some(handshake)) = (service.clients.enter(peer), service.handshakes.enter(peer)) else {
            incoming.refuse();
            continue;
        };
        tokio::spawn(connection(service.clone(), incoming, peer, place, handshake));
    }
    endpoint.close(NO_ERROR, b"");
    let _ = timeout(LAST_WORDS, endpoint.wait_idle()).await;
}

async fn connection(service: Service, incoming: Incoming, peer: SocketAddr, place: Place, handshake: Place) {
    let Ok(connecting) = incoming.accept() else { return service.tally.handshake_failed(service.transport) };
    let shaken = tokio::select! {
        shaken = timeout(service.limits.handshake, connecting) => shaken,
        () = place.must_leave() => return,
        () = handshake.must_leave() => return,
    };
    drop(handshake);
    let Ok(Ok(connection)) = shaken else { return service.tally.handshake_failed(service.transport) };
    place.heard();
    let code = tokio::select! {
        code = serve(service, &connection, peer, &place) => code,
        () = place.must_leave() => EXCESSIVE_LOAD,
    };
    connection.close(code, b"");
}

/// Answers one connection's streams; gives the code to close it with.
async fn serve(mut service: Service, connection: &Connection, peer: SocketAddr, place: &Place) -> VarInt {
    let limits = service.limits;
    let asker = service.asker(peer);
    let mut streams = JoinSet::new();
    loop {
        let stream = tokio::select! {
            stream = connection.accept_bi() => stream,
            Some(ended) = streams.join_next() => match ended {
                Ok(Err(Broken)) => return PROTOCOL_ERROR,
                _ => continue,
            },
            () = sleep(limits.connection.idle), if streams.is_empty() => return NO_ERROR,
            _ = service.stop.changed() => return NO_ERROR,
        };
        let Ok((send, receive)) = stream else { return NO_ERROR };
        place.heard();
        streams.spawn(exchange(asker.clone(), limits, send, receive));
    }
}

/// What the whole connection ends with (RFC 9250 section 4.3.3).
struct Broken;

async fn exchange(
    asker: Asker,
    limits: EncryptedLimits,
    mut send: SendStream,
    mut receive: RecvStream,
) -> Result<(), Broken> {
    // A stream that is only dropped ends as if its response were empty: it is reset where there is none.
    let framed = match receive_query(&mut receive, &limits).await {
        Received::Query(framed) => framed,
        Received::Broken => {
            let _ = send.reset(PROTOCOL_ERROR);
            return Err(Broken);
        }
        Received::TooSlow => {
            let _ = receive.stop(EXCESSIVE_LOAD);
            let _ = send.reset(EXCESSIVE_LOAD);
            return Ok(());
        }
        Received::TakenBack => {
            let _ = send.reset(REQUEST_CANCELLED);
            return Ok(());
        }
    };
    let mut response = Vec::new();
    let mut rest = asker.respond(&framed[2..], &mut response).await;
    if response.is_empty() {
        let _ = send.reset(UNSPECIFIED_ERROR);
        return Ok(());
    }
    // A transfer's messages all come on this stream (section 4.2).
    loop {
        if timeout(limits.connection.send, send.write_all(&response)).await.is_err() {
            let _ = send.reset(EXCESSIVE_LOAD);
            return Ok(());
        }
        let Some(transfer) = rest.as_mut().filter(|transfer| !transfer.is_done()) else { break };
        response.clear();
        if go_on(transfer, &mut response).is_none() {
            let _ = send.reset(UNSPECIFIED_ERROR);
            return Ok(());
        }
    }
    let _ = send.finish();
    Ok(())
}

enum Received {
    /// With its length before it.
    Query(Vec<u8>),
    Broken,
    TooSlow,
    TakenBack,
}

/// Section 4.2: one query, then the end of the stream.
async fn receive_query(receive: &mut RecvStream, limits: &EncryptedLimits) -> Received {
    let whole = receive.read_to_end(2 + limits.connection.query_size);
    match timeout(limits.connection.receive, whole).await {
        Ok(Ok(framed)) if is_one_query(&framed) => Received::Query(framed),
        Ok(Ok(_) | Err(quinn::ReadToEndError::TooLong)) => Received::Broken,
        Ok(Err(quinn::ReadToEndError::Read(_))) => Received::TakenBack,
        Err(_) => Received::TooSlow,
    }
}

/// Whether a stream has one query, whole, with ID 0 (section 4.2.1) and without what QUIC forbids.
fn is_one_query(framed: &[u8]) -> bool {
    let Some((length, query)) = framed.split_first_chunk::<2>() else { return false };
    let whole = query.len() == usize::from(u16::from_be_bytes(*length)) && query.len() >= HEADER;
    whole && query[..2] == [0, 0] && !walk::has_option(query, KEEPALIVE)
}
