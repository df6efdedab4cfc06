//! DMARC: the policy that counts for a domain, its own or one from above (RFC 9989 section 4.10).

use super::neighbours::unknown;
use super::{Area, Check, Fault, Lookup};
use crate::dns::Name;
use crate::dns::mailtext::{has_dmarc_policy, has_tag, is_dmarc};
use crate::dns::text::show;

/// The most names that are asked, the domain among them (RFC 9989 section 4.10).
const NAMES_MAX: usize = 8;

/// The names above a domain whose `_dmarc` is asked where it has none of its own, the nearest first.
pub fn above(domain: &Name) -> Vec<Name> {
    domain.ancestors().filter(|name| !name.is_root() && name.label_count() < NAMES_MAX).collect()
}

/// Whether nothing above is asked any more: the record says whether public suffixes begin there.
pub fn is_last(lookup: &Lookup<Vec<u8>>) -> bool {
    matches!(records(lookup)[..], [record] if has_tag(record, "psd", "n") || has_tag(record, "psd", "y"))
}

/// Whether it has a record, or several: then nothing above counts.
pub fn is_there(lookup: &Lookup<Vec<u8>>) -> bool {
    !records(lookup).is_empty()
}

/// A check of it. `is_parked`: the domain says that it takes no mail.
pub fn judge(domain: &Name, is_parked: bool, own: &Lookup<Vec<u8>>, above: &[(Name, Lookup<Vec<u8>>)]) -> Check {
    if let Some(check) = unknown(Area::Dmarc, domain, "TXT at _dmarc", own) {
        return check;
    }
    let (at, records) = match is_there(own) {
        true => (domain, records(own)),
        false => match inherited(above).or_else(|| above.iter().find(|(_, lookup)| is_there(lookup))) {
            Some((at, lookup)) => (at, records(lookup)),
            None => return missing(domain, is_parked, above),
        },
    };
    match records[..] {
        [record] if has_dmarc_policy(record) => {
            let whose = if at == domain { String::new() } else { format!(" (of {at})") };
            Check::ok(Area::Dmarc, domain, format!("{}{whose}", show(record)))
        }
        [record] => {
            let evidence = format!("`{}` is no DMARC policy", show(record));
            Check::fault(Fault::DmarcMalformed, domain, evidence, example(at, is_parked))
        }
        _ => {
            let count = records.len();
            let evidence = format!("there are {count} DMARC records at _dmarc.{at}, and receivers then go by none");
            Check::fault(Fault::DmarcMalformed, domain, evidence, "keep one of them (RFC 9989 section 4.10)")
        }
    }
}

/// Nothing was found, as far as it could be looked up.
fn missing(domain: &Name, is_parked: bool, above: &[(Name, Lookup<Vec<u8>>)]) -> Check {
    let unseen =
        above.iter().find_map(|(name, lookup)| unknown(Area::Dmarc, domain, &format!("TXT at _dmarc.{name}"), lookup));
    let fault = || {
        let or_above = if above.is_empty() { "" } else { ", or one at the organisational domain" };
        let evidence = "there is no DMARC record at the domain, nor above it";
        Check::fault(Fault::DmarcMissing, domain, evidence, example(domain, is_parked) + or_above)
    };
    unseen.unwrap_or_else(fault)
}

fn example(at: &Name, is_parked: bool) -> String {
    let policy = if is_parked { "reject" } else { "quarantine" };
    format!("for example: _dmarc.{at} IN TXT \"v=DMARC1; p={policy}\" (RFC 7489 section 6.3)")
}

/// The one of those above that counts: at the organisational domain, or else at the public suffix (RFC 9989 sections 4.10.1 and
/// 4.10.2). Several records at one name count as none.
fn inherited(above: &[(Name, Lookup<Vec<u8>>)]) -> Option<&(Name, Lookup<Vec<u8>>)> {
    let mut highest: Option<&(Name, Lookup<Vec<u8>>)> = None;
    for found in above {
        let (name, lookup) = found;
        let [record] = records(lookup)[..] else { continue };
        if has_tag(record, "psd", "y") {
            let is_below = |below: &&(Name, Lookup<Vec<u8>>)| below.0.parent().as_ref() == Some(name);
            return highest.filter(is_below).or(Some(found));
        }
        highest = Some(found);
        if has_tag(record, "psd", "n") {
            break;
        }
    }
    highest
}

fn records(lookup: &Lookup<Vec<u8>>) -> Vec<&Vec<u8>> {
    lookup.found.iter().filter(|text| is_dmarc(text)).collect()
}
