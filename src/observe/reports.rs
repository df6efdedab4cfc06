//! Reads a folder of TLS-RPT reports (RFC 8460 section 5): JSON, with gzip or without, as some program saved it out of the mail. Anybody
//! can send such a file, so each is small, all of them together are, and none leads anywhere else. Nothing is judged here.

use std::collections::{BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::UNIX_EPOCH;

use flate2::bufread::MultiGzDecoder;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::files::FileError;
use crate::dns::Timestamp;
use crate::dns::text::{print_moment, show};
use crate::outside::reports::{Received, Report, Seen, Unreadable};

/// The most files that are read: the newest.
pub const MAX_FILES: usize = 1000;
/// The most octets of a file.
pub const MAX_SIZE: u64 = 1 << 20;
/// The most octets of what is in it, and of all of them together.
pub const MAX_TEXT: u64 = 8 << 20;
const MAX_ALL: u64 = 64 << 20;
/// So many seconds a report may end after its file was written: clocks and time zones differ.
const AHEAD: u64 = 86_400;

const GZIP: &[u8] = &[0x1f, 0x8b];
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a file is no report.
#[derive(Debug, thiserror::Error)]
enum ReportError {
    #[error("{0}")]
    File(#[from] FileError),
    #[error("it has more than {MAX_SIZE} octets")]
    TooLarge,
    #[error("it unpacks to more than {MAX_TEXT} octets")]
    Bomb,
    #[error("with it there are more than {MAX_ALL} octets of reports: it and what is older is left out")]
    TooMany,
    #[error("it does not unpack: {0}")]
    Packed(String),
    #[error("it says that it is of the time until {}, and was written before", print_moment(*.0))]
    OfTheFuture(Timestamp),
    #[error("it is no report (RFC 8460 section 4): {0}")]
    NoReport(String),
}

/// Reads the files of a folder that end in `.json` or `.json.gz`, but for those in folders below it and those that symlinks name.
pub fn read(folder: &Path) -> Result<Seen, FileError> {
    let directory = rustix::fs::open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let directory = File::from(directory.map_err(|errno| FileError::from_io(errno.into()))?);
    let mut found = Seen::default();
    let (mut left, mut known) = (MAX_ALL, HashSet::new());
    for (at, name) in newest(folder)?.into_iter().rev() {
        let file = name.to_string_lossy().into_owned();
        match read_one(&directory, &name, at, &mut left) {
            Ok(report) if is_again(&report, &mut known) => {}
            Ok(report) => found.reports.push(Received { file, report: report.cut() }),
            // It was taken away in the meantime.
            Err(ReportError::File(FileError::Missing)) => {}
            Err(error) => {
                found.unreadable.push(Unreadable { file, why: error.to_string(), at });
                if matches!(error, ReportError::TooMany) {
                    break;
                }
            }
        }
    }
    Ok(found)
}

/// The newest files that are named as reports are, the oldest of them first, with when they were written.
fn newest(folder: &Path) -> Result<BTreeSet<(Timestamp, OsString)>, FileError> {
    let mut newest = BTreeSet::new();
    for entry in std::fs::read_dir(folder).map_err(FileError::from_io)? {
        let entry = entry.map_err(FileError::from_io)?;
        let name = entry.file_name();
        let is_named = [".json", ".json.gz"].iter().any(|end| name.as_encoded_bytes().ends_with(end.as_bytes()));
        let Some(metadata) = entry.metadata().ok().filter(|metadata| is_named && metadata.is_file()) else { continue };
        let written = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        newest.insert((written.unwrap_or_default().as_secs(), name));
        if newest.len() > MAX_FILES {
            newest.pop_first();
        }
    }
    Ok(newest)
}

/// Whether an organisation has reported this already: what was mailed twice counts once. Without an id nobody can tell.
fn is_again(report: &Report, known: &mut HashSet<(Option<String>, String)>) -> bool {
    let id = report.report_id.clone().filter(|id| !id.is_empty());
    id.is_some_and(|id| !known.insert((report.organization_name.clone(), id)))
}

fn read_one(directory: &File, name: &OsStr, at: Timestamp, left: &mut u64) -> Result<Report, ReportError> {
    let file = open(directory, name)?;
    let octets = bounded(file, MAX_SIZE).map_err(FileError::from_io)?.ok_or(ReportError::TooLarge)?;
    let text = if octets.starts_with(GZIP) {
        let text = bounded(MultiGzDecoder::new(&octets[..]), MAX_TEXT.min(*left));
        let text = text.map_err(|error| ReportError::Packed(show(error.to_string().as_bytes())))?;
        text.ok_or(if *left < MAX_TEXT { ReportError::TooMany } else { ReportError::Bomb })?
    } else {
        octets
    };
    *left = left.checked_sub(text.len() as u64).ok_or(ReportError::TooMany)?;
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text);
    let report: Report =
        serde_json::from_slice(text).map_err(|error| ReportError::NoReport(show(error.to_string().as_bytes())))?;
    // It would count for ever.
    let end = report.date_range.end_datetime;
    if end > at.saturating_add(AHEAD) { Err(ReportError::OfTheFuture(end)) } else { Ok(report) }
}

/// Opens a file of the folder itself: no symlink is followed, no FIFO blocks, nothing but a regular file is read.
fn open(directory: &File, name: &OsStr) -> Result<File, FileError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(directory, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::LOOP | Errno::NXIO) => return Err(FileError::NotRegular),
        Err(errno) => return Err(FileError::from_io(errno.into())),
    };
    let is_regular = file.metadata().map_err(FileError::from_io)?.is_file();
    if is_regular { Ok(file) } else { Err(FileError::NotRegular) }
}

/// All that is to be read; none where it is more than `most` octets.
fn bounded(from: impl Read, most: u64) -> std::io::Result<Option<Vec<u8>>> {
    let mut octets = Vec::new();
    from.take(most + 1).read_to_end(&mut octets)?;
    Ok(Some(octets).filter(|octets| octets.len() as u64 <= most))
}

#[cfg(test)]
#[path = "reports_tests.rs"]
mod tests;
