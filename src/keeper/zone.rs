//! One zone in the keeper's hands: its file, its keys, its last good contents, what is published of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{info, warn};

use crate::config::SigningMode;
use crate::dns::{Name, RRset, Timestamp};
use crate::keys::ZoneKey;
use crate::observe::zones::{ZoneFile, ZoneIncludes};
use crate::store::{State, Store};
use crate::zone::sign::Signatures;
use crate::zone::{self, Contents, Diagnostic, Includes, NoIncludes, Published, Severity, ZoneSnapshot};

/// The kind under which the store keeps the last good contents of a zone, as zone text.
pub const LAST_GOOD: &str = "zone-text";

/// One zone.
pub struct Zone {
    /// Its apex.
    pub origin: Name,
    /// Its file.
    pub file: ZoneFile,
    /// Since when the file is gone.
    pub missing_since: Option<Timestamp>,
    /// The last good contents.
    pub contents: Option<Contents>,
    /// What is wrong with the file as it is now.
    pub diagnostics: Vec<Diagnostic>,
    /// Its keys, or why it can't be signed. None before the keys were looked at, or for a zone that is not signed.
    pub keys: Option<Result<Vec<ZoneKey>, String>>,
    /// Why its last publication failed.
    pub failure: Option<String>,
    /// The TLSA RRsets that are in what is published.
    pub synthesised: Vec<(Name, RRset)>,
    /// What is published.
    pub published: Option<Published>,
    /// Its signatures, to keep.
    pub kept: Option<Signatures>,
    /// Its wire form.
    pub snapshot: Option<Arc<ZoneSnapshot>>,
    /// Whether what is published was made from something else than what is at hand now.
    pub changed: bool,
    inputs: Vec<Input>,
    mode: Option<SigningMode>,
}

/// A file that was read, and how to tell that it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Input {
    path: PathBuf,
    /// Device, inode, length, and when any of it was changed last, its mode included.
    stamp: Option<[u64; 5]>,
}

impl Input {
    fn look(path: &Path) -> Input {
        use std::os::unix::fs::MetadataExt;
        let stamp = std::fs::metadata(path).ok().map(|found| {
            let changed = [found.ctime().cast_unsigned(), found.ctime_nsec().cast_unsigned()];
            [found.dev(), found.ino(), found.len(), changed[0], changed[1]]
        });
        Input { path: path.to_owned(), stamp }
    }
}

impl Zone {
    /// A zone of which nothing is known but its file.
    pub fn new(file: ZoneFile) -> Zone {
        Zone {
            origin: file.origin.clone(),
            file,
            missing_since: None,
            contents: None,
            diagnostics: Vec::new(),
            keys: None,
            failure: None,
            synthesised: Vec::new(),
            published: None,
            kept: None,
            snapshot: None,
            changed: false,
            inputs: Vec::new(),
            mode: None,
        }
    }

    /// Reads the file if it or an included one changed. Errors leave the last good contents, from before the start too.
    pub fn read(&mut self, mode: SigningMode, store: &Store) {
        let unchanged = self.inputs.first().is_some_and(|input| input.path == self.file.path)
            && self.mode == Some(mode)
            && self.inputs.iter().all(|input| Input::look(&input.path) == *input);
        if unchanged {
            return;
        }
        // Stamped before it is read: a change in between is read once more, never missed.
        self.inputs = vec![Input::look(&self.file.path)];
        self.mode = Some(mode);
        self.changed = true;
        let contents = match (self.file.read(), self.file.includes()) {
            (Ok(text), Ok(mut includes)) => self.parse(&text, &mut includes, mode),
            (Err(problem), _) | (_, Err(problem)) => {
                self.diagnostics = vec![unreadable(&self.file.path, problem.why)];
                None
            }
        };
        for diagnostic in self.diagnostics.iter().filter(|one| one.severity == Severity::Warning) {
            warn!("{diagnostic}");
        }
        match contents {
            Some(contents) => {
                info!("{}: {} records in {}", self.origin, contents.record_count(), self.file.path.display());
                self.contents = Some(contents);
            }
            None if self.contents.is_none() => self.contents = self.last_good(store),
            None => {}
        }
    }

    fn parse(&mut self, text: &[u8], includes: &mut ZoneIncludes, mode: SigningMode) -> Option<Contents> {
        let name = self.file.path.display().to_string();
        let parsed = zone::parse(&self.origin, &name, text, &mut Beneath(includes));
        self.inputs.extend(includes.included().iter().map(|path| Input::look(path)));
        let warnings = zone::lint(&parsed, mode == SigningMode::Csk);
        self.diagnostics = parsed.diagnostics;
        self.diagnostics.extend(warnings);
        parsed.contents
    }

    fn last_good(&self, store: &Store) -> Option<Contents> {
        let (_, text) = store.load(LAST_GOOD, &self.origin.to_string()).ok()??;
        let parsed = zone::parse(&self.origin, "last good version", text.as_bytes(), &mut NoIncludes);
        if parsed.contents.is_some() {
            warn!("{}: serving the last good version, from before the start", self.origin);
        }
        parsed.contents
    }

    /// What to store so that a restart still has these contents.
    pub fn to_store(&self) -> Option<State> {
        let json = zone::print::print(self.contents.as_ref()?);
        Some(State { kind: LAST_GOOD.to_owned(), key: self.origin.to_string(), version: 1, json })
    }

    /// The errors in the file, as one text.
    pub fn problem(&self) -> Option<String> {
        let errors: Vec<String> =
            self.diagnostics.iter().filter(|one| one.severity == Severity::Error).map(ToString::to_string).collect();
        let meanwhile = match self.contents {
            Some(_) => "the last good version stays in service",
            None => "there is no good version; its names are answered SERVFAIL",
        };
        (!errors.is_empty()).then(|| format!("{}\n{}: {meanwhile}", errors.join("\n"), self.origin))
    }

    /// Why what is served is not what the file says.
    pub fn stale(&self) -> Option<String> {
        let first = self.diagnostics.iter().find(|one| one.severity == Severity::Error);
        let file = first.map(|one| format!("{}:{}:{}: {}", one.file, one.line, one.column, one.message));
        let keys = self.keys.as_ref().and_then(|keys| keys.as_ref().err().cloned());
        let gone = self.missing_since.map(|_| "its file is gone".to_owned());
        file.or(keys).or_else(|| self.failure.clone()).or(gone)
    }

    /// How many warnings the file has.
    pub fn warnings(&self) -> usize {
        self.diagnostics.iter().filter(|one| one.severity == Severity::Warning).count()
    }

    /// The folders of the files that it was read from.
    pub fn folders(&self) -> BTreeSet<PathBuf> {
        self.inputs.iter().filter_map(|input| input.path.parent().map(Path::to_owned)).collect()
    }
}

fn unreadable(path: &Path, why: String) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        file: path.display().to_string().into(),
        line: 1,
        column: 1,
        source: String::new(),
        width: 1,
        message: why,
        help: None,
    }
}

/// The observer's reader of included files, as the parser wants it.
pub struct Beneath<'a>(pub &'a mut ZoneIncludes);

impl Includes for Beneath<'_> {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        self.0.read(path)
    }
}
