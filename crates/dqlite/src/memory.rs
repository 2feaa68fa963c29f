//! The C allocator's settings, which decide how much memory a process that hosts a node keeps.
#![allow(
    unsafe_code,
    reason = "calls mallopt and malloc_trim, which have no safe wrapper"
)]

/// Lets glibc use at most `arenas` heaps.
///
/// libdqlite's threads and the runtime's workers would otherwise get a heap of their own each, and what one
/// frees is not given to another. Call it once, first thing, while there is one thread.
pub fn limit_arenas(arenas: u16) {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: mallopt only changes the allocator's own settings and takes its locks itself.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, i32::from(arenas)) };
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = arenas;
}

/// Gives freed memory at the top and in the middle of the heaps back to the kernel; takes about a millisecond.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: malloc_trim may be called at any time, from any thread.
        unsafe { libc::malloc_trim(0) };
    }
}
