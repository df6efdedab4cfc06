//! What mail wants beside an MX: SPF, DMARC, DKIM keys that verifiers can read.

use std::collections::{HashMap, HashSet};

use super::Lint;
use crate::dns::mailtext::{self, Dkim};
use crate::dns::text::show;
use crate::dns::{Name, Rtype};
use crate::zone::source::Part;

pub(super) fn check(lint: &mut Lint<'_>) {
    dkim(lint);
    spf(lint);
    dmarc(lint);
    beside_mx(lint);
}

/// The records at `<selector>._domainkey.<domain>` (RFC 6376 section 3.6.2.1); `_adsp` is a policy, not a key.
fn dkim(lint: &mut Lint<'_>) {
    let mut selectors: HashSet<&Name> = HashSet::new();
    for (index, placed) in lint.of_type(Rtype::TXT) {
        let record = &placed.record;
        let mut labels = record.owner.labels();
        let (selector, second) = (labels.next().unwrap_or_default(), labels.next().unwrap_or_default());
        if !second.eq_ignore_ascii_case(b"_domainkey") || selector.eq_ignore_ascii_case(b"_adsp") {
            continue;
        }
        if let Err(error) = Dkim::parse(&mailtext::txt_value(&record.rdata)) {
            let message = format!("the DKIM key of {} is not usable: {error}", record.owner);
            lint.warn(
                index,
                Part::Rdata(0),
                message,
                "paste the whole record that the key generator wrote; outside quotation marks a `;` begins a comment",
            );
        }
        if !selectors.insert(&record.owner) {
            let message = format!("a second TXT record at the DKIM selector {}", record.owner);
            lint.warn(
                index,
                Part::Type,
                message,
                "verifiers may take either: one record a selector (RFC 6376 section 3.6.2.2)",
            );
        }
    }
}

fn spf(lint: &mut Lint<'_>) {
    let mut owners: HashMap<&Name, usize> = HashMap::new();
    for (index, placed) in lint.of_type(Rtype::TXT) {
        let record = &placed.record;
        let text = mailtext::txt_value(&record.rdata);
        if !mailtext::is_spf(&text) {
            // Strings are joined without a space (RFC 7208 section 3.3): `TXT v=spf1 mx -all` is v=spf1mx-all.
            if text.to_ascii_lowercase().starts_with(b"v=spf1") {
                let message = format!("this is `{}`, which is no SPF record", show(&text));
                lint.warn(
                    index,
                    Part::Rdata(0),
                    message,
                    "write it as one string in quotation marks: \"v=spf1 mx -all\"",
                );
            }
            continue;
        }
        if let Err(term) = mailtext::check_spf(&text) {
            let message = format!("`{term}` is not a term of SPF");
            lint.warn(
                index,
                Part::Rdata(0),
                message,
                "for example: \"v=spf1 mx ip4:192.0.2.0/24 -all\" (RFC 7208 section 4.6.1)",
            );
        }
        if let Some(&first) = owners.get(&record.owner) {
            let message = format!("a second SPF record at {}: receivers then treat both as an error", record.owner);
            let help = format!("join it with the one on line {} (RFC 7208 section 4.5)", lint.line(first));
            lint.warn(index, Part::Type, message, help);
        } else {
            owners.insert(&record.owner, index);
        }
    }
}

/// A policy at `_dmarc.<domain>` has `v=` first and `p=` (RFC 7489 section 6.3).
fn dmarc(lint: &mut Lint<'_>) {
    for (index, placed) in lint.of_type(Rtype::TXT) {
        let record = &placed.record;
        if !record.owner.labels().next().is_some_and(|label| label.eq_ignore_ascii_case(b"_dmarc")) {
            continue;
        }
        let text = mailtext::txt_value(&record.rdata);
        if !mailtext::is_dmarc(&text) || !mailtext::has_dmarc_policy(&text) {
            let message = format!("`{}` is no DMARC policy", show(&text));
            let help = "for example: \"v=DMARC1; p=quarantine\"; outside quotation marks a `;` begins a comment";
            lint.warn(index, Part::Rdata(0), message, help);
        }
    }
}

/// A domain that takes mail also sends some: without SPF and DMARC anybody can send in its name. A null MX
/// (RFC 7505) wants neither.
fn beside_mx(lint: &mut Lint<'_>) {
    let sets: Vec<(&Name, Vec<usize>)> = lint
        .sets
        .iter()
        .filter(|((_, rtype), _)| *rtype == Rtype::MX)
        .map(|((owner, _), set)| (*owner, set.clone()))
        .collect();
    for (owner, set) in sets {
        let index = set[0];
        let null = set.iter().copied().find(|&index| lint.records[index].record.rdata[2..] == [0]);
        if let Some(null) = null.filter(|_| set.len() > 1) {
            let message = format!("{owner} takes no mail by this null MX, and has other MX records beside it");
            lint.warn(
                null,
                Part::Rdata(1),
                message,
                "a null MX stands alone (RFC 7505 section 3): keep one or the other",
            );
        }
        if null.is_some() || owner.is_wildcard() || lint.cuts.contains_key(owner) {
            continue;
        }
        if !has_text(lint, owner, mailtext::is_spf) {
            let message = format!("{owner} takes mail but has no SPF record");
            lint.warn(index, Part::Owner, message, "for example: @ IN TXT \"v=spf1 mx -all\" beside the MX");
        }
        if !has_dmarc(lint, owner) {
            let message = format!("{owner} takes mail but has no DMARC record");
            lint.warn(index, Part::Owner, message, "for example: _dmarc IN TXT \"v=DMARC1; p=quarantine\"");
        }
    }
}

fn has_text(lint: &Lint<'_>, owner: &Name, is: fn(&[u8]) -> bool) -> bool {
    let rdatas = lint.contents.rrset(owner, Rtype::TXT).map(|rrset| rrset.rdatas).unwrap_or_default();
    rdatas.iter().any(|rdata| is(&mailtext::txt_value(rdata)))
}

/// At the domain or above it (RFC 7489 section 6.6.3); an alias or a delegation may lead to it.
fn has_dmarc(lint: &Lint<'_>, owner: &Name) -> bool {
    let above = std::iter::once(owner.clone()).chain(owner.ancestors());
    let in_zone = above.take_while(|name| name.is_at_or_below(lint.origin()));
    in_zone.filter_map(|name| name.prepend(b"_dmarc").ok()).any(|name| {
        has_text(lint, &name, mailtext::is_dmarc) || lint.has(&name, Rtype::CNAME) || lint.has(&name, Rtype::NS)
    })
}
