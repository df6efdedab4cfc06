//! UPDATE messages written without any of danelaw's own code for it, right ones and wrong ones.

use danelaw::dns::{Name, Rtype};

pub const IN: u16 = 1;
pub const NONE: u16 = 254;
pub const ANY: u16 = 255;

/// A record as it will stand in the message, whatever that means.
#[derive(Clone)]
pub struct Raw {
    pub owner: Name,
    pub rtype: u16,
    pub class: u16,
    pub ttl: u32,
    pub rdata: Vec<u8>,
}

impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Raw { owner, rtype, class, ttl, rdata } = self;
        write!(f, "{owner} {ttl} CLASS{class} {} {}", Rtype(*rtype), data_encoding::HEXLOWER.encode(rdata))
    }
}

/// A message before it is octets.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: u16,
    pub zone: Name,
    /// How often the zone's record is there: once, if it is to be read.
    pub zones: u16,
    pub zone_type: u16,
    pub zone_class: u16,
    pub prerequisites: Vec<Raw>,
    pub updates: Vec<Raw>,
    /// Whether names are compressed.
    pub compress: bool,
    /// How many more updates the header promises than there are.
    pub missing: u16,
    /// Octets behind the last record.
    pub behind: Vec<u8>,
}

impl Message {
    pub fn new(zone: &Name, prerequisites: Vec<Raw>, updates: Vec<Raw>) -> Message {
        let (zone, behind) = (zone.clone(), Vec::new());
        Message {
            id: 1,
            zone,
            zones: 1,
            zone_type: 6,
            zone_class: IN,
            prerequisites,
            updates,
            compress: false,
            missing: 0,
            behind,
        }
    }

    pub fn octets(&self) -> Vec<u8> {
        let updates = self.updates.len() as u16 + self.missing;
        let mut out = Vec::new();
        for number in [self.id, 5 << 11, self.zones, self.prerequisites.len() as u16, updates, 0] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        for _ in 0..self.zones {
            out.extend_from_slice(self.zone.as_wire());
            out.extend_from_slice(&self.zone_type.to_be_bytes());
            out.extend_from_slice(&self.zone_class.to_be_bytes());
        }
        for record in self.prerequisites.iter().chain(&self.updates) {
            self.put(record, &mut out);
        }
        out.extend_from_slice(&self.behind);
        out
    }

    fn put(&self, record: &Raw, out: &mut Vec<u8>) {
        out.extend(self.compressed(record.owner.as_wire()));
        out.extend_from_slice(&record.rtype.to_be_bytes());
        out.extend_from_slice(&record.class.to_be_bytes());
        out.extend_from_slice(&record.ttl.to_be_bytes());
        // Of RFC 1035's types, names may be compressed.
        let rdata = match record.rtype {
            2 | 5 | 12 | 15 => self.compressed(&record.rdata),
            _ => record.rdata.clone(),
        };
        out.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
        out.extend_from_slice(&rdata);
    }

    /// Octets that end in the zone's name, with a pointer to it.
    fn compressed(&self, octets: &[u8]) -> Vec<u8> {
        match octets.strip_suffix(self.zone.as_wire()) {
            Some(head) if self.compress && self.zones > 0 => [head, &[0xc0, 12]].concat(),
            _ => octets.to_vec(),
        }
    }
}
