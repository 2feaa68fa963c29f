//! The generated files under `api/`: each is printed by the program that declares what it lists.

use std::fs;
use std::path::PathBuf;

use crate::source;

/// File under `api/`, program and arguments that print it.
const FILES: &[(&str, &str, &[&str])] = &[
    ("not-yet.txt", "lxd", &["generate", "not-yet"]),
    ("api-extensions.txt", "lxd", &["generate", "api-extensions"]),
    ("config-keys.json", "lxd", &["generate", "config-keys"]),
    ("openapi.json", "lxd", &["generate", "openapi"]),
    ("cli-lxd.md", "lxd", &["generate", "cli"]),
    ("cli-lxc.md", "lxc", &["generate-cli-reference"]),
];

/// Writes the files, or with `check` compares them with what is there.
pub fn run(check: bool) -> Result<String, Vec<String>> {
    let folder = source::root().join("api");
    // The whole workspace, as everybody builds it: one package alone would want its dependencies with other features.
    source::output("cargo", &["build", "--quiet", "--workspace", "--bins"]).map_err(|why| vec![why])?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| source::root().join("target"), PathBuf::from);
    let mut complaints = Vec::new();
    for (name, package, args) in FILES {
        let program = target.join("debug").join(package);
        let fresh = match source::output(&program.display().to_string(), args) {
            Ok(text) => text,
            Err(why) => {
                complaints.push(format!("api/{name}: {why}"));
                continue;
            }
        };
        let path = folder.join(name);
        if !check {
            if let Err(why) = fs::write(&path, fresh) {
                complaints.push(format!("api/{name}: {why}"));
            }
        } else if fs::read_to_string(&path).ok().as_ref() != Some(&fresh) {
            complaints.push(format!("api/{name} is out of date: run `cargo xtask generate`"));
        }
    }
    if complaints.is_empty() {
        Ok(format!("{} generated files are in order", FILES.len()))
    } else {
        Err(complaints)
    }
}
