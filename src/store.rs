//! What must outlive the process: serials, known keys, the states of the state machines, the event log.
//!
//! One SQLite file, crash-safe, that an operator can look into with `sqlite3 state/danelaw.db`. A zone's signatures and
//! last good contents lie beside it in an image, whose loss costs only signing again. Private keys are never in here.

mod images;
mod journal;
mod schema;
mod updated;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use crate::dns::{Name, Timestamp};
use crate::zone::serial;

pub use images::Images;
pub use journal::JournalWrite;
pub use updated::{Decided, LayerWrite};

/// How many serials are leased at a time: so many publications cost one fsync.
const SERIAL_BLOCK: u32 = 64;
/// The state folder's lock is waited for so long.
const LOCK_TIME: Duration = Duration::from_millis(500);
/// How many events are kept.
const MAX_EVENTS: u32 = 10_000;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A state machine's state can't be written or read. Nothing that depends on it may be published.
    #[error("the stored state of {kind} can't be used: {why}")]
    State {
        /// Which kind of machine.
        kind: String,
        /// What is wrong.
        why: String,
    },
    /// The folder can't be made or is open to others. Don't start.
    #[error("state folder {}: {why}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// Another process has it open. Don't start.
    #[error("{}: another danelaw uses this state folder; stop it, or give this one a folder of its own (`state`)", path.display())]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// A newer danelaw wrote it. Don't start.
    #[error("{}: schema version {found}, and this danelaw knows up to {known}: start the newer danelaw, or go back to the state folder's backup", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The file is damaged. Don't start: serials could go back and published TLSA be forgotten.
    #[error("{}: damaged ({why}). Put back a backup, or rescue it: sqlite3 {} .recover | sqlite3 rescued.db. Starting without it forgets what was published; to accept that, move the file away", path.display(), path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        why: String,
    },
    /// Reading or writing failed: disk full, say. Keep serving and retry.
    #[error("the store: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The image can't be written. Keep serving.
    #[error("signature image: {0}")]
    Image(#[from] std::io::Error),
    /// A zone's serial space is used up towards `wanted`: it can't grow and keep RFC 1982's order.
    #[error("zone {zone}: its serial {last} can't be raised to {wanted} in one step (RFC 1982 section 3.2)")]
    Serial {
        /// The zone.
        zone: Name,
        /// The last one.
        last: u32,
        /// The one that was asked for.
        wanted: u32,
    },
}

/// The store. One owner, the keeper; nothing else writes to the file.
pub struct Store {
    db: Connection,
    path: Option<PathBuf>,
    images: Option<Images>,
    leases: HashMap<Name, Lease>,
    serial_block: u32,
    /// Two daemons on one state folder would hand out the same serials; the lock goes with the process.
    _lock: Option<File>,
}

/// Serials that the file already calls used.
#[derive(Clone, Copy)]
struct Lease {
    last: u32,
    end: u32,
}

/// A DNSSEC key that the store has seen a zone signed with.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct KnownKey {
    /// The zone.
    pub zone: Name,
    /// Its algorithm number.
    pub algorithm: u8,
    /// Its key tag (RFC 4034 appendix B).
    pub tag: u16,
    /// The file's name within the keys folder.
    pub file: String,
    /// When it was first seen.
    pub first_seen: Timestamp,
}

/// The stored state of one state machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Which kind of machine: `tlsa`, `rollover`, ...
    pub kind: String,
    /// Which one of that kind: an owner name, a zone.
    pub key: String,
    /// The version of the JSON's shape.
    pub version: u32,
    /// The JSON.
    pub json: String,
}

/// One line of the event log.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Event {
    /// Grows with every event.
    pub id: u64,
    /// When.
    pub time: Timestamp,
    /// What kind: `published`, `withdrawn`, `alarm`, ...
    pub kind: String,
    /// Of what: an owner name, a zone, a file.
    pub subject: String,
    /// In words.
    pub text: String,
}

impl Store {
    /// Opens or creates `danelaw.db` in `folder`, which is made with mode 0700.
    pub fn open(folder: &Path) -> Result<Store, StoreError> {
        make_private_folder(folder)?;
        let path = folder.join("danelaw.db");
        let lock = lock(&folder.join("danelaw.lock"))?;
        // SQLite gives its -wal and -shm files the mode of the database.
        drop(private_file(&path)?);
        let db = Connection::open(&path)?;
        let db = schema::prepare(db, &path).map_err(|error| explain(error, &path))?;
        let images = Images::new(folder.join("images"));
        Ok(Store {
            db,
            path: Some(path),
            images: Some(images),
            leases: HashMap::new(),
            serial_block: SERIAL_BLOCK,
            _lock: Some(lock),
        })
    }

    /// The keys that a zone was seen signed with, for who does not own the store: the daemon may have it open. None are known where there
    /// is no store yet.
    pub fn look_at_known_keys(folder: &Path, zone: &Name) -> Result<Vec<KnownKey>, StoreError> {
        let path = folder.join("danelaw.db");
        if !path.exists() {
            return Ok(Vec::new());
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&path, flags)?;
        db.busy_timeout(Duration::from_secs(5))?;
        known_keys(&db, zone).map_err(|error| explain(error, &path))
    }

    /// A store in memory that the process takes with it: `--ephemeral`.
    pub fn ephemeral() -> Result<Store, StoreError> {
        let db = schema::prepare(Connection::open_in_memory()?, Path::new(":memory:"))?;
        Ok(Store { db, path: None, images: None, leases: HashMap::new(), serial_block: SERIAL_BLOCK, _lock: None })
    }

    /// Does several writes in one transaction: all of them or none, and one wait for the disk.
    pub fn together<T>(&mut self, work: impl FnOnce(&mut Store) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.db.execute_batch("BEGIN IMMEDIATE")?;
        let mut done = work(self);
        if done.is_ok()
            && let Err(error) = self.db.execute_batch("COMMIT")
        {
            done = Err(error.into());
        }
        if done.is_err() {
            // SQLite may have rolled back by itself already. The leases of the transaction are gone with it.
            let _ = self.db.execute_batch("ROLLBACK");
            self.leases.clear();
        }
        done
    }

    /// The database file; none when ephemeral.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The next SOA serial of a zone: at least `at_least`, and after every one handed out before, in this
    /// process or another (RFC 1982). Touches the disk once in a block only. A crash skips the rest of a block.
    pub fn lease(&mut self, zone: &Name, at_least: u32) -> Result<u32, StoreError> {
        let current = match self.leases.get(zone) {
            Some(lease) => Some(*lease),
            None => self.stored_serial(zone)?.map(|end| Lease { last: end, end }),
        };
        let next = match current {
            None => at_least,
            Some(lease) if serial::is_after(at_least, lease.last) => at_least,
            // Neither before nor after: RFC 1982 section 3.2 leaves this pair without an order.
            Some(lease) if at_least.wrapping_sub(lease.last) == 1 << 31 => {
                return Err(StoreError::Serial { zone: zone.clone(), last: lease.last, wanted: at_least });
            }
            Some(lease) => lease.last.wrapping_add(1),
        };
        let covered = current.is_some_and(|lease| !serial::is_after(next, lease.end) && lease.last != lease.end);
        let end = match current {
            Some(lease) if covered => lease.end,
            _ => {
                let end = next.wrapping_add(self.serial_block - 1);
                self.save_serial(zone, end)?;
                end
            }
        };
        self.leases.insert(zone.clone(), Lease { last: next, end });
        Ok(next)
    }

    /// Gives the unused rest of every lease back, at a clean shutdown: the next start goes on without a gap.
    pub fn close(mut self) -> Result<(), StoreError> {
        let leases = std::mem::take(&mut self.leases);
        self.together(|store| leases.iter().try_for_each(|(zone, lease)| store.save_serial(zone, lease.last)))?;
        self.db.close().map_err(|(_, error)| error)?;
        Ok(())
    }

    fn stored_serial(&self, zone: &Name) -> Result<Option<u32>, StoreError> {
        let mut query = self.db.prepare_cached("SELECT used_up_to FROM serial WHERE zone = ?1")?;
        Ok(query.query_row([key_of(zone)], |row| row.get(0)).optional()?)
    }

    fn save_serial(&self, zone: &Name, end: u32) -> Result<(), StoreError> {
        let mut insert = self.db.prepare_cached(
            "INSERT INTO serial (zone, used_up_to) VALUES (?1, ?2) \
             ON CONFLICT (zone) DO UPDATE SET used_up_to = excluded.used_up_to",
        )?;
        insert.execute(params![key_of(zone), end])?;
        Ok(())
    }

    /// The keys that a zone was seen signed with, oldest first. None: the store has never seen it signed.
    pub fn known_keys(&self, zone: &Name) -> Result<Vec<KnownKey>, StoreError> {
        known_keys(&self.db, zone)
    }

    /// The key files of all zones that were ever signed: zone and file.
    pub fn key_files(&self) -> Result<Vec<(Name, String)>, StoreError> {
        let mut query = self.db.prepare_cached("SELECT zone, file FROM known_key")?;
        let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
        let rows: Vec<(String, String)> = rows.collect::<Result<_, _>>()?;
        Ok(rows.into_iter().filter_map(|(zone, file)| Some((Name::parse(&zone, None).ok()?, file))).collect())
    }

    /// Remembers a key; one that is known keeps its first-seen time.
    pub fn remember_key(&mut self, key: &KnownKey) -> Result<(), StoreError> {
        self.db.execute(
            "INSERT INTO known_key (zone, algorithm, tag, file, first_seen) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (zone, file) DO UPDATE SET algorithm = excluded.algorithm, tag = excluded.tag",
            params![key_of(&key.zone), key.algorithm, key.tag, key.file, time_of(key.first_seen)],
        )?;
        Ok(())
    }

    /// Forgets a key that was retired.
    pub fn forget_key(&mut self, zone: &Name, file: &str) -> Result<bool, StoreError> {
        Ok(self.db.execute("DELETE FROM known_key WHERE zone = ?1 AND file = ?2", params![key_of(zone), file])? > 0)
    }

    /// The state of one machine: the version of its JSON's shape, and the JSON.
    pub fn load(&self, kind: &str, key: &str) -> Result<Option<(u32, String)>, StoreError> {
        let mut query = self.db.prepare_cached("SELECT version, json FROM state WHERE kind = ?1 AND key = ?2")?;
        Ok(query.query_row([kind, key], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
    }

    /// All states of one kind, by key.
    pub fn load_all(&self, kind: &str) -> Result<Vec<State>, StoreError> {
        let mut query =
            self.db.prepare_cached("SELECT kind, key, version, json FROM state WHERE kind = ?1 ORDER BY key")?;
        let rows = query.query_map([kind], |row| {
            Ok(State { kind: row.get(0)?, key: row.get(1)?, version: row.get(2)?, json: row.get(3)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Writes one state; it is on the disk when this returns.
    pub fn save(&mut self, state: &State) -> Result<(), StoreError> {
        self.save_all(std::slice::from_ref(state), &[])
    }

    /// Writes states and events in one transaction: all of them or none.
    pub fn save_all(&mut self, states: &[State], events: &[Event]) -> Result<(), StoreError> {
        // A savepoint stands alone as well as within a transaction.
        if states.is_empty() && events.is_empty() {
            return Ok(());
        }
        let transaction = self.db.savepoint()?;
        if !states.is_empty() {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO state (kind, key, version, json) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (kind, key) DO UPDATE SET version = excluded.version, json = excluded.json",
            )?;
            for state in states {
                insert.execute(params![state.kind, state.key, state.version, state.json])?;
            }
        }
        for event in events {
            insert_event(&transaction, event)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Removes one state. False when there was none.
    pub fn remove(&mut self, kind: &str, key: &str) -> Result<bool, StoreError> {
        Ok(self.db.execute("DELETE FROM state WHERE kind = ?1 AND key = ?2", [kind, key])? > 0)
    }

    /// Writes an event down.
    pub fn log(&mut self, time: Timestamp, kind: &str, subject: &str, text: &str) -> Result<(), StoreError> {
        let event = Event { id: 0, time, kind: kind.to_owned(), subject: subject.to_owned(), text: text.to_owned() };
        self.save_all(&[], &[event])
    }

    /// The newest events first, at most `limit` of them; with a host or zone, only what is about that or its TLSA owners.
    pub fn events(&self, limit: u32, subject: Option<&str>) -> Result<Vec<Event>, StoreError> {
        let mut query = self.db.prepare_cached(
            "SELECT id, time, kind, subject, text FROM event WHERE ?2 IS NULL OR rtrim(subject, '.') = rtrim(?2, '.') \
             OR subject LIKE '\\_%.\\_%.' || rtrim(?2, '.') || '.' ESCAPE '\\' ORDER BY id DESC LIMIT ?1",
        )?;
        let rows = query.query_map(params![limit, subject], |row| {
            Ok(Event { id: row.get(0)?, time: row.get(1)?, kind: row.get(2)?, subject: row.get(3)?, text: row.get(4)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The zones' images; none when ephemeral.
    pub fn images(&self) -> Option<&Images> {
        self.images.as_ref()
    }
}

fn known_keys(db: &Connection, zone: &Name) -> Result<Vec<KnownKey>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT algorithm, tag, file, first_seen FROM known_key WHERE zone = ?1 ORDER BY first_seen, file",
    )?;
    let rows = query.query_map([key_of(zone)], |row| {
        Ok(KnownKey {
            zone: zone.clone(),
            algorithm: row.get(0)?,
            tag: row.get(1)?,
            file: row.get(2)?,
            first_seen: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn insert_event(db: &Connection, event: &Event) -> Result<(), rusqlite::Error> {
    db.prepare_cached("INSERT INTO event (time, kind, subject, text) VALUES (?1, ?2, ?3, ?4)")?.execute(params![
        time_of(event.time),
        event.kind,
        event.subject,
        event.text
    ])?;
    db.prepare_cached("DELETE FROM event WHERE id <= ?1")?
        .execute([db.last_insert_rowid().saturating_sub(i64::from(MAX_EVENTS))])?;
    Ok(())
}

/// SQLite's integers are signed.
fn time_of(time: Timestamp) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

fn key_of(zone: &Name) -> String {
    zone.to_lowercase().to_string()
}

fn make_private_folder(folder: &Path) -> Result<(), StoreError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| folder_error(folder, format!("can't be made: {error}")))?;
    let metadata = std::fs::metadata(folder).map_err(|error| folder_error(folder, error.to_string()))?;
    if metadata.permissions().mode() & 0o022 != 0 {
        let why = format!("others can write to it; chmod 700 {}", folder.display());
        return Err(folder_error(folder, why));
    }
    Ok(())
}

fn private_file(path: &Path) -> Result<File, StoreError> {
    let made = File::options().append(true).create(true).mode(0o600).open(path);
    let file = made.map_err(|error| folder_error(path, error.to_string()))?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))
        .map_err(|error| folder_error(path, format!("can't be made private: {error}")))?;
    Ok(file)
}

/// A process that is just ending, or that was forked and is just about to become another program, may have it still.
fn lock(path: &Path) -> Result<File, StoreError> {
    let file = private_file(path)?;
    let since = Instant::now();
    loop {
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if since.elapsed() < LOCK_TIME => std::thread::sleep(LOCK_TIME / 20),
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(StoreError::InUse { path: path.to_owned() }),
            Err(error) => return Err(folder_error(path, format!("can't be locked: {error}"))),
        }
    }
}

fn folder_error(path: &Path, why: String) -> StoreError {
    StoreError::Folder { path: path.to_owned(), why }
}

fn explain(error: StoreError, path: &Path) -> StoreError {
    let StoreError::Sqlite(sqlite) = error else { return error };
    match sqlite.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Damaged { path: path.to_owned(), why: sqlite.to_string() }
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::InUse { path: path.to_owned() },
        _ => StoreError::Sqlite(sqlite),
    }
}
