//! The way to a name's answer, gone ahead of the answer: each step asks for the memory that the next one reads.

use super::ZoneSnapshot;
use super::name::HashedName;
use super::near;
use super::zones::Zones;
use crate::dns::name::is_at_or_below;

/// So many names are followed together: what they lead to fits into the nearest caches, and more would push it out again.
pub const TOGETHER: usize = 32;
/// So many octets of the NSEC's owner, and of the apex up to its SOA, are what a denial needs of them.
const OWNER: usize = 384;
const APEX: usize = 576;

/// How far one name was followed.
#[derive(Clone, Copy, Default)]
pub(super) struct Way<'z, 'n> {
    name: &'n [u8],
    hash: u64,
    apex: u64,
    zone: Option<&'z ZoneSnapshot>,
}

impl<'z, 'n> Way<'z, 'n> {
    /// Begins with the slot of the zone.
    pub(super) fn of(name: HashedName<'n>, zones: &Zones) -> Way<'z, 'n> {
        Way { name: name.as_wire(), hash: name.hash(), apex: zones.prefetch(&name), zone: None }
    }

    /// The zone itself.
    pub(super) fn find_zone(&mut self, zones: &'z Zones) {
        self.zone = zones.likely(self.apex);
        if let Some(zone) = self.zone {
            near::fetch(&zone.index);
            near::fetch(&zone.zone.tree);
            near::fetch(&zone.expires_at);
        }
    }

    /// The slot of the name.
    pub(super) fn find_slot(&mut self) {
        self.zone = self.zone.filter(|zone| is_at_or_below(self.name, zone.origin().as_wire()));
        if let Some(zone) = self.zone {
            zone.index.prefetch(self.hash);
        }
    }

    /// The name's node, and then all is done; else, where a search among its neighbours begins.
    pub(super) fn find_node(&mut self) {
        if let Some(zone) = self.zone
            && (zone.index.prefetch_node(&zone.zone.tree, self.hash) || zone.is_hashed())
        {
            self.zone = None;
        }
        if let Some(zone) = self.zone {
            near::fetch_octets(zone.zone.tree.page_of(self.name).heads(), usize::MAX);
        }
    }

    /// The node whose NSEC covers the name.
    pub(super) fn find_denial(&mut self) {
        let Some(zone) = self.zone else { return };
        near::fetch_octets(zone.zone.tree.apex_node().as_bytes(), APEX);
        if let Some(node) = zone.covering(self.name) {
            near::fetch_octets(node.as_bytes(), OWNER);
        }
    }
}
