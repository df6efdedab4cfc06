//! The database's tables and how an older file becomes one of today's. A newer one is refused, never guessed at.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::StoreError;

/// Each step takes a file from version `index` to `index + 1`. Steps are only ever added.
const MIGRATIONS: &[&str] = &["
    -- The SOA serial up to which a zone's serials may have been used. Never lower it by hand.
    CREATE TABLE serial (
        zone TEXT PRIMARY KEY,
        used_up_to INTEGER NOT NULL
    ) WITHOUT ROWID;
    -- DNSSEC keys that a zone was seen signed with. While one is here, its file in keys/ must exist.
    CREATE TABLE known_key (
        zone TEXT NOT NULL,
        file TEXT NOT NULL,
        algorithm INTEGER NOT NULL,
        tag INTEGER NOT NULL,
        first_seen INTEGER NOT NULL,
        PRIMARY KEY (zone, file)
    ) WITHOUT ROWID;
    -- The states of the state machines: what was published, what waits.
    CREATE TABLE state (
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        version INTEGER NOT NULL,
        json TEXT NOT NULL,
        PRIMARY KEY (kind, key)
    ) WITHOUT ROWID;
    -- What happened. Times are seconds since 1970: SELECT datetime(time, 'unixepoch'), * FROM event.
    CREATE TABLE event (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        time INTEGER NOT NULL,
        kind TEXT NOT NULL,
        subject TEXT NOT NULL,
        text TEXT NOT NULL
    );
    CREATE INDEX event_by_subject ON event (subject, id);
", "
    -- DANE states are kept host by host, which an older version would not find. They are taken over where they are read.
", "
    -- The journal: what turns a version of a zone into the next one, oldest first. Losing it costs whole transfers to secondaries.
    CREATE TABLE difference (
        id INTEGER PRIMARY KEY,
        zone TEXT NOT NULL,
        from_serial INTEGER NOT NULL,
        to_serial INTEGER NOT NULL,
        octets BLOB NOT NULL
    );
    CREATE INDEX difference_by_zone ON difference (zone, id);
", "
    -- What came by dynamic update, RRset by RRset, over what the zone's file says: `danelaw zone dump --origin` shows it.
    CREATE TABLE updated (
        zone TEXT NOT NULL,
        owner TEXT NOT NULL,
        rtype INTEGER NOT NULL,
        ttl INTEGER,
        added BLOB NOT NULL,
        gone BLOB NOT NULL,
        PRIMARY KEY (zone, owner, rtype)
    ) WITHOUT ROWID;
    -- Updates that were decided on and whose signatures are still good: none is done twice.
    CREATE TABLE decided (
        mac BLOB PRIMARY KEY,
        until INTEGER NOT NULL,
        peer TEXT NOT NULL,
        rcode INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX decided_by_time ON decided (until);
"];

/// Sets the connection up for durable writes by one process, checks the file and brings its schema up to date.
pub(super) fn prepare(mut db: Connection, path: &Path) -> Result<Connection, StoreError> {
    db.busy_timeout(Duration::from_millis(500))?;
    // Somebody who looks in with sqlite3 and the daemon that writes don't exclude each other.
    db.pragma_update(None, "journal_mode", "WAL")?;
    // Decisions are on the disk before they are acted on.
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    let found: u32 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    let verdict: String = db.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    if verdict != "ok" {
        return Err(StoreError::Damaged { path: path.to_owned(), why: verdict });
    }
    for (index, migration) in (found..known).zip(&MIGRATIONS[found as usize..]) {
        let transaction = db.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", index + 1)?;
        transaction.commit()?;
    }
    Ok(db)
}
