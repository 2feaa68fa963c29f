//! The tree as the checks see it: every Rust file with its text, and commands run at the root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One Rust file of the tree.
pub struct Source {
    /// The path from the root, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl Source {
    /// The crate (or package folder) that the file belongs to.
    pub fn package(&self) -> &str {
        let mut parts = self.path.split('/');
        match parts.next() {
            Some("crates") => parts.next().unwrap_or_default(),
            Some(first) => first,
            None => "",
        }
    }

    /// Whether the file holds only tests or benchmarks.
    pub fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name == "tests.rs"
            || name.ends_with("_tests.rs")
            || self.path.contains("/tests/")
            || self.path.starts_with("tests/")
            || self.path.starts_with("fuzz/")
    }
}

/// The root of the workspace.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// All Rust files of the tree, sorted by path.
pub fn rust_files() -> Result<Vec<Source>, String> {
    let root = root();
    let mut found = Vec::new();
    for folder in ["crates", "tests", "xtask", "fuzz"] {
        collect(&root, &root.join(folder), &mut found)?;
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) -> Result<(), String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry.map_err(|e| format!("{}: {e}", folder.display()))?.path();
        if path.is_dir() {
            if !path.ends_with("target") {
                collect(root, &path, found)?;
            }
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            let relative = path.strip_prefix(root).unwrap_or(&path);
            found.push(Source {
                path: relative.to_string_lossy().into_owned(),
                text,
            });
        }
    }
    Ok(())
}

/// Runs a program at the root and gives its standard output.
#[expect(
    clippy::disallowed_methods,
    reason = "lxd-sys is for the daemon; this tool only runs cargo and its output"
)]
pub fn output(program: &str, args: &[&str]) -> Result<String, String> {
    let run = Command::new(program).args(args).current_dir(root()).output();
    let done = run.map_err(|e| format!("{program}: {e}"))?;
    if !done.status.success() {
        return Err(format!(
            "{program} {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&done.stderr)
        ));
    }
    String::from_utf8(done.stdout).map_err(|e| format!("{program}: {e}"))
}
