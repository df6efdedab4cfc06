//! Names that lack their final dot, and targets that are addresses or aliases.

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::Lint;
use crate::dns::rtype::Field;
use crate::dns::{Name, Rtype, rdata};
use crate::zone::source::Part;

pub(super) fn check(lint: &mut Lint<'_>) {
    missing_dots(lint);
    for (rtype, part) in [(Rtype::NS, 0), (Rtype::MX, 1)] {
        targets(lint, rtype, Part::Rdata(part));
    }
}

/// `mail.example.org` without its dot in the zone example.org is mail.example.org.example.org.
fn missing_dots(lint: &mut Lint<'_>) {
    let zone = lint.origin();
    let doubled = zone.labels().rev().try_fold(zone.clone(), |name, label| name.prepend(label));
    let Ok(doubled) = doubled.map_err(drop).and_then(|name| if zone.is_root() { Err(()) } else { Ok(name) }) else {
        return;
    };
    let mut owners: HashSet<&Name> = HashSet::new();
    for (index, placed) in lint.records.iter().enumerate() {
        let record = &placed.record;
        if record.owner.is_at_or_below(&doubled) && owners.insert(&record.owner) {
            report(lint, index, Part::Owner, &record.owner);
        }
        let fields = record.rtype.info().map(|info| info.fields).unwrap_or_default();
        let is_name = |field: &&(usize, &Field)| matches!(field.1, Field::Name { .. });
        let places: Vec<usize> =
            fields.iter().enumerate().filter(|field| is_name(&field)).map(|(place, _)| place).collect();
        // A signature's own words are not the operator's.
        if matches!(record.rtype, Rtype::RRSIG | Rtype::NSEC) {
            continue;
        }
        for (name, place) in rdata::names(record.rtype, &record.rdata).iter().zip(places) {
            if name.is_at_or_below(&doubled) {
                report(lint, index, Part::Rdata(place), name);
            }
        }
    }
}

fn report(lint: &mut Lint<'_>, index: usize, part: Part, name: &Name) {
    let zone = lint.origin().to_host();
    let text = name.to_string();
    let meant = text.strip_suffix(&format!("{zone}.")).unwrap_or(&text).to_owned();
    lint.warn(
        index,
        part,
        format!("this name became {name}: a name without a final dot gets the origin appended"),
        format!("write `{meant}` with the dot at its end"),
    );
}

fn targets(lint: &mut Lint<'_>, rtype: Rtype, part: Part) {
    for (index, placed) in lint.of_type(rtype) {
        let Some(target) = rdata::names(rtype, &placed.record.rdata).into_iter().next() else { continue };
        if let Some(address) = address(&target, lint.origin()) {
            lint.warn(
                index,
                part,
                format!("{rtype} points at the address {address}, which was taken as the name {target}"),
                format!("{rtype} takes a host name; give that host the address in an A or AAAA record"),
            );
        } else if target.is_at_or_below(lint.origin()) {
            in_zone(lint, index, part, rtype, &target);
        }
    }
}

/// The address that a name is the text of, the zone's own labels behind it or not.
fn address(name: &Name, zone: &Name) -> Option<String> {
    let host = name.to_host();
    let head = match name.is_below(zone) {
        true => host.strip_suffix(&zone.to_host()).map(|head| head.trim_end_matches('.')).unwrap_or(&host),
        false => &host,
    };
    let is_address = |text: &str| text.parse::<Ipv4Addr>().is_ok() || text.parse::<Ipv6Addr>().is_ok();
    is_address(head).then(|| head.to_owned())
}

fn in_zone(lint: &mut Lint<'_>, index: usize, part: Part, rtype: Rtype, target: &Name) {
    // RFC 2181 section 10.3.
    if lint.has(target, Rtype::CNAME) {
        lint.warn(
            index,
            part,
            format!("{rtype} points at {target}, which is a CNAME: that is not allowed (RFC 2181 section 10.3)"),
            "point at the name that has the address records itself",
        );
        return;
    }
    if has_address(lint, target) || is_elsewhere(lint, target) {
        return;
    }
    lint.warn(
        index,
        part,
        format!("{rtype} points at {target}, which has no address in this zone"),
        format!("add an A or AAAA record for {target}, or correct the name"),
    );
}

/// Whether a name has an address of its own or of a wildcard's.
pub(super) fn has_address(lint: &Lint<'_>, name: &Name) -> bool {
    let addressed = |name: &Name| lint.has(name, Rtype::A) || lint.has(name, Rtype::AAAA);
    if lint.contents.node(name).is_some() {
        return addressed(name);
    }
    let wildcards = name.ancestors().take_while(|ancestor| ancestor.is_at_or_below(lint.origin()));
    wildcards
        .filter_map(|ancestor| ancestor.prepend(b"*").ok())
        .any(|wildcard| addressed(&wildcard) || lint.has(&wildcard, Rtype::CNAME))
}

/// Whether what a name has is said in another zone: below a cut (glue is looked at there) or a DNAME.
fn is_elsewhere(lint: &Lint<'_>, name: &Name) -> bool {
    lint.contents.cut(name).is_some() || name.ancestors().any(|ancestor| lint.has(&ancestor, Rtype::DNAME))
}
