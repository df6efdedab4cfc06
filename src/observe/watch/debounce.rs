//! When enough has been quiet for a notice. Time is an argument.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use super::Timing;

/// The most paths in a notice; beyond them it says to look at everything.
const MAX_PATHS: usize = 1000;

/// Something is finished: look again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Where. A hint, never the whole truth.
    pub paths: BTreeSet<PathBuf>,
    /// Look at everything: it was time for it, or the system lost events.
    pub rescan: bool,
}

/// Gathers changes until nothing happened for a while. A change after a long rest is told at once, or nearly: it is mostly alone.
#[derive(Debug)]
pub struct Debounce {
    timing: Timing,
    pending: Option<Pending>,
    /// When the last notice was taken.
    told: Option<Instant>,
}

#[derive(Debug)]
struct Pending {
    first: Instant,
    last: Instant,
    changed: Changed,
}

impl Debounce {
    /// Waits as `timing` says; rescans are not its matter.
    pub fn new(timing: Timing) -> Debounce {
        Debounce { timing, pending: None, told: None }
    }

    /// A change at `path`.
    pub fn note(&mut self, path: PathBuf, now: Instant) {
        let changed = &mut self.pending(now).changed;
        if changed.paths.len() < MAX_PATHS {
            changed.paths.insert(path);
        } else {
            changed.rescan = true;
        }
    }

    /// Everything has to be looked at.
    pub fn rescan(&mut self, now: Instant) {
        self.pending(now).changed.rescan = true;
    }

    /// A notice that nobody could take: it comes again, with what is new.
    pub fn put_back(&mut self, changed: Changed, now: Instant) {
        let pending = self.pending(now);
        pending.changed.rescan |= changed.rescan;
        pending.changed.paths.extend(changed.paths);
    }

    /// When the next notice is due, if nothing else happens.
    pub fn due(&self) -> Option<Instant> {
        let Pending { first, last, .. } = self.pending.as_ref()?;
        let rested = self.told.is_none_or(|told| *first >= told + self.timing.at_most);
        Some(if rested {
            *first + self.timing.lead
        } else {
            (*last + self.timing.quiet).min(*first + self.timing.at_most)
        })
    }

    /// The notice, once it is due.
    pub fn take(&mut self, now: Instant) -> Option<Changed> {
        if self.due()? > now {
            return None;
        }
        self.told = Some(now);
        self.pending.take().map(|pending| pending.changed)
    }

    fn pending(&mut self, now: Instant) -> &mut Pending {
        let pending =
            self.pending.get_or_insert_with(|| Pending { first: now, last: now, changed: Changed::default() });
        pending.last = now;
        pending
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn debounce() -> (Debounce, Instant) {
        let timing = Timing { lead: 3 * MS, quiet: 100 * MS, at_most: 1000 * MS, ..Timing::default() };
        (Debounce::new(timing), Instant::now())
    }

    #[test]
    fn after_a_rest_a_notice_comes_at_once_and_then_when_it_has_been_quiet() {
        let (mut debounce, start) = debounce();
        assert_eq!(debounce.due(), None);
        debounce.note("first".into(), start);
        debounce.note("second".into(), start + 2 * MS);
        assert_eq!(debounce.take(start + 2 * MS), None);
        assert_eq!(debounce.take(start + 3 * MS).unwrap().paths, ["first", "second"].map(PathBuf::from).into());
        debounce.note("a".into(), start + 4 * MS);
        debounce.note("b".into(), start + 90 * MS);
        assert_eq!(debounce.due(), Some(start + 190 * MS));
        assert_eq!(debounce.take(start + 189 * MS), None);
        let changed = debounce.take(start + 190 * MS).unwrap();
        assert_eq!(changed.paths, ["a", "b"].map(PathBuf::from).into());
        assert!(!changed.rescan);
        assert_eq!((debounce.due(), debounce.take(start + 5000 * MS)), (None, None));
        debounce.note("rested".into(), start + 6000 * MS);
        assert_eq!(debounce.due(), Some(start + 6003 * MS));
    }

    #[test]
    fn a_folder_that_never_rests_is_told_of_after_the_longest_wait() {
        let (mut debounce, start) = debounce();
        let mut notices = Vec::new();
        for step in 0..60 {
            let now = start + step * 50 * MS;
            debounce.note("busy".into(), now);
            if debounce.take(now).is_some() {
                notices.push(step * 50);
            }
        }
        assert_eq!(notices, [50, 1100, 2150]);
    }

    #[test]
    fn too_many_paths_become_a_rescan_and_an_untaken_notice_comes_again() {
        let (mut debounce, start) = debounce();
        for number in 0..=MAX_PATHS {
            debounce.note(number.to_string().into(), start);
        }
        let changed = debounce.take(start + 100 * MS).unwrap();
        assert_eq!((changed.paths.len(), changed.rescan), (MAX_PATHS, true));
        debounce.note("new".into(), start + 150 * MS);
        debounce.put_back(changed, start + 200 * MS);
        let changed = debounce.take(start + 300 * MS).unwrap();
        assert!(changed.rescan && changed.paths.contains(&PathBuf::from("new")));
    }
}
