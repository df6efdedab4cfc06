//! One query, answered over a datagram and over a stream, and what every response has to be.

use danelaw::answer::{Context, Cookie, MESSAGE_MAX, PROVEN_UDP_MAX, Transport, UDP_MAX, challenge, prefetch, respond};
use danelaw::dns::{Name, Rtype, name, rdata, walk};
use danelaw::zone::Snapshot;
use danelaw::zone::snapshot::HashedName;
use data_encoding::HEXLOWER;

use super::wire::{Response, Rr, decode};

const HEADER: usize = 12;
/// NSID, cookie and the rest that a challenge may add to what was asked.
const CHALLENGE_MAX: usize = 11 + 28;

/// Asks, checks what comes back, and gives it.
pub fn ask(
    snapshot: &Snapshot,
    context: &Context<'_>,
    query: &[u8],
    is_unsigned: &dyn Fn(&str) -> bool,
) -> Option<Response> {
    prefetch(snapshot, &[query, &query[..query.len() / 2]]);
    // Of small zones it is not asked for there.
    if let Some(length) = query.get(HEADER..).and_then(name::wire_len) {
        snapshot.prefetch([HashedName::new(&query[HEADER..HEADER + length])].into_iter());
    }
    let answered = answer(snapshot, context, query)?;
    let response = inspect(query, &answered, is_unsigned);
    let again = answer(snapshot, context, query);
    assert_eq!(again.as_deref(), Some(&answered[..]), "the same question has the same answer");
    challenged(context, query);
    if context.transport == Transport::Udp && !response.tc {
        let stream = answer(snapshot, &Context { transport: Transport::Tcp, ..*context }, query).unwrap();
        let whole = inspect(query, &stream, is_unsigned);
        let parts =
            |response: &Response| (response.rcode, response.aa, response.answer.clone(), response.authority.clone());
        assert_eq!(parts(&response), parts(&whole), "over UDP and TCP");
        assert!(response.additional.is_subset(&whole.additional), "{response:?}\n{whole:?}");
    }
    Some(response)
}

/// The response's octets, after a look at its size.
pub fn answer(snapshot: &Snapshot, context: &Context<'_>, query: &[u8]) -> Option<Vec<u8>> {
    let is_udp = context.transport == Transport::Udp;
    let mut out = vec![0xee; if is_udp { PROVEN_UDP_MAX } else { MESSAGE_MAX }];
    let (length, seen) = respond(snapshot, context, query, &mut out)?;
    assert!((HEADER..=out.len()).contains(&length));
    out.truncate(length);
    if is_udp {
        let limit = if seen.cookie == Cookie::Valid { PROVEN_UDP_MAX } else { UDP_MAX };
        // CLASS of OPT; a query that can't be read to its end may have none that counts.
        let offered = walk::records(query).any(|record| record.rtype == Rtype::OPT);
        assert!(length <= if offered { limit } else { 512 }, "{length} octets");
    }
    walk::lifetime(&out);
    for code in [3, 10, 11, 12, 15] {
        walk::has_option(&out, code);
        walk::has_option(query, code);
    }
    Some(out)
}

fn challenged(context: &Context<'_>, query: &[u8]) {
    let mut out = vec![0xee; PROVEN_UDP_MAX];
    let (length, _) = challenge(context, query, &mut out).unwrap();
    let response = decode(&out[..length]);
    assert!(length <= query.len() + CHALLENGE_MAX, "{length} octets to {}", query.len());
    assert!(response.tc || response.rcode == 23);
    assert!(response.answer.is_empty() && response.authority.is_empty() && response.additional.is_empty());
}

fn inspect(query: &[u8], octets: &[u8], is_unsigned: &dyn Fn(&str) -> bool) -> Response {
    let response = decode(octets);
    let shown = || format!("{response:?}\n{} to {}", HEXLOWER.encode(octets), HEXLOWER.encode(query));
    assert_eq!(octets[..2], query[..2], "the ID");
    // RFC 2136 section 2.2: in other opcodes than QUERY there is no RD.
    let copied = if query[2] & 0x78 == 0 { 0x79 } else { 0x78 };
    assert_eq!(octets[2] & 0x79, query[2] & copied, "opcode and RD");
    assert_eq!(octets[3] & 0x60, 0, "Z and AD: {}", shown());
    assert!(query[HEADER..].starts_with(&response.question), "{}", shown());
    let is_failure = !matches!(response.rcode, 0 | 3 | 6);
    if is_failure || response.question.is_empty() {
        assert!(response.answer.is_empty() && response.authority.is_empty(), "{}", shown());
        return response;
    }
    let (qtype, qclass) = response.question[response.question.len() - 4..].split_at(2);
    let (qtype, qclass) = (u16::from_be_bytes([qtype[0], qtype[1]]), u16::from_be_bytes([qclass[0], qclass[1]]));
    for record in response.answer.iter().chain(&response.authority).chain(&response.additional) {
        // Names in it were expanded.
        assert!(rdata::is_well_formed(Rtype(record.rtype), &record.rdata), "{record:?} in {}", shown());
    }
    if qclass == 3 {
        return response;
    }
    signatures(&response, qtype, is_unsigned, &shown);
    if !response.tc {
        negative(&response, qclass, &shown);
    }
    for section in [&response.answer, &response.authority, &response.additional] {
        for (one, next) in section.iter().zip(section.iter().skip(1)) {
            let same = (&one.owner, one.rtype) == (&next.owner, next.rtype) && one.rtype != Rtype::RRSIG.0;
            assert!(!same || one.ttl == next.ttl, "one RRset, one TTL (RFC 2181 section 5.2): {}", shown());
        }
    }
    response
}

/// What is not there is denied by an SOA, what is given away has NS (RFC 2308 section 2).
fn negative(response: &Response, qclass: u16, shown: &dyn Fn() -> String) {
    let has = |rtype: Rtype| response.authority.iter().any(|record| record.rtype == rtype.0);
    if response.rcode == 3 {
        assert!(has(Rtype::SOA), "{}", shown());
    }
    if response.rcode == 0 && response.answer.is_empty() {
        assert!(has(Rtype::SOA) != has(Rtype::NS), "{}", shown());
        assert!(qclass == 255 || response.aa == has(Rtype::SOA), "{}", shown());
    }
}

/// Signatures come where they are asked for, each beside what it covers (RFC 4035 section 3.1).
fn signatures(response: &Response, qtype: u16, is_unsigned: &dyn Fn(&str) -> bool, shown: &dyn Fn() -> String) {
    let wants = response.edns.is_some_and(|(_, dnssec_ok)| dnssec_ok);
    let covered = |record: &Rr| u16::from_be_bytes([record.rdata[0], record.rdata[1]]);
    let asked_for = |rtype: u16| rtype == qtype || qtype == Rtype::ANY.0;
    for section in [&response.answer, &response.authority] {
        for record in section {
            let is_proof = matches!(Rtype(record.rtype), Rtype::RRSIG | Rtype::NSEC | Rtype::NSEC3);
            assert!(wants || !is_proof || asked_for(record.rtype), "not asked for: {}", shown());
            if record.rtype == Rtype::RRSIG.0 && qtype != Rtype::RRSIG.0 {
                let beside = section.iter().any(|other| other.owner == record.owner && other.rtype == covered(record));
                assert!(beside, "it covers nothing: {record:?} in {}", shown());
            }
        }
    }
    if !wants || response.tc {
        return;
    }
    let under = |name: &str, above: &str| name != above && name.to_ascii_lowercase().ends_with(&format!(".{above}"));
    for record in response.answer.iter().filter(|record| record.rtype != Rtype::RRSIG.0) {
        let is_signed =
            |one: &Rr| one.rtype == Rtype::RRSIG.0 && one.owner == record.owner && covered(one) == record.rtype;
        let dnames = response.answer.iter().filter(|one| one.rtype == Rtype::DNAME.0);
        let is_made = record.rtype == Rtype::CNAME.0 && dnames.clone().any(|one| under(&record.owner, &one.owner));
        let has = response.answer.iter().any(is_signed);
        assert!(has || is_made || is_unsigned(&record.owner), "{record:?} has no signature in {}", shown());
    }
    let denied = response.authority.iter().find(|record| record.rtype == Rtype::SOA.0);
    if let Some(soa) = denied.filter(|soa| !is_unsigned(&soa.owner)) {
        let proofs = response.authority.iter().filter(|one| matches!(Rtype(one.rtype), Rtype::NSEC | Rtype::NSEC3));
        assert!(proofs.count() > 0, "nothing proves what is denied by {soa:?} in {}", shown());
    }
}

/// A query in wire form, with DO or without EDNS.
pub fn query(name: &Name, rtype: Rtype, dnssec_ok: bool) -> Vec<u8> {
    let how = if dnssec_ok { super::wire::DNSSEC } else { super::wire::PLAIN };
    super::wire::query(name.as_wire(), rtype.0, how)
}
