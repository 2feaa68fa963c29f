//! A safe wrapper of the C library liblxc, and the protocol of the helper binary that does all that forks.
//!
//! Only the helper binary links `liblxc.so`. The daemon uses [`protocol`] alone, which is plain Rust.

pub mod container;
pub mod ffi;
pub mod intercepted;
pub mod nic;
pub mod protocol;
pub mod proxy;
pub mod saved;
