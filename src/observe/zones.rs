//! Finds zone files and reads them and what they include, never outside of their folder. Parses nothing.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::dns::Name;
use crate::zone::Pieces;

/// The biggest zone file or included file that is read, bytes.
pub const MAX_FILE: u64 = 512 << 20;
/// What a zone file's name ends in; the origin stands before it.
const SUFFIX: &str = ".zone";

/// A zone and the file that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneFile {
    /// The apex, in lower case where a file's name says it.
    pub origin: Name,
    /// The file.
    pub path: PathBuf,
    /// Named in the configuration: then it may lie anywhere, and be a symlink.
    pub named: bool,
}

/// Why a file isn't read. The last good zone stays in service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct ZoneProblem {
    /// The file or folder.
    pub path: PathBuf,
    /// Whose zone it would be, where that is known: that zone is not gone.
    pub origin: Option<Name>,
    /// What is wrong and what to do.
    pub why: String,
}

/// What lies in the zones folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundZones {
    /// The zones, in canonical order of their names.
    pub files: Vec<ZoneFile>,
    /// Files that can't be zones.
    pub problems: Vec<ZoneProblem>,
}

/// Finds `<origin>.zone` files in `folder`; `named` are the zones whose file the configuration names, and which
/// win over the folder's. Fails as a whole when the folder can't be read: then no zone is gone.
pub fn find(folder: &Path, named: &[(Name, PathBuf)]) -> Result<FoundZones, ZoneProblem> {
    let problem = |path: &Path, why: String| ZoneProblem { path: path.to_owned(), origin: None, why };
    let mut found = FoundZones::default();
    let mut files: BTreeMap<Name, ZoneFile> = BTreeMap::new();
    for (origin, path) in named {
        files.insert(origin.clone(), ZoneFile { origin: origin.clone(), path: path.clone(), named: true });
    }
    match std::fs::metadata(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named.is_empty() => {
            found.files = files.into_values().collect();
            return Ok(found);
        }
        Err(error) => return Err(problem(folder, error.to_string())),
        Ok(metadata) => writable_by_others(&metadata).map_err(|why| problem(folder, why))?,
    }
    let entries = std::fs::read_dir(folder).map_err(|error| problem(folder, error.to_string()))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(|error| problem(folder, error.to_string()))?.path());
    }
    // Of two files of one zone that with the plain name counts: another beside it takes nothing over.
    paths.sort_by_cached_key(|path| {
        let name = path.file_name().map(OsStrExt::as_bytes).unwrap_or_default();
        (name.iter().any(u8::is_ascii_uppercase), name.to_owned())
    });
    for path in paths {
        let name = path.file_name().map(OsStrExt::as_bytes).unwrap_or_default();
        // Editors' lock and swap files begin with a dot.
        if name.starts_with(b".") || !name.ends_with(SUFFIX.as_bytes()) {
            continue;
        }
        let origin = match origin_of(name) {
            Ok(origin) => origin,
            Err(why) => {
                found.problems.push(problem(&path, why));
                continue;
            }
        };
        match files.get(&origin) {
            Some(other) if other.named => {}
            Some(other) => found.problems.push(ZoneProblem {
                why: format!(
                    "zone {origin} is in {} already, which is served; remove one of them",
                    other.path.display()
                ),
                path,
                origin: Some(origin),
            }),
            None => {
                files.insert(origin.clone(), ZoneFile { origin, path, named: false });
            }
        }
    }
    found.files = files.into_values().collect();
    Ok(found)
}

/// The origin that a file's name says: case doesn't count, and only what host names hold goes into it.
fn origin_of(file_name: &[u8]) -> Result<Name, String> {
    let advice = "a zone file is called <origin>.zone, as example.org.zone; name any other in [zone.\"...\"] file";
    let text = std::str::from_utf8(file_name).map_err(|_| format!("its name is not UTF-8: {advice}"))?;
    let text = text.strip_suffix(SUFFIX).unwrap_or(text);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if let Some(odd) = text.chars().find(|c| !plain(*c)) {
        return Err(format!("{odd:?} in its name: {advice}"));
    }
    let name = Name::parse(&text.to_ascii_lowercase(), None).map_err(|error| format!("{error}: {advice}"))?;
    if name.is_root() { Err(advice.to_owned()) } else { Ok(name) }
}

impl ZoneFile {
    /// The file's bytes. A file of the zones folder must be a regular one inside it; a symlink may not lead out.
    pub fn read(&self) -> Result<Vec<u8>, ZoneProblem> {
        self.open()?.whole().map_err(|why| self.problem(why))
    }

    /// Opens the file, to be read as a whole or in pieces: when another one has its name, its bytes can still be had.
    pub fn open(&self) -> Result<Held, ZoneProblem> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = if self.named {
            rustix::fs::open(&self.path, flags, Mode::empty()).map_err(|error| error.to_string())
        } else {
            let name = self.path.file_name().map(Path::new).unwrap_or(Path::new(""));
            open_folder(self.folder()).and_then(|folder| open_beneath(&folder, name))
        };
        file.and_then(|file| Held::of(file.into())).map_err(|why| self.problem(why))
    }

    /// What its `$INCLUDE`s are read through.
    pub fn includes(&self) -> ZoneIncludes {
        ZoneIncludes::of(self.folder())
    }

    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    /// Why it is not read.
    pub fn problem(&self, why: String) -> ZoneProblem {
        ZoneProblem { path: self.path.clone(), origin: Some(self.origin.clone()), why }
    }
}

/// A file that is read, held open.
#[derive(Debug)]
pub struct Held {
    file: File,
    /// Its length, and when it was written last.
    seen: (u64, i64, i64),
}

impl Held {
    fn of(file: File) -> Result<Held, String> {
        let metadata = file.metadata().map_err(|error| error.to_string())?;
        if !metadata.is_file() {
            return Err("not a regular file".to_owned());
        }
        writable_by_others(&metadata)?;
        if metadata.len() > MAX_FILE {
            return Err(format!("{} bytes are more than the {MAX_FILE} that are read", metadata.len()));
        }
        Ok(Held { file, seen: seen(&metadata) })
    }

    /// Its bytes.
    pub fn whole(&self) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::with_capacity(self.length() + 1);
        let mut rest = (&self.file).take(MAX_FILE + 1);
        rest.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if bytes.len() as u64 > MAX_FILE { Err("it grows while it is read".to_owned()) } else { Ok(bytes) }
    }

    /// Whether nobody wrote to it since it was opened.
    pub fn is_unchanged(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| seen(&metadata) == self.seen)
    }
}

impl Pieces for Held {
    fn length(&self) -> usize {
        usize::try_from(self.seen.0).unwrap_or(usize::MAX)
    }

    fn read(&self, at: usize, into: &mut [u8]) -> Option<()> {
        self.file.read_exact_at(into, at as u64).ok()
    }
}

fn seen(metadata: &Metadata) -> (u64, i64, i64) {
    (metadata.len(), metadata.mtime(), metadata.mtime_nsec())
}

/// Reads `$INCLUDE`d files: paths are relative to the zone file's folder and can't leave it.
pub struct ZoneIncludes {
    /// Opened for the first file.
    folder: Option<OwnedFd>,
    path: PathBuf,
    included: Vec<PathBuf>,
}

impl ZoneIncludes {
    /// Files may be included from `folder` and below it.
    pub fn of(folder: &Path) -> ZoneIncludes {
        ZoneIncludes { folder: None, path: folder.to_owned(), included: Vec::new() }
    }

    /// The bytes of one included file. It is on the list of [`ZoneIncludes::included`] even when it can't be read:
    /// it may become readable.
    pub fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        let relative = Path::new(path);
        // `join` with an absolute path would leave the folder; those are refused below and not worth watching.
        if !relative.is_absolute() {
            let full = self.path.join(relative);
            if !self.included.contains(&full) {
                self.included.push(full);
            }
        }
        let folder = match self.folder.take() {
            Some(folder) => folder,
            None => open_folder(&self.path)?,
        };
        open_beneath(self.folder.insert(folder), relative).and_then(|file| Held::of(file.into())?.whole())
    }

    /// Every file that was asked for: a change of one of them changes the zone.
    pub fn included(&self) -> &[PathBuf] {
        &self.included
    }
}

fn open_folder(folder: &Path) -> Result<OwnedFd, String> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open(folder, flags, Mode::empty()).map_err(|error| format!("folder {}: {error}", folder.display()))
}

/// Opens a file below `folder`; no `..`, symlink or absolute path leads out of it.
fn open_beneath(folder: &OwnedFd, path: &Path) -> Result<OwnedFd, String> {
    if path.is_absolute() {
        return Err("an absolute path; files are read from the zone file's folder and below it only".to_owned());
    }
    // NONBLOCK: a FIFO that nobody writes to must not hold us; it is refused once it is open.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut tries = 3;
    loop {
        tries -= 1;
        match rustix::fs::openat2(folder, path, flags, Mode::empty(), resolve) {
            Ok(file) => return Ok(file),
            // A rename raced with a `..`.
            Err(Errno::AGAIN) if tries > 0 => {}
            // An old kernel; or a sandbox that doesn't know the call.
            Err(Errno::NOSYS | Errno::PERM) => return open_by_components(folder, path, flags),
            Err(error) => return Err(explain(error)),
        }
    }
}

/// For kernels without openat2: a component at a time, no `..`, no symlink at all.
fn open_by_components(folder: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, String> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::CurDir => {}
            _ => return Err(explain(Errno::XDEV)),
        }
    }
    let (last, parents) = names.split_last().ok_or_else(|| explain(Errno::NOENT))?;
    let mut inner: Option<OwnedFd> = None;
    let step = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    for name in parents {
        let at = inner.as_ref().unwrap_or(folder).as_fd();
        inner = Some(rustix::fs::openat(at, *name, step, Mode::empty()).map_err(explain)?);
    }
    let at = inner.as_ref().unwrap_or(folder).as_fd();
    rustix::fs::openat(at, *last, flags | OFlags::NOFOLLOW, Mode::empty()).map_err(explain)
}

fn explain(error: Errno) -> String {
    match error {
        Errno::XDEV => "it leads out of the zone file's folder; files are read from there and below it only".to_owned(),
        Errno::LOOP => "a symlink that may not be followed".to_owned(),
        Errno::NOENT => "no such file in the zone file's folder".to_owned(),
        Errno::ACCESS => "not readable for the user that danelaw runs as".to_owned(),
        other => other.to_string(),
    }
}

/// Who can write here decides what we serve. A group with the owner's own number is his private group, into which
/// a umask of 002 lets files fall.
fn writable_by_others(metadata: &Metadata) -> Result<(), String> {
    let group_is_private = metadata.gid() == metadata.uid();
    match metadata.mode() {
        mode if mode & 0o002 != 0 => Err("everybody can write to it; chmod o-w".to_owned()),
        mode if mode & 0o020 != 0 && !group_is_private => Err("its group can write to it; chmod g-w".to_owned()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn name(text: &str) -> Name {
        text.parse().expect(text)
    }

    fn put(folder: &Path, file: &str, text: &str) -> PathBuf {
        let path = folder.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn the_origin_is_the_file_name_in_any_case_and_odd_names_are_problems() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["Example.ORG.zone", "b.example.zone", "_tcp.example.zone", ".swap.zone", "notes.txt", "x.zone~"] {
            put(folder.path(), file, "");
        }
        for file in ["a b.zone", "a..b.zone", "ä.zone", "example.org.zone"] {
            put(folder.path(), file, "");
        }
        let found = find(folder.path(), &[]).unwrap();
        let origins: Vec<String> = found.files.iter().map(|file| file.origin.to_string()).collect();
        assert_eq!(origins, ["_tcp.example.", "b.example.", "example.org."]);
        let whys: Vec<&str> = found.problems.iter().map(|problem| problem.why.as_str()).collect();
        assert!(whys[0].starts_with("' ' in its name"), "{whys:?}");
        assert!(whys[1].starts_with("empty label"), "{whys:?}");
        assert!(whys[2].starts_with("'ä' in its name"), "{whys:?}");
        assert!(whys[3].contains("is in") && whys[3].contains("/example.org.zone already"), "{whys:?}");
        assert!(found.problems[3].path.ends_with("Example.ORG.zone"));
        assert_eq!(found.problems[3].origin, Some(name("example.org.")));
    }

    #[test]
    fn a_file_that_the_configuration_names_wins_and_may_lie_anywhere() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        put(folder.path(), "example.org.zone", "folder");
        let target = put(elsewhere.path(), "data", "named");
        symlink(&target, elsewhere.path().join("link")).unwrap();
        let named = [(name("example.org."), elsewhere.path().join("link"))];
        let found = find(folder.path(), &named).unwrap();
        assert_eq!(found.problems, []);
        assert_eq!(found.files[0].read().unwrap(), b"named");
        assert_eq!(find(&folder.path().join("none"), &named).unwrap().files.len(), 1);
        assert!(find(&folder.path().join("none"), &[]).is_err());
    }

    #[test]
    fn folders_and_files_that_others_can_write_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = put(folder.path(), "example.org.zone", "x");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let found = find(folder.path(), &[]).unwrap();
        assert!(found.files[0].read().unwrap_err().why.contains("chmod o-w"));
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(find(folder.path(), &[]).unwrap_err().why.contains("chmod o-w"));
    }

    /// A zones folder with every way out of it, and whether it is one that openat2 would follow.
    fn escapes() -> (tempfile::TempDir, PathBuf) {
        let outer = tempfile::tempdir().unwrap();
        let zones = outer.path().join("zones");
        put(outer.path(), "secret", "secret");
        put(&zones, "sub/inner", "inner");
        put(&zones, "plain", "plain");
        symlink("../secret", zones.join("relative-out")).unwrap();
        symlink(outer.path().join("secret"), zones.join("absolute-out")).unwrap();
        symlink("..", zones.join("folder-out")).unwrap();
        symlink("/proc/self/root", zones.join("magic")).unwrap();
        symlink("itself", zones.join("itself")).unwrap();
        symlink("sub/inner", zones.join("inside")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, zones.join("fifo"), Mode::RUSR | Mode::WUSR).unwrap();
        std::os::unix::net::UnixListener::bind(zones.join("socket")).unwrap();
        (outer, zones)
    }

    const OUT: [&str; 10] = [
        "../secret",
        "sub/../../secret",
        "relative-out",
        "absolute-out",
        "folder-out/secret",
        "magic/etc/passwd",
        "itself",
        "fifo",
        "socket",
        "sub",
    ];

    #[test]
    fn no_include_leaves_the_folder_and_only_regular_files_are_read() {
        let (outer, zones) = escapes();
        let mut includes = ZoneIncludes::of(&zones);
        assert_eq!(includes.read("plain").unwrap(), b"plain");
        assert_eq!(includes.read("sub/inner").unwrap(), b"inner");
        assert_eq!(includes.read("./sub/../plain").unwrap(), b"plain");
        assert_eq!(includes.read("inside").unwrap(), b"inner", "a symlink within the folder is fine");
        for path in OUT {
            assert!(includes.read(path).is_err(), "{path}");
        }
        assert!(includes.read("../secret").unwrap_err().contains("leads out"));
        assert!(includes.read("fifo").unwrap_err().contains("regular"));
        let absolute = outer.path().join("secret");
        assert!(includes.read(absolute.to_str().unwrap()).unwrap_err().contains("absolute"));
        assert!(includes.read("").is_err());
        assert!(includes.read("a\0b").is_err());
        assert!(includes.read("none").unwrap_err().contains("no such file"));
        assert_eq!(includes.included()[0], zones.join("plain"));
        assert!(includes.included().contains(&zones.join("none")), "it may come");
        assert!(!includes.included().contains(&absolute));
    }

    #[test]
    fn without_openat2_the_way_is_narrower_and_never_wider() {
        let (_outer, zones) = escapes();
        let folder = open_folder(&zones).unwrap();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let read = |path: &str| {
            open_by_components(&folder, Path::new(path), flags).and_then(|file| Held::of(file.into())?.whole())
        };
        assert_eq!(read("sub/inner").unwrap(), b"inner");
        assert_eq!(read("./plain").unwrap(), b"plain");
        for path in OUT.into_iter().chain(["inside", "sub/../plain", "", "."]) {
            assert!(read(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_zone_file_that_is_a_symlink_stays_within_its_folder() {
        let (outer, zones) = escapes();
        symlink("sub/inner", zones.join("in.example.zone")).unwrap();
        symlink(outer.path().join("secret"), zones.join("out.example.zone")).unwrap();
        let found = find(&zones, &[]).unwrap();
        assert_eq!(found.files[0].read().unwrap(), b"inner");
        assert!(found.files[1].read().unwrap_err().why.contains("leads out"));
    }
}
