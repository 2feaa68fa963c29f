//! The LXD daemon: listeners, authentication, router, handlers, sub-commands.

fn main() {}
