//! A shift changes everything that holds ids, and one that was killed can be ended or undone.
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::userns::IdMap;

const BASE: u32 = 1_000_000;
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A list with a user and a group, in the kernel's form.
fn list(user: u32, group: u32) -> Vec<u8> {
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, id) in [
        (1_u16, u32::MAX),
        (2, user),
        (4, u32::MAX),
        (8, group),
        (0x10, u32::MAX),
        (0x20, u32::MAX),
    ] {
        list.extend_from_slice(&tag.to_le_bytes());
        list.extend_from_slice(&[4, 0]);
        list.extend_from_slice(&id.to_le_bytes());
    }
    list
}

/// A tree of everything that has an owner.
fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let at = |name: &str| dir.path().join(name);
    for n in 0..40 {
        fs::create_dir_all(at(&format!("d{n}/sub"))).unwrap();
        for m in 0..20 {
            let file = at(&format!("d{n}/sub/f{m}"));
            fs::write(&file, "x").unwrap();
            lchown(&file, Some(n), Some(m)).unwrap();
        }
    }
    fs::write(at("su"), "x").unwrap();
    lchown(at("su"), Some(33), Some(0)).unwrap();
    fs::set_permissions(at("su"), Permissions::from_mode(0o6755)).unwrap();
    fs::write(at("ping"), "x").unwrap();
    let flags = XattrFlags::empty();
    rustix::fs::setxattr(at("ping"), "security.capability", &CAPABILITY, flags).unwrap();
    fs::write(at("listed"), "x").unwrap();
    rustix::fs::setxattr(at("listed"), "system.posix_acl_access", &list(7, 9), flags).unwrap();
    fs::create_dir(at("inherits")).unwrap();
    rustix::fs::setxattr(at("inherits"), "system.posix_acl_default", &list(7, 9), flags).unwrap();
    symlink("/etc/passwd", at("link")).unwrap();
    fs::hard_link(at("su"), at("d1/su")).unwrap();
    fs::hard_link(at("d2/sub/f3"), at("d3/f3")).unwrap();
    dir
}

/// What there is: names, owners, modes, attributes.
fn picture(top: &Path) -> Vec<String> {
    let mut all = Vec::new();
    super::super::walk(top, &mut |node| {
        let attributes = node.xattrs(|_| true)?;
        let stat = node.stat;
        all.push(format!(
            "{} {} {} {:o} {attributes:?}",
            node.path.display(),
            stat.st_uid,
            stat.st_gid,
            stat.st_mode
        ));
        Ok::<_, PathError>(())
    })
    .unwrap();
    all
}

fn shift(top: &Path, owners: &Owners, extent: Extent) -> u64 {
    let options = ShiftOptions {
        owners,
        extent,
        progress: &|_| true,
    };
    shift_tree(top, &options).unwrap()
}

fn moment() -> Moment {
    Moment::now(tempfile::tempfile_in("/var/tmp").unwrap()).unwrap()
}

#[test]
fn everything_that_holds_ids_is_shifted_and_comes_back() {
    let dir = tree();
    let before = picture(dir.path());
    let passwd = fs::metadata("/etc/passwd").unwrap().uid();
    let map = IdMap::shifted(BASE, 65_536);
    let owners = Owners::new(None, Some(&map));
    let done = shift(dir.path(), &owners, Extent::Whole);
    assert_eq!(done as usize, before.len());
    let at = |name: &str| fs::symlink_metadata(dir.path().join(name)).unwrap();
    assert_eq!((at("").uid(), at("").gid()), (BASE, BASE));
    let of = |name: &str| (at(name).uid(), at(name).gid(), at(name).mode() & 0o7777);
    assert_eq!(of("su"), (BASE + 33, BASE, 0o6755));
    assert_eq!(of("d5/sub/f7"), (BASE + 5, BASE + 7, 0o644));
    assert_eq!(at("link").uid(), BASE);
    assert_eq!(fs::metadata("/etc/passwd").unwrap().uid(), passwd);
    let attribute = |file: &str, name: &str| {
        let mut value = [0_u8; 200];
        let length = rustix::fs::getxattr(dir.path().join(file), name, &mut value[..]).unwrap();
        value[..length].to_vec()
    };
    assert_eq!(attribute("ping", "security.capability")[20..], BASE.to_le_bytes());
    let shifted = list(BASE + 7, BASE + 9);
    assert_eq!(attribute("listed", "system.posix_acl_access"), shifted);
    assert_eq!(attribute("inherits", "system.posix_acl_default"), shifted);
    shift(dir.path(), &owners.reversed(), Extent::Whole);
    assert_eq!(picture(dir.path()), before);
}

#[test]
fn one_that_was_stopped_is_ended_or_undone() {
    // The map covers the ids that files have before and after, so that only the moment tells these apart.
    let map = IdMap::shifted(10, 65_536);
    let owners = Owners::new(None, Some(&map));
    let whole = tree();
    let before = picture(whole.path());
    shift(whole.path(), &owners, Extent::Whole);
    let after = picture(whole.path());
    for stop in [0, 100, 400, 700] {
        for wanted in [&after, &before] {
            let dir = tree();
            let since = moment();
            let seen = AtomicU64::new(0);
            let options = ShiftOptions {
                owners: &owners,
                extent: Extent::Whole,
                progress: &|count| seen.fetch_add(count, Ordering::Relaxed) < stop,
            };
            let error = shift_tree(dir.path(), &options).unwrap_err();
            assert!(matches!(error, PathError::Cancelled));
            let extent = match wanted == &before {
                true => Extent::Back(since),
                false => Extent::Rest(since),
            };
            shift(dir.path(), &owners, extent);
            assert_eq!(&picture(dir.path()), wanted, "stopped at {stop}");
        }
    }
}

#[test]
fn a_file_whose_change_had_begun_is_changed_once() {
    let map = IdMap::shifted(10, 65_536);
    let owners = Owners::new(None, Some(&map));
    for (extent, wanted) in [
        (Extent::Rest as fn(Moment) -> Extent, (43, 10, 0o6755)),
        (Extent::Back, (33, 0, 0o6755)),
    ] {
        let dir = tree();
        let since = moment();
        let file = dir.path().join("su");
        let before = Before {
            uid: 33,
            gid: 0,
            mode: 0o6755,
            attributes: Vec::new(),
        };
        assert_eq!(Before::decode(&before.encode()).as_ref(), Some(&before));
        assert_eq!(Before::decode(&before.encode()[..9]), None);
        rustix::fs::setxattr(&file, MARK, &before.encode(), XattrFlags::empty()).unwrap();
        // The daemon was killed here: the bits are gone.
        lchown(&file, Some(43), Some(10)).unwrap();
        shift(dir.path(), &owners, extent(since));
        let stat = fs::metadata(&file).unwrap();
        assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o7777), wanted);
        let left = picture(dir.path());
        assert!(!left.iter().any(|line| line.contains(MARK)), "{left:?}");
    }
}
