//! Images of what is served, so that a restart signs nothing again: when each is written, and that.

use tracing::warn;

use super::Keeper;
use super::spread::spread;
use super::zone::Zone;
use crate::dns::Timestamp;
use crate::zone::History;

/// So many are written together.
const TOGETHER: usize = 512;
/// A zone of more records than this has its image written so long after a change, in seconds.
pub(super) const LARGE: usize = 20_000;
const DELAY: u64 = 60;
/// Any other's is written at once, but so long apart, in seconds, where the journal leads from the last one to what is served.
const APART: u64 = 10;
/// An image of less octets is compared with the one that is there: most are the same after a restart.
const SMALL: usize = 1 << 20;

impl Keeper {
    /// Writes the images that are not up to date. A large zone's waits a while, so that many changes cost one image.
    pub(super) fn write_images(&mut self, all: bool, now: Timestamp) {
        let Keeper { zones, store, .. } = self;
        // A clock that was set back is no reason to wait.
        let is_due = |zone: &Zone| {
            image_due(zone).is_some_and(|at| all || now >= at || zone.saved_at.is_some_and(|saved| now < saved))
        };
        let mut unsaved: Vec<&mut Zone> =
            zones.values_mut().map(|zone| &mut **zone).filter(|zone| is_due(zone)).collect();
        let Some(images) = store.images() else {
            unsaved.into_iter().for_each(|zone| zone.unsaved = None);
            return;
        };
        while !unsaved.is_empty() {
            let mut batch = unsaved.split_off(unsaved.len().saturating_sub(TOGETHER));
            let work = |zone: &&mut Zone| {
                let image = zone.to_image()?;
                let same = image.len() < SMALL && images.load(&zone.origin).is_some_and(|there| there == image);
                (!same).then(|| (zone.origin.clone(), image))
            };
            let written: Vec<_> = spread(batch.iter().collect(), work).into_iter().flatten().collect();
            if let Err(error) = images.store(&written) {
                warn!("signatures can't be kept over a restart, which then signs again: {error}");
            }
            // What can't be written is tried again at the next change.
            for zone in &mut batch {
                (zone.unsaved, zone.saved_at) = (None, Some(now));
                zone.saved_serial = zone.snapshot.as_ref().map(|snapshot| snapshot.serial());
            }
        }
    }
}

/// When a zone's image is to be written; none where it is as it should be.
pub(super) fn image_due(zone: &Zone) -> Option<Timestamp> {
    let since = zone.unsaved?;
    if zone.source.file().is_none() {
        // After a power cut there is no file that says it again: an older image would be served as the newest version.
        return Some(since);
    }
    let is_large = zone.contents.as_ref().is_some_and(|contents| contents.record_count() > LARGE);
    let history = zone.snapshot.as_ref().map(|snapshot| snapshot.history());
    let history = history.filter(|history| !history.differences().is_empty());
    let is_led_from = |history: &History| zone.saved_serial.is_some_and(|serial| history.since(serial).is_some());
    let apart = match (zone.saved_at, history) {
        (Some(at), Some(history)) if is_led_from(history) => at + APART,
        _ => since,
    };
    Some(if is_large { since + DELAY } else { since.max(apart) })
}
