//! Asks an authoritative server what it shows: a zone's serial, and the TLSA records that go with it. Over UDP, and over TCP where
//! that does not do. Believes no answer without authority, and validates nothing: the servers are the zone's own.
//!
//! Whom to ask comes in as orders; what came of it goes out as news. When to ask again is decided elsewhere.

use std::collections::BTreeSet;
use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::lanes;
use crate::answer::UDP_MAX;
use crate::dane::Tlsa;
use crate::dns::header::{AA, CD, CLASS_IN, DO, RD, Rcode, TC};
use crate::dns::question::is_response;
use crate::dns::walk::{self, Walked};
use crate::dns::{Name, Question, Rtype, uncompress};
use crate::zone::serial;

/// So many servers are asked at a time.
const AT_ONCE: usize = 32;
/// How long all questions of an order may take.
const LIMIT: Duration = Duration::from_secs(10);
/// Longer messages are not read over UDP, whatever their sender was told.
const MESSAGE_MAX: usize = 4096;
/// More records than this are no answer to these questions.
const RECORDS_MAX: usize = 64;
/// So many octets are to come in one packet.
const UDP_PAYLOAD: [u8; 2] = (UDP_MAX as u16).to_be_bytes();

/// What a server shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its serial of the zone, before and after it showed the records.
    pub serial: u32,
    /// The records of all owners, in canonical order, each once.
    pub records: Vec<Tlsa>,
    /// The highest TTL that one of them, or an alias on the way to it, may be cached with, in seconds; 0 when there is none.
    pub ttl: u32,
}

/// Why it is not known what a server shows. All of these may pass: ask again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotShown {
    /// Nothing came, over UDP or TCP.
    #[error("it does not answer over UDP, nor over TCP: {0} (is it running, and do firewalls let questions through?)")]
    Silent(ErrorKind),
    /// The answer does not fit into a packet, and does not come over TCP.
    #[error("its answer has to come over TCP, and does not: {0} (does a firewall let port 53 over TCP through?)")]
    NoTcp(ErrorKind),
    /// A response code that says neither what there is nor that there is nothing.
    #[error("it answers with response code {0} (does it have the zone, and may this server ask it?)")]
    Rcode(u16),
    /// An answer without AA.
    #[error("it is not authoritative for the zone (does it have it, and has it expired there?)")]
    NotAuthoritative,
    /// It has authority, and no SOA of the zone.
    #[error("it does not have the zone (is it configured there?)")]
    NoZone,
    /// The answer is to something else.
    #[error("it answers something else than was asked (is it a nameserver, and is nothing in between?)")]
    NotAsked,
    /// The answer can't be read.
    #[error("its answer can't be read (is it a nameserver, and is nothing in between?)")]
    Malformed,
    /// The answer has so many records.
    #[error(
        "its answer has {0} records, where {RECORDS_MAX} are the most that is taken (do all these TLSA have to be there?)"
    )]
    TooMany(usize),
    /// A record with parameters that no RFC assigns.
    #[error("it has a TLSA at {0} whose usage, selector or matching type is not assigned (remove it from the zone)")]
    Unassigned(Name),
    /// An alias or a delegation leads out of the zone; what is there has another serial, and perhaps other servers.
    #[error("what it has for {0} is not in this zone (an alias or a delegation leads elsewhere)")]
    Elsewhere(Name),
    /// Its zone changed twice while it was asked.
    #[error("its zone changes while it is asked (do several servers with different versions share the address?)")]
    Changing,
    /// There is no identifier for a question.
    #[error("the system gives no randomness")]
    Random,
}

/// A server that is to be asked.
#[derive(Clone, Debug)]
pub struct Order {
    /// For this host: the news carry it.
    pub host: Name,
    /// What the server is called there: the news carry it.
    pub label: String,
    /// Where it answers.
    pub server: SocketAddr,
    /// The zone whose serial is asked for.
    pub zone: Name,
    /// The owners whose TLSA are asked for.
    pub owners: Vec<Name>,
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// What the server shows.
    Shows {
        /// The order's.
        host: Name,
        /// The order's.
        label: String,
        /// Serial and records.
        shown: Shown,
    },
    /// It shows nothing that can be believed.
    Unreachable {
        /// The order's.
        host: Name,
        /// The order's.
        label: String,
        /// Why, for people.
        why: NotShown,
    },
}

/// Asks whom it is ordered to, 32 at a time and one question at a time for each server, until nobody can order any more.
/// Of two orders for a host and a label of which neither has begun the later one is carried out.
pub async fn run(orders: mpsc::Receiver<Order>, news: mpsc::Sender<News>) {
    lanes::run(orders, news, AT_ONCE, Duration::ZERO).await;
}

impl lanes::Order for Order {
    type Said = Result<Shown, NotShown>;
    type News = News;

    fn address(&self) -> SocketAddr {
        self.server
    }

    fn subject(&self) -> (&Name, &str) {
        (&self.host, &self.label)
    }

    async fn ask(&self) -> Result<Shown, NotShown> {
        ask(self.server, &self.zone, &self.owners, LIMIT).await
    }

    fn is_for_all(said: &Result<Shown, NotShown>) -> bool {
        matches!(said, Err(NotShown::Silent(_)))
    }

    fn news(self, said: Result<Shown, NotShown>) -> News {
        let Order { host, label, .. } = self;
        match said {
            Ok(shown) => News::Shows { host, label, shown },
            Err(why) => News::Unreachable { host, label, why },
        }
    }
}

/// Asks a server for a zone's serial and the TLSA of some owners. All of it takes `limit` at most.
pub async fn ask(server: SocketAddr, zone: &Name, owners: &[Name], limit: Duration) -> Result<Shown, NotShown> {
    let mut asker = Asker::new(server, limit);
    let mut serial = asker.serial(zone).await?;
    // A zone that changed between the questions is asked about once more.
    for _ in 0..2 {
        let mut found = Found { zone, serial, is_of_serial: true, records: BTreeSet::new(), ttl: 0 };
        for owner in owners {
            let message = asker.ask(&Question::new(owner, Rtype::TLSA)).await?;
            found.take(owner, &message)?;
        }
        let after = asker.serial(zone).await?;
        if after == serial && found.is_of_serial {
            return Ok(Shown { serial, records: found.records.into_iter().collect(), ttl: found.ttl });
        }
        serial = after;
    }
    Err(NotShown::Changing)
}

/// The questions to one server.
pub(super) struct Asker {
    server: SocketAddr,
    until: Instant,
    /// It has not been found silent over UDP.
    udp: bool,
    /// TCP counts in place of UDP.
    tcp: bool,
    /// In the third and fourth octet of a question.
    flags: [u8; 2],
    /// Signatures are asked for (RFC 3225).
    dnssec: bool,
}

impl Asker {
    /// Asks over UDP, and over TCP what does not come so. All of it takes `limit` at most.
    pub(super) fn new(server: SocketAddr, limit: Duration) -> Asker {
        Asker { server, until: Instant::now() + limit, udp: true, tcp: true, flags: [0; 2], dnssec: false }
    }

    /// With signatures.
    pub(super) fn with_dnssec(self) -> Asker {
        Asker { dnssec: true, ..self }
    }

    /// Not over TCP, but for what does not fit into a packet.
    pub(super) fn over_udp_alone(self) -> Asker {
        Asker { tcp: false, ..self }
    }

    /// Not over UDP.
    pub(super) fn over_tcp_alone(self) -> Asker {
        Asker { udp: false, ..self }
    }

    /// A resolver; `unchecked`: which is not to validate (RFC 4035 section 3.2.2).
    pub(super) fn of_resolver(self, unchecked: bool) -> Asker {
        Asker { flags: [RD, if unchecked { CD } else { 0 }], ..self }
    }

    pub(super) async fn serial(&mut self, zone: &Name) -> Result<u32, NotShown> {
        let message = self.ask(&Question::new(zone, Rtype::SOA)).await?;
        serial::shown(&message, 1, zone).ok_or(NotShown::NoZone)
    }

    /// An answer with authority.
    pub(super) async fn ask(&mut self, question: &Question) -> Result<Vec<u8>, NotShown> {
        let message = self.said(question).await?;
        if message[2] & AA == 0 { Err(NotShown::NotAuthoritative) } else { Ok(message) }
    }

    /// An answer, whether with authority or not, read to its end.
    pub(super) async fn said(&mut self, question: &Question) -> Result<Vec<u8>, NotShown> {
        let message = self.exchange(question).await?;
        let count = message.get(6..12).unwrap_or_default().chunks_exact(2);
        let count: usize = count.map(|count| usize::from(u16::from_be_bytes([count[0], count[1]]))).sum();
        // With signatures, and at the zone above with addresses, there is more.
        if count > RECORDS_MAX * if self.dnssec { 4 } else { 1 } {
            return Err(NotShown::TooMany(count));
        }
        if !walk::is_whole(&message) {
            return Err(NotShown::Malformed);
        }
        match rcode(&message) {
            0 | NX_DOMAIN => Ok(message),
            rcode => Err(NotShown::Rcode(rcode)),
        }
    }

    /// A response to the question; one that is truncated is taken over TCP.
    async fn exchange(&mut self, question: &Question) -> Result<Vec<u8>, NotShown> {
        let mut id = [0; 2];
        SystemRandom::new().fill(&mut id).map_err(|_| NotShown::Random)?;
        let id = u16::from_be_bytes(id);
        let mut request = question.message(id, self.flags[0]);
        request[3] = self.flags[1];
        // One OPT record (RFC 6891 section 6.1.2), with DO where signatures are wanted (RFC 3225 section 3).
        request[11] = 1;
        let dnssec = if self.dnssec { DO } else { 0 };
        let flags = [0, 0, dnssec, 0, 0, 0];
        request.extend_from_slice(&[&[0][..], &Rtype::OPT.0.to_be_bytes(), &UDP_PAYLOAD, &flags].concat());
        let is_answer = |message: &[u8]| is_answer(message, id, question);
        let mut failed: fn(ErrorKind) -> NotShown = NotShown::Silent;
        if self.udp {
            match self.over_udp(&request, is_answer).await {
                Heard::Answer(message) if message[2] & TC == 0 => return Ok(message),
                Heard::Answer(_) => failed = NotShown::NoTcp,
                Heard::Other => failed = |_| NotShown::NotAsked,
                Heard::Nothing(_) if self.tcp => self.udp = false,
                Heard::Nothing(kind) => return Err(NotShown::Silent(kind)),
            }
        }
        let message = timeout_at(self.until, self.over_tcp(&request)).await;
        let message =
            message.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into())).map_err(|error| failed(error.kind()))?;
        if !is_answer(&message) {
            return Err(NotShown::NotAsked);
        }
        if message[2] & TC != 0 { Err(NotShown::Malformed) } else { Ok(message) }
    }

    /// Sends the request at once and after a third of the time that is left, and waits for another third.
    async fn over_udp(&self, request: &[u8], is_answer: impl Fn(&[u8]) -> bool) -> Heard {
        let third = self.until.saturating_duration_since(Instant::now()) / 3;
        let mut is_other = false;
        let asked = async {
            // Its port is one that nobody guesses.
            let any: IpAddr =
                if self.server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            let socket = UdpSocket::bind((any, 0)).await?;
            socket.connect(self.server).await?;
            let mut message = vec![0; MESSAGE_MAX];
            for _ in 0..2 {
                socket.send(request).await?;
                let turn = Instant::now() + third;
                while let Ok(length) = timeout_at(turn, socket.recv(&mut message)).await {
                    let received = &message[..length?];
                    // Whoever isn't on the way can send something, and not this.
                    if is_answer(received) {
                        return Ok(received.to_vec());
                    }
                    is_other = true;
                }
            }
            Err(Error::from(ErrorKind::TimedOut))
        };
        match asked.await {
            Ok(message) => Heard::Answer(message),
            Err(_) if is_other => Heard::Other,
            Err(error) => Heard::Nothing(error.kind()),
        }
    }

    async fn over_tcp(&self, request: &[u8]) -> Result<Vec<u8>, Error> {
        let mut stream = TcpStream::connect(self.server).await?;
        let length = u16::try_from(request.len()).map_err(Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], request].concat()).await?;
        let mut message = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut message).await?;
        Ok(message)
    }
}

/// What came over UDP.
enum Heard {
    /// A response to the question.
    Answer(Vec<u8>),
    /// Something else.
    Other,
    /// Nothing; why.
    Nothing(ErrorKind),
}

const NX_DOMAIN: u16 = Rcode::NxDomain as u16;

/// Whether a message answers a question. One that says that it failed need not repeat it.
fn is_answer(message: &[u8], id: u16, question: &Question) -> bool {
    let failed_without = message.get(4..6) == Some(&[0, 0]) && !matches!(rcode(message), 0 | NX_DOMAIN);
    is_response(message, id, 0) && (question.stands_in(message) || failed_without)
}

/// The response code, with the bits that stand in the OPT record (RFC 6891 section 6.1.3).
fn rcode(message: &[u8]) -> u16 {
    let opt = walk::records(message).find(|record| record.section == 3 && record.rtype == Rtype::OPT);
    let high = opt.map_or(0, |opt| (opt.ttl >> 24) as u16);
    high << 4 | message.get(3).map_or(0, |octet| u16::from(octet & 0xf))
}

/// What was found under some owners.
struct Found<'a> {
    zone: &'a Name,
    serial: u32,
    /// Where there is nothing, there is nothing in the zone of this serial.
    is_of_serial: bool,
    records: BTreeSet<Tlsa>,
    ttl: u32,
}

impl Found<'_> {
    /// Takes an answer in. Aliases are followed in its answer section.
    fn take(&mut self, owner: &Name, message: &[u8]) -> Result<(), NotShown> {
        let mut answers = Vec::new();
        for record in walk::records(message).filter(|record| record.section == 1 && record.class == CLASS_IN) {
            let (owner, _) = uncompress::name(message, record.start).ok_or(NotShown::Malformed)?;
            answers.push((owner, record));
        }
        let mut at = owner.clone();
        let mut aliases = 0;
        while let Some((_, alias)) = answers.iter().find(|(owner, record)| is(record, Rtype::CNAME) && *owner == at) {
            let target = uncompress::rdata(message, alias).and_then(|target| Name::from_wire(&target).ok());
            at = target.ok_or(NotShown::Malformed)?;
            self.ttl = self.ttl.max(alias.lifetime());
            aliases += 1;
            if aliases > answers.len() {
                return Err(NotShown::Malformed);
            }
        }
        // AA speaks for the owner asked for alone (RFC 1034 section 3.7), and the serial for this zone.
        if !at.is_at_or_below(self.zone) {
            return Err(NotShown::Elsewhere(owner.clone()));
        }
        let mut nothing = true;
        for (_, record) in answers.iter().filter(|(owner, record)| is(record, Rtype::TLSA) && *owner == at) {
            let tlsa = Tlsa::from_rdata(record.rdata).ok_or_else(|| NotShown::Unassigned(at.clone()))?;
            self.records.insert(tlsa);
            self.ttl = self.ttl.max(record.lifetime());
            nothing = false;
        }
        if nothing {
            // RFC 2308 section 3: who has the zone says so with its SOA.
            let serial = serial::shown(message, 2, self.zone).ok_or_else(|| NotShown::Elsewhere(owner.clone()))?;
            self.is_of_serial &= serial == self.serial;
        }
        Ok(())
    }
}

fn is(record: &Walked<'_>, rtype: Rtype) -> bool {
    record.rtype == rtype
}
