//! Finds liblxc and links it to this package's own binaries and tests, never to crates that depend on it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Without `cargo_metadata(false)` every dependent, the daemon included, would load liblxc.so at start.
    let library = pkg_config::Config::new()
        .atleast_version("4.0.0")
        .cargo_metadata(false)
        .probe("lxc");
    match library {
        Ok(library) => {
            for path in library.link_paths {
                println!("cargo::rustc-link-arg=-L{}", path.display());
            }
            println!("cargo::rustc-link-arg=-llxc");
        }
        Err(error) => println!("cargo::error=liblxc is needed (Debian: apt-get install lxc-dev): {error}"),
    }
}
