//! The real daemon in a state directory of its own, as its clients, its administrator and init see it.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod harness;
mod lifecycle;
mod requests;
mod strangers;
mod websockets;
