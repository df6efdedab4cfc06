//! Has memory brought near that is going to be read: the one thing here that the language has no safe word for.

/// The octets of a cache line.
const LINE: usize = 64;

/// Asks for the cache lines of a value itself, not of what it points to, and does not wait for them.
pub(super) fn fetch<T>(value: &T) {
    let at = std::ptr::from_ref(value).cast::<u8>();
    let last = size_of::<T>().saturating_sub(1);
    (0..last).step_by(LINE).chain([last]).for_each(|octet| line(at.wrapping_add(octet)));
}

/// Asks for the cache lines of the first `most` octets.
pub(super) fn fetch_octets(octets: &[u8], most: usize) {
    octets[..octets.len().min(most)].iter().step_by(LINE).for_each(|octet| line(octet));
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "a prefetch reads nothing and can't fault, whatever the address")]
fn line(at: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: the instruction has no effect on memory and is allowed with any address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
}

/// Not on this machine.
#[cfg(not(target_arch = "x86_64"))]
fn line(_: *const u8) {}
