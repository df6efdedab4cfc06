//! Writes the messages of a transfer: as many records as fit, names compressed.

use super::MESSAGE;
use super::names::Names;
use crate::dns::header::{CLASS_IN, HEADER};
use crate::dns::rdata;
use crate::dns::rtype::{Field, Rtype};

/// One message after the other, in the same memory.
pub(super) struct Writer {
    /// Header and question of the first message; only the header of the others (RFC 5936 section 2.2.1).
    head: Box<[u8]>,
    /// The OPT record of the first message, or nothing.
    opt: Box<[u8]>,
    is_first: bool,
    limit: usize,
    message: Vec<u8>,
    count: u16,
    names: Names,
}

impl Writer {
    pub(super) fn new(head: &[u8], opt: &[u8], limit: usize) -> Writer {
        let (message, names) = (Vec::new(), Names::new());
        Writer { head: head.into(), opt: opt.into(), is_first: true, limit, message, count: 0, names }
    }

    /// Lets the next message be the first again.
    pub(super) fn restart(&mut self) {
        self.is_first = true;
    }

    /// Begins a message.
    pub(super) fn begin(&mut self) {
        self.message.clear();
        self.names.clear();
        self.count = 0;
        let head = if self.is_first { &self.head[..] } else { &self.head[..HEADER] };
        self.message.extend_from_slice(head);
        if self.is_first {
            self.names.note(&self.message, HEADER);
        } else {
            // QDCOUNT.
            self.message[4..6].fill(0);
        }
    }

    /// How many records are in the message.
    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// Appends a record; false where the message has no room for it.
    pub(super) fn put(&mut self, owner: &[u8], rtype: Rtype, ttl: u32, rdata: &[u8]) -> bool {
        let start = self.message.len();
        self.names.put(owner, &mut self.message);
        self.message.extend_from_slice(&rtype.0.to_be_bytes());
        self.message.extend_from_slice(&CLASS_IN.to_be_bytes());
        self.message.extend_from_slice(&ttl.to_be_bytes());
        let length_at = self.message.len();
        self.message.extend_from_slice(&[0, 0]);
        self.put_rdata(rtype, rdata);
        let length = (self.message.len() - length_at - 2) as u16;
        self.message[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
        // A record that is longer than messages are has one of its own.
        let limit = if self.count == 0 { self.limit } else { self.limit.min(MESSAGE) };
        let opt = if self.is_first { self.opt.len() } else { 0 };
        if self.message.len() + opt > limit || self.count == u16::MAX {
            self.message.truncate(start);
            return false;
        }
        self.count += 1;
        true
    }

    /// Names of the types that a message may compress are (RFC 3597 section 4).
    fn put_rdata(&mut self, rtype: Rtype, rdata: &[u8]) {
        let may_compress = |field: &Field| matches!(field, Field::Name { compress: true, .. });
        let mut done = 0;
        if rtype.info().is_some_and(|info| info.fields.iter().any(may_compress)) {
            for (field, span) in rdata::fields(rtype, rdata).unwrap_or_default() {
                if may_compress(&field) {
                    self.message.extend_from_slice(&rdata[done..span.start]);
                    done = span.end;
                    self.names.put(&rdata[span], &mut self.message);
                }
            }
        }
        self.message.extend_from_slice(&rdata[done..]);
    }

    /// The message.
    pub(super) fn finish(&mut self) -> &[u8] {
        self.message[6..8].copy_from_slice(&self.count.to_be_bytes());
        self.message[8..12].fill(0);
        if self.is_first && !self.opt.is_empty() {
            self.message.extend_from_slice(&self.opt);
            self.message[11] = 1;
        }
        self.is_first = false;
        &self.message
    }
}
