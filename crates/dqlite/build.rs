//! Links the system's libdqlite, found through pkg-config; the C sources are never vendored.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if let Err(error) = pkg_config::Config::new().atleast_version("1.11").probe("dqlite") {
        panic!("libdqlite 1.11 or later is needed (Debian: apt-get install libdqlite-dev): {error}");
    }
}
