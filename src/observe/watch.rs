//! Watches folders and says, a little later, that something in them is finished.
//!
//! A finished write counts (close after writing, a rename, a removal, a new symlink or folder), a write under way
//! doesn't. A periodic notice covers what no kernel event tells: network file systems, overflows. Nothing is read here.

mod debounce;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tracing::{debug, warn};

pub use debounce::{Changed, Debounce};

/// Notices that wait to be read; what comes beyond them joins the next one.
const NOTICES: usize = 4;

/// When notices come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// After a rest of `at_most` a notice waits only for so long: a rename comes with others at the same moment.
    pub lead: Duration,
    /// Else it waits until nothing happened for so long,
    pub quiet: Duration,
    /// but no longer than this after the first change.
    pub at_most: Duration,
    /// A notice without a change comes every so often.
    pub rescan: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            lead: Duration::from_millis(1),
            quiet: Duration::from_millis(100),
            at_most: Duration::from_secs(1),
            rescan: Duration::from_secs(60),
        }
    }
}

/// A folder to watch. It may be missing, and is picked up when it appears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Where.
    pub path: PathBuf,
    /// What besides its own entries.
    pub reach: Reach,
}

/// How much of a folder is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Its own entries.
    Flat,
    /// Those of its folders and of those that its symlinks lead into, too, but for hidden ones.
    Linked,
    /// The folders below it too, and those that symlinks in any of them lead into.
    Deep,
}

impl Folder {
    /// A folder with all that is below it.
    pub fn deep(path: impl Into<PathBuf>) -> Folder {
        Folder { path: path.into(), reach: Reach::Deep }
    }

    /// A folder with what its entries lead into.
    pub fn linked(path: impl Into<PathBuf>) -> Folder {
        Folder { path: path.into(), reach: Reach::Linked }
    }

    /// A folder's own entries.
    pub fn flat(path: impl Into<PathBuf>) -> Folder {
        Folder { path: path.into(), reach: Reach::Flat }
    }
}

/// Why nothing is watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The system gives no watcher. Going on with rescans is possible.
    #[error("can't watch folders: {0} (fs.inotify.max_user_instances may be too low)")]
    Unavailable(#[from] notify::Error),
    /// No thread for it.
    #[error("can't watch folders: {0}")]
    Thread(#[from] std::io::Error),
}

/// Watching goes on while this lives.
pub struct Watcher {
    messages: Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

enum Message {
    Event(notify::Result<Event>),
    Watch(Vec<Folder>, SyncSender<()>),
    Stop,
}

impl Watcher {
    /// Begins to watch, at first nothing but the time. Read the notices until they end.
    pub fn start(timing: Timing) -> Result<(Watcher, mpsc::Receiver<Changed>), WatchError> {
        let (messages, received) = channel();
        let events = messages.clone();
        let system = notify::recommended_watcher(move |event| {
            let _ = events.send(Message::Event(event));
        })?;
        let (notices, changed) = mpsc::channel(NOTICES);
        let watching = Watching {
            system,
            folders: Vec::new(),
            watched: HashMap::new(),
            debounce: Debounce::new(timing),
            next_rescan: Instant::now() + timing.rescan,
            timing,
            notices,
        };
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(move || watching.run(&received))?;
        Ok((Watcher { messages, thread: Some(thread) }, changed))
    }

    /// Watches these folders from now on, in the place of those before. They are watched when this returns: what is
    /// read after it is read in time.
    pub fn watch(&self, folders: Vec<Folder>) {
        let (done, wait) = sync_channel(1);
        if self.messages.send(Message::Watch(folders, done)).is_ok() {
            let _ = wait.recv();
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.messages.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Watching {
    system: RecommendedWatcher,
    folders: Vec<Folder>,
    /// Device and inode of what is watched: a folder that was replaced by another has to be watched anew.
    watched: HashMap<PathBuf, (u64, u64)>,
    debounce: Debounce,
    timing: Timing,
    next_rescan: Instant,
    notices: mpsc::Sender<Changed>,
}

impl Watching {
    fn run(mut self, messages: &Receiver<Message>) {
        loop {
            let wake = self.debounce.due().map_or(self.next_rescan, |due| due.min(self.next_rescan));
            match messages.recv_timeout(wake.saturating_duration_since(Instant::now())) {
                Ok(Message::Event(Ok(event))) => self.event(event),
                Ok(Message::Event(Err(error))) => {
                    warn!("watching folders: {error}; looking at everything");
                    self.debounce.rescan(Instant::now());
                }
                Ok(Message::Watch(folders, done)) => {
                    self.folders = folders;
                    self.update(false);
                    let _ = done.send(());
                }
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            if now >= self.next_rescan {
                self.next_rescan = now + self.timing.rescan;
                self.debounce.rescan(now);
            }
            if !self.flush(now) {
                return;
            }
        }
    }

    fn event(&mut self, event: Event) {
        let now = Instant::now();
        if event.need_rescan() {
            self.debounce.rescan(now);
        }
        if is_finished(&event) {
            for path in event.paths {
                // The folder that has this name later is another one, even where it gets the same inode.
                if matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))) {
                    self.unwatch(&path);
                }
                self.debounce.note(path, now);
            }
        }
    }

    /// Sends what is due. False when nobody reads any more.
    fn flush(&mut self, now: Instant) -> bool {
        let Some(changed) = self.debounce.take(now) else { return true };
        // New folders are watched before they are told of: whoever reads them then misses nothing.
        self.update(changed.rescan);
        match self.notices.try_send(changed) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(changed)) => {
                self.debounce.put_back(changed, now);
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }

    /// Brings what the system watches in line with what the folders hold now. `anew` watches also what seems to be
    /// watched: asking twice costs nothing, and a watch that got lost comes back.
    fn update(&mut self, anew: bool) {
        // The system has one watch for a folder, whatever it is called: to give up `zones/..` would give up its parent's.
        let named = tree::folders_of(&self.folders).into_iter();
        let wanted: BTreeSet<PathBuf> = named.map(|path| path.canonicalize().unwrap_or(path)).collect();
        let gone: Vec<PathBuf> = self.watched.keys().filter(|path| !wanted.contains(*path)).cloned().collect();
        for path in gone {
            self.unwatch(&path);
        }
        for path in wanted {
            let Some(identity) = identity(&path) else {
                self.unwatch(&path);
                continue;
            };
            let same = self.watched.get(&path) == Some(&identity);
            if same && !anew {
                continue;
            }
            if !same {
                self.unwatch(&path);
            }
            match self.system.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    debug!("watching {}", path.display());
                    self.watched.insert(path, identity);
                }
                Err(error) => {
                    let rescan = self.timing.rescan.as_secs();
                    warn!(
                        "can't watch {}: {error}; looking every {rescan} s (fs.inotify.max_user_watches may be too low)",
                        path.display()
                    );
                }
            }
        }
    }

    fn unwatch(&mut self, path: &Path) {
        if self.watched.remove(path).is_some() {
            // The system forgets a removed folder by itself, and then says that it knows none.
            let _ = self.system.unwatch(path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_dir)?;
    Some((metadata.dev(), metadata.ino()))
}

/// Whether something is complete after this event.
fn is_finished(event: &Event) -> bool {
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) | EventKind::Remove(_) => true,
        // Names, and modes: a file that was readable for too many is fit after a chmod.
        EventKind::Modify(ModifyKind::Name(_) | ModifyKind::Metadata(_)) => true,
        EventKind::Create(CreateKind::Folder) => true,
        // A new file is being written, and its close will tell; a symlink and a hard link have no close.
        EventKind::Create(_) => event
            .paths
            .iter()
            .any(|path| std::fs::symlink_metadata(path).is_ok_and(|found| !found.is_file() || found.nlink() > 1)),
        _ => false,
    }
}
