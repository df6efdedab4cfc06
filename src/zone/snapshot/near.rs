//! Has memory brought near that is going to be read: the one thing here that the language has no safe word for.

/// The octets of a cache line.
const LINE: usize = 64;

/// Asks for the cache line of a value, and does not wait for it.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "a prefetch reads nothing and can't fault; the address is that of a reference")]
pub(super) fn fetch<T: ?Sized>(value: &T) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: the instruction has no effect on memory and is allowed with any address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) }
}

/// Not on this machine.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn fetch<T: ?Sized>(_: &T) {}

/// Asks for the cache lines of the first `most` octets.
pub(super) fn fetch_all(octets: &[u8], most: usize) {
    octets[..octets.len().min(most)].iter().step_by(LINE).for_each(fetch);
}
