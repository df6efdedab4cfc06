//! From a zone file to its contents: at the cost of what changed where that can be, and without waiting for the warnings of a large file.

use sha2::{Digest, Sha256};
use tracing::warn;

use super::Keeper;
use super::zone::{Beneath, Input, Zone};
use crate::dns::{Name, Rtype, Timestamp};
use crate::observe::zones::{Held, ZoneFile, ZoneIncludes};
use crate::store::Images;
use crate::zone::image::Image;
use crate::zone::reread::{Marks, Reread, reread};
use crate::zone::{self, Contents, Diagnostic, SigningMode};

/// A file of fewer octets is read as a whole at every change, and its warnings with it.
const SMALL: usize = 256 << 10;
/// Programs write files of more octets than this, and nobody reads warnings about them: `danelaw check` looks for them when asked.
const LINTED: usize = 4 << 20;

/// What is known of the one file that a zone's contents were read from.
#[derive(Debug)]
pub struct Reading {
    /// A digest of it, where that was needed.
    digest: Option<[u8; 32]>,
    /// A large file, with the marks to find in it what changes.
    held: Option<(Held, Option<Marks>)>,
}

impl Reading {
    /// A digest of the file that was read; none where it was written to since.
    pub fn digest(&self) -> Option<[u8; 32]> {
        self.digest.or_else(|| Some(Sha256::digest(self.held.as_ref()?.0.read_again()?).into()))
    }
}

/// A search for warnings that goes on beside the keeper's work.
pub struct Linting(std::thread::JoinHandle<Vec<(Name, Vec<Diagnostic>)>>);

/// The warnings of so many zones are looked for at a time.
const BATCH: usize = 1000;
/// Of more warnings than this at a time, the log tells the number only.
const MANY: usize = 100;

impl Zone {
    /// The contents at the cost of what changed in the file since it was read; gives the file back where it has to be read as a whole.
    pub(super) fn reread(
        &mut self,
        before: Option<Reading>,
        text: &[u8],
        held: Held,
        mode: SigningMode,
    ) -> Result<Contents, Held> {
        let change = || {
            let (old, marks) = before?.held.filter(|_| mode != SigningMode::Presigned)?;
            let change = reread(&marks?, &old.read_again()?, text)?;
            let Reread { removed, added, .. } = &change;
            let contents = self.contents.as_ref()?.with(removed, added)?;
            Some((contents, change))
        };
        let Some((contents, Reread { removed, added, marks })) = change() else { return Err(held) };
        let is_of_mail = |rtype: Rtype| matches!(rtype, Rtype::MX | Rtype::NS | Rtype::DNAME);
        self.mail_domains_changed |= removed.iter().chain(&added).any(|record| is_of_mail(record.rtype));
        self.reading = Some(Reading { digest: None, held: Some((held, Some(marks))) });
        self.unlinted = text.len() <= LINTED;
        Ok(contents)
    }

    /// Reads the whole file. Errors leave the last good contents.
    pub(super) fn parse(
        &mut self,
        text: &[u8],
        held: Held,
        includes: &mut ZoneIncludes,
        (mode, now): (SigningMode, Timestamp),
        images: Option<&Images>,
    ) -> Option<Contents> {
        self.mail_domains_changed = true;
        self.load_image(images);
        let image = self.image.iter().flatten().next().filter(|_| self.contents.is_none());
        let digest: Option<[u8; 32]> = image.map(|_| Sha256::digest(text).into());
        // What was good before the start, and did not change, needs no reading.
        let is_good = |image: &&Image| {
            let lasts = image.verified && image.published.expires_at.is_some_and(|expires| expires > now);
            image.source.is_some() && image.source == digest && (mode != SigningMode::Presigned || lasts)
        };
        let large = text.len() >= SMALL;
        if let Some(image) = image.filter(is_good) {
            let contents = image.contents.clone();
            self.reading = Some(Reading { digest, held: large.then_some((held, None)) });
            self.unlinted = text.len() <= LINTED;
            return Some(contents);
        }
        let name = self.file.path.display().to_string();
        let parsed = zone::parse(&self.origin, &name, text, &mut Beneath(includes));
        self.inputs.extend(includes.included().iter().map(|path| Input::look(path)));
        let later = large || self.hurried;
        self.unlinted = later && text.len() <= LINTED;
        if !later {
            self.diagnostics = zone::lint(&parsed, mode);
        }
        let mut good = true;
        if mode == SigningMode::Presigned {
            let verified = self.verified().cloned();
            let checked = zone::presigned::check(&parsed, verified.as_ref(), Some(now));
            good = checked.holds();
            self.diagnostics.extend(checked.0);
        }
        self.diagnostics.splice(0..0, parsed.diagnostics);
        let contents = parsed.contents.filter(|_| good)?;
        if self.inputs.len() == 1 {
            // A small file is not held open: there may be thousands.
            let digest = if large { digest } else { Some(digest.unwrap_or_else(|| Sha256::digest(text).into())) };
            self.reading = Some(Reading { digest, held: large.then_some((held, parsed.marks)) });
        }
        Some(contents)
    }

    /// Contents that were signed elsewhere, and good when they were checked.
    fn verified(&self) -> Option<&Contents> {
        let before = self.image.iter().flatten().filter(|image| image.verified).map(|image| &image.contents).next();
        // Not by the mode, which may be a new one: then what is there was never checked.
        if self.verified { self.contents.as_ref() } else { before }
    }
}

impl Keeper {
    /// Looks for the warnings that reading left out, beside everything else. Gives whether there is more to do.
    pub(super) fn look_for_warnings(&mut self) -> bool {
        if let Some(Linting(thread)) = self.linting.take_if(|Linting(thread)| thread.is_finished())
            && let Ok(found) = thread.join()
        {
            self.take_warnings(found);
        }
        let Keeper { zones, config, linting, .. } = self;
        if linting.is_none() {
            let left_out = zones.values_mut().filter(|zone| zone.unlinted && zone.snapshot.is_some()).take(BATCH);
            let work: Vec<(ZoneFile, SigningMode)> = left_out
                .map(|zone| {
                    zone.unlinted = false;
                    (zone.file.clone(), config.signing(&zone.origin).mode)
                })
                .collect();
            *linting = if work.is_empty() { None } else { spawn(work) };
        }
        linting.is_some()
    }

    fn take_warnings(&mut self, found: Vec<(Name, Vec<Diagnostic>)>) {
        let count: usize = found.iter().map(|(_, warnings)| warnings.len()).sum();
        if count > MANY {
            let zones = found.iter().filter(|(_, warnings)| !warnings.is_empty()).count();
            warn!("{count} warnings about {zones} zones: `danelaw check` shows them");
        } else {
            found.iter().flat_map(|(_, warnings)| warnings).for_each(|warning| warn!("{warning}"));
        }
        for (origin, warnings) in found {
            if let Some(zone) = self.zones.get_mut(&origin) {
                zone.warnings = warnings.len();
            }
        }
    }
}

fn spawn(work: Vec<(ZoneFile, SigningMode)>) -> Option<Linting> {
    let nicely = move || {
        super::spread::be_nice();
        work.iter().map(|(file, mode)| (file.origin.clone(), warnings(file, *mode))).collect()
    };
    std::thread::Builder::new().name("warnings".to_owned()).spawn(nicely).ok().map(Linting)
}

/// The warnings about a file as it is now; none while it has errors, which are another's to tell.
fn warnings(file: &ZoneFile, mode: SigningMode) -> Vec<Diagnostic> {
    let (Ok(text), Ok(mut includes)) = (file.read(), file.includes()) else { return Vec::new() };
    let name = file.path.display().to_string();
    zone::lint(&zone::parse(&file.origin, &name, &text, &mut Beneath(&mut includes)), mode)
}
