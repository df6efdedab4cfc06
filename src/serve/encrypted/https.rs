//! DNS over HTTPS (RFC 8484): HTTP/2, `/dns-query`, GET and POST. HTTP/1.1 is not spoken (section 5.2: HTTP/2 is the minimum
//! recommended).

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request, Response, StatusCode, header};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{EncryptedLimits, Service};
use crate::dns::walk;
use crate::serve::HEADER;
use crate::serve::clients::Place;
use crate::serve::stream::Asker;

/// Where queries go: what resolvers and RFC 8484's examples use.
const PATH: &str = "/dns-query";
const MEDIA_TYPE: &str = "application/dns-message";
/// The biggest header of a request, octets as HPACK counts them: a query of some 9,000 octets in a GET.
const MAX_HEADER: u32 = 16 << 10;
/// How many octets of bodies one connection may have under way.
const CONNECTION_WINDOW: u32 = 256 << 10;
/// How long a connection has for its last words.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Who asks, and who answers.
struct Exchange {
    asker: Asker,
    limits: EncryptedLimits,
}

/// Answers one connection's requests until it ends, is idle for too long or breaks a limit.
pub(super) async fn serve(
    mut service: Service,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    place: &Place,
) {
    let limits = service.limits;
    let handshake = builder(&limits).handshake::<_, Bytes>(stream);
    let Ok(Ok(mut connection)) = timeout(limits.handshake, handshake).await else { return };
    let exchange = Arc::new(Exchange { asker: service.asker(peer), limits });
    let mut streams = JoinSet::new();
    loop {
        let request = tokio::select! {
            request = connection.accept() => request,
            Some(_) = streams.join_next() => continue,
            () = sleep(limits.connection.idle), if streams.is_empty() => break,
            _ = service.stop.changed() => break,
        };
        let Some(Ok((request, response))) = request else { return };
        place.heard();
        // Streams that a client resets count no longer for HTTP/2, and do here until their task has ended.
        if streams.len() >= 2 * limits.streams as usize {
            connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            break;
        }
        streams.spawn(Arc::clone(&exchange).run(request, response));
    }
    connection.graceful_shutdown();
    let _ = timeout(LAST_WORDS, poll_fn(|context| connection.poll_closed(context))).await;
}

fn builder(limits: &EncryptedLimits) -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(MAX_HEADER)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_reset_streams(limits.streams as usize)
        .max_send_buffer_size(64 << 10);
    builder
}

impl Exchange {
    async fn run(self: Arc<Exchange>, request: Request<RecvStream>, mut response: SendResponse<Bytes>) {
        let head = request.method() == Method::HEAD;
        let (head_of_response, body) = match self.query(request).await {
            Ok(query) => self.answer(&query).await,
            Err(refusal) => (refused(refusal), Bytes::new()),
        };
        let empty = head || body.is_empty();
        let Ok(stream) = response.send_response(head_of_response, empty) else { return };
        if !empty {
            self.send(stream, body).await;
        }
    }

    /// The query in a request, or the status that says why there is none.
    async fn query(&self, request: Request<RecvStream>) -> Result<Vec<u8>, StatusCode> {
        let (head, body) = request.into_parts();
        if head.uri.path() != PATH {
            return Err(StatusCode::NOT_FOUND);
        }
        let query = match head.method {
            Method::GET | Method::HEAD => from_parameters(head.uri.query().unwrap_or_default())?,
            Method::POST => {
                if !is_dns_message(&head.headers) {
                    return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
                }
                let receive = from_body(body, self.limits.connection.query_size);
                timeout(self.limits.connection.receive, receive).await.map_err(|_| StatusCode::REQUEST_TIMEOUT)??
            }
            _ => return Err(StatusCode::METHOD_NOT_ALLOWED),
        };
        match query.len() {
            ..HEADER => Err(StatusCode::BAD_REQUEST),
            length if length > self.limits.connection.query_size => Err(StatusCode::PAYLOAD_TOO_LARGE),
            _ => Ok(query),
        }
    }

    /// RFC 8484 section 4.2.1: every DNS response is a success of HTTP's, whatever its response code.
    async fn answer(&self, query: &[u8]) -> (Response<()>, Bytes) {
        let take = |response: &[u8]| (Bytes::copy_from_slice(response), walk::lifetime(response));
        let answered = self.asker.respond_with(query, take).await;
        // What DNS would leave without a reply: a response, say.
        let Some((body, lifetime)) = answered else { return (refused(StatusCode::BAD_REQUEST), Bytes::new()) };
        let mut response = Response::new(());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(header::CONTENT_LENGTH, body.len().into());
        // RFC 8484 section 5.1.
        if let Ok(freshness) = format!("max-age={lifetime}").try_into() {
            headers.insert(header::CACHE_CONTROL, freshness);
        }
        (response, body)
    }

    /// Sends as the client makes room, so that what waits stays here and counts against its streams.
    async fn send(&self, mut stream: SendStream<Bytes>, mut body: Bytes) {
        let sent = timeout(self.limits.connection.send, async {
            while !body.is_empty() {
                stream.reserve_capacity(body.len());
                let room = poll_fn(|context| stream.poll_capacity(context)).await;
                let Some(Ok(room)) = room else { return };
                let part = body.split_to(room.min(body.len()));
                if stream.send_data(part, body.is_empty()).is_err() {
                    return;
                }
            }
        });
        if sent.await.is_err() {
            stream.send_reset(Reason::CANCEL);
        }
    }
}

fn refused(status: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    if status == StatusCode::METHOD_NOT_ALLOWED {
        // RFC 9110 section 15.5.6.
        response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD, POST"));
    }
    response
}

/// The variable `dns`, base64url without padding (RFC 8484 section 6). Others are ignored.
fn from_parameters(parameters: &str) -> Result<Vec<u8>, StatusCode> {
    let mut values = parameters.split('&').filter_map(|parameter| parameter.strip_prefix("dns="));
    match (values.next(), values.next()) {
        (Some(value), None) => BASE64URL_NOPAD.decode(value.as_bytes()).map_err(|_| StatusCode::BAD_REQUEST),
        _ => Err(StatusCode::BAD_REQUEST),
    }
}

fn is_dns_message(headers: &http::HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(MEDIA_TYPE))
}

async fn from_body(mut body: RecvStream, limit: usize) -> Result<Vec<u8>, StatusCode> {
    let mut query = Vec::new();
    while let Some(part) = body.data().await {
        // The client has reset the stream or gone; whom this status reaches does not matter.
        let part = part.map_err(|_| StatusCode::BAD_REQUEST)?;
        if query.len() + part.len() > limit {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        query.extend_from_slice(&part);
        let _ = body.flow_control().release_capacity(part.len());
    }
    Ok(query)
}
