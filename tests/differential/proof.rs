//! What a validator would make of a denial: a check of its own, by the records in the message alone.

use std::collections::BTreeSet;

use danelaw::dns::{Name, Rtype, rdata};
use danelaw::zone::denial::nsec3::Parameters;

use super::common::wire::{Response, Rr};
use super::questions::Question;
use super::sections::covers;

/// The name that a chain of CNAMEs ends with.
fn last_name(start: &Name, answer: &BTreeSet<Rr>) -> Name {
    let mut name = start.to_lowercase();
    for _ in 0..answer.len() {
        let owner = name.to_string();
        match answer.iter().find(|one| one.rtype == Rtype::CNAME.0 && one.owner == owner) {
            Some(cname) => name = Name::from_wire(&cname.rdata).unwrap(),
            None => break,
        }
    }
    name
}

/// Whether the authority section proves what a validator wants proven: that the name which a chain ends with has no records of the type
/// or does not exist, and that what is made from wildcards has no closer match.
pub fn is_proven(response: &Response, question: &Question) -> bool {
    let name = last_name(&question.name, &response.answer);
    let nsecs = Nsecs::new(response);
    let has_soa = response.authority.iter().any(|record| covers(record, Rtype::SOA));
    let denied = match response.rcode {
        _ if !has_soa => true,
        3 => nsecs.no_name(&name) || Hashed::new(response, &name).no_name(&name),
        _ => nsecs.no_data(&name, question.rtype) || Hashed::new(response, &name).no_data(&name, question.rtype),
    };
    denied
        && response
            .answer
            .iter()
            .filter(|record| record.rtype == Rtype::RRSIG.0)
            .all(|rrsig| is_closest(response, rrsig))
}

/// Whether NSEC3 records cover the wildcard at the closest encloser that they prove, which [`is_proven`] does not ask for in opt-out spans.
pub fn denies_wildcard(response: &Response, question: &Question) -> bool {
    let name = last_name(&question.name, &response.answer);
    let hashed = Hashed::new(response, &name);
    let wildcard = hashed.encloser(&name).and_then(|(encloser, _)| encloser.prepend(b"*").ok());
    wildcard.is_some_and(|wildcard| hashed.covered(&wildcard).is_some())
}

/// Whether a signature's owner is the name that was signed, or was made from a wildcard and has no closer match (RFC 4035 section 5.3.4,
/// RFC 5155 section 8.8).
fn is_closest(response: &Response, rrsig: &Rr) -> bool {
    let owner = Name::parse(&rrsig.owner, None).unwrap();
    let labels = usize::from(rrsig.rdata[3]);
    if usize::from(owner.rrsig_labels()) == labels {
        return true;
    }
    let signer = Name::from_wire(&rrsig.rdata[18..]).unwrap();
    let closer = [owner.clone()].into_iter().chain(owner.ancestors()).find(|above| above.label_count() == labels + 1);
    let hashed = Hashed::of(response, signer);
    Nsecs::new(response).covering(&owner).is_some() || closer.is_some_and(|closer| hashed.covered(&closer).is_some())
}

fn lacks(types: &[Rtype], rtype: Rtype) -> bool {
    // A parent's NSEC says nothing of its child but for DS (RFC 6840 section 4.1).
    let is_cut = types.contains(&Rtype::NS) && !types.contains(&Rtype::SOA);
    !types.contains(&rtype) && !types.contains(&Rtype::CNAME) && (rtype == Rtype::DS || !is_cut)
}

/// (owner, next name, types).
struct Nsecs(Vec<(Name, Name, Vec<Rtype>)>);

impl Nsecs {
    fn new(response: &Response) -> Nsecs {
        let records = response.authority.iter().filter(|record| record.rtype == Rtype::NSEC.0);
        let read = |record: &Rr| {
            let next = Name::from_wire(&record.rdata).unwrap();
            let types = rdata::bitmap_types(&record.rdata[next.as_wire().len()..]).unwrap();
            (Name::parse(&record.owner, None).unwrap(), next, types)
        };
        Nsecs(records.map(read).collect())
    }

    fn covering(&self, name: &Name) -> Option<&(Name, Name, Vec<Rtype>)> {
        self.0.iter().find(|(owner, next, _)| owner < name && (name < next || next <= owner))
    }

    /// RFC 4035 section 5.4: the name and the wildcard at its closest encloser are covered.
    fn no_name(&self, name: &Name) -> bool {
        let covered = |name: &Name| self.covering(name).is_some_and(|(_, next, _)| !next.is_below(name));
        covered(name) && self.wildcard(name).is_some_and(|wildcard| covered(&wildcard))
    }

    fn wildcard(&self, name: &Name) -> Option<Name> {
        let (owner, next, _) = self.covering(name)?;
        let shared = |near: &Name| name.ancestors().find(|above| near.is_at_or_below(above));
        let encloser = [shared(owner)?, shared(next)?].into_iter().max_by_key(Name::label_count)?;
        encloser.prepend(b"*").ok()
    }

    fn no_data(&self, name: &Name, rtype: Rtype) -> bool {
        // At the name, or at an empty non-terminal, which the next name is below.
        let empty = |name: &Name| {
            let matching = self.0.iter().any(|(owner, _, types)| owner == name && lacks(types, rtype));
            matching || self.covering(name).is_some_and(|(_, next, _)| next.is_below(name))
        };
        empty(name) || self.covering(name).is_some() && self.wildcard(name).is_some_and(|wildcard| empty(&wildcard))
    }
}

/// An NSEC3: from which hash to which, the types at the former, and whether insecure delegations may be left out between them.
struct Span {
    owner: Vec<u8>,
    next: Vec<u8>,
    types: Vec<Rtype>,
    opt_out: bool,
}

/// NSEC3 records of one zone, and how it hashes.
struct Hashed {
    records: Vec<Span>,
    parameters: Parameters,
    zone: Name,
}

impl Hashed {
    /// Of the zone that says the SOA.
    fn new(response: &Response, name: &Name) -> Hashed {
        let soa = response.authority.iter().find(|record| record.rtype == Rtype::SOA.0);
        Hashed::of(response, soa.map_or_else(|| name.clone(), |soa| Name::parse(&soa.owner, None).unwrap()))
    }

    fn of(response: &Response, zone: Name) -> Hashed {
        let mut hashed = Hashed { records: Vec::new(), parameters: Parameters::default(), zone };
        for record in response.authority.iter().filter(|record| record.rtype == Rtype::NSEC3.0) {
            let owner = Name::parse(&record.owner, None).unwrap();
            if owner.parent().as_ref() != Some(&hashed.zone) {
                continue;
            }
            let (flags, salt) = (record.rdata[1], &record.rdata[5..5 + usize::from(record.rdata[4])]);
            let iterations = u16::from_be_bytes([record.rdata[2], record.rdata[3]]);
            hashed.parameters = Parameters { iterations, salt: salt.into(), opt_out: false };
            let rest = &record.rdata[5 + salt.len()..];
            let (next, bitmap) = rest[1..].split_at(usize::from(rest[0]));
            let hash = data_encoding::BASE32_DNSSEC.decode(owner.labels().next().unwrap()).unwrap();
            let types = rdata::bitmap_types(bitmap).unwrap();
            hashed.records.push(Span { owner: hash, next: next.to_vec(), types, opt_out: flags & 1 != 0 });
        }
        hashed
    }

    fn matching(&self, name: &Name) -> Option<&[Rtype]> {
        let hash = self.parameters.hash(name.to_lowercase().as_wire());
        self.records.iter().find(|span| span.owner == hash).map(|span| &span.types[..])
    }

    /// Whether the name is covered, and by an opt-out span.
    fn covered(&self, name: &Name) -> Option<bool> {
        let hash = self.parameters.hash(name.to_lowercase().as_wire()).to_vec();
        let covers = |span: &&Span| {
            let is_last = span.next <= span.owner;
            span.owner < hash && (hash < span.next || is_last) || is_last && hash < span.next
        };
        self.records.iter().find(covers).map(|span| span.opt_out)
    }

    /// RFC 5155 section 8.3: the closest encloser, and whether the name one label longer is in an opt-out span.
    fn encloser(&self, name: &Name) -> Option<(Name, bool)> {
        let mut longer = name.clone();
        for above in name.ancestors().take_while(|above| above.is_at_or_below(&self.zone)) {
            if self.matching(&above).is_some() {
                return self.covered(&longer).map(|opt_out| (above, opt_out));
            }
            longer = above;
        }
        None
    }

    /// RFC 5155 section 8.4. An opt-out span may hide the true encloser, of which the wildcard is another one.
    fn no_name(&self, name: &Name) -> bool {
        self.encloser(name).is_some_and(|(encloser, opt_out)| {
            let wildcard = encloser.prepend(b"*").ok();
            opt_out || wildcard.is_some_and(|wildcard| self.covered(&wildcard).is_some())
        })
    }

    /// RFC 5155 sections 8.5 to 8.7; in an opt-out span there may be an insecure delegation.
    fn no_data(&self, name: &Name, rtype: Rtype) -> bool {
        if let Some(types) = self.matching(name) {
            return lacks(types, rtype);
        }
        self.encloser(name).is_some_and(|(encloser, opt_out)| {
            let wildcard = encloser.prepend(b"*").ok();
            opt_out || wildcard.is_some_and(|name| self.matching(&name).is_some_and(|types| lacks(types, rtype)))
        })
    }
}
