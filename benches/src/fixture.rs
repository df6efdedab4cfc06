//! Zones in memory for the measurement of functions, and questions of every kind about them.

use std::sync::Arc;

use danelaw::answer::{Context, MESSAGE_MAX, Transport, answer};
use danelaw::dns::dnssec::{self, SignError, Signer};
use danelaw::dns::{Name, Rdata, Rtype, Timestamp};
use danelaw::keys;
use danelaw::zone::denial::nsec3::Parameters;
use danelaw::zone::sign::Policy;
use danelaw::zone::{Contents, Denial, Draft, NoIncludes, Published, Snapshot, ZoneSnapshot, parse};

use crate::zones::{Expected, Question, Random, Set};
use crate::{Error, Result};

/// The moment of everything here, seconds since 1970.
pub const NOW: Timestamp = 1_800_000_000;

/// A signature is as long as a real one and costs nothing: where signing isn't what is measured.
pub struct Stamp(Rdata);

impl Default for Stamp {
    fn default() -> Stamp {
        Stamp(dnssec::dnskey(dnssec::FLAGS_CSK, 13, &[0x5a; 64]))
    }
}

impl Signer for Stamp {
    fn dnskey(&self) -> &[u8] {
        &self.0
    }

    fn sign(&self, data: &[u8]) -> std::result::Result<Vec<u8>, SignError> {
        let digest = danelaw::zone::tree::key::digest(&[data]).to_be_bytes();
        Ok(digest.repeat(4))
    }
}

/// A kind of question, by what it makes the server do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// MX, which compresses.
    Positive,
    /// TLSA.
    Tlsa,
    /// The name does not exist.
    Nxdomain,
    /// The name has no such type.
    Nodata,
    /// A wildcard makes it.
    Wildcard,
    /// It is delegated, with a DS.
    Referral,
    /// No zone of ours.
    Refused,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 7] =
        [Kind::Positive, Kind::Tlsa, Kind::Nxdomain, Kind::Nodata, Kind::Wildcard, Kind::Referral, Kind::Refused];
}

/// What proves that something does not exist, and whether the client wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// NSEC, DO.
    Nsec,
    /// NSEC3, DO.
    Nsec3,
    /// Without EDNS.
    Plain,
}

impl Form {
    /// All of them.
    pub const ALL: [Form; 3] = [Form::Nsec, Form::Nsec3, Form::Plain];

    /// What a zone asked in this form is signed with.
    pub fn denial(self) -> Denial {
        match self {
            Form::Nsec | Form::Plain => Denial::Nsec,
            Form::Nsec3 => Denial::Nsec3(Parameters::default()),
        }
    }
}

/// A zone's contents, ready to be signed by a key.
pub fn contents(zone: &str, text: &str, signer: &dyn Signer) -> Result<Contents> {
    let origin: Name = zone.parse().map_err(|error| Error::new(format!("{zone}: {error}")))?;
    let parsed = parse(&origin, zone, text.as_bytes(), &mut NoIncludes);
    let Some(mut contents) = parsed.contents else {
        return Err(Error::new(format!("{zone}: {}", parsed.diagnostics[0])));
    };
    for rrset in keys::apex_rrsets(&origin, &[signer], keys::KEY_TTL, false) {
        contents.replace(&origin, rrset);
    }
    Ok(contents)
}

/// Signs contents.
pub fn sign(contents: &Contents, signer: &dyn Signer, denial: Denial, now: Timestamp) -> Result<Published> {
    let policy = Policy { denial, ..Policy::default() };
    let signed = Draft::signed(contents, &[signer], None, policy, now).and_then(|draft| draft.finish(1));
    signed.map_err(|error| Error::new(format!("{}: {error}", contents.origin())))
}

/// Zones of a set, signed by [`Stamp`], and a zone `cuts.test` of delegations.
pub fn snapshot(set: Set, denial: &Denial) -> Result<Snapshot> {
    let signer = Stamp::default();
    let mut zones = Vec::new();
    for (number, zone) in set.zones().enumerate() {
        zones.push((zone, set.text(number) + "*.wild TXT \"any\"\n"));
    }
    zones.push(("cuts.test".to_owned(), delegations(set)));
    let mut built = Vec::new();
    for (zone, text) in zones {
        let published = sign(&contents(&zone, &text, &signer)?, &signer, denial.clone(), NOW)?;
        let built_zone = ZoneSnapshot::build(&published).map_err(|error| Error::new(format!("{zone}: {error}")))?;
        built.push(Arc::new(built_zone));
    }
    Ok(Snapshot::new(built, []))
}

fn delegation_count(set: Set) -> usize {
    match set {
        Set::Small => 10,
        Set::Large => 50_000,
        Set::Many => 1000,
    }
}

fn delegations(set: Set) -> String {
    let mut random = Random::new(9);
    let mut out = "$TTL 3600\n@ SOA ns h 1 7200 3600 1209600 300\n@ NS ns\nns A 192.0.2.1\n".to_owned();
    for number in 0..delegation_count(set) {
        let ds = random.hex(32);
        out += &format!(
            "c{number} NS ns.c{number}\nc{number} NS ns\nns.c{number} A 192.0.2.2\nc{number} DS 1 13 2 {ds}\n"
        );
    }
    out
}

/// Queries of one kind and form.
pub fn queries(set: Set, kind: Kind, form: Form, count: usize) -> Vec<Vec<u8>> {
    let mut random = Random::new(kind as u64 + 1);
    let mut query = || {
        let below = match kind {
            Kind::Wildcard => set.zone(random.below(set.zone_count())),
            Kind::Referral => format!("c{}.cuts.test", random.below(delegation_count(set))),
            Kind::Refused => format!("h{}.elsewhere.example", random.below(1000)),
            _ => set.customer(&mut random),
        };
        let (prefix, rtype) = match kind {
            Kind::Positive => (String::new(), Rtype::MX),
            Kind::Tlsa => ("_25._tcp.mail.".to_owned(), Rtype::TLSA),
            Kind::Nxdomain => (format!("{}.", random.absent()), Rtype::A),
            Kind::Nodata => (String::new(), Rtype(33)),
            Kind::Wildcard => (format!("{}.wild.", random.absent()), Rtype::TXT),
            Kind::Referral | Kind::Refused => ("www.".to_owned(), Rtype::A),
        };
        Question { name: format!("{prefix}{below}"), rtype, expected: Expected::Answer }.query(form != Form::Plain)
    };
    (0..count).map(|_| query()).collect()
}

/// Asks queries about a snapshot, one after another and again from the first.
pub struct Asking {
    snapshot: Arc<Snapshot>,
    context: Context<'static>,
    queries: Vec<Vec<u8>>,
    at: usize,
    out: Vec<u8>,
}

impl Asking {
    /// Refuses to measure what isn't of the kind.
    pub fn new(snapshot: &Arc<Snapshot>, set: Set, kind: Kind, form: Form) -> Result<Asking> {
        // More than the caches hold of a set that has so many.
        let queries = queries(set, kind, form, if set == Set::Small { 64 } else { 1 << 16 });
        let context = Context::new([127, 0, 0, 1].into(), Transport::Udp, NOW);
        let snapshot = Arc::clone(snapshot);
        let mut asking = Asking { snapshot, context, queries, at: 0, out: vec![0; MESSAGE_MAX] };
        let length = asking.ask();
        let header = &asking.out[..12];
        let (aa, rcode, answers) = (header[2] & 4 != 0, header[3] & 15, header[7]);
        let expected = match kind {
            Kind::Positive | Kind::Tlsa | Kind::Wildcard => (true, 0, if form == Form::Plain { 1 } else { 2 }),
            Kind::Nxdomain => (true, 3, 0),
            Kind::Nodata => (true, 0, 0),
            Kind::Referral => (false, 0, 0),
            Kind::Refused => (false, 5, 0),
        };
        // The small zone has two TLSA records.
        let answers = if kind == Kind::Tlsa && set != Set::Large { answers - 1 } else { answers };
        if length < 12 || (aa, rcode, answers) != expected {
            return Err(Error::new(format!(
                "{set:?} {kind:?} {form:?}: AA, rcode, answers: {:?}",
                (aa, rcode, answers)
            )));
        }
        asking.at = 0;
        Ok(asking)
    }

    /// Answers the next; gives the length.
    #[inline]
    pub fn ask(&mut self) -> usize {
        let query = &self.queries[self.at];
        self.at = if self.at + 1 == self.queries.len() { 0 } else { self.at + 1 };
        answer(&self.snapshot, &self.context, query, &mut self.out).unwrap_or(0)
    }
}

/// So many answers; under a name of its own, by which callgrind knows what to count.
#[inline(never)]
pub fn bench_answers(asking: &mut Asking, count: usize) {
    for _ in 0..count {
        std::hint::black_box(asking.ask());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_question_does_what_its_name_says() {
        for form in Form::ALL {
            let snapshot = Arc::new(snapshot(Set::Small, &form.denial()).unwrap());
            for kind in Kind::ALL {
                Asking::new(&snapshot, Set::Small, kind, form).unwrap();
            }
        }
    }
}
