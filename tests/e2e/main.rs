//! The end-to-end tests: each module is one concept, seen as a user sees it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends at the first surprise"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "these tests run programs as users do; lxd-sys is the daemon's"
)]
#![allow(missing_docs, reason = "tests are named after what they show")]

mod backups;
mod bad_input;
mod btrfs;
mod clients;
mod console;
mod crash;
mod daemon;
mod devices;
mod devlxd;
mod files;
mod intercept;
mod migration;
mod mount;
mod nics;
mod output;
mod proxy;
mod questions;
mod remote_images;
mod shift;
mod snapshots;
mod takeover;
mod templates;
mod testbed;
mod volumes;
