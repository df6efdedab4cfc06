//! From a zone file to its contents: at the cost of what changed where that can be, and without waiting for the warnings of a large file.

use sha2::{Digest, Sha256};
use tracing::warn;

use super::Keeper;
use super::zone::{Beneath, Input, Zone};
use crate::dns::{Name, Rtype, Timestamp};
use crate::observe::zones::{Held, ZoneFile, ZoneIncludes, ZoneProblem};
use crate::store::Images;
use crate::zone::image::Image;
use crate::zone::reread::{Marks, Reread, reread};
use crate::zone::{self, Contents, Diagnostic, Pieces, SigningMode};

/// A file of fewer octets is read as a whole at every change, and its warnings with it.
const SMALL: usize = 256 << 10;
/// Programs write files of more octets than this, and nobody reads warnings about them: `danelaw check` looks for them when asked.
const LINTED: usize = 4 << 20;
/// So many octets of a large file are read at a time.
const PIECE: usize = 1 << 18;

/// What is known of the one file that a zone's contents were read from.
#[derive(Debug)]
pub struct Reading {
    /// A digest of it, where that was needed.
    digest: Option<[u8; 32]>,
    /// A large file, with the marks to find in it what changes.
    held: Option<Box<(Held, Option<Marks>)>>,
}

impl Reading {
    /// A digest of the file that was read; none where it was written to since.
    pub fn digest(&self) -> Option<[u8; 32]> {
        self.digest.or_else(|| digest(&self.held.as_ref()?.0))
    }

    /// The marks in it.
    pub fn marks(&self) -> Option<&Marks> {
        self.held.as_ref()?.1.as_ref()
    }
}

/// A digest of a file; none where it was written to since it was opened.
fn digest(held: &Held) -> Option<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE.min(held.length())];
    let mut at = 0;
    while at < held.length() {
        let piece = &mut piece[..PIECE.min(held.length() - at)];
        held.read(at, piece)?;
        hash.update(&*piece);
        at += piece.len();
    }
    held.is_unchanged().then(|| hash.finalize().into())
}

/// A search for warnings that goes on beside the keeper's work.
pub struct Linting(std::thread::JoinHandle<Vec<(Name, Vec<Diagnostic>)>>);

/// The warnings of so many zones are looked for at a time.
const BATCH: usize = 1000;
/// Of more warnings than this at a time, the log tells the number only.
const MANY: usize = 100;

impl Zone {
    /// The contents at the cost of what changed in the file since it was read; gives the file back where it has to be read as a whole.
    pub(super) fn reread(&mut self, held: Held, mode: SigningMode) -> Result<Contents, Held> {
        let mut change = || {
            let (old, marks) = &mut **self.before.as_mut()?.held.as_mut().filter(|_| mode != SigningMode::Presigned)?;
            let change = reread(marks.take()?, old, &held)?;
            let Reread { removed, added, .. } = &change;
            let contents = self.said.as_ref()?.with(removed, added)?;
            // Else what was compared is not what was read.
            (old.is_unchanged() && held.is_unchanged()).then_some((contents, change))
        };
        let Some((contents, Reread { removed, added, marks })) = change() else { return Err(held) };
        let changed = || removed.iter().chain(&added);
        self.mail_domains_changed |= changed().any(|record| matches!(record.rtype, Rtype::NS | Rtype::DNAME));
        for record in changed().filter(|record| record.rtype == Rtype::MX) {
            self.look_at_mail_domain(&contents, &record.owner);
        }
        self.unlinted = held.length() <= LINTED;
        self.reading = Some(Reading { digest: None, held: Some(Box::new((held, Some(marks)))) });
        Ok(contents)
    }

    pub(super) fn look_at_mail_domain(&mut self, contents: &Contents, owner: &Name) {
        let place = self.mail_domains.binary_search(owner);
        let node = contents.node(owner).filter(|node| node.has(Rtype::MX) && contents.cut(owner).is_none());
        match (place, node.map(|node| node.owner())) {
            (Ok(place), Some(owner)) => self.mail_domains[place] = owner,
            (Err(place), Some(owner)) => self.mail_domains.insert(place, owner),
            (Ok(place), None) => drop(self.mail_domains.remove(place)),
            (Err(_), None) => {}
        }
    }

    /// Reads the whole file. Errors leave the last good contents.
    pub(super) fn parse(
        &mut self,
        (file, held): (&ZoneFile, Held),
        (mode, now): (SigningMode, Timestamp),
        images: Option<&Images>,
    ) -> Result<Option<Contents>, ZoneProblem> {
        self.mail_domains_changed = true;
        self.load_image(images);
        let large = held.length() >= SMALL;
        let image = self.image.iter().flatten().next().filter(|_| self.said.is_none());
        let mut text = None;
        let source = match image.and_then(|image| image.source) {
            Some(_) if large => digest(&held),
            Some(_) => {
                let whole = whole(file, &held)?;
                Some(Sha256::digest(text.insert(whole)).into())
            }
            None => None,
        };
        // What was good before the start, and did not change, needs no reading.
        let is_good = |image: &Image| {
            let lasts = image.verified && image.published.expires_at.is_some_and(|expires| expires > now);
            source.is_some() && image.source == source && (mode != SigningMode::Presigned || lasts)
        };
        if let Some(image) = image.filter(|image| is_good(image)) {
            let (contents, marks) = (image.contents.clone(), image.marks.clone());
            self.unlinted = held.length() <= LINTED;
            self.reading = Some(Reading { digest: source, held: large.then(|| Box::new((held, marks))) });
            return Ok(Some(contents));
        }
        let mut includes = file.includes();
        if large && let Some((contents, marks)) = self.read_through(&held, &mut includes, (mode, now)) {
            self.inputs.extend(includes.included().iter().map(|path| Input::look(path)));
            self.unlinted = held.length() <= LINTED;
            self.reading = marks.map(|marks| Reading { digest: source, held: Some(Box::new((held, Some(marks)))) });
            return Ok(Some(contents));
        }
        let text = match text {
            Some(text) => text,
            None => whole(file, &held)?,
        };
        let name = file.path.display().to_string();
        let parsed = zone::parse(&self.origin, &name, &text, &mut Beneath(&mut includes));
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
        let Some(contents) = parsed.contents.filter(|_| good) else { return Ok(None) };
        if self.inputs.len() == 1 {
            // A small file is not held open: there may be thousands.
            let digest = if large { source } else { Some(source.unwrap_or_else(|| Sha256::digest(&text).into())) };
            self.reading = Some(Reading { digest, held: large.then(|| Box::new((held, parsed.marks))) });
        }
        Ok(Some(contents))
    }

    /// The contents of a large file and its marks, unless there is something to say about it.
    fn read_through(
        &self,
        held: &Held,
        includes: &mut ZoneIncludes,
        (mode, now): (SigningMode, Timestamp),
    ) -> Option<(Contents, Option<Marks>)> {
        let (contents, marks) = zone::read_through(&self.origin, held, &mut Beneath(includes))?;
        let is_good = mode != SigningMode::Presigned
            || zone::presigned::findings(&contents, self.verified(), Some(now)).found.is_empty();
        (is_good && held.is_unchanged()).then_some((contents, marks))
    }

    /// Contents that were signed elsewhere, and good when they were checked.
    fn verified(&self) -> Option<&Contents> {
        let before = self.image.iter().flatten().filter(|image| image.verified).map(|image| &image.contents).next();
        // Not by the mode, which may be a new one: then what is there was never checked.
        if self.verified { self.said.as_ref() } else { before }
    }
}

fn whole(file: &ZoneFile, held: &Held) -> Result<Vec<u8>, ZoneProblem> {
    held.whole().map_err(|why| file.problem(why))
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
                .filter_map(|zone| {
                    zone.unlinted = false;
                    Some((zone.source.file()?.clone(), config.signing(&zone.origin).mode))
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
    let Ok(text) = file.read() else { return Vec::new() };
    let name = file.path.display().to_string();
    zone::lint(&zone::parse(&file.origin, &name, &text, &mut Beneath(&mut file.includes())), mode)
}
