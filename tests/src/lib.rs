//! What the end-to-end tests share: a daemon of their own (ours or the reference's), its clients, images, and the
//! clean-up after all of them.
#![allow(
    clippy::disallowed_methods,
    reason = "these tests run programs as users do; lxd-sys is the daemon's"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends at the first surprise"
)]
#![allow(
    clippy::missing_panics_doc,
    reason = "every function here panics at the first surprise"
)]

pub mod compare;
pub mod image;
pub mod program;
pub mod server;
pub mod socket;
pub mod streams;
pub mod web;

pub use program::Done;
pub use server::{Kind, Server};
