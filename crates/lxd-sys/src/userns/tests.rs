//! Namespaces carry the maps they are given, beside busy threads.
use std::os::unix::fs::MetadataExt;
use std::thread;

use super::*;

#[test]
fn root_outside_is_added_behind_the_last_id_and_only_once() {
    let map = IdMap::shifted(1_000_000, 65536).with_root_outside();
    let root = IdRange {
        inside: 65536,
        outside: 0,
        count: 1,
    };
    assert_eq!(map.uids[1], root);
    assert_eq!(map.gids[1], root);
    assert_eq!(map.with_root_outside(), map);
}

#[test]
fn a_full_range_leaves_no_room_for_root_and_does_not_overflow() {
    let ranges = [IdRange {
        inside: 0,
        outside: 5,
        count: u32::MAX,
    }];
    assert_eq!(add_root(&ranges).len(), 1);
}

#[test]
fn empty_and_oversized_maps_are_refused() {
    assert!(matches!(
        create(&IdMap::default()),
        Err(UsernsError::Lines { lines: 0 })
    ));
    let many = vec![
        IdRange {
            inside: 0,
            outside: 0,
            count: 1
        };
        LINES_MAX + 1
    ];
    let map = IdMap {
        uids: many.clone(),
        gids: many,
    };
    assert!(matches!(create(&map), Err(UsernsError::Lines { .. })));
}

#[test]
fn overlapping_maps_are_refused_by_the_kernel_with_the_map_in_the_error() {
    let range = IdRange {
        inside: 0,
        outside: 1000,
        count: 10,
    };
    let error = create(&IdMap {
        uids: vec![range, range],
        gids: vec![range],
    })
    .unwrap_err();
    assert!(error.to_string().contains("0 1000 10"), "{error}");
}

#[test]
fn many_threads_make_namespaces_at_once_and_leave_no_child() {
    let threads: Vec<_> = (0..8)
        .map(|n| {
            thread::spawn(move || {
                for k in 0..20_u32 {
                    let fd = create(&IdMap::shifted(100_000 + n * 1000 + k, 1000)).unwrap();
                    assert!(rustix::fs::fstat(&fd).unwrap().st_ino > 0);
                }
            })
        })
        .collect();
    for t in threads {
        t.join().unwrap();
    }
}

#[test]
fn a_file_on_disk_is_seen_shifted_through_an_idmapped_mount() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), "x").unwrap();
    if !idmapped_mounts_supported(dir.path()) {
        eprintln!("no idmapped mounts on this file system");
        return;
    }
    let tree = mount::open_tree(dir.path(), false).unwrap();
    let userns = create(&IdMap::shifted(1_000_000, 65536)).unwrap();
    mount::set_idmap(tree.as_fd(), userns.as_fd(), false).unwrap();
    let file = rustix::fs::statat(&tree, "f", rustix::fs::AtFlags::empty()).unwrap();
    assert_eq!(file.st_uid, 1_000_000);
    assert_eq!(fs::metadata(dir.path().join("f")).unwrap().uid(), 0);
}
