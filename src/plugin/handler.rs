//! The whole server's handler: raw query in, danelaw's own answer out, by way of hickory's `MessageResponse`.

use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::{Header, HeaderCounts, MessageType, Metadata, ResponseCode};
use hickory_server::proto::rr::Record;
use hickory_server::proto::serialize::binary::BinEncoder;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::{MessageResponse, MessageResponseBuilder};

use super::SharedSnapshot;
use super::message::{self, Response};
use crate::answer::{Context, MESSAGE_MAX, Transport, UDP_MAX, answer};

/// Answers every request from the snapshot, as the daemon would: sections, flags, response code and EDNS are [`crate::answer`]'s.
///
/// hickory writes the octets, and compresses names less than danelaw does. An answer that does not fit the client's limit then, though
/// ours does, is sent truncated and empty. What hickory itself can't read (a message that ends early, a second OPT record) it answers
/// with FORMERR before any handler sees it.
#[derive(Clone, Debug)]
pub struct DaneHandler {
    snapshot: SharedSnapshot,
}

impl DaneHandler {
    /// Serves what `snapshot` holds now and later.
    pub fn new(snapshot: SharedSnapshot) -> DaneHandler {
        DaneHandler { snapshot }
    }
}

#[async_trait::async_trait]
impl RequestHandler for DaneHandler {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut sender: R) -> ResponseInfo {
        let snapshot = self.snapshot.load();
        let transport = transport(request.protocol());
        let context = Context::new(request.src().ip(), transport, T::current_time());
        let mut out = vec![0; MESSAGE_MAX];
        let Some(len) = answer(&snapshot, &context, request.as_slice(), &mut out) else {
            // A response, or less than a header: hickory hands neither to a handler.
            return failed(request);
        };
        let sent = match message::decode(&out[..len]) {
            Some(mut response) => {
                if !fits(&response, limit(request)) {
                    truncate(&mut response);
                }
                sender.send_response(build(&response)).await
            }
            None => {
                tracing::error!("danelaw's own response can't be read back; SERVFAIL is sent");
                let builder = MessageResponseBuilder::from_message_request(request);
                sender.send_response(builder.error_msg(&request.metadata, ResponseCode::ServFail)).await
            }
        };
        sent.unwrap_or_else(|error| {
            tracing::debug!(%error, peer = %request.src(), "a response could not be sent");
            failed(request)
        })
    }
}

/// UDP's limits apply to UDP only; all else is a stream.
fn transport(protocol: Protocol) -> Transport {
    match protocol {
        Protocol::Udp => Transport::Udp,
        _ => Transport::Tcp,
    }
}

/// How many octets a response to `request` may take.
fn limit(request: &Request) -> u16 {
    match transport(request.protocol()) {
        Transport::Udp => request.max_payload().min(UDP_MAX as u16),
        _ => u16::MAX,
    }
}

fn build<'a>(
    response: &'a Response,
) -> MessageResponse<
    'a,
    'a,
    impl Iterator<Item = &'a Record> + Send + 'a,
    impl Iterator<Item = &'a Record> + Send + 'a,
    impl Iterator<Item = &'a Record> + Send + 'a,
    impl Iterator<Item = &'a Record> + Send + 'a,
> {
    MessageResponseBuilder::new(&response.queries, response.edns.as_ref()).build(
        response.metadata,
        &response.answers,
        &response.authorities,
        [],
        &response.additionals,
    )
}

/// Whether hickory's encoding stays within the limit. Left to itself it would cut RRsets apart, and send more than the client takes.
fn fits(response: &Response, limit: u16) -> bool {
    let mut octets = Vec::with_capacity(usize::from(limit.min(4096)));
    let mut encoder = BinEncoder::new(&mut octets);
    encoder.set_max_size(limit);
    let records = [&response.answers, &response.authorities, &response.additionals].map(Vec::len);
    let whole = records.iter().sum::<usize>() + usize::from(response.edns.is_some());
    build(response).destructive_emit(&mut encoder).is_ok_and(|info| {
        let counts = info.counts();
        let written = [counts.answers, counts.authorities, counts.additionals].map(usize::from);
        written.iter().sum::<usize>() == whole
    })
}

fn truncate(response: &mut Response) {
    response.metadata.truncation = true;
    response.answers.clear();
    response.authorities.clear();
    response.additionals.clear();
}

fn failed(request: &Request) -> ResponseInfo {
    let mut metadata = Metadata::new(request.metadata.id, MessageType::Response, request.metadata.op_code);
    metadata.response_code = ResponseCode::ServFail;
    Header { metadata, counts: HeaderCounts::default() }.into()
}
