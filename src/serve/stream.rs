//! DNS over TLS's stream of octets: two octets of length before each message (RFC 7858 section 3.3), several queries a
//! connection, and limits, so that slow or many clients take nothing from the others.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::clients::Place;
use super::counters::SharedTally;
use super::transfers::Outgoing;
use super::{Answerer, HEADER, MAX_MESSAGE, Transport, guarded};

/// Octets before a message that say how long it is (RFC 1035 section 4.2.2).
pub(super) const LENGTH: usize = 2;
/// What a connection reads ahead, octets: a few pipelined queries.
const READ_AHEAD: usize = 1024;
/// A response that comes later is waited for so long.
const LATER: Duration = Duration::from_secs(30);
/// How many octets of responses to pipelined queries go out together.
const TOGETHER: usize = 16 << 10;

/// What the clients of a stream transport may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpLimits {
    /// Connections in all.
    pub connections: usize,
    /// Connections of one IPv4 address or one IPv6 /64.
    pub connections_per_address: usize,
    /// A connection without a query for so long is closed (RFC 7766 section 6.2.3).
    pub idle: Duration,
    /// A query has to be here so long after its first octet.
    pub receive: Duration,
    /// A response has to be taken within so long.
    pub send: Duration,
    /// The biggest query, octets.
    pub query_size: usize,
}

impl Default for TcpLimits {
    fn default() -> TcpLimits {
        TcpLimits {
            connections: 1024,
            connections_per_address: 64,
            idle: Duration::from_secs(30),
            receive: Duration::from_secs(5),
            send: Duration::from_secs(10),
            query_size: MAX_MESSAGE,
        }
    }
}

/// Who asks, over what, and who answers.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) answerer: Arc<dyn Answerer>,
    pub(super) tally: SharedTally,
    pub(super) transport: Transport,
    pub(super) peer: SocketAddr,
}

impl Asker {
    /// Appends the response with its length before it; nothing where none is due. Gives what follows it.
    pub(super) async fn respond(&self, query: &[u8], responses: &mut Vec<u8>) -> Option<Box<Outgoing>> {
        let (coming, more) = match self.respond_now(query, |response| append(response, responses)) {
            Now::Response((), more) => return more,
            Now::Nothing => return None,
            Now::Later(coming) => (coming, None),
        };
        if let Some(response) = wait(coming).await {
            append(&response, responses);
        }
        more
    }

    /// Hands the response to `take`, if one is due.
    pub(super) async fn respond_with<T>(&self, query: &[u8], take: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let mut take = Some(take);
        match self.respond_now(query, |response| take.take().map(|take| take(response))) {
            Now::Response(taken, _) => taken,
            Now::Nothing => None,
            Now::Later(coming) => Some(take?(&wait(coming).await?)),
        }
    }

    fn respond_now<T>(&self, query: &[u8], take: impl FnOnce(&[u8]) -> T) -> Now<T> {
        SCRATCH.with_borrow_mut(|scratch| {
            let reply = guarded(&*self.answerer, self.peer, self.transport, query, scratch);
            self.tally.note(self.transport, &self.peer, query, &reply, scratch);
            match (reply.length, reply.later) {
                (Some(length), _) => Now::Response(take(&scratch[..length]), reply.more),
                (None, None) => Now::Nothing,
                (None, Some(later)) => {
                    let (sender, coming) = oneshot::channel();
                    // Who asked may have gone.
                    later.by(move |response| drop(sender.send(response.into())));
                    Now::Later(coming)
                }
            }
        })
    }
}

/// What there is of a response at once.
enum Now<T> {
    /// All of it, or the first message.
    Response(T, Option<Box<Outgoing>>),
    /// None is due.
    Nothing,
    /// It comes later.
    Later(oneshot::Receiver<Box<[u8]>>),
}

async fn wait(coming: oneshot::Receiver<Box<[u8]>>) -> Option<Box<[u8]>> {
    timeout(LATER, coming).await.ok()?.ok()
}

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; MAX_MESSAGE]);
}

fn append(message: &[u8], messages: &mut Vec<u8>) {
    // It fits: a message has at most MAX_MESSAGE octets.
    messages.extend_from_slice(&(message.len() as u16).to_be_bytes());
    messages.extend_from_slice(message);
}

/// Appends a transfer's next message with its length before it. None where it can't go on.
pub(super) fn go_on(rest: &mut Outgoing, messages: &mut Vec<u8>) -> Option<()> {
    SCRATCH.with_borrow_mut(|scratch| {
        let length = rest.next_message(scratch)?;
        append(&scratch[..length], messages);
        Some(())
    })
}

/// One client's conversation.
pub(super) struct Conversation<'a> {
    pub(super) asker: &'a Asker,
    pub(super) limits: &'a TcpLimits,
    pub(super) place: &'a Place,
}

impl Conversation<'_> {
    /// Answers until the client ends it or breaks a limit. A response is made before the next query is read,
    /// so responses come in the queries' order, and what may come in any order (RFC 7766 section 6.2.1.1) waits for nobody.
    pub(super) async fn run(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        stop: &mut watch::Receiver<bool>,
    ) -> io::Result<()> {
        let (reader, mut writer) = tokio::io::split(stream);
        let mut reader = BufReader::with_capacity(READ_AHEAD, reader);
        let mut responses = Vec::new();
        loop {
            let first = tokio::select! {
                first = timeout(self.limits.idle, reader.read_u8()) => first,
                _ = stop.changed() => return Ok(()),
            };
            let Ok(first) = first else { return Ok(()) };
            let query = timeout(self.limits.receive, receive(&mut reader, first?, self.limits.query_size)).await??;
            self.place.heard();
            let mut rest = self.asker.respond(&query, &mut responses).await;
            drop(query);
            let more = matches!(first_query(reader.buffer(), self.limits.query_size), Ok(Some(_)))
                && responses.len() < TOGETHER;
            if responses.is_empty() || (more && rest.is_none()) {
                continue;
            }
            loop {
                timeout(self.limits.send, async {
                    writer.write_all(&responses).await?;
                    // TLS may hold back what was written.
                    writer.flush().await
                })
                .await??;
                responses.clear();
                let Some(transfer) = rest.as_mut().filter(|transfer| !transfer.is_done()) else { break };
                self.place.heard();
                go_on(transfer, &mut responses).ok_or(io::ErrorKind::InvalidData)?;
            }
            responses.shrink_to(READ_AHEAD);
        }
    }
}

/// The query at the beginning; none where it isn't whole, an error where none can follow.
pub(super) fn first_query(octets: &[u8], limit: usize) -> io::Result<Option<&[u8]>> {
    let Some((length, rest)) = octets.split_first_chunk::<LENGTH>() else { return Ok(None) };
    match usize::from(u16::from_be_bytes(*length)) {
        length if length < HEADER || length > limit => Err(io::ErrorKind::InvalidData.into()),
        length => Ok(rest.get(..length)),
    }
}

async fn receive(reader: &mut (impl AsyncRead + Unpin), first: u8, limit: usize) -> io::Result<Vec<u8>> {
    let length = usize::from(u16::from_be_bytes([first, reader.read_u8().await?]));
    if length < HEADER || length > limit {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // Grows as octets arrive: who promises 64 KiB and sends none takes none.
    let mut query = Vec::with_capacity(length.min(READ_AHEAD));
    reader.take(length as u64).read_to_end(&mut query).await?;
    if query.len() < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(query) }
}
