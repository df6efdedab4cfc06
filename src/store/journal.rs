//! The journal: what led to the versions of zones that are served, for secondaries that ask for differences after a restart.
//!
//! It is written with the serial that it leads to. Losing it costs whole transfers and nothing else.

use std::sync::Arc;

use rusqlite::params;

use super::{State, Store, StoreError, key_of};
use crate::dns::Name;
use crate::zone::{Difference, History};

/// What becomes of one zone's history.
#[derive(Clone, Debug)]
pub enum JournalWrite {
    /// It is this, whatever it was before.
    Anew(Name, History),
    /// It goes on.
    On {
        /// The zone.
        zone: Name,
        /// So many of its oldest differences go.
        forgotten: usize,
        /// What comes.
        difference: Arc<Difference>,
    },
}

impl Store {
    /// Writes what is about to be served, and what led to it, in one transaction: all of it or nothing.
    pub fn save_with_journal(&mut self, states: &[State], journal: &[JournalWrite]) -> Result<(), StoreError> {
        if journal.is_empty() {
            return self.save_all(states, &[]);
        }
        self.together(|store| {
            store.save_all(states, &[])?;
            journal.iter().try_for_each(|write| store.write_journal(write))
        })
    }

    fn write_journal(&self, write: &JournalWrite) -> Result<(), StoreError> {
        match write {
            JournalWrite::Anew(zone, history) => {
                let key = key_of(zone);
                self.db.prepare_cached("DELETE FROM difference WHERE zone = ?1")?.execute([&key])?;
                history.differences().iter().try_for_each(|difference| self.append(&key, difference))
            }
            JournalWrite::On { zone, forgotten, difference } => {
                let key = key_of(zone);
                if *forgotten > 0 {
                    let mut delete = self.db.prepare_cached(
                        "DELETE FROM difference WHERE id IN \
                         (SELECT id FROM difference WHERE zone = ?1 ORDER BY id LIMIT ?2)",
                    )?;
                    delete.execute(params![key, i64::try_from(*forgotten).unwrap_or(i64::MAX)])?;
                }
                self.append(&key, difference)
            }
        }
    }

    fn append(&self, key: &str, difference: &Difference) -> Result<(), StoreError> {
        let mut insert = self
            .db
            .prepare_cached("INSERT INTO difference (zone, from_serial, to_serial, octets) VALUES (?1, ?2, ?3, ?4)")?;
        insert.execute(params![key, difference.from(), difference.to(), difference.octets()])?;
        Ok(())
    }

    /// What is remembered of a zone, oldest first. One that can't be read, and those before it, are left out.
    pub fn journal(&self, zone: &Name) -> Result<Vec<Difference>, StoreError> {
        let mut query = self.db.prepare_cached("SELECT octets FROM difference WHERE zone = ?1 ORDER BY id")?;
        let rows = query.query_map([key_of(zone)], |row| row.get::<_, Vec<u8>>(0))?;
        let mut differences = Vec::new();
        for octets in rows {
            match Difference::from_octets(&octets?) {
                Some(difference) => differences.push(difference),
                None => differences.clear(),
            }
        }
        Ok(differences)
    }
}
