//! Good images arrive whole, bad ones leave nothing behind.
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ::tar::EntryType;
use proptest::prelude::*;

use super::fixtures::{Piece, archive, directory, file, hard_link, image, symlink, write};
use super::*;
use crate::watch::Watch;

const LIMITS: Limits = Limits {
    bytes: 64 << 20,
    entries: 10_000,
    ratio: 1000,
};

fn pack(kind: Compression, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match kind {
        Compression::None => out.extend_from_slice(bytes),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(&mut out, flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap();
        }
        Compression::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(&mut out, bzip2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap();
        }
        Compression::Xz => {
            // Two streams with padding between, in the middle of the archive.
            let (first, second) = bytes.split_at(bytes.len() / 2);
            for part in [first, second] {
                let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
                encoder.write_all(part).unwrap();
                out.extend_from_slice(&encoder.finish().unwrap());
                out.extend_from_slice(&[0; 8]);
            }
        }
        Compression::Zstd => out = zstd::encode_all(bytes, 1).unwrap(),
        Compression::Lzma => {
            let options = liblzma::stream::LzmaOptions::new_preset(1).unwrap();
            let stream = liblzma::stream::Stream::new_lzma_encoder(&options).unwrap();
            let mut encoder = liblzma::write::XzEncoder::new_stream(&mut out, stream);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap();
        }
        Compression::Squashfs => unreachable!(),
    }
    out
}

fn try_unpack(bytes: &[u8]) -> (tempfile::TempDir, Result<Unpacked, ImageError>) {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "image", bytes);
    let target = dir.path().join("target");
    fs::create_dir(&target).unwrap();
    let result = unpack(&ImageFiles::Unified(path), &target, LIMITS, &Watch::none());
    (dir, result)
}

fn refused(more: Vec<Piece>) -> String {
    let (dir, result) = try_unpack(&image(more));
    let names: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let error = result.unwrap_err();
    let mut text = error.to_string();
    if let Some(source) = std::error::Error::source(&error) {
        text = format!("{text}: {source}");
    }
    text
}

#[test]
fn every_compression_is_recognized_read_and_unpacked() {
    let kinds = [
        Compression::None,
        Compression::Gzip,
        Compression::Bzip2,
        Compression::Xz,
        Compression::Zstd,
        Compression::Lzma,
    ];
    for kind in kinds {
        let (dir, result) = try_unpack(&pack(kind, &image(vec![])));
        let unpacked = result.unwrap_or_else(|e| panic!("{kind:?}: {e}"));
        assert_eq!(unpacked.skipped, Vec::<String>::new());
        let rootfs = dir.path().join("target/rootfs");
        assert_eq!(
            fs::read(rootfs.join("etc/inittab")).unwrap(),
            b"::sysinit:/bin/true\n"
        );
        assert_eq!(fs::metadata(rootfs.join("etc/hostname")).unwrap().nlink(), 2);
        assert_eq!(fs::metadata(rootfs.join("etc/hostname")).unwrap().mtime(), 1000);
        assert_eq!(fs::read_link(rootfs.join("bin")).unwrap(), Path::new("usr/bin"));
        assert!(dir.path().join("target/templates/hostname.tpl").exists());
        let image = dir.path().join("image");
        assert_eq!(Compression::of_file(&image).unwrap(), kind);
        let contents = read_contents(&ImageFiles::Unified(image), false).unwrap();
        assert_eq!(contents.metadata, fixtures::METADATA);
        assert!(!contents.virtual_machine);
    }
}

#[test]
fn members_that_lead_out_are_refused_by_name() {
    assert!(refused(vec![file("rootfs/../../evil", b"x")]).contains("rootfs/../../evil"));
    let text = refused(vec![symlink("rootfs/l", "/tmp"), file("rootfs/l/evil", b"x")]);
    assert!(
        text.contains("rootfs/l/evil") && text.contains("leads out"),
        "{text}"
    );
    let text = refused(vec![symlink("rootfs/l", "../../.."), file("rootfs/l/evil", b"x")]);
    assert!(text.contains("rootfs/l/evil"), "{text}");
    let text = refused(vec![hard_link("rootfs/h", "/etc/passwd")]);
    assert!(text.contains("rootfs/h"), "{text}");
    let text = refused(vec![hard_link("rootfs/h", "../../etc/passwd")]);
    assert!(text.contains("'..'"), "{text}");
    let text = refused(vec![
        symlink("rootfs/p", "/etc/passwd"),
        hard_link("rootfs/p/x", "rootfs/etc"),
    ]);
    assert!(text.contains("rootfs/p/x"), "{text}");
}

#[test]
fn links_inside_are_followed_and_links_to_links_replaced() {
    let more = vec![
        directory("rootfs/usr"),
        directory("rootfs/usr/lib"),
        symlink("rootfs/lib", "usr/lib"),
        file("rootfs/lib/x", b"1"),
        symlink("rootfs/etc/s", "/nowhere"),
        file("rootfs/etc/s", b"file"),
    ];
    let (dir, result) = try_unpack(&image(more));
    result.unwrap();
    let rootfs = dir.path().join("target/rootfs");
    assert_eq!(fs::read(rootfs.join("usr/lib/x")).unwrap(), b"1");
    assert!(fs::symlink_metadata(rootfs.join("etc/s")).unwrap().is_file());
}

#[test]
fn only_harmless_devices_are_made() {
    let node = |path: &str, kind, major, minor| Piece(path.into(), kind, vec![major, minor]);
    let (dir, result) = try_unpack(&image(vec![
        node("rootfs/null", EntryType::Char, 1, 3),
        node("rootfs/mem", EntryType::Char, 1, 1),
        node("rootfs/sda", EntryType::Block, 8, 0),
        node("rootfs/whiteout", EntryType::Char, 0, 0),
    ]));
    assert_eq!(
        result.unwrap().skipped,
        ["rootfs/mem", "rootfs/sda", "rootfs/whiteout"]
    );
    let rootfs = dir.path().join("target/rootfs");
    assert_eq!(
        fs::metadata(rootfs.join("null")).unwrap().rdev(),
        rustix::fs::makedev(1, 3)
    );
    assert!(!rootfs.join("mem").exists() && !rootfs.join("sda").exists());
}

#[test]
fn truncated_and_damaged_archives_are_refused() {
    let bytes = image(vec![file("rootfs/big", &[7; 100_000])]);
    let (_, result) = try_unpack(&bytes[..bytes.len() - 60_000]);
    assert!(matches!(result, Err(ImageError::Corrupt { .. })), "{result:?}");
    for kind in [
        Compression::Gzip,
        Compression::Bzip2,
        Compression::Xz,
        Compression::Zstd,
    ] {
        let packed = pack(kind, &bytes);
        let (_, result) = try_unpack(&packed[..packed.len() - 30]);
        assert!(
            matches!(result, Err(ImageError::Corrupt { .. })),
            "{kind:?} {result:?}"
        );
    }
    let mut flipped = bytes.clone();
    flipped[512 * 2 + 3] ^= 0xff;
    assert!(matches!(try_unpack(&flipped).1, Err(ImageError::Corrupt { .. })));
    assert!(matches!(try_unpack(b"").1, Err(ImageError::Empty)));
    assert!(matches!(
        try_unpack(&[b'x'; 4000]).1,
        Err(ImageError::UnsupportedCompression)
    ));
}

#[test]
fn bombs_and_missing_parts_are_refused() {
    let (_, result) = try_unpack(&pack(
        Compression::Zstd,
        &image(vec![file("rootfs/zeros", &vec![0; 80 << 20])]),
    ));
    assert!(matches!(result, Err(ImageError::NoRoom { .. })), "{result:?}");
    let many: Vec<_> = (0..10_001).map(|n| file(&format!("rootfs/{n}"), b"")).collect();
    assert!(matches!(
        try_unpack(&image(many)).1,
        Err(ImageError::TooLarge { .. })
    ));
    let (_, result) = try_unpack(&archive(&[directory("rootfs")]));
    assert!(matches!(result, Err(ImageError::NoMetadata)));
    let (dir, result) = try_unpack(&archive(&[file("metadata.yaml", b"{}")]));
    assert!(matches!(result, Err(ImageError::NoRoot)));
    let unified = ImageFiles::Unified(dir.path().join("image"));
    assert_eq!(
        read_contents(&unified, false).unwrap_err().to_string(),
        "Invalid instance type"
    );
    let (dir, _) = try_unpack(&archive(&[
        directory("rootfs"),
        file("metadata.yaml", &vec![b'#'; 2 << 20]),
    ]));
    let unified = ImageFiles::Unified(dir.path().join("image"));
    assert!(matches!(
        read_contents(&unified, false),
        Err(ImageError::MetadataTooLarge { .. })
    ));
}

#[test]
fn a_split_image_and_squashfs_are_unpacked() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("etc")).unwrap();
    fs::write(tree.join("etc/hostname"), "split\n").unwrap();
    std::os::unix::fs::chown(tree.join("etc/hostname"), Some(7), Some(8)).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        tree.join("sda"),
        rustix::fs::FileType::BlockDevice,
        rustix::fs::Mode::from_raw_mode(0o600),
        rustix::fs::makedev(8, 0),
    )
    .unwrap();
    let rootfs = dir.path().join("rootfs.squashfs");
    let pack = lxd_sys::command::Command::new("mksquashfs")
        .arg(&tree)
        .arg(&rootfs)
        .arg("-quiet")
        .arg("-no-progress");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(pack.output()).unwrap();
    let metadata = write(
        dir.path(),
        "meta.tar",
        &archive(&[file("metadata.yaml", fixtures::METADATA)]),
    );
    let files = ImageFiles::Split { metadata, rootfs };
    assert!(!read_contents(&files, false).unwrap().virtual_machine);
    let target = dir.path().join("target");
    fs::create_dir(&target).unwrap();
    let unpacked = unpack(&files, &target, LIMITS, &Watch::none()).unwrap();
    assert_eq!(unpacked.skipped, ["sda"]);
    let file = fs::metadata(target.join("rootfs/etc/hostname")).unwrap();
    assert_eq!((file.uid(), file.gid()), (7, 8));
    assert!(!target.join("rootfs/sda").exists());
}

#[test]
fn gnu_and_pax_archives_of_real_tar_arrive_with_holes_and_attributes() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("rootfs")).unwrap();
    fs::write(tree.join("metadata.yaml"), fixtures::METADATA).unwrap();
    let long = "n".repeat(200);
    fs::write(tree.join("rootfs").join(&long), "long").unwrap();
    let sparse = fs::File::create(tree.join("rootfs/sparse")).unwrap();
    sparse.set_len(40 << 20).unwrap();
    rustix::io::pwrite(&sparse, b"middle", 20 << 20).unwrap();
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(
        tree.join("rootfs").join(&long),
        "security.capability",
        capability,
        flags,
    )
    .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for format in ["--format=gnu", "--format=posix"] {
        let image = dir.path().join("image.tar");
        let command = lxd_sys::command::Command::new("tar")
            .args([format, "-S", "--numeric-owner"])
            .args(if format == "--format=posix" {
                vec!["--xattrs", "--xattrs-include=*"]
            } else {
                vec![]
            })
            .arg("-C")
            .arg(&tree)
            .arg("-cf")
            .arg(&image)
            .arg(".");
        runtime.block_on(command.output()).unwrap();
        let target = dir.path().join(format);
        fs::create_dir(&target).unwrap();
        unpack(&ImageFiles::Unified(image), &target, LIMITS, &Watch::none()).unwrap();
        let holes = fs::metadata(target.join("rootfs/sparse")).unwrap();
        assert_eq!(holes.len(), 40 << 20, "{format}");
        assert!(holes.blocks() * 512 < 1 << 20, "{format}");
        let content = fs::read(target.join("rootfs/sparse")).unwrap();
        assert_eq!(&content[20 << 20..(20 << 20) + 6], b"middle");
        if format == "--format=posix" {
            let mut value = [0_u8; 64];
            let path = target.join("rootfs").join(&long);
            let length = rustix::fs::getxattr(path, "security.capability", &mut value[..]).unwrap();
            assert_eq!(&value[..length], capability);
        }
    }
}

#[tokio::test]
async fn an_upload_is_hashed_kept_or_gone() {
    let dir = tempfile::tempdir().unwrap();
    let chunks = |bad: bool| {
        let mut items: Vec<Result<bytes::Bytes, String>> = vec![Ok("ab".into()), Ok("c".into())];
        if bad {
            items.push(Err("connection reset".into()));
        }
        futures::stream::iter(items)
    };
    let (received, print) = receive(dir.path(), Fingerprint::new(), 100, chunks(false), Watch::none())
        .await
        .unwrap();
    assert_eq!(
        print.hex(),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert_eq!(received.size(), 3);
    received.keep(&dir.path().join("kept")).unwrap();
    assert_eq!(
        Fingerprint::new().file(&dir.path().join("kept")).unwrap().hex(),
        print.hex()
    );
    let broken = receive(dir.path(), Fingerprint::new(), 100, chunks(true), Watch::none()).await;
    assert!(broken.unwrap_err().to_string().contains("connection reset"));
    let large = receive(dir.path(), Fingerprint::new(), 2, chunks(false), Watch::none()).await;
    assert_eq!(large.unwrap_err().kind(), lxd_model::ErrorKind::TooLarge);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    fs::write(dir.path().join(format!("{UPLOAD_PREFIX}old")), "x").unwrap();
    assert_eq!(clean_uploads(dir.path()).unwrap(), 1);
}

fn hostile() -> impl Strategy<Value = Piece> {
    let part = prop_oneof![
        Just(".."),
        Just("."),
        Just(""),
        Just("a"),
        Just("l"),
        Just("rootfs"),
        Just("outside")
    ];
    let path = proptest::collection::vec(part, 1..6).prop_map(|parts| parts.join("/"));
    (path.clone(), path, 0..4_u8, any::<bool>()).prop_map(|(path, target, kind, absolute)| {
        let target = if absolute { format!("/{target}") } else { target };
        match kind {
            0 => file(&path, b"evil"),
            1 => directory(&path),
            2 => symlink(&path, if target.is_empty() { "x" } else { &target }),
            _ => hard_link(&path, &target),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn nothing_is_ever_written_outside(pieces in proptest::collection::vec(hostile(), 0..12)) {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), "image", &image(pieces));
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::create_dir(dir.path().join("target")).unwrap();
        let _ = unpack(&ImageFiles::Unified(path), &dir.path().join("target"), LIMITS, &Watch::none());
        prop_assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
        prop_assert_eq!(fs::read_dir(dir.path().join("outside")).unwrap().count(), 0);
        prop_assert!(!Path::new("/outside").exists() && !Path::new("/rootfs").exists());
    }
}
