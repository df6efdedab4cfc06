//! The heap's room after much work: what was used for a while and is free goes back to the system.

/// Gives the free pages back. The C library keeps them otherwise, each thread's apart: at a start with thousands of zones the files'
/// text, the images, and the findings about them leave as much as a seventh of what the zones take.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "no crate wraps malloc_trim, which takes a number and touches free memory only")]
pub fn give_back() {
    // SAFETY: it may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other C libraries give it back by themselves, or have no call for it.
#[cfg(not(target_env = "gnu"))]
pub fn give_back() {}
