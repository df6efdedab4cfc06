//! A text that is had piece by piece: a large file need not be in memory as a whole.

/// Octets that can be read from any place on.
pub trait Pieces {
    /// How many there are.
    fn length(&self) -> usize;

    /// Fills `into` with those from `at` on. None where they can't be had.
    fn read(&self, at: usize, into: &mut [u8]) -> Option<()>;
}

impl Pieces for [u8] {
    fn length(&self) -> usize {
        self.len()
    }

    fn read(&self, at: usize, into: &mut [u8]) -> Option<()> {
        into.copy_from_slice(self.get(at..)?.get(..into.len())?);
        Some(())
    }
}

/// How many octets are compared at once.
const CHUNK: usize = 1 << 10;
/// So many are read for that at a time: they stay near.
const STRIDE: usize = if cfg!(debug_assertions) { 1 << 11 } else { 1 << 17 };

/// How many octets two texts have in common at their heads, and how many more at their ends.
pub(super) fn common<T: Pieces + ?Sized>(old: &T, new: &T) -> Option<(usize, usize)> {
    let shorter = old.length().min(new.length());
    let mut buffers = (vec![0; STRIDE.min(shorter)], vec![0; STRIDE.min(shorter)]);
    let mut read = |len: usize, (old_at, new_at): (usize, usize), same: fn(&[u8], &[u8]) -> usize| {
        let (left, right) = (&mut buffers.0[..len], &mut buffers.1[..len]);
        old.read(old_at, left)?;
        new.read(new_at, right)?;
        Some(same(left, right))
    };
    let mut head = 0;
    while head < shorter {
        let len = STRIDE.min(shorter - head);
        let same = read(len, (head, head), common_head)?;
        head += same;
        if same < len {
            break;
        }
    }
    let mut tail = 0;
    while tail < shorter - head {
        let len = STRIDE.min(shorter - head - tail);
        let same = read(len, (old.length() - tail - len, new.length() - tail - len), common_tail)?;
        tail += same;
        if same < len {
            break;
        }
    }
    Some((head, tail))
}

fn common_head(left: &[u8], right: &[u8]) -> usize {
    let chunks = left.chunks_exact(CHUNK).zip(right.chunks_exact(CHUNK));
    let at = chunks.take_while(|(left, right)| left == right).count() * CHUNK;
    let rest = left[at..].iter().zip(&right[at..]);
    at + rest.take_while(|(left, right)| left == right).count()
}

fn common_tail(left: &[u8], right: &[u8]) -> usize {
    let chunks = left.rchunks_exact(CHUNK).zip(right.rchunks_exact(CHUNK));
    let at = chunks.take_while(|(left, right)| left == right).count() * CHUNK;
    let rest = left[..left.len() - at].iter().rev().zip(right[..right.len() - at].iter().rev());
    at + rest.take_while(|(left, right)| left == right).count()
}
