//! The server itself: what `GET /1.0` says, and its configuration.

pub mod password;
