//! Puts certificates where the mail server reads: a version is staged beside what is installed, and one rename installs it.
//! Decides nothing, tells the mail server nothing, and changes nothing of what is installed but the link itself.
//!
//! How the folder is laid out stands in [`crate::dane::deployed`]. Each call may be repeated, broken off at any instruction, and
//! repeated again; for one host there is one call at a time.

pub(super) mod files;
mod material;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::dane::deployed::{
    CHAIN, COMBINED, FULL_CHAIN, Folder, KEY, LEAF, STAMP, VERSIONS, file_name, host_name, is_id,
};
use crate::dns::Name;

use files::{at, check_folder, keep_all, keep_like, make_folder, remove_folder, same_content, sync_folder};
pub use material::{Material, MaterialError};

/// Why it was not done. What is installed is as it was.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The host's name is no file name. Configure another one.
    #[error("`{0}` can't be the name of a folder: a mail host has letters, digits, hyphens and dots")]
    Host(Name),
    /// The version's id is no file name.
    #[error("`{0}` can't be the name of a version: letters, digits, `-` and `_`, at most 128")]
    Id(String),
    /// Group or others can write to the folder.
    #[error("{} can be written by group or others (mode {mode:04o}), so anybody could put a key there: chmod go-w {0}", path.display())]
    Writable {
        /// The folder.
        path: PathBuf,
        /// Its mode's low bits.
        mode: u32,
    },
    /// Something stands where our link would be.
    #[error("{0} is {what}, which danelaw did not make: move it away (mv {0} {0}.before), and the next installation puts its link there", path.display())]
    Foreign {
        /// Where the link would be.
        path: PathBuf,
        /// What stands there.
        what: String,
    },
    /// The version was not staged. Stage it, then install.
    #[error("{} holds no version {id}: it has to be staged before it is installed", path.display())]
    Missing {
        /// The host's folder of versions.
        path: PathBuf,
        /// The version.
        id: String,
    },
    /// A file of the version is not there. Stage it again.
    #[error("{} is not there, so the version is not whole: it has to be staged again before it is installed", .0.display())]
    Incomplete(PathBuf),
    /// It can't be retired. Install another one first.
    #[error("{} is what the mail server reads: it stays until another version is installed", .0.display())]
    Live(PathBuf),
    /// The system said no. Retry.
    #[error("{}: can't {doing}: {error}", path.display())]
    Io {
        /// Of which file or folder.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

/// A file of the version installed before has an owner, group or mode that the new version's could not get. It was installed all the
/// same, for fewer to read. Give danelaw that group (or CAP_CHOWN), or change the file of the new version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} has owner {owner}, group {group} and mode {mode:04o}, which its successor could not get ({why}): let danelaw's user be a member of that group, or give it CAP_CHOWN", path.display()
)]
pub struct NotKept {
    /// The file.
    pub path: PathBuf,
    /// Its user's number.
    pub owner: u32,
    /// Its group's number.
    pub group: u32,
    /// Its mode's low bits.
    pub mode: u32,
    /// What the system said.
    pub why: String,
}

/// Writes a version beside what is installed. One that is there and whole is left alone; one that was changed by hand is written anew,
/// beside it where the mail server reads it. What is given back was not kept of the files' owners.
pub fn stage(deployed: &Path, host: &Name, id: &str, material: &Material) -> Result<Vec<NotKept>, InstallError> {
    let place = Place::of(deployed, host, Some(id))?;
    let linked = place.linked()?;
    for folder in [deployed, &deployed.join(VERSIONS), &place.versions] {
        make_folder(folder)?;
    }
    place.clean()?;
    let files = material.files();
    let first = Folder { id: id.to_owned(), again: 0 };
    let folder = match place.latest(id)? {
        None => first,
        Some(latest) if files.iter().all(|file| same_content(&place.path(&latest).join(&file.name), &file.parts)) => {
            // It may have got its name, and been broken off then.
            sync_folder(&place.versions)?;
            return Ok(Vec::new());
        }
        Some(latest) if linked.as_ref() == Some(&latest) => Folder { again: latest.again.saturating_add(1), ..first },
        Some(latest) => {
            place.discard(&latest)?;
            latest
        }
    };
    place.write(&folder, &files, linked.as_ref())
}

/// Lets the mail server read a staged version from now on: one rename. What is given back was not kept of the files' owners.
pub fn install(deployed: &Path, host: &Name, id: &str) -> Result<Vec<NotKept>, InstallError> {
    let place = Place::of(deployed, host, Some(id))?;
    let linked = place.linked()?;
    let latest = place.latest(id)?;
    let folder = latest.ok_or_else(|| InstallError::Missing { path: place.versions.clone(), id: id.to_owned() })?;
    place.check_whole(&folder)?;
    let mut lost = Vec::new();
    if linked.as_ref() != Some(&folder) {
        if let Some(linked) = &linked {
            // The operator may have changed them since this one was staged.
            lost = keep_all(&place.path(&folder), &place.path(linked))?;
        }
        let unnamed = place.versions.join(".link");
        if fs::symlink_metadata(&unnamed).is_ok() {
            at("remove the old link", &unnamed, || fs::remove_file(&unnamed))?;
        }
        at("make the link", &unnamed, || std::os::unix::fs::symlink(folder.link(&place.host), &unnamed))?;
        // What the link names has to be on the disk before the link.
        sync_folder(&place.versions)?;
        sync_folder(&deployed.join(VERSIONS))?;
        at("swap the link", &place.link, || fs::rename(&unnamed, &place.link))?;
    }
    sync_folder(deployed)?;
    stamp(deployed)?;
    Ok(lost)
}

/// Changes the file that others watch, to be started when something was installed. They look for themselves what it is.
fn stamp(deployed: &Path) -> Result<(), InstallError> {
    let (new, stamp) = (deployed.join(".installed.new"), deployed.join(STAMP));
    at("write the stamp", &new, || fs::write(&new, ""))?;
    at("swap the stamp", &stamp, || fs::rename(&new, &stamp))
}

/// Removes a version, never the one that the mail server reads. One that is not there is removed already.
pub fn retire(deployed: &Path, host: &Name, id: &str) -> Result<(), InstallError> {
    let place = Place::of(deployed, host, Some(id))?;
    let linked = place.linked()?;
    place.clean()?;
    let (live, unused): (Vec<Folder>, Vec<Folder>) = place
        .folders()?
        .into_iter()
        .filter(|folder| folder.id == id)
        .partition(|folder| linked.as_ref() == Some(folder));
    for folder in unused {
        place.discard(&folder)?;
    }
    match live.first() {
        Some(live) => Err(InstallError::Live(place.path(live))),
        None => Ok(()),
    }
}

/// The ids of the versions that are there, the installed one among them.
pub fn staged(deployed: &Path, host: &Name) -> Result<BTreeSet<String>, InstallError> {
    Ok(Place::of(deployed, host, None)?.folders()?.into_iter().map(|folder| folder.id).collect())
}

/// Where the versions of a host are.
struct Place {
    host: String,
    /// What the mail server's path goes through.
    link: PathBuf,
    /// The folder of the host's versions.
    versions: PathBuf,
}

impl Place {
    /// Looks whether the names are such, and whether others could write to a folder that is there.
    fn of(deployed: &Path, host: &Name, id: Option<&str>) -> Result<Place, InstallError> {
        let name = host_name(host).ok_or_else(|| InstallError::Host(host.clone()))?;
        if let Some(id) = id.filter(|id| !is_id(id)) {
            return Err(InstallError::Id(id.to_owned()));
        }
        let all = deployed.join(VERSIONS);
        let place = Place { link: deployed.join(&name), versions: all.join(&name), host: name };
        [deployed, &all, &place.versions].into_iter().try_for_each(check_folder)?;
        Ok(place)
    }

    fn path(&self, folder: &Folder) -> PathBuf {
        self.versions.join(folder.name())
    }

    /// The folder that the link names; none where there is no link.
    fn linked(&self) -> Result<Option<Folder>, InstallError> {
        let foreign = |what: String| InstallError::Foreign { path: self.link.clone(), what };
        match fs::symlink_metadata(&self.link) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(InstallError::Io { path: self.link.clone(), doing: "look at it", error }),
            Ok(found) if found.is_symlink() => {
                let target = at("read the link", &self.link, || fs::read_link(&self.link))?;
                let ours = Folder::of_link(&self.host, &target);
                ours.map(Some).ok_or_else(|| foreign(format!("a link to {}", target.display())))
            }
            Ok(found) => Err(foreign(if found.is_dir() { "a folder" } else { "a file" }.to_owned())),
        }
    }

    fn names(&self) -> Result<Vec<String>, InstallError> {
        match fs::read_dir(&self.versions) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            entries => {
                let names = entries.and_then(Iterator::collect::<io::Result<Vec<fs::DirEntry>>>);
                let names = names.map_err(|error| InstallError::Io {
                    path: self.versions.clone(),
                    doing: "read the folder",
                    error,
                })?;
                Ok(names.into_iter().filter_map(|entry| entry.file_name().into_string().ok()).collect())
            }
        }
    }

    fn folders(&self) -> Result<Vec<Folder>, InstallError> {
        let is_there = |folder: &Folder| self.path(folder).is_dir();
        Ok(self.names()?.iter().filter_map(|name| Folder::parse(name)).filter(is_there).collect())
    }

    fn latest(&self, id: &str) -> Result<Option<Folder>, InstallError> {
        Ok(self.folders()?.into_iter().filter(|folder| folder.id == id).max())
    }

    /// Removes what was broken off: all that is not called as a version.
    fn clean(&self) -> Result<(), InstallError> {
        for name in self.names()?.iter().filter(|name| name.starts_with('.')) {
            remove_folder(&self.versions.join(name))?;
        }
        Ok(())
    }

    /// Takes a version's name away first, so that never a part of it is taken for the whole.
    fn discard(&self, folder: &Folder) -> Result<(), InstallError> {
        let (path, unnamed) = (self.path(folder), self.versions.join(format!(".{}.gone", folder.name())));
        at("set the version aside", &path, || fs::rename(&path, &unnamed))?;
        remove_folder(&unnamed)?;
        sync_folder(&self.versions)
    }

    fn write(
        &self,
        folder: &Folder,
        files: &[material::File<'_>],
        linked: Option<&Folder>,
    ) -> Result<Vec<NotKept>, InstallError> {
        let unnamed = self.versions.join(format!(".{}.new", folder.name()));
        make_folder(&unnamed)?;
        let live = linked.map(|linked| self.path(linked));
        let mut lost = Vec::new();
        for file in files {
            let path = unnamed.join(&file.name);
            let written = files::create(&path, if file.is_secret { 0o600 } else { 0o644 })?;
            lost.extend(live.as_ref().and_then(|live| keep_like(&written, live, &file.name)));
            files::fill(&path, written, &file.parts)?;
        }
        sync_folder(&unnamed)?;
        at("name the version", &unnamed, || fs::rename(&unnamed, self.path(folder)))?;
        sync_folder(&self.versions)?;
        Ok(lost)
    }

    fn check_whole(&self, folder: &Folder) -> Result<(), InstallError> {
        let path = self.path(folder);
        let stems = [KEY, LEAF, CHAIN, FULL_CHAIN].map(|stem| file_name(stem, None));
        for name in stems.iter().map(String::as_str).chain([COMBINED]) {
            let file = path.join(name);
            if !fs::metadata(&file).is_ok_and(|found| found.is_file()) {
                return Err(InstallError::Incomplete(file));
            }
        }
        Ok(())
    }
}
