//! Every RRset that the zone is authoritative for has a signature that validates now (RFC 4035 sections 2.2 and 5.3).

use super::Findings;
use crate::dns::dnssec::{RrsigFields, append_canonical, key_tag};
use crate::dns::name::{is_same, wire_len};
use crate::dns::text::time::print_time;
use crate::dns::verify::{is_known, verify};
use crate::dns::{Name, RRset, Rdata, Rtype, Timestamp};
use crate::zone::contents::Contents;
use crate::zone::denial::{Standing, standings};
use crate::zone::sign::unwrap_time;
use crate::zone::tree::{Node, Set};

const RESIGN: &str = "sign the zone again, and put the whole result here";

/// A DNSKEY that may sign.
pub(super) struct Key {
    dnskey: Rdata,
    algorithm: u8,
    tag: u16,
}

/// The zone's keys: zone keys of protocol 3 (RFC 4034 section 2.1) that are not revoked (RFC 5011 section 2.1). None without any DNSKEY.
pub(super) fn keys(contents: &Contents) -> Option<Vec<Key>> {
    const ZONE: u8 = 1;
    const REVOKED: u8 = 0x80;
    let rrset = contents.rrset(contents.origin(), Rtype::DNSKEY)?;
    let usable = |dnskey: &Rdata| matches!(**dnskey, [high, low, 3, _, ..] if high & ZONE != 0 && low & REVOKED == 0);
    let key = |dnskey: Rdata| Key { algorithm: dnskey[3], tag: key_tag(&dnskey), dnskey };
    Some(rrset.rdatas.into_iter().filter(usable).map(key).collect())
}

pub(super) fn check(
    contents: &Contents,
    keys: &[Key],
    verified: Option<&Contents>,
    now: Option<Timestamp>,
    findings: &mut Findings,
) {
    let origin = contents.origin();
    let same_keys = |before: &&Contents| before.rrset(origin, Rtype::DNSKEY) == contents.rrset(origin, Rtype::DNSKEY);
    let check = Check { origin, keys, verified: verified.filter(same_keys), now };
    for (node, standing) in standings(contents) {
        for set in node.sets().filter(|set| needs_signature(*set, standing)) {
            if let Err(why) = check.set(node, set) {
                let message =
                    format!("the {} records of {} have no signature that validates: {why}", set.rtype, node.owner());
                findings.error(&node.owner(), set.rtype, message, RESIGN);
            }
        }
    }
}

/// RFC 4035 section 2.2: not glue, not the NS of a delegation.
fn needs_signature(set: Set<'_>, standing: Standing) -> bool {
    set.count > 0
        && match standing {
            Standing::Authoritative => true,
            Standing::Cut => matches!(set.rtype, Rtype::DS | Rtype::NSEC),
            Standing::Glue | Standing::Hidden => false,
        }
}

/// Which RRset's signature expires first.
pub fn first_to_expire(contents: &Contents, now: Timestamp) -> Option<(Name, Rtype, Timestamp)> {
    let of_node = |node: Node<'_>| {
        let sets = node.sets();
        let signatures =
            sets.flat_map(|set| set.signatures().filter_map(RrsigFields::parse).map(move |it| (set.rtype, it)));
        let times = signatures.map(|(rtype, fields)| (rtype, unwrap_time(fields.expiration, now)));
        times.min_by_key(|(_, expires)| *expires).map(|(rtype, expires)| (node.owner(), rtype, expires))
    };
    contents.nodes().filter_map(of_node).min_by_key(|(_, _, expires)| *expires)
}

struct Check<'a> {
    origin: &'a Name,
    keys: &'a [Key],
    /// Contents with the same keys that were checked before, and were good.
    verified: Option<&'a Contents>,
    now: Option<Timestamp>,
}

impl Check<'_> {
    /// One good signature is enough for a validator (RFC 4035 section 5.3.3). If there is none, why the last one is not.
    fn set(&self, node: Node<'_>, set: Set<'_>) -> Result<(), String> {
        let mut why = "there is no RRSIG".to_owned();
        // Of several it is not known which one was good.
        let seen = set.rrsig_count == 1
            && self
                .verified
                .and_then(|before| before.tree().node(node.name())?.set(set.rtype))
                .is_some_and(|before| before.is_same(set));
        for rrsig in set.signatures() {
            match self.rrsig(&node.owner(), &set.rrset(), rrsig, seen) {
                Ok(()) => return Ok(()),
                Err(reason) => why = reason,
            }
        }
        Err(why)
    }

    /// RFC 4035 section 5.3.1, with what an authoritative server knows besides: the TTL has to be the original one.
    fn rrsig(&self, owner: &Name, rrset: &RRset, rrsig: &[u8], seen: bool) -> Result<(), String> {
        let fields = RrsigFields::parse(rrsig).ok_or("the RRSIG is cut short")?;
        let signer = wire_len(fields.rest).and_then(|len| fields.rest.split_at_checked(len));
        let (signer, signature) = signer.ok_or("the RRSIG is cut short")?;
        if !is_same(signer, self.origin.as_wire()) {
            return Err("it is signed by another zone".to_owned());
        }
        if fields.labels != owner.rrsig_labels() {
            return Err(format!("its RRSIG is of a name of {} labels", fields.labels));
        }
        if fields.original_ttl != rrset.ttl {
            return Err(format!("its TTL is {}, and was {} when it was signed", rrset.ttl, fields.original_ttl));
        }
        if let Some(now) = self.now {
            if unwrap_time(fields.expiration, now) < now {
                return Err(format!("the RRSIG expired at {}", print_time(fields.expiration)));
            }
            if unwrap_time(fields.inception, now) > now {
                return Err(format!("the RRSIG is valid from {} on", print_time(fields.inception)));
            }
        }
        if seen { Ok(()) } else { self.cryptography(owner, rrset, rrsig, &fields, signature) }
    }

    fn cryptography(
        &self,
        owner: &Name,
        rrset: &RRset,
        rrsig: &[u8],
        fields: &RrsigFields<'_>,
        signature: &[u8],
    ) -> Result<(), String> {
        let RrsigFields { algorithm, key_tag, .. } = *fields;
        if !is_known(algorithm) {
            return Err(format!("signatures of algorithm {algorithm} can't be checked here: 8, 10, 13, 14 and 15 can"));
        }
        let made_it = |key: &&Key| (key.algorithm, key.tag) == (algorithm, key_tag);
        let mut candidates = self.keys.iter().filter(made_it).peekable();
        if candidates.peek().is_none() {
            return Err(format!("the zone has no DNSKEY {algorithm:03}+{key_tag:05} that may sign"));
        }
        let mut data = rrsig[..18].to_vec();
        data.extend_from_slice(self.origin.to_lowercase().as_wire());
        append_canonical(&mut data, owner, rrset);
        match candidates.any(|key| verify(&key.dnskey, &data, signature)) {
            true => Ok(()),
            false => Err(format!("the RRSIG of {algorithm:03}+{key_tag:05} is not of these records")),
        }
    }
}
