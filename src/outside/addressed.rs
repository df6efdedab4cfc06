//! Whose it is to mend what is wrong with a mail host that is in none of the domains whose mail goes there, and with its zone.

use super::{Area, Check, Fault};
use crate::dns::Name;

/// A check of a host, with what to do addressed to whoever can do it. `domains`: whose mail goes there.
pub(super) fn addressed(host: &Name, domains: &[Name], check: Check) -> Check {
    let is_of_domain = domains.is_empty() || domains.iter().any(|domain| host.is_at_or_below(domain));
    let Some(fault) = check.fault.filter(|_| !is_of_domain) else { return check };
    let (host, to_do) = (host.to_host(), check.help.as_str());
    let help = match (fault.area(), fault) {
        (_, Fault::TlsaMissing) if to_do.is_empty() => {
            format!("whoever serves the zone of {host} has to publish it")
        }
        _ if to_do.is_empty() => return check,
        (_, Fault::TlsaMissing | Fault::TlsaUnusable) => {
            format!("whoever serves the zone of {host} has to {to_do}")
        }
        (Area::Tlsa, fault) if is_of_zone(fault) => format!("for whoever serves the zone of {host}: {to_do}"),
        (Area::Tlsa | Area::Service | Area::Caa | Area::Ptr, _) => format!("for whoever runs {host}: {to_do}"),
        // Another host could stand in the MX.
        _ => return check,
    };
    Check { help, ..check }
}

/// A check of a zone, with what to do addressed to whoever runs it where the mail domain is in another one.
pub fn of_zone(apex: &Name, domain: &Name, check: Check) -> Check {
    if check.help.is_empty() || domain.is_at_or_below(apex) || apex.is_below(domain) {
        return check;
    }
    let help = format!("for whoever runs zone {apex}: {}", check.help);
    Check { help, ..check }
}

/// The records are at fault, and not what is presented.
fn is_of_zone(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::TlsaBogus
            | Fault::TlsaInsecure
            | Fault::TlsaUnknown
            | Fault::TlsaMismatch
            | Fault::TlsaPartial
            | Fault::TlsaTooMany
            | Fault::TlsaTtl
    )
}
