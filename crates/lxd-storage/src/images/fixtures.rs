//! Small images for tests.

use std::path::{Path, PathBuf};

use ::tar::{Builder, EntryType, Header};

pub(crate) const METADATA: &[u8] = b"architecture: x86_64\ncreation_date: 1424284563\n";

/// One member: path, type, content or link.
#[derive(Debug)]
pub(crate) struct Piece(pub(crate) Vec<u8>, pub(crate) EntryType, pub(crate) Vec<u8>);

pub(crate) fn file(path: &str, content: &[u8]) -> Piece {
    Piece(path.into(), EntryType::Regular, content.into())
}

pub(crate) fn directory(path: &str) -> Piece {
    Piece(path.into(), EntryType::Directory, Vec::new())
}

pub(crate) fn symlink(path: &str, target: &str) -> Piece {
    Piece(path.into(), EntryType::Symlink, target.into())
}

pub(crate) fn hard_link(path: &str, target: &str) -> Piece {
    Piece(path.into(), EntryType::Link, target.into())
}

/// A tar archive with names exactly as given, which `Builder` alone would refuse.
pub(crate) fn archive(pieces: &[Piece]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for Piece(path, kind, content) in pieces {
        let mut header = Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path);
        header.set_entry_type(*kind);
        header.set_mode(if *kind == EntryType::Directory {
            0o755
        } else {
            0o644
        });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000);
        let link = matches!(kind, EntryType::Symlink | EntryType::Link);
        if link {
            header.set_link_name_literal(content).unwrap();
        }
        if matches!(kind, EntryType::Char | EntryType::Block) {
            header.set_device_major(u32::from(content[0])).unwrap();
            header.set_device_minor(u32::from(content[1])).unwrap();
        }
        let data: &[u8] = if *kind == EntryType::Regular { content } else { &[] };
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A container image with a few files and `more`.
pub(crate) fn image(more: Vec<Piece>) -> Vec<u8> {
    let mut pieces = vec![
        file("metadata.yaml", METADATA),
        directory("templates"),
        file("templates/hostname.tpl", b"{{ container.name }}\n"),
        directory("rootfs"),
        directory("rootfs/etc"),
        file("rootfs/etc/hostname", b"image\n"),
        file("/rootfs/etc/inittab", b"::sysinit:/bin/true\n"),
        symlink("rootfs/bin", "usr/bin"),
        hard_link("rootfs/etc/issue", "rootfs/etc/hostname"),
    ];
    pieces.extend(more);
    archive(&pieces)
}

pub(crate) fn write(directory: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}
