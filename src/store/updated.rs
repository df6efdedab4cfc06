//! What came by dynamic update, and which requests were done: written before they are answered.

use rusqlite::{OptionalExtension, params};

use super::{Event, Store, StoreError, key_of};
use crate::dns::{Name, Rdata, Rtype, Timestamp};
use crate::zone::{Layer, Touched};

/// A request that was decided on. As long as its signature is good it is not done again (RFC 8945 section 9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The beginning of its MAC.
    pub mac: [u8; 16],
    /// Until when its signature is good.
    pub until: Timestamp,
    /// Who sent it: address and port.
    pub peer: String,
    /// The response code that it got.
    pub rcode: u8,
}

/// What a layer says of an RRset of a zone.
pub type LayerWrite<'a> = (&'a Name, &'a Name, Rtype, Touched);

impl Store {
    /// The layers of all zones that have one, those too that are not served now.
    pub fn layers(&self) -> Result<Vec<(Name, Layer)>, StoreError> {
        let mut query =
            self.db.prepare("SELECT zone, owner, rtype, ttl, added, gone FROM updated ORDER BY zone, owner, rtype")?;
        let mut rows = query.query([])?;
        let mut layers: Vec<(String, Name, Layer)> = Vec::new();
        while let Some(row) = rows.next()? {
            let (zone, owner): (String, String) = (row.get(0)?, row.get(1)?);
            let unusable = |why: String| StoreError::State { kind: format!("updates of {zone}"), why };
            let name = |text: &str| text.parse::<Name>().map_err(|error| unusable(format!("{text}: {error}")));
            let rdatas = |column| -> Result<Vec<Rdata>, StoreError> {
                let octets: Vec<u8> = row.get(column)?;
                unpack(&octets).ok_or_else(|| unusable(format!("{owner}: its records are damaged")))
            };
            let touched = Touched { ttl: row.get(3)?, added: rdatas(4)?, gone: rdatas(5)? };
            let (owner, rtype) = (name(&owner)?, Rtype(row.get(2)?));
            if layers.last().is_none_or(|(last, ..)| *last != zone) {
                layers.push((zone.clone(), name(&zone)?, Layer::default()));
            }
            if let Some((_, _, layer)) = layers.last_mut() {
                layer.put(&owner, rtype, touched);
            }
        }
        Ok(layers.into_iter().map(|(_, zone, layer)| (zone, layer)).collect())
    }

    /// Writes what layers say now, which requests were decided on, and events, in one transaction: all of it or nothing. Requests whose
    /// signatures are no longer good are forgotten.
    pub fn save_updates(
        &mut self,
        layers: &[LayerWrite<'_>],
        decided: &[Decided],
        events: &[Event],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.together(|store| {
            let mut put = store.db.prepare_cached(
                "INSERT INTO updated (zone, owner, rtype, ttl, added, gone) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                 ON CONFLICT (zone, owner, rtype) DO UPDATE SET ttl = excluded.ttl, added = excluded.added, gone = excluded.gone",
            )?;
            let mut remove =
                store.db.prepare_cached("DELETE FROM updated WHERE zone = ?1 AND owner = ?2 AND rtype = ?3")?;
            for (zone, owner, rtype, touched) in layers {
                let (zone, owner) = (key_of(zone), key_of(owner));
                if touched.is_empty() {
                    remove.execute(params![zone, owner, rtype.0])?;
                } else {
                    let Touched { ttl, added, gone } = touched;
                    put.execute(params![zone, owner, rtype.0, ttl, pack(added), pack(gone)])?;
                }
            }
            let now = i64::try_from(now).unwrap_or(i64::MAX);
            store.db.prepare_cached("DELETE FROM decided WHERE until < ?1")?.execute([now])?;
            let mut insert = store
                .db
                .prepare_cached("INSERT OR REPLACE INTO decided (mac, until, peer, rcode) VALUES (?1, ?2, ?3, ?4)")?;
            for Decided { mac, until, peer, rcode } in decided {
                insert.execute(params![mac, i64::try_from(*until).unwrap_or(i64::MAX), peer, rcode])?;
            }
            drop((put, remove, insert));
            store.save_all(&[], events)
        })
    }

    /// The decision on a request, where one was made and its signature may still be good.
    pub fn decided(&self, mac: &[u8; 16]) -> Result<Option<Decided>, StoreError> {
        let mut query = self.db.prepare_cached("SELECT until, peer, rcode FROM decided WHERE mac = ?1")?;
        let found = query.query_row([mac], |row| {
            let until: i64 = row.get(0)?;
            Ok(Decided { mac: *mac, until: until.cast_unsigned(), peer: row.get(1)?, rcode: row.get(2)? })
        });
        Ok(found.optional()?)
    }
}

/// RDATAs, the length of each before it.
fn pack(rdatas: &[Rdata]) -> Vec<u8> {
    let packed = rdatas.iter().flat_map(|rdata| [&(rdata.len() as u16).to_be_bytes()[..], rdata].concat());
    packed.collect()
}

fn unpack(mut octets: &[u8]) -> Option<Vec<Rdata>> {
    let mut rdatas = Vec::new();
    while let Some((length, rest)) = octets.split_first_chunk::<2>() {
        let (rdata, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rdatas.push(rdata.into());
        octets = rest;
    }
    octets.is_empty().then_some(rdatas)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn layers_and_decisions_outlive_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let (zone, other) = (name("example.org"), name("example.net"));
        let touched = |added: &[&[u8]], gone: &[&[u8]]| Touched {
            ttl: (!added.is_empty()).then_some(60),
            added: added.iter().map(|rdata| (*rdata).into()).collect(),
            gone: gone.iter().map(|rdata| (*rdata).into()).collect(),
        };
        let (a, txt) = (touched(&[&[192, 0, 2, 1], &[192, 0, 2, 2]], &[]), touched(&[], &[b"\x01x", b""]));
        let decided = |last: u8, until| Decided { mac: [last; 16], until, peer: "192.0.2.1:5".to_owned(), rcode: last };
        let mut store = Store::open(folder.path()).unwrap();
        let writes = [
            (&zone, &name("a.example.org"), Rtype::A, a.clone()),
            (&zone, &name("a.example.org"), Rtype::TXT, txt.clone()),
            (&other, &name("b.example.net"), Rtype::A, a.clone()),
        ];
        store.save_updates(&writes, &[decided(1, 100), decided(2, 200)], &[], 50).unwrap();
        drop(store);
        let mut store = Store::open(folder.path()).unwrap();
        let layers = store.layers().unwrap();
        assert_eq!(layers.iter().map(|(zone, _)| zone).collect::<Vec<_>>(), [&other, &zone]);
        assert_eq!(layers[1].1.of(&name("a.example.org"), Rtype::A), Some(&a));
        assert_eq!(layers[1].1.of(&name("a.example.org"), Rtype::TXT), Some(&txt));
        assert_eq!(store.decided(&[1; 16]).unwrap(), Some(decided(1, 100)));
        let gone = [(&zone, &name("A.example.org"), Rtype::A, Touched::default())];
        store.save_updates(&gone, &[], &[], 150).unwrap();
        assert_eq!(store.layers().unwrap()[1].1.sets().count(), 1);
        assert_eq!(store.decided(&[1; 16]).unwrap(), None, "a signature that is no longer good is nobody's worry");
        assert_eq!(store.decided(&[2; 16]).unwrap(), Some(decided(2, 200)));
    }

    #[test]
    fn damage_is_said() {
        let mut store = Store::ephemeral().unwrap();
        let touched = Touched { ttl: Some(1), added: vec![[1][..].into()], gone: Vec::new() };
        store.save_updates(&[(&name("example.org"), &name("a.example.org"), Rtype::A, touched)], &[], &[], 0).unwrap();
        store.db.execute("UPDATE updated SET added = x'0005aa'", []).unwrap();
        assert!(store.layers().unwrap_err().to_string().contains("a.example.org.: its records are damaged"));
    }
}
