//! Real containers on the real kernel: needs root, liblxc and busybox-static.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail by panicking"
)]

mod adopt;
mod devices;
mod exec;
mod life;
mod limits;
mod world;
