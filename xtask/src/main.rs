//! The automation of the project: `cargo xtask tidy` and `cargo xtask generate`.

fn main() {}
