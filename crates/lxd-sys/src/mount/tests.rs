//! Mount calls on a real kernel, in temporary directories.
use std::fs;

use super::*;

/// Detaches what a failed test left mounted.
struct Area(tempfile::TempDir);

impl Area {
    fn new(directories: &[&str]) -> Self {
        let area = Self(tempfile::tempdir().unwrap());
        for name in directories {
            fs::create_dir_all(area.at(name)).unwrap();
        }
        area
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        let (_, failures) = detach_beneath(self.0.path());
        assert!(failures.is_empty(), "{failures:?}");
    }
}

#[test]
fn a_bind_shows_the_source_and_read_only_refuses_writes() {
    let area = Area::new(&["from", "to"]);
    fs::write(area.at("from/f"), "x").unwrap();
    bind(
        &area.at("from"),
        &area.at("to"),
        BindOptions {
            read_only: true,
            ..Default::default()
        },
    )
    .unwrap();
    assert_eq!(fs::read(area.at("to/f")).unwrap(), b"x");
    assert_eq!(
        fs::write(area.at("to/g"), "y").unwrap_err().raw_os_error(),
        Some(libc::EROFS)
    );
    assert!(is_mountpoint(&area.at("to")));
    unmount(&area.at("to")).unwrap();
    assert!(!is_mountpoint(&area.at("to")));
    assert!(!is_mountpoint(&area.at("missing")));
}

#[test]
fn detach_beneath_takes_stacked_and_nested_mounts() {
    let area = Area::new(&["m"]);
    tmpfs(&area.at("m"), &[("size", "64k")]).unwrap();
    tmpfs(&area.at("m"), &[("size", "64k"), ("mode", "0711")]).unwrap();
    fs::create_dir(area.at("m/with space")).unwrap();
    tmpfs(&area.at("m/with space"), &[]).unwrap();
    assert_eq!(mounts_beneath(area.0.path()).unwrap().len(), 3);
    let (detached, failures) = detach_beneath(&area.at("m"));
    assert_eq!((detached, failures.len()), (3, 0));
    assert!(mounts_beneath(area.0.path()).unwrap().is_empty());
    detach(&area.at("m")).unwrap();
}

#[test]
fn a_shared_mount_is_made_once() {
    let area = Area::new(&["s"]);
    assert!(!is_mounted_on_itself(&area.at("s")).unwrap());
    assert!(make_shared_mount(&area.at("s")).unwrap());
    assert!(!make_shared_mount(&area.at("s")).unwrap());
    assert!(is_mounted_on_itself(&area.at("s")).unwrap());
    assert_eq!(mounts_beneath(&area.at("s")).unwrap().len(), 1);
    set_propagation(&area.at("s"), Propagation::Private, true).unwrap();
    detach(&area.at("s")).unwrap();
}

#[tokio::test]
async fn a_process_alone_sees_and_writes_what_is_mounted_for_it() {
    let area = Area::new(&["open", "shut", "t"]);
    let tree = open_tree(&area.at("open"), true).unwrap();
    let namespace = private_namespace(|| {
        freeze_all()?;
        attach(tree.as_fd(), &area.at("open"))?;
        tmpfs(&area.at("t"), &[("size", "4k")])
    });
    let script = "touch open/f; touch shut/f; touch t/f; ls open shut t";
    let command = crate::command::Command::new("sh")
        .args(["-c", script])
        .cwd(area.at(""));
    let output = command.namespace(namespace.unwrap()).output().await;
    assert_eq!(output.unwrap().text().trim(), "open:\nf\n\nshut:\n\nt:\nf");
    assert!(area.at("open/f").exists() && !area.at("t/f").exists());
}

#[test]
fn a_wrong_option_is_named_in_the_error() {
    let area = Area::new(&["m"]);
    let error = tmpfs(&area.at("m"), &[("sizzle", "1")]).unwrap_err().to_string();
    assert!(error.contains("sizzle=1"), "{error}");
}

#[test]
fn mountinfo_is_read_with_escapes_and_optional_fields() {
    let text = b"36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue\ngarbage\n\
        37 36 0:5 / /x rw - tmpfs none rw\n";
    let found = parse_mountinfo(text);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].target, Path::new("/mnt 2"));
    assert_eq!(found[0].fstype, "ext3");
    assert_eq!((found[1].id, found[1].parent), (37, 36));
}

proptest::proptest! {
    #[test]
    fn mountinfo_never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        parse_mountinfo(&bytes);
    }
}
