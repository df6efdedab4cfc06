//! Scans a certificate directory: which chains are there, in which files, and what can't be used and why.
//!
//! A file that can't be used now (half-written, its key another's, not readable) is reported and left out; whoever holds
//! the last good chain of that file keeps it. Says nothing to the log and keeps no key material.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::dane::certificate::KeyType;
use crate::dane::keyset::{Sighting, Sightings};
use crate::dane::{Chain, Error};

use crate::config::{CertificateFolder, CertificateMode};

use super::files::{FileError, Roots, check_folder};
use super::keys::{self, KeyMatch};
use super::layouts::{self, Candidate, Layout};
use super::stamps::Stamps;

/// A chain that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The chain.
    pub chain: Chain,
    /// The file, by the name that stays over renewals.
    pub path: PathBuf,
    /// The layout that it was found in.
    pub layout: Layout,
    /// The file that its private key is in by the layout; none where none is known.
    pub key: Option<PathBuf>,
    /// Whether its private key was seen to be its own.
    pub key_checked: bool,
    /// The SubjectPublicKeyInfo of the key that comes next, in DER; only where the folder's mode says that there is one.
    pub next_key: Option<Vec<u8>>,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For information; the certificate counts all the same, or the file never was one.
    Note,
    /// A write under way, it seems: the last good one stays until it is finished.
    Waiting,
    /// It can't be used; the last good one stays.
    Error,
}

/// Something that can't be used, or not wholly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file or folder.
    pub path: PathBuf,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// What a scan found, in order of path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The chains that count.
    pub certificates: Vec<Found>,
    /// Those in plain files that don't, since a newer one stands beside them.
    pub older: Vec<Found>,
    /// What can't be used.
    pub problems: Vec<Problem>,
}

/// How deep below the directory certificates are looked for: Caddy's are three folders down from its data.
const DEPTH: usize = 4;

/// Where a directory's symlinks may lead.
pub(super) fn roots(directory: &CertificateFolder) -> Roots {
    let archive =
        directory.path.file_name().filter(|name| *name == "live").map(|_| directory.path.with_file_name("archive"));
    let folders = [&directory.path].into_iter().chain(&directory.roots).chain(&archive);
    Roots::new(folders.map(PathBuf::as_path))
}

/// Scans one directory. Never fails: what fails is a problem in the result.
pub fn scan(directory: &CertificateFolder) -> Scan {
    scan_anew(directory, &mut HashMap::new())
}

/// Scans directories again and again. Of thousands of certificates it reads those that changed, and those that anything is wrong with.
#[derive(Debug, Default)]
pub struct CertificateScanner {
    directories: Vec<CertificateFolder>,
    pub(super) known: Vec<Known>,
}

/// What was read of a directory, by the certificates' paths.
pub(super) type Known = HashMap<PathBuf, Read>;

/// A certificate with nothing wrong.
#[derive(Debug)]
pub(super) struct Read {
    stamps: Stamps,
    candidate: Candidate,
    found: Found,
}

impl CertificateScanner {
    /// Scans each of these.
    pub fn scan(&mut self, directories: &[CertificateFolder]) -> Vec<Scan> {
        if self.directories != directories {
            self.directories = directories.to_vec();
            self.known = directories.iter().map(|_| Known::new()).collect();
        }
        directories.iter().zip(&mut self.known).map(|(directory, known)| scan_anew(directory, known)).collect()
    }
}

fn scan_anew(directory: &CertificateFolder, known: &mut Known) -> Scan {
    let before = std::mem::take(known);
    let mut scanner = Scanner { mode: directory.mode, roots: roots(directory), before, known, scan: Scan::default() };
    scanner.folder(&directory.path, DEPTH);
    let mut scan = scanner.scan;
    (scan.certificates, scan.older) = counting(scan.certificates);
    scan.certificates.sort_by(|left, right| left.path.cmp(&right.path));
    scan.older.sort_by(|left, right| left.path.cmp(&right.path));
    scan.problems.sort_by(|left, right| left.path.cmp(&right.path));
    scan
}

/// What the scans of all directories mean for [`crate::dane::plan`].
pub fn sightings(scans: &[Scan]) -> Sightings {
    let text = |path: &Path| path.display().to_string();
    let found = || scans.iter().flat_map(|scan| &scan.certificates);
    let is_found = |path: &Path| found().any(|found| found.path == path);
    let problems = scans.iter().flat_map(|scan| &scan.problems);
    Sightings {
        seen: found()
            .map(|found| Sighting { chain: found.chain.clone(), source: text(&found.path), presented: false })
            .collect(),
        // A file that never was a certificate is nobody's source, and being waited for changes nothing for it.
        waiting: problems
            .filter(|problem| problem.severity > Severity::Note || !is_found(&problem.path))
            .map(|problem| text(&problem.path))
            .collect(),
    }
}

struct Scanner<'a> {
    mode: CertificateMode,
    roots: Roots,
    /// What was read by the scan before, and is by this one.
    before: Known,
    known: &'a mut Known,
    scan: Scan,
}

impl Scanner<'_> {
    fn problem(&mut self, path: &Path, severity: Severity, message: impl Into<String>, help: impl Into<String>) {
        let problem = Problem { path: path.to_owned(), severity, message: message.into(), help: help.into() };
        self.scan.problems.push(problem);
    }

    fn file_problem(&mut self, path: &Path, severity: Severity, error: &FileError) {
        self.problem(path, severity, error.to_string(), error.help());
    }

    fn folder(&mut self, path: &Path, depth: usize) {
        if let Err(error) = check_folder(path) {
            return self.file_problem(path, Severity::Error, &error);
        }
        let (files, folders) = match listing(path) {
            Ok(listing) => listing,
            Err(error) => return self.file_problem(path, Severity::Error, &error),
        };
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        for candidate in layouts::candidates(&name, &files) {
            self.candidate(path, &candidate);
        }
        for folder in folders.iter().filter(|name| layouts::is_searched(name)) {
            if depth > 0 {
                self.folder(&path.join(folder), depth - 1);
            }
        }
    }

    fn candidate(&mut self, folder: &Path, candidate: &Candidate) {
        let path = folder.join(&candidate.chain);
        let before = self.before.remove(&path).filter(|read| read.candidate == *candidate && read.stamps.are_same());
        if let Some(read) = before {
            self.scan.certificates.push(read.found.clone());
            self.known.insert(path, read);
            return;
        }
        let files: Vec<PathBuf> = candidate.files().map(|name| folder.join(name)).collect();
        let stamps = Stamps::of(&files, self.roots.folders_of(&files));
        let problems = self.scan.problems.len();
        let Some(found) = self.found(folder, candidate) else { return };
        self.scan.certificates.push(found.clone());
        if let Some(stamps) = stamps.filter(|_| problems == self.scan.problems.len()) {
            self.known.insert(path, Read { stamps, candidate: candidate.clone(), found });
        }
    }

    /// A certificate that is read, unless something keeps it from counting.
    fn found(&mut self, folder: &Path, candidate: &Candidate) -> Option<Found> {
        let path = folder.join(&candidate.chain);
        let octets = match self.roots.read(&path) {
            Ok(octets) => octets,
            Err(error) => {
                self.file_problem(&path, Severity::Error, &error);
                return None;
            }
        };
        let chain = match Chain::parse(&octets) {
            Ok(chain) => chain,
            Err(error) => {
                self.unusable(&path, candidate.layout, octets.is_empty(), &error);
                return None;
            }
        };
        if let Some(leaf) = &candidate.leaf
            && !self.is_same_leaf(&folder.join(leaf), &chain, &path)
        {
            return None;
        }
        let key_checked = self.key(folder, candidate, &octets, &chain, &path)?;
        let key = match &candidate.key {
            Some(name) => Some(folder.join(name)),
            None => holds_key(&octets).then(|| path.clone()),
        };
        let next_key = self.next_key(folder, candidate);
        Some(Found { chain, path, layout: candidate.layout, key, key_checked, next_key })
    }

    /// The key that comes next. It is told where there should be one and none can be read.
    fn next_key(&mut self, folder: &Path, candidate: &Candidate) -> Option<Vec<u8>> {
        if self.mode != CertificateMode::NextKey {
            return None;
        }
        let path = folder.join(candidate.next_key.as_deref()?);
        let spki = match self.roots.read(&path) {
            Ok(octets) => keys::spki(&octets),
            Err(error) => {
                self.file_problem(&path, Severity::Waiting, &error);
                return None;
            }
        };
        if spki.is_none() {
            self.problem(
                &path,
                Severity::Waiting,
                "no private key that can be read",
                "it is taken when it is written whole",
            );
        }
        spki
    }

    fn unusable(&mut self, path: &Path, layout: Layout, is_empty: bool, error: &Error) {
        let (severity, help) = match error {
            // A plain folder may hold parameters, keys and CA certificates besides.
            Error::OnlyAuthorities { .. } if layout == Layout::Plain => (Severity::Note, "nothing to do"),
            Error::NoCertificate { .. } if layout == Layout::Plain && !is_empty => (Severity::Note, "nothing to do"),
            Error::TruncatedPem { .. } | Error::NoCertificate { .. } => {
                (Severity::Waiting, "write the file again if this lasts")
            }
            _ => (Severity::Error, "copy the file again"),
        };
        self.problem(path, severity, error.to_string(), help);
    }

    /// `cert.pem` beside `fullchain.pem`: while a renewal is written they differ.
    fn is_same_leaf(&mut self, leaf: &Path, chain: &Chain, path: &Path) -> bool {
        let same = match self.roots.read(leaf) {
            Ok(octets) => Chain::parse(&octets).is_ok_and(|other| other.leaf() == chain.leaf()),
            // Its absence or its permissions say nothing about the chain.
            Err(FileError::Missing | FileError::Denied) => true,
            Err(error) => {
                self.file_problem(path, Severity::Error, &error);
                return false;
            }
        };
        if !same {
            let message = format!("its leaf differs from that in {}: a renewal half written", leaf.display());
            self.problem(path, Severity::Waiting, message, "it is taken when both agree");
        }
        same
    }

    /// Whether the private key was seen to match; none when it is another's, so that the certificate is not taken.
    fn key(&mut self, folder: &Path, candidate: &Candidate, octets: &[u8], chain: &Chain, path: &Path) -> Option<bool> {
        if self.mode == CertificateMode::Observed {
            return Some(false);
        }
        let (key_path, key) = match &candidate.key {
            Some(name) => {
                let key_path = folder.join(name);
                match self.roots.read(&key_path) {
                    Ok(key) => (key_path, key),
                    Err(error @ (FileError::Denied | FileError::Missing)) => {
                        let message = format!("the private key was not compared with its certificate: {error}");
                        self.problem(&key_path, Severity::Note, message, error.help());
                        return Some(false);
                    }
                    Err(error) => {
                        self.file_problem(path, Severity::Error, &error);
                        return None;
                    }
                }
            }
            // A combined file holds its key itself.
            None if holds_key(octets) => (path.to_owned(), octets.to_vec()),
            None => return Some(false),
        };
        match keys::compare(&key, chain.leaf()) {
            KeyMatch::Matches => Some(true),
            KeyMatch::NotReadable => {
                let message = "the private key is of a kind that can't be compared with its certificate";
                self.problem(&key_path, Severity::Note, message, "nothing to do");
                Some(false)
            }
            KeyMatch::NoKey | KeyMatch::Differs => {
                let message = format!(
                    "the private key in {} is not this certificate's: a renewal half written",
                    key_path.display()
                );
                let help = "it is taken when both belong together";
                self.problem(path, Severity::Waiting, message, help);
                None
            }
        }
    }
}

fn holds_key(octets: &[u8]) -> bool {
    octets.windows(11).any(|window| window == b"PRIVATE KEY")
}

/// The names of a folder's files (symlinks count as files) and of its subfolders. Names that are not UTF-8 are left out.
fn listing(path: &Path) -> Result<(BTreeSet<String>, BTreeSet<String>), FileError> {
    let (mut files, mut folders) = (BTreeSet::new(), BTreeSet::new());
    let entries = std::fs::read_dir(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => FileError::Denied,
        _ => FileError::Io(error),
    })?;
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        // A symlink to a folder is no file and is not descended into.
        if entry.file_type()?.is_dir() {
            folders.insert(name);
        } else {
            files.insert(name);
        }
    }
    Ok((files, folders))
}

/// Which certificates count. Where a layout has a pointer, all that were found do. Of plain files, the newest of each
/// key type and set of names; of one certificate in several files, the file with the longest chain. And those that are older.
fn counting(found: Vec<Found>) -> (Vec<Found>, Vec<Found>) {
    let (plain, mut counting): (Vec<Found>, Vec<Found>) =
        found.into_iter().partition(|found| found.layout == Layout::Plain);
    let mut older = Vec::new();
    let mut best: BTreeMap<(KeyType, BTreeSet<String>), Vec<Found>> = BTreeMap::new();
    for found in plain {
        let leaf = found.chain.leaf();
        let names = leaf.dns_names.iter().cloned().collect();
        let rivals = best.entry((leaf.key_type, names)).or_default();
        let newest = rivals.first().map_or(0, |rival| rival.chain.leaf().not_before);
        if leaf.not_before > newest {
            older.append(rivals);
        } else if leaf.not_before < newest {
            older.push(found);
            continue;
        }
        match rivals.iter_mut().find(|rival| rival.chain.leaf() == leaf) {
            Some(rival) if rival.chain.certificates().len() < found.chain.certificates().len() => *rival = found,
            Some(_) => {}
            None => rivals.push(found),
        }
    }
    counting.extend(best.into_values().flatten());
    (counting, older)
}
