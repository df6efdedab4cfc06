//! When a certificate is renewed: by its lifetime, or when the CA says.

use sha2::{Digest, Sha256};

use super::facts::{Held, Id, Settings};
use super::state::Window;
use crate::dns::Timestamp;

const DAY: u64 = 86_400;
/// No certificate is renewed more than this many seconds before it has to be installed.
const LONGEST: u64 = 30 * DAY;

/// How many seconds before it expires a renewed certificate is to be installed: 30 days, or a third of the lifetime.
pub fn lead(lifetime: u64) -> u64 {
    LONGEST.min(lifetime / 3)
}

/// When a certificate is ordered anew. A hold that is too long for it changes nothing in the first third of its life.
pub fn at(id: &Id, held: &Held, window: Option<&Window>, settings: &Settings) -> Timestamp {
    let lead = lead(held.lifetime());
    let before = |seconds: u64| held.not_after.saturating_sub(seconds).saturating_sub(settings.hold);
    if let Some(window) = window {
        let length = window.end.saturating_sub(window.start);
        let point = window.start.saturating_add(chosen(id, &[window.start, window.end], length));
        // A window at the very end leaves no time for failures.
        return point.saturating_sub(settings.hold).min(before(lead / 2));
    }
    let early = chosen(id, &[held.not_after], lead / 10);
    before(lead + early).max(held.not_before.saturating_add(held.lifetime() / 3))
}

/// When somebody is told that it gets late: the hold and the margin before it expires. The margin is never more than half of
/// the time that there is.
pub fn late(held: &Held, settings: &Settings) -> Timestamp {
    let margin = settings.margin.min(lead(held.lifetime()) / 2);
    held.not_after.saturating_sub(settings.hold).saturating_sub(margin)
}

/// Why certificates that live so many seconds can't be renewed in time with this hold; none: they can.
pub fn refuse(settings: &Settings, lifetime: u64) -> Option<String> {
    (settings.hold >= lifetime.div_ceil(3)).then(|| {
        format!(
            "a renewed certificate waits {} before it is installed, and it lives {}: a third of that at most. A shorter \
             `confirmation-interval` and TTL, records of the key alone (`3 1 1`) with a next key, or a profile with a longer life helps",
            span(settings.hold),
            span(lifetime)
        )
    })
}

/// Seconds for people.
fn span(seconds: u64) -> String {
    match seconds {
        0..3600 => format!("{seconds} s"),
        3600..172_800 => format!("{:.1} h", seconds as f64 / 3600.0),
        _ => format!("{:.1} days", seconds as f64 / DAY as f64),
    }
}

/// A number up to `most`, always the same for the same certificate: what many do at once is spread.
pub(super) fn chosen(id: &Id, salt: &[u64], most: u64) -> u64 {
    let mut digest = Sha256::new();
    digest.update(id.host.to_lowercase().as_wire());
    digest.update(id.key_type.to_string());
    salt.iter().for_each(|number| digest.update(number.to_be_bytes()));
    let digest: [u8; 32] = digest.finalize().into();
    let number = digest.iter().take(8).fold(0, |number, octet| number << 8 | u64::from(*octet));
    number.checked_rem(most.saturating_add(1)).unwrap_or(number)
}
