//! One zone in the keeper's hands: its source, its keys, its last good contents, what is published of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};
use tracing::{debug, warn};

use super::reading::Reading;
use crate::config::{SigningConfig, SigningMode};
use crate::dns::dnssec::Signer;
use crate::dns::{Name, RRset, Rtype, Timestamp};
use crate::keys::{KnownKey, ZoneKey};
use crate::observe::stamps::{Stamp, stamp};
use crate::observe::watch::Changed;
use crate::observe::zones::{ZoneFile, ZoneIncludes};
use crate::store::{Images, Store, StoreError};
use crate::zone::image::Image;
use crate::zone::{self, Contents, Diagnostic, Includes, Layer, Published, Severity, ZoneSnapshot};

/// One zone.
pub struct Zone {
    /// Its apex.
    pub origin: Name,
    /// Where its records come from.
    pub source: Source,
    /// Since when its source is gone.
    pub missing_since: Option<Timestamp>,
    /// Whether no primary has confirmed it for so long that it is not to be served.
    pub expired: bool,
    /// What its source said last that was good.
    pub said: Option<Contents>,
    /// What came by update since.
    pub layer: Layer,
    /// Of that, what can't stand beside what the source says.
    pub aside: Vec<(Name, Rtype)>,
    /// Both together: the last good contents.
    pub contents: Option<Contents>,
    /// Whether they were signed elsewhere, and checked.
    pub(super) verified: bool,
    /// The errors in the file as it is now.
    pub diagnostics: Vec<Diagnostic>,
    /// How many warnings there are; they were told.
    pub(super) warnings: usize,
    /// Why the file can't be read at all.
    pub unreadable: Option<String>,
    /// The owners of MX records that are authoritative in the last good contents.
    pub mail_domains: MailDomains,
    /// Its keys.
    pub keys: Keys,
    /// Whether its key is older than what the store knows of it: it was served before.
    pub is_known: bool,
    /// The keys that the store knows of it, once they were asked for.
    pub remembered: Option<Vec<KnownKey>>,
    /// Why its last publication failed.
    pub failure: Option<String>,
    /// The TLSA RRsets that are in what is published.
    pub synthesised: Vec<(Name, RRset)>,
    /// What it was signed from: contents, synthesised records, keys. None of a zone on one page, which is gone through as a whole.
    pub signed_from: Option<Box<Contents>>,
    /// What was kept of it from before the start, if that was looked for; until something is published.
    pub image: Option<Option<Box<Image>>>,
    /// How the contents were read, if from one file alone.
    pub(super) reading: Option<Reading>,
    /// How the contents before were read. Closed when the new ones are served: the system takes its time to forget a large file.
    pub(super) before: Option<Reading>,
    /// Whether its warnings are not those of its contents: they are looked for later.
    pub(super) unlinted: bool,
    /// Whether others wait for it to be read.
    pub(super) hurried: bool,
    pub(super) mail_domains_changed: bool,
    /// Since when what is published is not in its image.
    pub unsaved: Option<Timestamp>,
    /// When that was written last.
    pub saved_at: Option<Timestamp>,
    /// The serial of what is in its image.
    pub saved_serial: Option<u32>,
    /// What is published, in its wire form.
    pub snapshot: Option<Arc<ZoneSnapshot>>,
    /// Whether what is published was made from something else than what is at hand now.
    pub changed: bool,
    /// How what is published was signed.
    pub signing: Option<SigningConfig>,
    /// Most have one.
    pub(super) inputs: SmallVec<[Input; 1]>,
    /// Files that changed without word that the write is finished, and since when they look so.
    unsettled: Option<(Vec<Input>, Timestamp)>,
    pub(super) mode: Option<SigningMode>,
}

/// Where a zone's records come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A zone file.
    File(ZoneFile),
    /// Other servers have it, which are named here for people: it is transferred.
    Primaries(String),
    /// They are given ([`Zone::take`]), by what is named here for people.
    Given(String),
}

impl Source {
    /// The zone file.
    pub fn file(&self) -> Option<&ZoneFile> {
        match self {
            Source::File(file) => Some(file),
            Source::Primaries(_) | Source::Given(_) => None,
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::File(file) => file.path.display().fmt(f),
            Source::Primaries(by) | Source::Given(by) => f.write_str(by),
        }
    }
}

/// A file that changed counts as written when it looks the same for so long, in seconds.
const SETTLE: u64 = 2;

/// Of which files it is known that their writes are finished.
#[derive(Clone, Debug)]
pub enum Finished {
    /// Of all: the start, and the operator's word.
    All,
    /// Of these, by [`Finished::key`].
    Only(BTreeSet<PathBuf>),
}

impl Finished {
    /// Of none.
    pub fn none() -> Finished {
        Finished::Only(BTreeSet::new())
    }

    /// Of those that a notice names.
    pub fn told(changed: &Changed) -> Finished {
        Finished::Only(changed.paths.iter().filter_map(|path| Finished::key(path)).collect())
    }

    /// One name for a file, however its folder is written.
    pub fn key(path: &Path) -> Option<PathBuf> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        Some(folder.canonicalize().ok()?.join(path.file_name()?))
    }

    fn includes(&self, path: &Path) -> bool {
        match self {
            Finished::All => true,
            Finished::Only(paths) => Finished::key(path).is_some_and(|key| paths.contains(&key)),
        }
    }
}

/// What is known of a zone's keys.
#[derive(Debug)]
pub enum Keys {
    /// Nobody has looked yet.
    Unseen,
    /// The zone is not signed, by configuration.
    Unsigned,
    /// It should be signed and can't be.
    Refused(String),
    /// These sign it.
    Held(Vec<Arc<ZoneKey>>),
}

impl Keys {
    /// The keys that sign; none unless they are held.
    pub fn held(&self) -> &[Arc<ZoneKey>] {
        match self {
            Keys::Held(keys) => keys,
            _ => &[],
        }
    }

    /// Whether the same would be published with both.
    pub fn is_same(&self, other: &Keys) -> bool {
        let tags = |keys: &Keys| -> Vec<(u8, u16)> {
            keys.held().iter().map(|key| (key.algorithm(), key.key_tag())).collect()
        };
        std::mem::discriminant(self) == std::mem::discriminant(other) && tags(self) == tags(other)
    }
}

/// A file that was read, and how to tell that it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Input {
    path: PathBuf,
    stamp: Option<Stamp>,
}

impl Input {
    pub(super) fn look(path: &Path) -> Input {
        Input { path: path.to_owned(), stamp: stamp(path) }
    }
}

impl Zone {
    /// A zone of which nothing is known but its file.
    pub fn new(file: ZoneFile) -> Zone {
        Zone::of(file.origin.clone(), Source::File(file))
    }

    /// A zone of which nothing is known but its source.
    pub fn of(origin: Name, source: Source) -> Zone {
        Zone {
            origin,
            source,
            missing_since: None,
            expired: false,
            said: None,
            layer: Layer::default(),
            aside: Vec::new(),
            contents: None,
            verified: false,
            diagnostics: Vec::new(),
            warnings: 0,
            unreadable: None,
            keys: Keys::Unseen,
            mail_domains: MailDomains::new(),
            is_known: false,
            remembered: None,
            failure: None,
            synthesised: Vec::new(),
            signed_from: None,
            image: None,
            reading: None,
            before: None,
            unlinted: false,
            hurried: false,
            mail_domains_changed: true,
            unsaved: None,
            saved_at: None,
            saved_serial: None,
            snapshot: None,
            changed: false,
            signing: None,
            inputs: SmallVec::new(),
            unsettled: None,
            mode: None,
        }
    }

    /// Reads the file if it or an included one changed and the write is finished. Errors leave the last good contents, from before the
    /// start too. Gives whether it was read.
    pub fn read(&mut self, mode: SigningMode, images: Option<&Images>, finished: &Finished, now: Timestamp) -> bool {
        let Source::File(file) = self.source.clone() else { return false };
        let known = self.inputs.first().is_some_and(|input| input.path == file.path);
        let mut changed: Vec<Input> = self.inputs.iter().map(|input| Input::look(&input.path)).collect();
        changed.retain(|input| !self.inputs.contains(input));
        if !known {
            changed = vec![Input::look(&file.path)];
        }
        if changed.is_empty() && self.mode == Some(mode) {
            self.unsettled = None;
            return false;
        }
        if !changed.iter().all(|input| finished.includes(&input.path)) {
            // Nobody said that the write is finished. It is when nothing moved for a while.
            match &self.unsettled {
                Some((seen, since)) if *seen == changed && now.saturating_sub(*since) >= SETTLE => {}
                Some((seen, since)) if *seen == changed && now >= *since => return false,
                _ => {
                    self.unsettled = Some((changed, now));
                    return false;
                }
            }
        }
        self.unsettled = None;
        // Stamped before it is read: a change in between is read once more, never missed.
        self.inputs = smallvec![Input::look(&file.path)];
        self.mode = Some(mode);
        self.changed = true;
        let had_errors = self.unreadable.is_some() || self.problem().is_some();
        self.before = self.reading.take().filter(|_| !had_errors);
        (self.diagnostics, self.unreadable) = (Vec::new(), None);
        let read = file.open().and_then(|held| match self.reread(held, mode) {
            Ok(contents) => Ok(Some(contents)),
            Err(held) => self.parse((&file, held), (mode, now), images),
        });
        let contents = read.unwrap_or_else(|problem| {
            // What the system refuses now it may give without the file having changed.
            self.inputs.clear();
            self.unreadable = Some(problem.to_string());
            None
        });
        self.warnings = self.diagnostics.len();
        self.diagnostics.retain(|one| {
            one.severity == Severity::Error || {
                warn!("{one}");
                false
            }
        });
        self.warnings -= self.diagnostics.len();
        match contents {
            Some(contents) => {
                debug!("{}: {} records in {}", self.origin, contents.record_count(), file.path.display());
                self.put(Some(contents), mode);
            }
            None if self.said.is_none() => {
                let last_good = images.and_then(|images| self.last_good(images));
                self.put(last_good, mode);
            }
            None => {}
        }
        true
    }

    /// Takes keys; what is published has to be made anew where they are others.
    pub fn take_keys(&mut self, keys: Keys) {
        self.changed |= !self.keys.is_same(&keys);
        self.keys = keys;
    }

    /// The keys that the store knows of it.
    pub fn remembered(&mut self, store: &Store) -> Result<&[KnownKey], StoreError> {
        if self.remembered.is_none() {
            let known = store.known_keys(&self.origin)?;
            let known = known.iter().map(|key| KnownKey { algorithm: key.algorithm, key_tag: key.tag });
            self.remembered = Some(known.collect());
        }
        Ok(self.remembered.as_deref().unwrap_or_default())
    }

    /// Whether what is served of it was signed elsewhere, and checked.
    pub fn is_presigned(&self) -> bool {
        self.mode == Some(SigningMode::Presigned)
    }

    /// Takes the last good contents from before the start, where there is no file to read.
    pub fn recall(&mut self, mode: SigningMode, images: &Images) {
        self.mode = Some(mode);
        let last_good = self.last_good(images);
        self.mail_domains_changed = true;
        self.put(last_good, mode);
        self.changed = true;
    }

    fn last_good(&mut self, images: &Images) -> Option<Contents> {
        self.load_image(Some(images));
        let image = self.image.iter().flatten().next()?;
        if self.is_presigned() && !image.verified {
            // It may be of a time when the zone was signed here. Expired is better than nothing: not everybody validates.
            zone::presigned::findings(&image.contents, None, None).is_good().then_some(())?;
        }
        // Of what comes from elsewhere that is what it is kept for.
        if self.source.file().is_some() {
            warn!("{}: serving the last good version, from before the start", self.origin);
        }
        Some(image.contents.clone())
    }

    /// Looks once for what was kept from before the start.
    pub fn load_image(&mut self, images: Option<&Images>) {
        if self.image.is_none() && self.snapshot.is_none() {
            let bytes = images.and_then(|images| images.load(&self.origin));
            let image = bytes.and_then(|bytes| Image::from_bytes(&bytes)).map(Box::new);
            self.saved_serial = image.as_ref().map(|image| image.published.serial);
            self.image = Some(image);
        }
    }

    /// What is published.
    pub fn published(&self) -> Option<&Published> {
        Some(self.snapshot.as_ref()?.published())
    }

    /// The version before: what is published, in this process or the one before.
    pub fn before(&self) -> Option<&Published> {
        self.published().or(self.image.iter().flatten().map(|image| &image.published).next())
    }

    /// What lets a restart sign nothing again, and serve these contents though the file may be broken by then.
    pub fn to_image(&self) -> Option<Vec<u8>> {
        let image = Image {
            source: self.reading.as_ref().and_then(Reading::digest),
            verified: self.verified,
            contents: self.said.clone()?,
            published: self.snapshot.as_ref()?.to_published(),
            marks: self.reading.as_ref().and_then(Reading::marks).cloned(),
        };
        Some(image.to_bytes())
    }

    /// When a write that nobody called finished may count as such.
    pub fn settles_at(&self) -> Option<Timestamp> {
        self.unsettled.as_ref().map(|(_, since)| since + SETTLE)
    }

    /// The errors in the file, as one text.
    pub fn problem(&self) -> Option<String> {
        let errors = self.diagnostics.iter().map(ToString::to_string);
        let errors: Vec<String> = self.unreadable.clone().into_iter().chain(errors).collect();
        let meanwhile = match self.contents {
            Some(_) => "the last good version stays in service",
            None => "there is no good version; its names are answered SERVFAIL",
        };
        (!errors.is_empty()).then(|| format!("{}\n{}: {meanwhile}", errors.join("\n"), self.origin))
    }

    /// Why what is served is not what the file says.
    pub fn stale(&self) -> Option<String> {
        let first = self.diagnostics.first();
        let file = first.map(|one| format!("{}:{}:{}: {}", one.file, one.line, one.column, one.message));
        let keys = match &self.keys {
            Keys::Refused(why) => Some(why.clone()),
            _ => None,
        };
        let gone = self.missing_since.map(|_| match self.source {
            Source::File(_) => "its file is gone".to_owned(),
            Source::Primaries(_) | Source::Given(_) => "its source is gone".to_owned(),
        });
        let expired = self.expired.then(|| "it has expired: no primary has confirmed it for too long".to_owned());
        expired.or_else(|| self.unreadable.clone()).or(file).or(keys).or_else(|| self.failure.clone()).or(gone)
    }

    /// Why there is nothing to show of it.
    pub fn has_no_good_version(&self) -> String {
        format!("{} has no good version: {}", self.origin.to_host(), self.stale().unwrap_or_default())
    }

    /// How many warnings the file has.
    pub fn warnings(&self) -> usize {
        self.warnings
    }

    /// How its file looked when it was read.
    pub fn file_stamp(&self) -> Option<Stamp> {
        self.inputs.first()?.stamp
    }

    /// The files that it was read from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.inputs.iter().map(|input| input.path.as_path())
    }
}

/// Most zones have one.
type MailDomains = SmallVec<[Name; 1]>;

pub(super) fn mail_domains(contents: &Contents) -> MailDomains {
    let with_mx = contents.nodes().filter(|node| node.has(Rtype::MX)).map(|node| node.owner());
    with_mx.filter(|owner| contents.cut(owner).is_none()).collect()
}

/// The observer's reader of included files, as the parser wants it.
pub struct Beneath<'a>(pub &'a mut ZoneIncludes);

impl Includes for Beneath<'_> {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        self.0.read(path)
    }
}
