//! Reading tar archives member by member: POSIX (PAX), GNU and old headers, sparse files, extended attributes.
//!
//! The headers' fields are decoded by the `tar` crate; extensions are read here, because their size is bounded here.

use std::io::{self, Read};

use tar::{EntryType, GnuHeader, Header};

use super::ImageError;

const BLOCK: usize = 512;

/// Bytes that the long names or extended header of one member may have.
const EXTENSION_MAX: u64 = 1 << 20;

/// Pieces that a sparse file may consist of.
const PIECES_MAX: usize = 1 << 18;

/// The attribute that holds an access control list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acl {
    /// `system.posix_acl_access`
    Access,
    /// `system.posix_acl_default`
    Default,
}

/// Keys and values of an extended header.
type Records = Vec<(Vec<u8>, Vec<u8>)>;

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link that says `link`.
    Symlink,
    /// Another name of the member `link`.
    HardLink,
    /// A named pipe.
    Fifo,
    /// A character device.
    Character(u32, u32),
    /// A block device.
    Block(u32, u32),
}

/// A member's header with all its extensions.
#[derive(Debug, Clone)]
pub struct Member {
    /// As it stands in the archive.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Where links lead.
    pub link: Vec<u8>,
    /// Bytes of the file once unpacked, holes included.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time: seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Extended attributes: names and values.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Access control lists in their text form.
    pub acls: Vec<(Acl, Vec<u8>)>,
    /// For sparse files where the data goes: offset and length of each piece.
    pub pieces: Option<Vec<(u64, u64)>>,
}

/// The members of an archive, one after the other.
pub struct Members<R> {
    reader: R,
    data: u64,
    padding: u64,
    global: Records,
    last: String,
}

/// Extensions collected before a member's own header.
#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: Records,
}

impl Extensions {
    fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.records
            .iter()
            .rev()
            .find(|(k, _)| k == key)
            .map(|(_, v)| v.as_slice())
    }

    fn number(&self, key: &[u8]) -> Option<u64> {
        std::str::from_utf8(self.get(key)?).ok()?.trim().parse().ok()
    }
}

impl<R: Read> Members<R> {
    /// Reads an archive from its beginning.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            data: 0,
            padding: 0,
            global: Vec::new(),
            last: String::new(),
        }
    }

    /// The stream beneath.
    pub fn reader(&self) -> &R {
        &self.reader
    }

    /// The next member, skipping what was not read of the last one. None at the end, once all of the stream has been read (so that its
    /// checksums were verified).
    pub fn next_member(&mut self) -> Result<Option<Member>, ImageError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_rest()?;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let size = header.entry_size().map_err(|e| self.corrupt(e))?;
            match header.entry_type() {
                EntryType::GNULongName => extensions.name = Some(self.text(size)?),
                EntryType::GNULongLink => extensions.link = Some(self.text(size)?),
                EntryType::XHeader => extensions.records = self.records(size)?,
                EntryType::XGlobalHeader => self.global = self.records(size)?,
                kind => {
                    let mut records = self.global.clone();
                    records.append(&mut extensions.records);
                    extensions.records = records;
                    let size = extensions.number(b"size").unwrap_or(size);
                    let Some(member) = self.member(&header, kind, size, extensions)? else {
                        self.set_data(size);
                        extensions = Extensions::default();
                        continue;
                    };
                    self.last = String::from_utf8_lossy(&member.path).into_owned();
                    return Ok(Some(member));
                }
            }
        }
    }

    fn member(
        &mut self,
        header: &Header,
        entry_type: EntryType,
        size: u64,
        extensions: Extensions,
    ) -> Result<Option<Member>, ImageError> {
        let bad = |e: io::Error| ImageError::member(&header.path_bytes(), e.to_string());
        let device = || -> Result<(u32, u32), ImageError> {
            let major = header.device_major().map_err(bad)?.unwrap_or(0);
            Ok((major, header.device_minor().map_err(bad)?.unwrap_or(0)))
        };
        let kind = match entry_type {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink,
            EntryType::Link => Kind::HardLink,
            EntryType::Fifo => Kind::Fifo,
            EntryType::Char => device().map(|(major, minor)| Kind::Character(major, minor))?,
            EntryType::Block => device().map(|(major, minor)| Kind::Block(major, minor))?,
            // Volume labels and the like carry no file.
            _ => return Ok(None),
        };
        let path = extensions
            .get(b"path")
            .map(<[u8]>::to_vec)
            .or(extensions.name.clone());
        let link = extensions
            .get(b"linkpath")
            .map(<[u8]>::to_vec)
            .or(extensions.link.clone());
        let id = |key: &[u8], value: io::Result<u64>| -> Result<u32, ImageError> {
            let value = extensions.number(key).map_or_else(|| value.map_err(bad), Ok)?;
            u32::try_from(value).map_err(|_| {
                ImageError::member(&header.path_bytes(), format!("owner {value} is out of range"))
            })
        };
        let mut member = Member {
            path: path.unwrap_or_else(|| header.path_bytes().into_owned()),
            kind,
            link: link.unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned()),
            size,
            mode: header.mode().map_err(bad)? & 0o7777,
            uid: id(b"uid", header.uid())?,
            gid: id(b"gid", header.gid())?,
            mtime: match extensions.get(b"mtime") {
                Some(text) => decimal_time(text),
                None => (header.mtime().map_or(0, |t| i64::try_from(t).unwrap_or(0)), 0),
            },
            xattrs: Vec::new(),
            acls: Vec::new(),
            pieces: None,
        };
        // Old archives mark directories only by the slash.
        if member.kind == Kind::File && member.path.ends_with(b"/") {
            member.kind = Kind::Directory;
        }
        for (key, value) in &extensions.records {
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                member.xattrs.push((name.to_vec(), value.clone()));
            } else if key == b"SCHILY.acl.access" {
                member.acls.push((Acl::Access, value.clone()));
            } else if key == b"SCHILY.acl.default" {
                member.acls.push((Acl::Default, value.clone()));
            }
        }
        self.sparse(header, entry_type, &extensions, &mut member)?;
        Ok(Some(member))
    }

    /// Sets how much data follows, and for sparse files where it goes.
    fn sparse(
        &mut self,
        header: &Header,
        entry_type: EntryType,
        extensions: &Extensions,
        member: &mut Member,
    ) -> Result<(), ImageError> {
        let stored = if member.kind == Kind::File { member.size } else { 0 };
        if entry_type == EntryType::GNUSparse
            && let Some(gnu) = header.as_gnu()
        {
            let pieces = self.old_gnu_map(gnu)?;
            member.size = gnu.real_size().map_err(|e| self.corrupt(e))?;
            member.pieces = Some(pieces);
            self.set_data(stored);
        } else if let Some(name) = extensions.get(b"GNU.sparse.name") {
            member.path = name.to_vec();
            let real = extensions
                .number(b"GNU.sparse.realsize")
                .or_else(|| extensions.number(b"GNU.sparse.size"));
            member.size = real.unwrap_or(stored);
            self.set_data(stored);
            member.pieces = Some(match extensions.get(b"GNU.sparse.map") {
                Some(map) => comma_map(map).ok_or_else(|| self.bad_map(&member.path))?,
                None => self.leading_map(&member.path)?,
            });
        } else {
            self.set_data(stored);
        }
        if let Some(pieces) = &member.pieces {
            let mut end = 0;
            for (offset, length) in pieces {
                let next = offset.checked_add(*length).filter(|_| *offset >= end);
                end = next.ok_or_else(|| self.bad_map(&member.path))?;
            }
            let sum: u64 = pieces.iter().map(|(_, length)| *length).sum();
            if end > member.size || sum != self.data {
                return Err(self.bad_map(&member.path));
            }
        }
        Ok(())
    }

    /// The map in the header itself and in the blocks after it.
    fn old_gnu_map(&mut self, gnu: &GnuHeader) -> Result<Vec<(u64, u64)>, ImageError> {
        let mut pieces = Vec::new();
        for piece in gnu.sparse.iter().filter(|piece| !piece.is_empty()) {
            pieces.push((
                piece.offset().map_err(|e| self.corrupt(e))?,
                piece.length().map_err(|e| self.corrupt(e))?,
            ));
        }
        let mut extended = gnu.is_extended();
        while extended {
            let mut block = [0_u8; BLOCK];
            self.reader.read_exact(&mut block).map_err(|e| self.corrupt(e))?;
            let (fields, rest) = block.split_at(21 * 24);
            for piece in fields.chunks_exact(24).filter(|piece| piece.first() != Some(&0)) {
                let (offset, length) = piece.split_at(12);
                let number = |text: &[u8]| octal(text).ok_or_else(|| self.bad_map(b""));
                pieces.push((number(offset)?, number(length)?));
            }
            if pieces.len() > PIECES_MAX {
                return Err(self.bad_map(b""));
            }
            extended = rest.first() == Some(&1);
        }
        Ok(pieces)
    }

    /// The map of version 1.0: decimal numbers, one a line, before the data, filled up to whole blocks.
    fn leading_map(&mut self, path: &[u8]) -> Result<Vec<(u64, u64)>, ImageError> {
        let mut numbers: Vec<u64> = Vec::new();
        let mut wanted = None;
        let mut digits = Vec::new();
        loop {
            let mut block = [0_u8; BLOCK];
            self.read_data_exact(&mut block)?;
            for byte in block {
                match (byte, wanted) {
                    (_, Some(wanted)) if numbers.len() > wanted => break,
                    (b'\n', _) => {
                        let text = std::str::from_utf8(&digits).ok();
                        let number = text
                            .and_then(|t| t.parse::<u64>().ok())
                            .ok_or_else(|| self.bad_map(path))?;
                        if wanted.is_none() {
                            let count = usize::try_from(number).unwrap_or(usize::MAX);
                            wanted = Some(
                                count
                                    .checked_mul(2)
                                    .filter(|n| *n <= 2 * PIECES_MAX)
                                    .ok_or_else(|| self.bad_map(path))?,
                            );
                        }
                        numbers.push(number);
                        digits.clear();
                    }
                    (byte, _) if digits.len() < 20 => digits.push(byte),
                    _ => return Err(self.bad_map(path)),
                }
            }
            if wanted.is_some_and(|wanted| numbers.len() > wanted) {
                break;
            }
        }
        Ok(numbers
            .get(1..)
            .unwrap_or_default()
            .chunks_exact(2)
            .map(|pair| (pair[0], pair[1]))
            .collect())
    }

    /// Reads data of the current member; 0 at its end.
    pub fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize, ImageError> {
        let room = usize::try_from(self.data).unwrap_or(usize::MAX).min(buffer.len());
        if room == 0 {
            return Ok(0);
        }
        let (head, _) = buffer.split_at_mut(room);
        loop {
            match self.reader.read(head) {
                Ok(0) => return Err(self.corrupt(io::ErrorKind::UnexpectedEof.into())),
                Ok(n) => {
                    self.data -= n as u64;
                    return Ok(n);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.corrupt(e)),
            }
        }
    }

    fn read_data_exact(&mut self, buffer: &mut [u8]) -> Result<(), ImageError> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.read_data(rest)? {
                0 => return Err(self.corrupt(io::ErrorKind::UnexpectedEof.into())),
                n => filled += n,
            }
        }
        Ok(())
    }

    fn set_data(&mut self, size: u64) {
        self.data = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    fn skip_rest(&mut self) -> Result<(), ImageError> {
        let mut scratch = [0_u8; 16 * 1024];
        while self.read_data(&mut scratch)? > 0 {}
        self.data = self.padding;
        self.padding = 0;
        while self.read_data(&mut scratch)? > 0 {}
        Ok(())
    }

    /// The next header that is not empty, or none at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>, ImageError> {
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.reader.read(rest) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(self.corrupt(io::ErrorKind::UnexpectedEof.into())),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.corrupt(e)),
            }
        }
        if block.iter().all(|byte| *byte == 0) {
            let mut scratch = [0_u8; 16 * 1024];
            loop {
                match self.reader.read(&mut scratch) {
                    Ok(0) => return Ok(None),
                    Ok(_) => {}
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(self.corrupt(e)),
                }
            }
        }
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(n, b)| {
                if (148..156).contains(&n) {
                    32
                } else {
                    u32::from(*b)
                }
            })
            .sum();
        if header.cksum().ok() != Some(sum) {
            return Err(self.corrupt(io::Error::new(
                io::ErrorKind::InvalidData,
                "a header's checksum is wrong",
            )));
        }
        Ok(Some(header))
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, ImageError> {
        if size > EXTENSION_MAX {
            return Err(ImageError::Member {
                member: self.last.clone(),
                reason: format!(
                    "is followed by a header of {size} bytes; at most {EXTENSION_MAX} are accepted"
                ),
            });
        }
        self.set_data(size);
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        self.read_data_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn text(&mut self, size: u64) -> Result<Vec<u8>, ImageError> {
        let mut bytes = self.extension(size)?;
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        Ok(bytes)
    }

    fn records(&mut self, size: u64) -> Result<Records, ImageError> {
        let bytes = self.extension(size)?;
        pax_records(&bytes).ok_or_else(|| {
            self.corrupt(io::Error::new(
                io::ErrorKind::InvalidData,
                "an extended header is malformed",
            ))
        })
    }

    fn bad_map(&self, path: &[u8]) -> ImageError {
        let path = if path.is_empty() {
            self.last.as_bytes()
        } else {
            path
        };
        ImageError::member(path, "its map of holes is malformed")
    }

    fn corrupt(&self, source: io::Error) -> ImageError {
        ImageError::Corrupt {
            member: self.last.clone(),
            source,
        }
    }
}

/// Lines of "LENGTH KEY=VALUE\n", where the length counts the whole line.
fn pax_records(mut bytes: &[u8]) -> Option<Records> {
    let mut records = Vec::new();
    while !bytes.is_empty() && bytes.first() != Some(&0) {
        let space = bytes.iter().take(20).position(|b| *b == b' ')?;
        let length: usize = std::str::from_utf8(bytes.get(..space)?).ok()?.parse().ok()?;
        let line = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
        let equals = line.iter().position(|b| *b == b'=')?;
        records.push((line.get(..equals)?.to_vec(), line.get(equals + 1..)?.to_vec()));
        bytes = bytes.get(length..)?;
    }
    Some(records)
}

fn comma_map(map: &[u8]) -> Option<Vec<(u64, u64)>> {
    let numbers: Option<Vec<u64>> = std::str::from_utf8(map)
        .ok()?
        .split(',')
        .map(|n| n.parse().ok())
        .collect();
    let numbers = numbers.filter(|n| n.len().is_multiple_of(2) && n.len() <= 2 * PIECES_MAX)?;
    Some(numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}

/// Octal text, or the binary form that GNU tar uses for large numbers.
fn octal(field: &[u8]) -> Option<u64> {
    if field.first().is_some_and(|b| b & 0x80 != 0) {
        return Some(field.get(4..12)?.iter().fold(0, |n, b| (n << 8) | u64::from(*b)));
    }
    let text = std::str::from_utf8(field)
        .ok()?
        .trim_matches(|c: char| c == '\0' || c == ' ');
    u64::from_str_radix(text, 8).ok()
}

/// "1700000000.25" as seconds and nanoseconds; a malformed time is the epoch.
fn decimal_time(text: &[u8]) -> (i64, i64) {
    let text = std::str::from_utf8(text).unwrap_or_default();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().unwrap_or(0);
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: i64 = digits.parse().unwrap_or(0);
    if whole.starts_with('-') && nanoseconds > 0 {
        (seconds - 1, 1_000_000_000 - nanoseconds)
    } else {
        (seconds, nanoseconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_and_maps_are_read() {
        assert_eq!(decimal_time(b"17.25"), (17, 250_000_000));
        assert_eq!(decimal_time(b"-1.5"), (-2, 500_000_000));
        assert_eq!(comma_map(b"0,5,10,1"), Some(vec![(0, 5), (10, 1)]));
        assert_eq!(comma_map(b"0,5,10"), None);
        assert_eq!(pax_records(b"12 a=b c\n"), None);
        assert_eq!(
            pax_records(b"8 a=b c\n"),
            Some(vec![(b"a".to_vec(), b"b c".to_vec())])
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048), checksum in any::<bool>()) {
            let mut bytes = bytes;
            if checksum && bytes.len() >= BLOCK {
                let mut header = Header::from_byte_slice(&bytes[..BLOCK]).clone();
                header.set_cksum();
                bytes[..BLOCK].copy_from_slice(header.as_bytes());
            }
            let mut members = Members::new(&bytes[..]);
            while let Ok(Some(_)) = members.next_member() {}
        }
    }
}
