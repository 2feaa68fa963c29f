//! Looking into an image without unpacking it: its `metadata.yaml` and what kind of root it has.

use std::path::Path;

use crate::watch::Watch;

use super::{Compression, Decoder, ImageError, ImageFiles, Kind, Members, squashfs, unpack};

/// Bytes that `metadata.yaml` may have.
pub const METADATA_MAX: u64 = 1 << 20;

/// Unpacked bytes that are searched for it.
const SEARCH_MAX: u64 = 64 << 30;

/// What an image says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The text of `metadata.yaml` (YAML or JSON), as it is in the image.
    pub metadata: Vec<u8>,
    /// Whether the root is a virtual machine's disk (`rootfs.img`, or a qcow2 file beside the metadata).
    pub virtual_machine: bool,
}

/// Reads `metadata.yaml`, stopping as soon as it and the kind of root are known. `is_disk` says that a second file is a
/// disk, of whatever format.
pub fn read_contents(files: &ImageFiles, is_disk: bool) -> Result<Contents, ImageError> {
    match files {
        ImageFiles::Unified(path) => {
            let found = search(path, true)?;
            let metadata = found.metadata.ok_or(ImageError::NoMetadata)?;
            Ok(Contents {
                metadata,
                virtual_machine: found.virtual_machine.ok_or(ImageError::NoRoot)?,
            })
        }
        ImageFiles::Split { metadata, rootfs } => {
            let found = search(metadata, false)?;
            let metadata = found.metadata.ok_or(ImageError::NoMetadata)?;
            Ok(Contents {
                metadata,
                virtual_machine: is_disk || is_qcow2(rootfs)?,
            })
        }
    }
}

/// Reads one small file of a tar archive; none if it has no such file.
pub fn read_member(archive: &Path, name: &str) -> Result<Option<Vec<u8>>, ImageError> {
    let mut members = Members::new(Decoder::open(archive)?);
    let mut seen = 0_u64;
    while let Some(member) = members.next_member()? {
        seen = seen.saturating_add(member.size);
        if seen > SEARCH_MAX {
            break;
        }
        let is_it = unpack::clean_name(&member.path).is_ok_and(|found| found == name.as_bytes());
        if is_it && member.kind == Kind::File {
            return content(&mut members, member.size).map(Some);
        }
    }
    Ok(None)
}

/// The content of a member, which must be small.
fn content(members: &mut Members<Decoder>, size: u64) -> Result<Vec<u8>, ImageError> {
    if size > METADATA_MAX {
        return Err(ImageError::MetadataTooLarge { size });
    }
    let mut text = vec![0; usize::try_from(size).unwrap_or(0)];
    let mut filled = 0;
    while let Some(rest) = text.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match members.read_data(rest)? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(text)
}

#[derive(Default)]
struct Found {
    metadata: Option<Vec<u8>>,
    virtual_machine: Option<bool>,
}

fn search(path: &Path, with_root: bool) -> Result<Found, ImageError> {
    if Compression::of_file(path)? == Compression::Squashfs {
        return search_squashfs(path, with_root);
    }
    let mut members = Members::new(Decoder::open(path)?);
    let mut found = Found::default();
    let mut seen = 0_u64;
    while let Some(member) = members.next_member()? {
        seen = seen.saturating_add(member.size);
        if seen > SEARCH_MAX {
            return Err(ImageError::TooLarge {
                reason: format!("no metadata.yaml within {SEARCH_MAX} bytes"),
            });
        }
        // A member that could not be unpacked is refused then, with its name.
        let Ok(name) = unpack::clean_name(&member.path) else {
            continue;
        };
        match name.as_slice() {
            b"metadata.yaml" if member.kind == Kind::File && found.metadata.is_none() => {
                found.metadata = Some(content(&mut members, member.size)?);
            }
            b"rootfs.img" => found.virtual_machine = Some(true),
            name if name == b"rootfs" || name.starts_with(b"rootfs/") => found.virtual_machine = Some(false),
            _ => {}
        }
        if found.metadata.is_some() && (found.virtual_machine.is_some() || !with_root) {
            break;
        }
    }
    Ok(found)
}

fn search_squashfs(path: &Path, with_root: bool) -> Result<Found, ImageError> {
    let entries = squashfs::list(path, &Watch::none())?;
    let Some(entry) = entries.iter().find(|entry| entry.path == b"metadata.yaml") else {
        return Ok(Found::default());
    };
    if entry.size > METADATA_MAX {
        return Err(ImageError::MetadataTooLarge { size: entry.size });
    }
    let virtual_machine = with_root
        .then(|| {
            let has = |name: &[u8]| entries.iter().any(|entry| entry.path == name);
            if has(b"rootfs.img") {
                Some(true)
            } else {
                has(b"rootfs").then_some(false)
            }
        })
        .flatten();
    Ok(Found {
        metadata: Some(squashfs::read(path, "metadata.yaml")?),
        virtual_machine,
    })
}

fn is_qcow2(path: &Path) -> Result<bool, ImageError> {
    use std::io::Read;
    let mut head = Vec::new();
    let failed = |e| ImageError::file("reading", path, e);
    std::fs::File::open(path)
        .map_err(failed)?
        .take(512)
        .read_to_end(&mut head)
        .map_err(failed)?;
    match head.as_slice() {
        [] => Err(ImageError::Empty),
        [b'Q', b'F', b'I', 0xfb, ..] => Ok(true),
        head => Compression::of_magic(head)
            .map(|_| false)
            .ok_or(ImageError::UnsupportedCompression),
    }
}
