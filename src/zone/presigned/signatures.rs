//! Every RRset that the zone is authoritative for has a signature that validates now (RFC 4035 sections 2.2 and 5.3).

use super::Findings;
use crate::dns::dnssec::{RrsigFields, append_canonical, key_tag};
use crate::dns::name::wire_len;
use crate::dns::text::time::print_time;
use crate::dns::verify::{is_known, verify};
use crate::dns::{Name, RRset, Rdata, Rtype, Timestamp};
use crate::zone::contents::{Contents, Node};
use crate::zone::denial::{Standing, standings};
use crate::zone::sign::{Signatures, unwrap_time};

const RESIGN: &str = "sign the zone again, and put the whole result here";

/// A DNSKEY that may sign.
pub(super) struct Key<'a> {
    dnskey: &'a Rdata,
    algorithm: u8,
    tag: u16,
}

/// The zone's keys: zone keys of protocol 3 (RFC 4034 section 2.1) that are not revoked (RFC 5011 section 2.1). None without any DNSKEY.
pub(super) fn keys(contents: &Contents) -> Option<Vec<Key<'_>>> {
    const ZONE: u8 = 1;
    const REVOKED: u8 = 0x80;
    let rrset = contents.rrset(contents.origin(), Rtype::DNSKEY)?;
    let usable = |dnskey: &&Rdata| matches!(***dnskey, [high, low, 3, _, ..] if high & ZONE != 0 && low & REVOKED == 0);
    let key = |dnskey| Key { dnskey, algorithm: dnskey[3], tag: key_tag(dnskey) };
    Some(rrset.rdatas.iter().filter(usable).map(key).collect())
}

pub(super) fn check(
    contents: &Contents,
    keys: &[Key<'_>],
    verified: &Signatures,
    now: Option<Timestamp>,
    findings: &mut Findings,
) {
    let check = Check { origin: contents.origin(), keys, verified, now };
    for (owner, node, standing) in standings(contents) {
        for rrset in node.values().filter(|rrset| needs_signature(rrset.rtype, standing)) {
            match check.rrset(owner, rrset, node) {
                Ok((dnskey, rrsig)) => findings.verified.insert(dnskey, owner, rrset, rrsig),
                Err(why) => {
                    let message =
                        format!("the {} records of {owner} have no signature that validates: {why}", rrset.rtype);
                    findings.error(owner, rrset.rtype, message, RESIGN);
                }
            }
        }
    }
}

/// RFC 4035 section 2.2: not glue, not the NS of a delegation.
fn needs_signature(rtype: Rtype, standing: Standing) -> bool {
    match standing {
        Standing::Authoritative => rtype != Rtype::RRSIG,
        Standing::Cut => matches!(rtype, Rtype::DS | Rtype::NSEC),
        Standing::Glue | Standing::Hidden => false,
    }
}

fn rrsigs(node: &Node, covered: Rtype) -> impl Iterator<Item = &Rdata> {
    let all = node.get(&Rtype::RRSIG).into_iter().flat_map(|rrset| &rrset.rdatas);
    all.filter(move |rrsig| rrsig.starts_with(&covered.0.to_be_bytes()))
}

struct Check<'a> {
    origin: &'a Name,
    keys: &'a [Key<'a>],
    verified: &'a Signatures,
    now: Option<Timestamp>,
}

impl<'a> Check<'a> {
    /// One good signature is enough for a validator (RFC 4035 section 5.3.3): it, and the key that made it. If there is none, why the last
    /// one is not.
    fn rrset<'z>(&self, owner: &Name, rrset: &RRset, node: &'z Node) -> Result<(&'a [u8], &'z Rdata), String> {
        let mut why = "there is no RRSIG".to_owned();
        for rrsig in rrsigs(node, rrset.rtype) {
            match self.rrsig(owner, rrset, rrsig) {
                Ok(dnskey) => return Ok((dnskey, rrsig)),
                Err(reason) => why = reason,
            }
        }
        Err(why)
    }

    /// RFC 4035 section 5.3.1, with what an authoritative server knows besides: the TTL has to be the original one.
    fn rrsig(&self, owner: &Name, rrset: &RRset, rrsig: &Rdata) -> Result<&'a [u8], String> {
        let fields = RrsigFields::parse(rrsig).ok_or("the RRSIG is cut short")?;
        let signer = wire_len(fields.rest).and_then(|len| fields.rest.split_at_checked(len));
        let (signer, signature) = signer.ok_or("the RRSIG is cut short")?;
        if !signer.eq_ignore_ascii_case(self.origin.as_wire()) {
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
        self.cryptography(owner, rrset, rrsig, &fields, signature)
    }

    fn cryptography(
        &self,
        owner: &Name,
        rrset: &RRset,
        rrsig: &Rdata,
        fields: &RrsigFields<'_>,
        signature: &[u8],
    ) -> Result<&'a [u8], String> {
        let RrsigFields { algorithm, key_tag, .. } = *fields;
        if !is_known(algorithm) {
            return Err(format!("signatures of algorithm {algorithm} can't be checked here: 8, 10, 13, 14 and 15 can"));
        }
        let made_it = |key: &&Key<'_>| (key.algorithm, key.tag) == (algorithm, key_tag);
        let mut candidates = self.keys.iter().filter(made_it).peekable();
        if candidates.peek().is_none() {
            return Err(format!("the zone has no DNSKEY {algorithm:03}+{key_tag:05} that may sign"));
        }
        let mut data = rrsig[..18].to_vec();
        data.extend_from_slice(self.origin.to_lowercase().as_wire());
        append_canonical(&mut data, owner, rrset);
        let good = |key: &&Key<'_>| {
            self.verified.holds(key.dnskey, owner, rrset, rrsig) || verify(key.dnskey, &data, signature)
        };
        match candidates.find(good) {
            Some(key) => Ok(key.dnskey),
            None => Err(format!("the RRSIG of {algorithm:03}+{key_tag:05} is not of these records")),
        }
    }
}
