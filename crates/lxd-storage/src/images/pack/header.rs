//! Headers of tar archives: the POSIX form, with an extended header where a value does not fit or has no field.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use tar::{EntryType, Header};

/// The largest id that seven octal digits hold.
const ID_MAX: u32 = 0o777_7777;

/// The largest size that eleven octal digits hold.
const SIZE_MAX: u64 = 0o777_7777_7777;

/// Bytes of a name that fit into the header.
const NAME_MAX: usize = 100;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
    Fifo,
    Character,
    Block,
}

/// A member of an archive.
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) kind: Kind,
    /// Where links lead.
    pub(super) link: Vec<u8>,
    pub(super) size: u64,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds.
    pub(super) mtime: i64,
    pub(super) device: (u32, u32),
    pub(super) xattrs: Vec<(OsString, Vec<u8>)>,
}

impl Entry {
    /// A file of root's.
    pub(super) fn file(name: &[u8], size: u64) -> Self {
        Self {
            name: name.to_vec(),
            kind: Kind::File,
            link: Vec::new(),
            size,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: 0,
            device: (0, 0),
            xattrs: Vec::new(),
        }
    }

    /// The header, with an extended one before it where that is needed.
    pub(super) fn encode(&self) -> Vec<u8> {
        let records = self.records();
        let mut out = Vec::with_capacity(512);
        if !records.is_empty() {
            let mut header = Header::new_ustar();
            header.set_entry_type(EntryType::XHeader);
            set_name(&mut header, b"PaxHeaders/member");
            header.set_size(records.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            out.extend_from_slice(header.as_bytes());
            out.extend_from_slice(&records);
            out.resize(out.len().next_multiple_of(512), 0);
        }
        out.extend_from_slice(self.header().as_bytes());
        out
    }

    fn header(&self) -> Header {
        let mut header = Header::new_ustar();
        set_name(&mut header, &self.name);
        set_link(&mut header, &self.link);
        header.set_entry_type(match self.kind {
            Kind::File => EntryType::Regular,
            Kind::Directory => EntryType::Directory,
            Kind::Symlink => EntryType::Symlink,
            Kind::HardLink => EntryType::Link,
            Kind::Fifo => EntryType::Fifo,
            Kind::Character => EntryType::Char,
            Kind::Block => EntryType::Block,
        });
        header.set_size(self.size.min(SIZE_MAX));
        header.set_mode(self.mode);
        header.set_uid(self.uid.min(ID_MAX).into());
        header.set_gid(self.gid.min(ID_MAX).into());
        header.set_mtime(u64::try_from(self.mtime).unwrap_or(0));
        if matches!(self.kind, Kind::Character | Kind::Block) {
            let (major, minor) = self.device;
            // A POSIX header has these fields.
            let _ = header
                .set_device_major(major)
                .and_then(|()| header.set_device_minor(minor));
        }
        header.set_cksum();
        header
    }

    /// What does not fit into the header.
    fn records(&self) -> Vec<u8> {
        let mut records = Vec::new();
        if self.name.len() > NAME_MAX || self.name.contains(&b'\\') {
            record(&mut records, b"path", &self.name);
        }
        if self.link.len() > NAME_MAX {
            record(&mut records, b"linkpath", &self.link);
        }
        if self.size > SIZE_MAX {
            record(&mut records, b"size", self.size.to_string().as_bytes());
        }
        if self.uid > ID_MAX {
            record(&mut records, b"uid", self.uid.to_string().as_bytes());
        }
        if self.gid > ID_MAX {
            record(&mut records, b"gid", self.gid.to_string().as_bytes());
        }
        if self.mtime < 0 {
            record(&mut records, b"mtime", self.mtime.to_string().as_bytes());
        }
        for (name, value) in &self.xattrs {
            let key = [b"SCHILY.xattr.", name.as_bytes()].concat();
            record(&mut records, &key, value);
        }
        records
    }
}

/// `LENGTH KEY=VALUE\n`, where the length counts itself.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn set_name(header: &mut Header, name: &[u8]) {
    if let Some(ustar) = header.as_ustar_mut() {
        fill(&mut ustar.name, name);
    }
}

fn set_link(header: &mut Header, link: &[u8]) {
    if let Some(ustar) = header.as_ustar_mut() {
        fill(&mut ustar.linkname, link);
    }
}

/// As much of a text as there is room for.
fn fill(field: &mut [u8; NAME_MAX], text: &[u8]) {
    let length = text.len().min(NAME_MAX);
    field[..length].copy_from_slice(&text[..length]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_records_count_themselves() {
        for size in [0, 1, 5, 80, 90, 91, 92, 93, 94, 95, 985, 986, 990, 5000] {
            let mut records = Vec::new();
            record(&mut records, b"key", &vec![b'x'; size]);
            let text = String::from_utf8(records.clone()).unwrap();
            let (length, _) = text.split_once(' ').unwrap();
            assert_eq!(length.parse::<usize>().unwrap(), records.len());
        }
    }
}
