//! The real daemon in a state directory of its own, as its clients, its administrator and init see it.

mod harness;
mod lifecycle;
mod requests;
mod strangers;
mod websockets;
