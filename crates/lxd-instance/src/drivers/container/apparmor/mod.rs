//! A container's AppArmor profile: written, loaded, changed while it runs, and taken away again.

mod profile;

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use lxd_model::Invalid;
use lxd_model::config::is_false;
use lxd_sys::command::Command;

use super::{blocking, put, remove};
use crate::error::Error;
use crate::instance::{Instance, InstancePaths, Key};

/// Turns a profile's text into what the kernel takes.
const PARSER: &str = "apparmor_parser";

/// Compiling a profile takes a third of a second on a quick machine.
const LIMIT: Duration = Duration::from_secs(120);

/// The variable by which an administrator does without profiles, as with the reference.
const SWITCH: &str = "LXD_SECURITY_APPARMOR";

const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";
const KERNEL: &str = "/sys/kernel/security/apparmor";

/// Why containers have no profiles here, in the reference's words. Neither kernel nor tools change while the daemon runs.
pub fn lack() -> Option<&'static str> {
    static LACK: LazyLock<Option<&str>> = LazyLock::new(|| {
        if std::env::var(SWITCH).is_ok_and(|value| is_false(&value)) {
            return Some("Manually disabled");
        }
        if !std::fs::read_to_string(ENABLED).is_ok_and(|text| text.trim() == "Y") {
            return Some("Disabled because of lack of kernel support");
        }
        match Command::new(PARSER).resolve() {
            Ok(_) => None,
            Err(_) => Some("Disabled because 'apparmor_parser' couldn't be found"),
        }
    });
    *LACK
}

/// Whether containers have profiles.
pub(super) fn is_on() -> bool {
    lack().is_none()
}

/// Whether profiles can lie on top of each other, so that a container may have some of its own.
pub(super) fn has_stacking() -> bool {
    static STACKS: LazyLock<bool> = LazyLock::new(|| {
        let file = Path::new(KERNEL).join("features/domain/stack");
        std::fs::read_to_string(file).is_ok_and(|text| text.trim() == "yes")
    });
    *STACKS
}

/// What liblxc is told to start a container's init with.
pub(super) fn label(instance: &Instance, stacks: bool) -> String {
    let names = Names::of(instance);
    match stacks {
        true => format!("{}//&:{}:", names.profile, names.namespace),
        false => names.profile,
    }
}

/// Gives a container that is about to start its profile, and a namespace for those that it loads itself.
///
/// # Errors
/// The profile can't be compiled or loaded.
pub(super) async fn load(instance: &Instance, stacks: bool) -> Result<(), Error> {
    let names = Names::of(instance);
    let text = names.text(instance, stacks);
    let owned = names.clone();
    blocking(move || {
        if stacks {
            let folder = owned.namespace_folder();
            match std::fs::create_dir(&folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(Error::file("create", &folder)(error));
                }
                _ => {}
            }
        }
        owned.write(&owned.file, &text)
    })
    .await?;
    let command = Command::new(PARSER)
        .arg("-rWL")
        .arg(&names.cache)
        .arg(&names.file)
        .timeout(LIMIT);
    let loaded = command.output().await.map(drop);
    loaded.map_err(|error| refused(&format!("Load AppArmor profile {:?}", names.profile), &error))
}

/// Puts another profile in the place of the one that a running container has.
///
/// # Errors
/// As [`load`]; the container keeps the old one.
pub(super) async fn change(old: &Instance, new: &Instance) -> Result<(), Error> {
    if !is_on() {
        return Ok(());
    }
    let (stacks, names) = (has_stacking(), Names::of(new));
    match names.text(old, stacks) == names.text(new, stacks) {
        true => Ok(()),
        false => load(new, stacks).await,
    }
}

/// Has the text that a configuration gives compiled, without any effect.
///
/// # Errors
/// `raw.apparmor` is no part of a profile.
pub(super) async fn check(instance: &Instance) -> Result<(), Error> {
    if instance.config("raw.apparmor").is_none() || !is_on() {
        return Ok(());
    }
    let text = Names::of(instance).text(instance, has_stacking());
    let command = Command::new(PARSER).arg("-QK").input(text).timeout(LIMIT);
    let parsed = command.output().await.map(drop);
    parsed.map_err(|error| refused("Parse AppArmor profile", &error))
}

/// Takes a stopped container's profile and namespace from the kernel. The files stay: what they were compiled to serves the
/// next start.
pub(super) fn unload(instance: &Instance) -> Vec<Error> {
    if !is_on() {
        return Vec::new();
    }
    let names = Names::of(instance);
    let folder = names.namespace_folder();
    let mut errors = Vec::new();
    errors.extend(remove(&folder, |path| std::fs::remove_dir(path)));
    let file = Path::new(KERNEL).join(".remove");
    errors.extend(remove(&file, |path| std::fs::write(path, &names.profile)));
    errors
}

/// Removes the files of a container that is no more, or has another name now.
///
/// # Errors
/// The first that can't be removed.
pub fn forget(key: &Key, paths: &InstancePaths) -> Result<(), Error> {
    let names = Names::new(key, paths);
    let gone = |path: &Path| remove(path, |path| std::fs::remove_file(path)).map_or(Ok(()), Err);
    gone(&names.file)?;
    // The parser has a folder for each set of features that kernels have.
    let caches = std::fs::read_dir(&names.cache).into_iter().flatten().flatten();
    let file = names.file.file_name().unwrap_or_default();
    caches
        .map(|cache| cache.path().join(file))
        .try_for_each(|path| gone(&path))
}

fn refused(what: &str, error: &lxd_sys::command::Error) -> Error {
    let text = format!("{what}: Failed to run: {error}");
    Invalid::of_kind(lxd_model::ErrorKind::Internal, text).into()
}

/// What a container's profile is called, and where it is.
#[derive(Clone)]
struct Names {
    profile: String,
    namespace: String,
    file: PathBuf,
    cache: PathBuf,
}

impl Names {
    fn of(instance: &Instance) -> Self {
        Self::new(&instance.key, &instance.paths)
    }

    fn new(key: &Key, paths: &InstancePaths) -> Self {
        let short = format!("lxd-{}", key.prefixed());
        let state = paths.containers.parent().unwrap_or(Path::new("/"));
        let shown = state.display().to_string();
        let folder = state.join("security/apparmor");
        Self {
            profile: format!("{short}_<{shown}>"),
            // A slash would lead into another namespace.
            namespace: format!("{short}_<{}>", shown.trim_start_matches('/').replace('/', "-")),
            file: folder.join("profiles").join(short),
            cache: folder.join("cache"),
        }
    }

    /// The profile's text.
    fn text(&self, instance: &Instance, stacks: bool) -> String {
        profile::text(instance, &self.profile, stacks.then_some(&self.namespace))
    }

    fn namespace_folder(&self) -> PathBuf {
        Path::new(KERNEL).join("policy/namespaces").join(&self.namespace)
    }

    /// Writes a profile where it differs from what is there: the parser compiles what is newer than its result.
    fn write(&self, file: &Path, text: &str) -> Result<(), Error> {
        for folder in [file.parent().unwrap_or(Path::new("/")), &self.cache] {
            let made = std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder);
            made.map_err(Error::file("create", folder))?;
        }
        match std::fs::read_to_string(file).is_ok_and(|old| old == text) {
            true => Ok(()),
            false => put(file, text, 0o600),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::tests::plain;

    #[test]
    fn names_are_those_that_an_administrator_knows() {
        let mut instance = plain("/x/lxd".as_ref(), "c1");
        let profile = label(&instance, false);
        assert_eq!(profile, "lxd-c1_</x/lxd>");
        assert_eq!(label(&instance, true), "lxd-c1_</x/lxd>//&:lxd-c1_<x-lxd>:");
        instance.key.project = "p".into();
        assert_eq!(label(&instance, false), "lxd-p_c1_</x/lxd>");
    }

    #[test]
    fn nesting_and_raw_rules_change_the_profile_and_other_keys_do_not() {
        let plain = plain("/x/lxd".as_ref(), "c1");
        let with = |key: &str, value: &str| {
            let mut instance = plain.clone();
            instance.config.insert(key.into(), value.into());
            Names::of(&instance).text(&instance, true)
        };
        let text = Names::of(&plain).text(&plain, true);
        assert_ne!(with("security.nesting", "true"), text);
        assert_ne!(with("raw.apparmor", "deny /x w,"), text);
        assert_eq!(with("user.x", "1"), text);
    }

    #[test]
    fn files_are_written_when_they_differ_and_forgotten_with_what_was_compiled() {
        let folder = tempfile::tempdir().unwrap();
        let instance = plain(folder.path(), "c1");
        let names = Names::of(&instance);
        names.write(&names.file, "a").unwrap();
        let written = || std::fs::metadata(&names.file).unwrap().modified().unwrap();
        let first = written();
        names.write(&names.file, "a").unwrap();
        assert_eq!(written(), first);
        names.write(&names.file, "b").unwrap();
        assert_eq!(std::fs::read_to_string(&names.file).unwrap(), "b");
        let compiled = names.cache.join("abc.0");
        std::fs::create_dir(&compiled).unwrap();
        std::fs::write(compiled.join("lxd-c1"), "").unwrap();
        std::fs::write(compiled.join("lxd-c2"), "").unwrap();
        forget(&instance.key, &instance.paths).unwrap();
        forget(&instance.key, &instance.paths).unwrap();
        assert!(!names.file.exists() && !compiled.join("lxd-c1").exists());
        assert!(compiled.join("lxd-c2").exists());
    }
}
