//! The plugin in hickory servers over the same zones: its `RequestHandler`, whose messages are the daemon's, and its `ZoneHandler` in a
//! `Catalog`, whose messages are the daemon's but for what `catalog` lists.

use std::net::SocketAddr;
use std::sync::Arc;

use danelaw::answer::{Context, MESSAGE_MAX, Transport, answer};
use danelaw::dns::{Name, Rtype};
use danelaw::plugin::{self, DaneHandler, DaneZone, SharedSnapshot};
use danelaw::zone::Snapshot;
use hickory_server::zone_handler::Catalog;
use tokio::runtime::Runtime;

use super::asked::{Asked, BROKEN, Extra, NOTIFY, UPDATE, zone_of};
use super::catalog::{self, Case};
use super::clients;
use super::common::parsed::{Parsed, parse};
use super::common::wire::{self, Ask};
use super::common::{name, now};
use super::hickory::serve;
use super::transports::{Found, OF_THE_DAEMON, SERVERS, UNFIT, reduced, takes_room};

/// Both servers, as long as the value lives.
pub struct Handlers {
    snapshot: SharedSnapshot,
    apexes: Vec<Name>,
    handler: (SocketAddr, Runtime),
    catalog: (SocketAddr, Runtime),
}

impl Handlers {
    pub fn new(snapshot: Snapshot, apexes: Vec<Name>) -> Handlers {
        let snapshot = SharedSnapshot::new(snapshot);
        let mut catalog = Catalog::new();
        plugin::upsert(&mut catalog, &snapshot).unwrap();
        // A zone that breaks later stays registered.
        let broken =
            hickory_server::proto::rr::LowerName::from(hickory_server::proto::rr::Name::from_ascii(BROKEN).unwrap());
        catalog.upsert(broken.clone(), vec![Arc::new(DaneZone::new(broken, snapshot.clone()))]);
        let handler = serve(DaneHandler::new(snapshot.clone()));
        Handlers { snapshot, apexes, handler, catalog: serve(catalog) }
    }

    /// Asks what the daemon was asked and has answered over UDP and TCP.
    pub fn compare(&self, asked: &[Asked], queries: &[Vec<u8>], udp: &[Vec<u8>], tcp: &[Vec<u8>], found: &mut Found) {
        let short = clients::udp(self.handler.0, queries);
        let long = clients::tcp(self.handler.0, queries);
        let cut = clients::udp(self.catalog.0, queries);
        let changed = clients::tcp(self.catalog.0, queries);
        for (place, one) in asked.iter().enumerate() {
            let own = |transport| self.answer(transport, &queries[place]);
            let is_servers = matches!(one.extra, Extra::Opcode(NOTIFY | UPDATE));
            if is_servers && own(Transport::Tcp)[3] != tcp[place][3] {
                found.changed(SERVERS);
            }
            let over_tcp = if is_servers { &own(Transport::Tcp) } else { &tcp[place] };
            let daemons = parse(&reduced(over_tcp, OF_THE_DAEMON));
            let whole = parse(&reduced(&long[place], &[]));
            found.compared("RequestHandler, TCP", one, equal(&whole, &daemons));
            // The daemon's NSID and COOKIE may have pushed records out of its datagram.
            let ours = if takes_room(one) || is_servers { &own(Transport::Udp) } else { &udp[place] };
            let outcome = datagram(one, &short[place], ours, over_tcp, long[place].len(), found);
            found.compared("RequestHandler, UDP", one, outcome);

            let apex = zone_of(&self.apexes, &one.question.name);
            let is_broken = one.question.name.is_at_or_below(&name(BROKEN));
            let ask = |name: &Name, rtype: Rtype| self.ask(name, rtype, one.question.ask.dnssec);
            let case = Case { asked: one, apex, is_broken, ask: &ask };
            let sent = parse(&reduced(&changed[place], &[]));
            let mut expected = daemons;
            let seen = catalog::change(&case, &mut expected);
            seen.into_iter().for_each(|what| found.changed(what));
            found.compared("Catalog, TCP", one, equal(&sent, &expected));
            let (outcome, seen) = catalog::datagram(one, &cut[place], &changed[place], &sent);
            seen.into_iter().for_each(|what| found.changed(what));
            found.compared("Catalog, UDP", one, outcome);
        }
    }

    /// What danelaw says itself, without any server.
    fn ask(&self, name: &Name, rtype: Rtype, dnssec: bool) -> Parsed {
        let ask = Ask { edns: Some(1232), dnssec, tcp: true };
        parse(&self.answer(Transport::Tcp, &wire::query(name.as_wire(), rtype.0, ask)))
    }

    fn answer(&self, transport: Transport, query: &[u8]) -> Vec<u8> {
        let mut out = vec![0; MESSAGE_MAX];
        let context = Context::new([127, 0, 0, 1].into(), transport, now());
        let len = answer(&self.snapshot.load(), &context, query, &mut out).unwrap();
        out.truncate(len);
        out
    }
}

pub fn equal(sent: &Parsed, expected: &Parsed) -> Result<(), String> {
    match sent == expected {
        true => Ok(()),
        false => Err(format!("\n    {}\n    and not\n    {}", shown(sent), shown(expected))),
    }
}

fn shown(message: &Parsed) -> String {
    let record = |rr: &super::common::parsed::Rr| {
        let rdata = data_encoding::HEXLOWER.encode(&rr.rdata[..rr.rdata.len().min(24)]);
        format!("{} {} {} {rdata}", Name::from_wire(&rr.owner).unwrap(), rr.ttl, rr.rtype)
    };
    let section = |records: &Vec<super::common::parsed::Rr>| records.iter().map(record).collect::<Vec<_>>().join("; ");
    let [answer, authority, additional] = &message.sections.each_ref().map(section);
    let opt = message.opt.as_ref().map(|opt| (opt.class, opt.ttl, &opt.rdata));
    format!("{:02x?} [{answer}] [{authority}] [{additional}] OPT {opt:?}", message.head)
}

/// hickory writes each name in full before it looks where the name can be pointed to: for so long it needs the room.
pub const NAME_MAX: usize = 255;

/// hickory compresses less: what does not fit then is empty, with TC, and the rest is the daemon's datagram.
fn datagram(one: &Asked, sent: &[u8], udp: &[u8], tcp: &[u8], whole: usize, found: &mut Found) -> Result<(), String> {
    let limit = one.question.limit();
    if sent.len() > limit {
        return Err(format!("{} octets where {limit} are allowed", sent.len()));
    }
    let (got, expected) = (parse(&reduced(sent, &[])), parse(&reduced(udp, OF_THE_DAEMON)));
    let mut emptied = expected.clone();
    emptied.head[2] |= 2;
    emptied.sections = Default::default();
    let is_whole = reduced(udp, OF_THE_DAEMON) == reduced(tcp, OF_THE_DAEMON);
    let must_not_fit = is_whole && whole > limit;
    let may_not_fit = whole + NAME_MAX > limit;
    if must_not_fit || may_not_fit && got != expected {
        found.changed(UNFIT);
        return equal(&got, &emptied);
    }
    equal(&got, &expected)
}
