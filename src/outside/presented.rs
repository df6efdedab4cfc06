//! Whether what a server presents satisfies a TLSA RRset (RFC 7671 sections 4 and 5, RFC 7672 section 3): associations, the chain up to a
//! trust anchor with its signatures, names and times where they count.

use std::collections::BTreeSet;

use super::{Failure, Fault, few};
use crate::dane::certificate::{Certificate, is_signed_by};
use crate::dane::tlsa::{Matching, Selector, Usage};
use crate::dane::{Chain, Parameters, Tlsa};
use crate::dns::text::{print_moment, show};
use crate::dns::{Name, Timestamp};

/// What comes of a chain and an RRset.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The records that the chain satisfies.
    pub(super) satisfied: Vec<Tlsa>,
    /// The parameter sets of which it satisfies none.
    pub(super) unsatisfied: BTreeSet<Parameters>,
    /// Why it satisfies none at all, by the record that came closest.
    pub(super) failure: Option<Failure>,
}

/// Holds a chain against the usable records of an RRset. `names`: those that the certificate may be for (RFC 7672 section 3.2.2).
pub(super) fn hold(chain: &Chain, records: &[Tlsa], names: &[Name], now: Timestamp) -> Outcome {
    let mut failures: Vec<Failure> = Vec::new();
    let mut satisfied = Vec::new();
    for record in records {
        match satisfies(chain, record, names, now) {
            Ok(()) => satisfied.push(record.clone()),
            Err(failure) => failures.push(failure),
        }
    }
    let is_satisfied = |parameters: &Parameters| satisfied.iter().any(|record| record.parameters == *parameters);
    let sets: BTreeSet<Parameters> = records.iter().map(|record| record.parameters).collect();
    let unsatisfied = sets.into_iter().filter(|parameters| !is_satisfied(parameters)).collect();
    // An association that fits, with something else wrong, says more than one that does not.
    failures.sort_by_key(|failure| (failure.fault == Fault::TlsaMismatch, failure.fault == Fault::ChainWithoutAnchor));
    let failure = failures.into_iter().next().filter(|_| satisfied.is_empty());
    Outcome { satisfied, unsatisfied, failure }
}

fn satisfies(chain: &Chain, record: &Tlsa, names: &[Name], now: Timestamp) -> Result<(), Failure> {
    match record.parameters.usage {
        // RFC 7671 section 5.1: neither names nor times count.
        Usage::DaneEe | Usage::PkixEe if record.matches(chain) => Ok(()),
        Usage::DaneEe | Usage::PkixEe => {
            let leaf = chain.leaf();
            let why = format!("{} is not of the certificate presented, {}", shown(record), called(leaf));
            Err(Failure { fault: Fault::TlsaMismatch, why })
        }
        Usage::DaneTa | Usage::PkixTa => below(chain, anchor(chain, record)?, names, now),
    }
}

/// How far a chain leads up to the trust anchor of a record: the index of the anchor, or of the last certificate where the record itself
/// holds what signed that (RFC 7671 section 5.2.2).
fn anchor(chain: &Chain, record: &Tlsa) -> Result<usize, Failure> {
    let certificates = chain.certificates();
    let Parameters { selector, matching, .. } = record.parameters;
    let is_it = |certificate: &Certificate| match selector {
        Selector::Cert => matching.digest(certificate.der()) == record.data,
        Selector::Spki => matching.digest(certificate.spki()) == record.data,
    };
    // Never the leaf itself: OpenSSL looks for trust anchors above it only.
    if let Some(index) = certificates.iter().skip(1).position(is_it) {
        return Ok(index + 1);
    }
    let last = certificates.len() - 1;
    let signed = |spki: &[u8]| is_signed_by(&certificates[last], spki) == Some(true);
    let is_above = matching == Matching::Full
        && match selector {
            Selector::Spki => signed(&record.data),
            Selector::Cert => Chain::presented(&[&record.data]).is_ok_and(|anchor| signed(anchor.leaf().spki())),
        };
    if is_above {
        return Ok(last);
    }
    let count = certificates.len();
    Err(match certificates[last].is_self_issued() {
        true => Failure {
            fault: Fault::TlsaMismatch,
            why: format!(
                "{} is none of the {count} certificates presented, which end at {}",
                shown(record),
                called(&certificates[last])
            ),
        },
        false => Failure {
            fault: Fault::ChainWithoutAnchor,
            why: format!("the trust anchor {} is not among the {count} certificates presented", shown(record)),
        },
    })
}

/// Whether all below a trust anchor is as it should be: RFC 7671 section 5.2.
fn below(chain: &Chain, last: usize, names: &[Name], now: Timestamp) -> Result<(), Failure> {
    let failure = |fault, why| Err(Failure { fault, why });
    let certificates = &chain.certificates()[..=last];
    for pair in certificates.windows(2) {
        let [below, above] = pair else { continue };
        if above.signed(below) == Some(false) {
            return failure(Fault::ChainBroken, format!("{} did not sign {}", called(above), called(below)));
        }
        if !above.is_ca {
            return failure(Fault::ChainBroken, format!("{} is no authority's certificate", called(above)));
        }
    }
    for certificate in certificates {
        let (from, until) = (certificate.not_before, certificate.not_after);
        if until <= now {
            return failure(
                Fault::CertificateTime,
                format!("{} expired on {}", called(certificate), print_moment(until)),
            );
        }
        if from > now {
            let why = format!("{} is valid from {} on", called(certificate), print_moment(from));
            return failure(Fault::CertificateTime, why);
        }
    }
    if !names.iter().any(|name| chain.covers(name)) {
        let is_for = match &chain.leaf().dns_names[..] {
            [] => "no host".to_owned(),
            named => few(&named.iter().map(|name| show(name.as_bytes())).collect::<Vec<_>>()),
        };
        let wanted: Vec<String> = names.iter().map(Name::to_host).collect();
        let why = format!("the certificate is for {is_for}, and not for {}", wanted.join(" or "));
        return failure(Fault::CertificateName, why);
    }
    Ok(())
}

fn called(certificate: &Certificate) -> String {
    format!("{} (SPKI {}...)", show(certificate.subject.as_bytes()), &certificate.spki_sha256()[..16])
}

/// A record, cut short.
fn shown(record: &Tlsa) -> String {
    let text = record.to_string();
    match text.char_indices().nth(22) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
