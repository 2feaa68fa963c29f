//! The LXD client: one file per command, rendering, remotes.

fn main() {}
