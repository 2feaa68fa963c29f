//! How the C library's allocator treats a long-lived process with many threads.
#![allow(unsafe_code, reason = "mallopt has no safe form")]

use std::ffi::c_int;

/// Freed memory at the end of the heap goes back to the kernel from this size on, in bytes.
const TRIM: c_int = 256 << 10;

/// Makes all threads share `arenas` heaps, which then stay small. Call it before the first thread starts.
pub fn share_arenas(arenas: u8) {
    // SAFETY: mallopt only sets numbers of the allocator and takes its lock.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, c_int::from(arenas));
        libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM);
    }
}

/// Gives the free parts of all heaps back to the kernel.
pub fn trim() {
    // SAFETY: malloc_trim takes the allocator's own locks and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}
