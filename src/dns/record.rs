//! Records and RRsets: an owner, a type, a TTL, and RDATA in uncompressed wire form. The class is always IN.

use super::{Name, Rtype};

/// RDATA in wire form, its names uncompressed and in the case they were written in. At most 65,535 octets.
pub type Rdata = Box<[u8]>;

/// One record of class IN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its owner.
    pub owner: Name,
    /// Its TTL in seconds.
    pub ttl: u32,
    /// Its type.
    pub rtype: Rtype,
    /// Its RDATA.
    pub rdata: Rdata,
}

/// The records of one owner and type (RFC 2181 section 5): one TTL, no RDATA twice, in canonical order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RRset {
    /// The type.
    pub rtype: Rtype,
    /// The TTL in seconds.
    pub ttl: u32,
    /// The RDATAs in canonical order (RFC 4034 section 6.3).
    pub rdatas: Vec<Rdata>,
}

impl RRset {
    /// An RRset of one record.
    pub fn new(rtype: Rtype, ttl: u32, rdata: Rdata) -> RRset {
        RRset { rtype, ttl, rdatas: vec![rdata] }
    }

    /// Adds an RDATA at its canonical place. False when it was there already (same canonical form).
    pub fn insert(&mut self, rdata: Rdata) -> bool {
        match self.place(&rdata) {
            Ok(_) => false,
            Err(index) => {
                self.rdatas.insert(index, rdata);
                true
            }
        }
    }

    /// Takes an RDATA away. False when it was not there.
    pub fn remove(&mut self, rdata: &[u8]) -> bool {
        self.place(rdata).map(|index| self.rdatas.remove(index)).is_ok()
    }

    /// Whether it has an RDATA.
    pub fn contains(&self, rdata: &[u8]) -> bool {
        self.place(rdata).is_ok()
    }

    /// Whether another one has the same records in canonical form. The TTL is not looked at.
    pub fn has_records_of(&self, other: &RRset) -> bool {
        self.rdatas.len() == other.rdatas.len() && other.rdatas.iter().all(|rdata| self.contains(rdata))
    }

    /// Where an RDATA is, or where it belongs.
    fn place(&self, rdata: &[u8]) -> Result<usize, usize> {
        let canonical = super::rdata::canonical(self.rtype, rdata);
        self.rdatas.binary_search_by(|other| super::rdata::canonical(self.rtype, other).cmp(&canonical))
    }
}
