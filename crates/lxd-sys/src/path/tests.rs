//! Roots hold, copies are complete, removal leaves nothing.
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use proptest::prelude::*;

use super::*;

fn at(dir: &tempfile::TempDir, name: &str) -> PathBuf {
    dir.path().join(name)
}

fn copy(from: &Path, to: &Path) -> Copied {
    copy_tree(
        from,
        to,
        CopyOptions {
            progress: &mut |_| true,
            reflink: true,
        },
    )
    .unwrap()
}

#[test]
fn links_out_of_the_root_are_refused_or_stay_inside() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(at(&dir, "root")).unwrap();
    fs::write(at(&dir, "secret"), "s").unwrap();
    fs::write(at(&dir, "root/own"), "o").unwrap();
    symlink("../secret", at(&dir, "root/up")).unwrap();
    symlink("/own", at(&dir, "root/abs")).unwrap();
    let root = Root::open(&at(&dir, "root"), Links::Beneath).unwrap();
    for path in ["up", "abs", "../secret"] {
        assert!(
            matches!(root.open_regular(Path::new(path)), Err(PathError::Escapes { .. })),
            "{path}"
        );
    }
    let chroot = Root::open(&at(&dir, "root"), Links::InRoot).unwrap();
    assert!(chroot.open_regular(Path::new("/abs")).is_ok());
    assert_eq!(
        chroot.open_regular(Path::new("up")).unwrap_err().io_kind(),
        Some(io::ErrorKind::NotFound)
    );
    let strict = Root::open(&at(&dir, "root"), Links::Refused).unwrap();
    assert!(strict.open_regular(Path::new("abs")).is_err());
}

#[test]
fn every_operation_of_a_root_works_inside() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path(), Links::InRoot).unwrap();
    let p = Path::new;
    root.create_directories(p("a/b/c"), 0o755).unwrap();
    root.create_directories(p("a/b/c"), 0o755).unwrap();
    drop(root.create_file(p("/a/b/f"), 0o600).unwrap());
    root.hard_link(p("a/b/f"), p("a/g")).unwrap();
    root.symlink(OsStr::new("/anywhere"), p("a/l")).unwrap();
    root.create_special(p("a/pipe"), Special::Fifo, 0o600).unwrap();
    root.set_owner(p("a/l"), 5, 6).unwrap();
    root.set_mode(p("a/g"), 0o751).unwrap();
    root.set_xattr(p("a/g"), OsStr::new("user.k"), b"v").ok();
    root.rename(p("a/g"), p("a/h")).unwrap();
    assert_eq!(root.read_link(p("a/l")).unwrap(), "/anywhere");
    assert_eq!(root.stat(p("a/l")).unwrap().st_uid, 5);
    assert_eq!(root.stat(p("a/h")).unwrap().st_mode & 0o7777, 0o751);
    assert_eq!(root.stat(p("a/h")).unwrap().st_nlink, 2);
    assert!(
        root.open_regular(p("a/pipe")).is_err(),
        "a pipe is not read as a file"
    );
    root.remove_file(p("a/h")).unwrap();
    root.remove_tree(p("a")).unwrap();
    root.remove_tree(p("a")).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_copy_has_everything() {
    let dir = tempfile::tempdir().unwrap();
    let from = at(&dir, "from");
    fs::create_dir_all(from.join("sub")).unwrap();
    fs::write(from.join("sub/file"), vec![7_u8; 300_000]).unwrap();
    fs::hard_link(from.join("sub/file"), from.join("name2")).unwrap();
    symlink("sub/nowhere", from.join("link")).unwrap();
    std::os::unix::fs::chown(from.join("sub/file"), Some(12), Some(34)).unwrap();
    fs::set_permissions(from.join("sub/file"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(from.join("sub"), fs::Permissions::from_mode(0o1777)).unwrap();
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    rustix::fs::setxattr(
        from.join("sub/file"),
        "security.capability",
        capability,
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    let sparse = File::create(from.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    rustix::io::pwrite(&sparse, b"end", 32 << 20).unwrap();
    let root = Root::open(&from, Links::Refused).unwrap();
    root.create_special(
        Path::new("null"),
        Special::Character { major: 1, minor: 3 },
        0o666,
    )
    .unwrap();
    root.create_special(Path::new("pipe"), Special::Fifo, 0o640)
        .unwrap();
    let old = rustix::fs::Timespec {
        tv_sec: 1_000,
        tv_nsec: 5,
    };
    for name in ["sub/file", "link", "sub", "null"] {
        root.set_times(
            Path::new(name),
            &Timestamps {
                last_access: old,
                last_modification: old,
            },
        )
        .unwrap();
    }

    let to = at(&dir, "to");
    let copied = copy(&from, &to);
    assert_eq!(copied.entries, 7);
    let file = fs::metadata(to.join("sub/file")).unwrap();
    assert_eq!((file.uid(), file.gid(), file.mode() & 0o7777), (12, 34, 0o4751));
    assert_eq!(fs::read(to.join("sub/file")).unwrap(), vec![7_u8; 300_000]);
    assert_eq!(file.ino(), fs::metadata(to.join("name2")).unwrap().ino());
    let mut value = [0_u8; 64];
    let length = rustix::fs::getxattr(to.join("sub/file"), "security.capability", &mut value[..]).unwrap();
    assert_eq!(&value[..length], capability);
    assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("sub/nowhere"));
    for name in ["sub/file", "link", "sub", "null"] {
        assert_eq!(
            fs::symlink_metadata(to.join(name)).unwrap().mtime(),
            1_000,
            "{name}"
        );
    }
    let holes = fs::metadata(to.join("sparse")).unwrap();
    assert_eq!(holes.len(), 64 << 20);
    assert!(holes.blocks() * 512 < 1 << 20, "{} blocks", holes.blocks());
    assert_eq!(
        fs::symlink_metadata(to.join("null")).unwrap().rdev(),
        rustix::fs::makedev(1, 3)
    );
    assert_eq!(fs::metadata(to.join("sub")).unwrap().mode() & 0o7777, 0o1777);
    let (a, b) = (disk_usage(&from).unwrap(), disk_usage(&to).unwrap());
    assert!(a.abs_diff(b) <= 64 * 1024, "{a} {b}");
    assert!(
        (300_000..600_000).contains(&a),
        "the file of two names counts once: {a}"
    );
}

#[test]
fn a_copy_can_be_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(at(&dir, "from")).unwrap();
    fs::write(at(&dir, "from/f"), vec![1; 100_000]).unwrap();
    let options = CopyOptions {
        progress: &mut |_| false,
        reflink: true,
    };
    let result = copy_tree(&at(&dir, "from"), &at(&dir, "to"), options);
    assert!(matches!(result, Err(PathError::Cancelled)));
}

#[test]
fn what_is_removed_during_a_copy_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(at(&dir, "from/d/e")).unwrap();
    for name in ["a", "b", "c", "d/f"] {
        fs::write(at(&dir, &format!("from/{name}")), "x").unwrap();
    }
    let from = at(&dir, "from");
    // The first file that is copied takes all others along.
    let mut left = None;
    let options = CopyOptions {
        progress: &mut |_| {
            if left.is_none() {
                let copied = files(&at(&dir, "to"));
                left = copied.first().cloned();
                for name in ["a", "b", "c", "d/f"] {
                    if Some(name) != left.as_deref() {
                        fs::remove_file(from.join(name)).unwrap();
                    }
                }
                let _ = fs::remove_dir(from.join("d/e"));
            }
            true
        },
        reflink: false,
    };
    copy_tree(&from, &at(&dir, "to"), options).unwrap();
    assert_eq!(files(&at(&dir, "to")), [left.unwrap()]);
}

/// The files of a copy of the above.
fn files(tree: &Path) -> Vec<String> {
    let names = ["a", "b", "c", "d/f"].map(str::to_owned);
    names
        .into_iter()
        .filter(|name| tree.join(name).exists())
        .collect()
}

#[test]
fn trees_deeper_than_any_path_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(at(&dir, "t")).unwrap();
    let mut here = open_directory(CWD, at(&dir, "t")).unwrap();
    for _ in 0..3000 {
        rustix::fs::mkdirat(&here, "d", Mode::from_raw_mode(0o755)).unwrap();
        drop(
            rustix::fs::openat(
                &here,
                "f",
                OFlags::CREATE | OFlags::WRONLY,
                Mode::from_raw_mode(0o600),
            )
            .unwrap(),
        );
        here = open_directory(here.as_fd(), "d").unwrap();
    }
    drop(here);
    let too_deep = copy_tree(
        &at(&dir, "t"),
        &at(&dir, "u"),
        CopyOptions {
            progress: &mut |_| true,
            reflink: true,
        },
    );
    assert!(too_deep.is_err());
    remove_tree(&at(&dir, "u")).unwrap();
    remove_tree(&at(&dir, "t")).unwrap();
    remove_tree(&at(&dir, "t")).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn removal_does_not_follow_links() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(at(&dir, "keep/x")).unwrap();
    fs::create_dir(at(&dir, "t")).unwrap();
    symlink(at(&dir, "keep"), at(&dir, "t/l")).unwrap();
    remove_contents(&at(&dir, "t")).unwrap();
    assert!(at(&dir, "t").exists() && at(&dir, "keep/x").exists());
}

proptest! {
    #[test]
    fn no_path_creates_anything_outside(parts in proptest::collection::vec("(\\.\\.|\\.|/|a|l|up|x)", 1..8)) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(at(&dir, "root/a")).unwrap();
        symlink("..", at(&dir, "root/up")).unwrap();
        symlink("/", at(&dir, "root/a/l")).unwrap();
        let path = PathBuf::from(parts.join("/"));
        for links in [Links::InRoot, Links::Beneath, Links::Refused] {
            let root = Root::open(&at(&dir, "root"), links).unwrap();
            let _ = root.create_file(&path, 0o600);
            let _ = root.create_directories(&path, 0o700);
        }
        let outside: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        prop_assert_eq!(outside, vec![OsString::from("root")]);
    }
}

#[test]
fn what_did_not_change_is_shared_with_the_base() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(at(&dir, "from/sub")).unwrap();
    for (name, text) in [
        ("same", "1"),
        ("other", "2"),
        ("sub/mode", "3"),
        ("sub/same", "4"),
        ("new", "5"),
    ] {
        fs::write(at(&dir, "from").join(name), text).unwrap();
    }
    fs::hard_link(at(&dir, "from/same"), at(&dir, "from/again")).unwrap();
    copy(&at(&dir, "from"), &at(&dir, "base"));
    // Another content of the same size and time, another mode, a file too many, one too few.
    let time = fs::metadata(at(&dir, "base/other")).unwrap().modified().unwrap();
    fs::write(at(&dir, "base/other"), "x").unwrap();
    fs::File::options()
        .write(true)
        .open(at(&dir, "base/other"))
        .unwrap()
        .set_modified(time)
        .unwrap();
    fs::set_permissions(at(&dir, "base/sub/mode"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(at(&dir, "base/extra"), "6").unwrap();
    fs::remove_file(at(&dir, "base/new")).unwrap();
    let options = CopyOptions {
        progress: &mut |_| true,
        reflink: false,
    };
    let done = copy_tree_reusing(&at(&dir, "from"), &at(&dir, "to"), &at(&dir, "base"), options).unwrap();
    assert_eq!(done.reused, 2, "{done:?}");
    let inode = |name: &str| fs::metadata(at(&dir, name)).unwrap().ino();
    for name in ["same", "sub/same"] {
        assert_eq!(
            inode(&format!("to/{name}")),
            inode(&format!("base/{name}")),
            "{name}"
        );
    }
    assert_eq!(inode("to/again"), inode("to/same"));
    for name in ["other", "sub/mode"] {
        assert_ne!(
            inode(&format!("to/{name}")),
            inode(&format!("base/{name}")),
            "{name}"
        );
    }
    assert_eq!(fs::read(at(&dir, "to/other")).unwrap(), b"2");
    assert_eq!(fs::read(at(&dir, "to/new")).unwrap(), b"5");
    assert!(!at(&dir, "to/extra").exists());
    assert_eq!(
        fs::metadata(at(&dir, "to/sub/mode")).unwrap().mode() & 0o777,
        0o644
    );
}
