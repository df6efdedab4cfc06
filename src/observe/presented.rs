//! Asks a service which certificate chain it presents: by STARTTLS in the protocols of mail, by a handshake at once elsewhere. Accepts any
//! certificate whose key is proven in the handshake: whether it is the right one is decided elsewhere. Never sends mail.
//!
//! Whom to ask comes in as orders; what came of it goes out as news. When to ask again is decided elsewhere.

mod dialogue;
mod handshake;
mod protocol;
mod turns;

use std::fmt;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ProtocolVersion;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::lanes;
use crate::dane::certificate::KeyType;
use crate::dane::{self, Chain};
use crate::dns::Name;
use dialogue::Dialogue;
use protocol::Protocol;

pub use turns::Turns;

/// So many services are asked at a time.
const AT_ONCE: usize = 16;
/// Between two questions to one address: no mail server counts that as a flood.
const APART: Duration = Duration::from_secs(1);
/// How long all of one question may take.
const LIMIT: Duration = Duration::from_secs(30);
/// How long an end may take that is only a courtesy.
const LEAVE: Duration = Duration::from_secs(2);

/// How a conversation begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// The server speaks first, and TLS begins with STARTTLS (RFC 3207).
    Smtp,
    /// The same, in IMAP (RFC 9051 section 6.2.1).
    Imap,
    /// The same with STLS, in POP3 (RFC 2595 section 4).
    Pop3,
    /// The same with STARTTLS, in ManageSieve (RFC 5804 section 2.2).
    Sieve,
    /// TLS begins at once.
    Tls,
    /// In a way that nobody here knows.
    Unknown,
}

impl Greeting {
    /// What is usual on a port of TCP. Where another protocol is registered that begins in the clear (FTP, LMTP, NNTP, LDAP, MySQL, XMPP,
    /// PostgreSQL) nobody is asked: what failed there would say nothing of the service. Any other port is taken for one of TLS at once:
    /// new protocols begin like that, and those that are old have a second port for it (RFC 8314 section 3).
    pub fn of(port: u16) -> Greeting {
        match port {
            25 | 587 => Greeting::Smtp,
            143 => Greeting::Imap,
            110 => Greeting::Pop3,
            4190 => Greeting::Sieve,
            21 | 24 | 119 | 389 | 3306 | 5222 | 5269 | 5432 => Greeting::Unknown,
            _ => Greeting::Tls,
        }
    }

    /// What is spoken before TLS begins.
    fn protocol(self) -> Option<&'static Protocol> {
        match self {
            Greeting::Smtp => Some(&protocol::SMTP),
            Greeting::Imap => Some(&protocol::IMAP),
            Greeting::Pop3 => Some(&protocol::POP3),
            Greeting::Sieve => Some(&protocol::SIEVE),
            Greeting::Tls | Greeting::Unknown => None,
        }
    }
}

/// Why it is not known what a service presents. All of these may pass: ask again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPresented {
    /// Nothing listens there.
    #[error("the connection is refused (is the service running, and does it listen on this address?)")]
    Refused,
    /// There is no connection.
    #[error("it can't be reached: {0} (is there a way from here to this address?)")]
    Unreachable(ErrorKind),
    /// It takes longer than is waited.
    #[error("nothing comes in time: {0} (does a firewall let connections through, and is the service overloaded?)")]
    TimedOut(Stage),
    /// The connection ended.
    #[error("the connection breaks: {0}: {1} (what does the service's log say?)")]
    Broken(Stage, ErrorKind),
    /// What comes is nothing of the protocol, or more than anybody sends.
    #[error("it does not speak {protocol}: {stage}: {line:?} (is it a mail server, and is nothing in between?)")]
    NotSpoken {
        /// What should have been spoken.
        protocol: &'static str,
        /// Where something else stands.
        stage: Stage,
        /// This.
        line: String,
    },
    /// It does not want to speak with us, now or at all.
    #[error("it says no: {stage}: {said:?} ({})", stage.help())]
    TurnedAway {
        /// What it says that to.
        stage: Stage,
        /// Its reply.
        said: String,
    },
    /// This command, which begins TLS, is not among what it offers.
    #[error("it does not offer {0} (is TLS switched on, and for every client?)")]
    NoStartTls(&'static str),
    /// What is spoken at this port is not known here, so it was not asked.
    #[error("what is spoken at port {0} before TLS begins is not known here")]
    Unknown(u16),
    /// It said something in the clear that would have counted as said over TLS (CVE-2011-0411).
    #[error("it goes on in the clear after it agreed to TLS (is somebody in between?)")]
    Injected,
    /// It ends the handshake with an alert (RFC 8446 section 6).
    #[error(
        "the TLS handshake ends with the alert {0} (does it take TLS 1.2 or 1.3, and has it a certificate for this name?)"
    )]
    Alert(String),
    /// The handshake fails here: the key is not proven, or it does not speak TLS.
    #[error("the TLS handshake fails: {0} (does the private key belong to the certificate?)")]
    Handshake(String),
    /// The host can't be named in the handshake.
    #[error("{0} can't be the name of a TLS server (RFC 6066 section 3)")]
    Name(Name),
    /// What it presents is not X.509.
    #[error("what it presents can't be read: {0}")]
    Chain(#[from] dane::Error),
}

/// How far a conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// TCP.
    Connecting,
    /// What a server says first.
    Banner,
    /// What it offers, asked for by this command.
    Offer(&'static str),
    /// Whether TLS may begin, asked by this one.
    StartTls(&'static str),
    /// TLS.
    Handshake,
}

impl Stage {
    /// What to look at when a server says no.
    fn help(self) -> &'static str {
        match self {
            Stage::StartTls(_) => "what does its log say of its certificate and key?",
            _ => "let this server in, past greylisting and limits",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stage::Connecting => f.write_str("connecting"),
            Stage::Banner => f.write_str("its greeting"),
            Stage::Offer(command) | Stage::StartTls(command) => write!(f, "its reply to {command}"),
            Stage::Handshake => f.write_str("the TLS handshake"),
        }
    }
}

/// A service that is to be asked.
#[derive(Clone, Debug)]
pub struct Order {
    /// The MX host, which is asked for by name; the news carry it.
    pub host: Name,
    /// What the address is called there: the news carry it.
    pub label: String,
    /// Where the service is.
    pub address: SocketAddr,
    /// How it is spoken to.
    pub greeting: Greeting,
    /// Of which key type its certificate is to be, where it has several; none: whichever it likes best.
    pub key_type: Option<KeyType>,
}

/// How a service is spoken to, and the key type that its certificate is to be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct How {
    /// The former.
    pub greeting: Greeting,
    /// The latter; none: whichever it likes best.
    pub key_type: Option<KeyType>,
}

impl From<Greeting> for How {
    fn from(greeting: Greeting) -> How {
        How { greeting, key_type: None }
    }
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// What the service presents.
    Presents {
        /// The order's.
        host: Name,
        /// The order's.
        label: String,
        /// Of the certificate whose key was proven: [`dane::certificate::Certificate::fingerprint`].
        fingerprint: String,
        /// The whole chain.
        chain: Chain,
    },
    /// It could not be asked.
    Unasked {
        /// The order's.
        host: Name,
        /// The order's.
        label: String,
        /// Why, for people.
        why: NotPresented,
    },
}

/// Asks whom it is ordered to, 16 at a time and each address at most once a second, until nobody can order any more.
/// Of two orders for a host and a label of which neither has begun the later one is carried out.
pub async fn run(mut orders: mpsc::Receiver<Order>, news: mpsc::Sender<News>, turns: Turns) {
    let (queue, queued) = mpsc::channel(1);
    let forward = async move {
        while let Some(order) = orders.recv().await {
            if queue.send(Queued { order, turns: turns.clone() }).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(forward, lanes::run(queued, news, AT_ONCE, APART));
}

/// An order that waits for its turn.
struct Queued {
    order: Order,
    turns: Turns,
}

impl lanes::Order for Queued {
    type Said = Result<Chain, NotPresented>;
    type News = News;

    fn address(&self) -> SocketAddr {
        self.order.address
    }

    fn subject(&self) -> (&Name, &str) {
        (&self.order.host, &self.order.label)
    }

    async fn ask(&self) -> Result<Chain, NotPresented> {
        let Order { host, address, greeting, key_type, .. } = &self.order;
        let how = How { greeting: *greeting, key_type: *key_type };
        let presented = self.turns.ask(*address, || present(*address, how, host, LIMIT)).await?;
        Ok(Chain::presented(&presented.certificates)?)
    }

    fn is_for_all(said: &Result<Chain, NotPresented>) -> bool {
        use NotPresented::{Alert, Broken, Chain, Handshake, Name, TimedOut};
        // Before the handshake nobody is named.
        let of_host = |why: &NotPresented| {
            matches!(why, Alert(_) | Handshake(_) | Name(_) | Chain(_))
                || matches!(why, TimedOut(Stage::Handshake) | Broken(Stage::Handshake, _))
        };
        said.as_ref().err().is_some_and(|why| !of_host(why))
    }

    fn news(self, said: Result<Chain, NotPresented>) -> News {
        let Order { host, label, .. } = self.order;
        match said {
            Ok(chain) => News::Presents { host, label, fingerprint: chain.leaf().fingerprint(), chain },
            Err(why) => News::Unasked { host, label, why },
        }
    }
}

/// What a service presents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Its chain, its own certificate first.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The version of TLS that was agreed on, for people.
    pub protocol: String,
}

/// The chain that a service presents to who asks for `name` (RFC 7672 section 8.1: the MX host), its own certificate first.
/// It comes within `limit`, or an error does; the service is left properly then, which takes two seconds at most.
pub async fn present(
    address: SocketAddr,
    how: impl Into<How>,
    name: &Name,
    limit: Duration,
) -> Result<Given, NotPresented> {
    let (mut stage, mut open, how) = (Stage::Connecting, Open::Nothing, how.into());
    let presented = timeout(limit, converse(address, how, name, &mut stage, &mut open)).await;
    // What is known is known, however it ends.
    let _ = timeout(LEAVE, open.leave()).await;
    presented.unwrap_or(Err(NotPresented::TimedOut(stage)))
}

/// A conversation that is to be ended.
enum Open {
    Nothing,
    Clear(Dialogue<TcpStream>),
    OverTls(Dialogue<TlsStream<TcpStream>>),
    Tls(TlsStream<TcpStream>),
}

impl Open {
    async fn leave(self) -> Result<(), Error> {
        match self {
            Open::Nothing => Ok(()),
            Open::Clear(dialogue) => dialogue.leave().await,
            Open::OverTls(dialogue) => dialogue.leave().await,
            Open::Tls(mut stream) => stream.shutdown().await,
        }
    }
}

async fn converse(
    address: SocketAddr,
    how: How,
    name: &Name,
    stage: &mut Stage,
    open: &mut Open,
) -> Result<Given, NotPresented> {
    if how.greeting == Greeting::Unknown {
        return Err(NotPresented::Unknown(address.port()));
    }
    let server = ServerName::try_from(name.to_host()).map_err(|_| NotPresented::Name(name.clone()))?;
    let client = handshake::client(how.key_type).map_err(|error| NotPresented::Handshake(error.to_string()))?;
    let mut stream = TcpStream::connect(address).await.map_err(|error| match error.kind() {
        ErrorKind::ConnectionRefused => NotPresented::Refused,
        ErrorKind::TimedOut => NotPresented::TimedOut(Stage::Connecting),
        kind => NotPresented::Unreachable(kind),
    })?;
    let protocol = how.greeting.protocol();
    if let Some(protocol) = protocol {
        let ourselves = dialogue::ourselves(stream.local_addr().ok());
        let mut dialogue = Dialogue::new(protocol, stream);
        if let Err(why) = dialogue.start_tls(&ourselves, stage).await {
            if matches!(why, NotPresented::NoStartTls(_) | NotPresented::TurnedAway { .. }) {
                *open = Open::Clear(dialogue);
            }
            return Err(why);
        }
        stream = dialogue.into_stream();
    }
    *stage = Stage::Handshake;
    let stream = TlsConnector::from(Arc::new(client)).connect(server, stream).await;
    let stream = stream.map_err(|error| handshake::failed(&error))?;
    let agreed = stream.get_ref().1;
    let version = match agreed.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3".to_owned(),
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2".to_owned(),
        other => format!("{other:?}"),
    };
    let given = Given { certificates: agreed.peer_certificates().unwrap_or_default().to_vec(), protocol: version };
    *open = match protocol {
        Some(protocol) => Open::OverTls(Dialogue::over_tls(protocol, stream)),
        None => Open::Tls(stream),
    };
    Ok(given)
}
