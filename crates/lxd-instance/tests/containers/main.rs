//! Real containers on the real kernel: needs root, liblxc and busybox-static.

mod adopt;
mod exec;
mod life;
mod limits;
mod world;
