//! Which folders have to be watched for a tree: its folders, and those that symlinks in it lead into.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tracing::warn;

use super::{Folder, Reach};

/// How deep a tree is followed: Caddy's and certbot's are four deep.
const MAX_DEPTH: usize = 8;
/// How many folders are watched in all.
const MAX_FOLDERS: usize = 4096;

/// The folders to watch one by one. A missing one is watched for in the folder that would hold it.
pub(super) fn folders_of(folders: &[Folder]) -> BTreeSet<PathBuf> {
    let mut wanted = BTreeSet::new();
    for folder in folders {
        if !folder.path.is_dir() {
            if let Some(parent) = folder.path.parent().map(or_here).filter(|parent| parent.is_dir()) {
                wanted.insert(parent.to_owned());
            }
        } else {
            match folder.reach {
                Reach::Flat => drop(wanted.insert(folder.path.clone())),
                Reach::Linked => gather(&folder.path, 1, |name| !name.starts_with('.'), &mut wanted),
                Reach::Deep => gather(&folder.path, MAX_DEPTH, |_| true, &mut wanted),
            }
        }
    }
    if wanted.len() >= MAX_FOLDERS {
        warn!("more than {MAX_FOLDERS} folders to watch: the rest is looked at from time to time only");
    }
    wanted
}

fn gather(folder: &Path, depth: usize, is_meant: fn(&str) -> bool, wanted: &mut BTreeSet<PathBuf>) {
    if wanted.len() >= MAX_FOLDERS || !wanted.insert(folder.to_owned()) || depth == 0 {
        return;
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        let path = entry.path();
        if kind.is_dir() {
            if is_meant(&entry.file_name().to_string_lossy()) {
                gather(&path, depth - 1, is_meant, wanted);
            }
        } else if kind.is_symlink() && wanted.len() < MAX_FOLDERS {
            target_folder(folder, &path).into_iter().for_each(|target| {
                wanted.insert(target);
            });
        }
    }
}

/// The folder that a symlink leads into: the target itself when it is one, otherwise the one that holds it, also
/// when the target is missing and may come.
fn target_folder(folder: &Path, link: &Path) -> Option<PathBuf> {
    if let Ok(target) = link.canonicalize() {
        return if target.is_dir() { Some(target) } else { target.parent().map(Path::to_owned) };
    }
    let target = folder.join(std::fs::read_link(link).ok()?);
    target.parent()?.canonicalize().ok()
}

fn or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}
