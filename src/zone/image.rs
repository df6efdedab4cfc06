//! A zone as octets that outlive the process: what its file said, and what was published of it.
//!
//! An image is read back by the version that wrote it, from a file that has a checksum: its pages are taken as they are.

use super::contents::Contents;
use super::denial::Denial;
use super::denial::nsec3::Parameters;
use super::reread::Marks;
use super::sign::Published;
use super::tree::Tree;
use crate::dns::Timestamp;

/// What is kept of a zone.
#[derive(Clone, Debug)]
pub struct Image {
    /// A digest of the file that the contents were read from, if they came from one file alone.
    pub source: Option<[u8; 32]>,
    /// Whether they were signed elsewhere, and checked.
    pub verified: bool,
    /// What the file said.
    pub contents: Contents,
    /// What was published.
    pub published: Published,
    /// The marks in the file, where it is a large one.
    pub marks: Option<Marks>,
}

impl Image {
    /// The octets.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, self.source.as_ref().map_or(&[], |digest| &digest[..]));
        out.push(self.verified.into());
        let Published { tree, denial, serial, refresh_at, expires_at, begins_at, .. } = &self.published;
        out.extend_from_slice(&serial.to_le_bytes());
        for time in [refresh_at, expires_at, begins_at] {
            out.extend_from_slice(&time.map_or(0, |time| time + 1).to_le_bytes());
        }
        out.extend_from_slice(&self.published.digest.to_le_bytes());
        match denial {
            Denial::Nsec => put(&mut out, &[]),
            Denial::Nsec3(Parameters { iterations, salt, opt_out }) => {
                let [low, high] = iterations.to_le_bytes();
                put(&mut out, &[&[u8::from(*opt_out), low, high], &salt[..]].concat());
            }
        }
        out.extend_from_slice(&(self.published.signers.len() as u32).to_le_bytes());
        self.published.signers.iter().for_each(|dnskey| put(&mut out, dnskey));
        tree.write(None, &mut out);
        self.contents.tree().write(Some(tree), &mut out);
        out.push(self.marks.is_some().into());
        self.marks.iter().for_each(|marks| marks.write(&mut out));
        out
    }

    /// Reads an image; none where the octets are no whole one.
    pub fn from_bytes(image: &[u8]) -> Option<Image> {
        let mut rest = image;
        let source = take(&mut rest)?;
        let [verified] = *chunk(&mut rest)?;
        let serial = u32::from_le_bytes(*chunk(&mut rest)?);
        let mut time = || -> Option<Option<Timestamp>> { Some(u64::from_le_bytes(*chunk(&mut rest)?).checked_sub(1)) };
        let (refresh_at, expires_at, begins_at) = (time()?, time()?, time()?);
        let digest = u128::from_le_bytes(*chunk(&mut rest)?);
        let denial = match take(&mut rest)? {
            [] => Denial::Nsec,
            [opt_out, low, high, salt @ ..] => Denial::Nsec3(Parameters {
                iterations: u16::from_le_bytes([*low, *high]),
                salt: salt.into(),
                opt_out: *opt_out != 0,
            }),
            _ => return None,
        };
        let count = u32::from_le_bytes(*chunk(&mut rest)?);
        let signers = (0..count).map(|_| take(&mut rest).map(Into::into)).collect::<Option<_>>()?;
        let tree = Tree::read(None, &mut rest)?;
        let contents = Contents::from(Tree::read(Some(&tree), &mut rest)?);
        let marks = match chunk(&mut rest)? {
            [0] => None,
            _ => Some(Marks::read(contents.origin(), &mut rest)?),
        };
        let published = Published { tree, denial, serial, refresh_at, expires_at, begins_at, digest, signers };
        let (source, verified) = (source.try_into().ok(), verified != 0);
        rest.is_empty().then_some(Image { source, verified, contents, published, marks })
    }
}

/// Appends octets with their number before them.
pub(super) fn put(out: &mut Vec<u8>, octets: &[u8]) {
    out.extend_from_slice(&(octets.len() as u32).to_le_bytes());
    out.extend_from_slice(octets);
}

/// The octets that [`put`] appended.
pub(super) fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = u32::from_le_bytes(*chunk(rest)?) as usize;
    let (octets, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(octets)
}

/// The next octets, so many as are asked for.
pub(super) fn chunk<'a, const LEN: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; LEN]> {
    let (octets, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(octets)
}
