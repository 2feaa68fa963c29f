//! Requests about what a client has opened.

use std::collections::HashMap;
use std::fs::{File, ReadDir};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rustix::fs::{Gid, Mode, OFlags, Uid};

use super::listing::Listing;
use super::packet::{Attributes, Fields, Packet, Status};
use super::{ATTRS, Answer, DATA, HANDLE, NAME, ok, paths};
use crate::files::{self, Failed};

/// How many files and directories a client may have open.
const OPEN_MAX: usize = 1000;

/// How many bytes of a file or directory are sent at once.
const READ_MAX: usize = 256 << 10;
const NAMES_MAX: usize = 32 << 10;

const FOR_READING: u32 = 1;
const FOR_WRITING: u32 = 2;
const FOR_APPENDING: u32 = 4;
const CREATE: u32 = 8;
const TRUNCATE: u32 = 16;
const EXCLUSIVE: u32 = 32;

/// What a client has opened, by number.
#[derive(Default)]
pub(super) struct Handles {
    open: HashMap<u32, Open>,
    next: u32,
}

enum Open {
    File {
        file: File,
        appends: bool,
    },
    Directory {
        path: PathBuf,
        entries: ReadDir,
        /// Made when the first names are asked for.
        listing: Option<Listing>,
    },
}

impl Handles {
    pub(super) fn open(&mut self, id: u32, fields: &mut Fields<'_>) -> Answer {
        let (path, wish) = (files::path(fields.byte_string()?), fields.number()?);
        let wanted = fields.attributes()?;
        let has = |flag| wish & flag != 0;
        let mut flags = match (has(FOR_READING), has(FOR_WRITING)) {
            (true, true) => OFlags::RDWR,
            (false, true) => OFlags::WRONLY,
            _ => OFlags::RDONLY,
        };
        for (flag, meaning) in [
            (CREATE, OFlags::CREATE),
            (TRUNCATE, OFlags::TRUNC),
            (EXCLUSIVE, OFlags::EXCL),
            (FOR_APPENDING, OFlags::APPEND),
        ] {
            flags.set(meaning, has(flag));
        }
        let file = files::open(&path, flags, wanted.mode.unwrap_or(0o644) & 0o7777)?;
        let appends = has(FOR_APPENDING);
        self.keep(id, Open::File { file, appends })
    }

    pub(super) fn open_directory(&mut self, id: u32, fields: &mut Fields<'_>) -> Answer {
        let path = files::path(fields.byte_string()?);
        let entries = std::fs::read_dir(&path)?;
        let listing = None;
        self.keep(
            id,
            Open::Directory {
                path,
                entries,
                listing,
            },
        )
    }

    fn keep(&mut self, id: u32, open: Open) -> Answer {
        if self.open.len() >= OPEN_MAX {
            return Err(Status::Failure.into());
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.open.insert(number, open);
        Ok(Packet::answer(HANDLE, id).byte_string(&number.to_be_bytes()))
    }

    pub(super) fn close(&mut self, id: u32, fields: &mut Fields<'_>) -> Answer {
        let number = number(fields)?;
        self.open.remove(&number).ok_or(Status::Failure)?;
        ok(id)
    }

    fn file(&self, fields: &mut Fields<'_>) -> Result<(&File, bool), Status> {
        match self.open.get(&number(fields)?) {
            Some(Open::File { file, appends }) => Ok((file, *appends)),
            _ => Err(Status::Failure),
        }
    }

    pub(super) fn read(&self, id: u32, fields: &mut Fields<'_>) -> Answer {
        let (file, _) = self.file(fields)?;
        let (offset, length) = (fields.long()?, fields.number()? as usize);
        let mut data = vec![0; length.min(READ_MAX)];
        let mut filled = 0;
        while filled < data.len() {
            match file.read_at(&mut data[filled..], offset + filled as u64)? {
                0 => break,
                count => filled += count,
            }
        }
        if filled == 0 {
            return Err(Status::End.into());
        }
        Ok(Packet::answer(DATA, id).byte_string(&data[..filled]))
    }

    pub(super) fn write(&self, id: u32, fields: &mut Fields<'_>) -> Answer {
        let (file, appends) = self.file(fields)?;
        let (offset, data) = (fields.long()?, fields.byte_string()?);
        if appends {
            std::io::Write::write_all(&mut &*file, data)?;
        } else {
            file.write_all_at(data, offset)?;
        }
        ok(id)
    }

    pub(super) fn stat(&self, id: u32, fields: &mut Fields<'_>) -> Answer {
        let found = match self.open.get(&number(fields)?) {
            Some(Open::File { file, .. }) => file.metadata()?,
            Some(Open::Directory { path, .. }) => std::fs::metadata(path)?,
            None => return Err(Status::Failure.into()),
        };
        Ok(Packet::answer(ATTRS, id).attributes(&found))
    }

    pub(super) fn set(&self, id: u32, fields: &mut Fields<'_>) -> Answer {
        match self.open.get(&number(fields)?) {
            Some(Open::File { file, .. }) => apply(file, fields.attributes()?)?,
            Some(Open::Directory { path, .. }) => paths::apply(path, fields.attributes()?)?,
            None => return Err(Status::Failure.into()),
        }
        ok(id)
    }

    pub(super) fn sync(&self, id: u32, fields: &mut Fields<'_>) -> Answer {
        self.file(fields)?.0.sync_all()?;
        ok(id)
    }

    /// Some of the names in a directory, with what is known of them.
    pub(super) fn read_directory(&mut self, id: u32, fields: &mut Fields<'_>) -> Answer {
        let Some(Open::Directory { entries, listing, .. }) = self.open.get_mut(&number(fields)?) else {
            return Err(Status::Failure.into());
        };
        let listing = listing.get_or_insert_with(Listing::new);
        let (mut names, mut count) = (Packet::new(0), 0);
        while names.len() < NAMES_MAX {
            let Some(entry) = entries.next() else { break };
            let entry = entry?;
            // What has vanished meanwhile is not there.
            let Ok(found) = entry.metadata() else { continue };
            let name = entry.file_name();
            names = names
                .byte_string(name.as_bytes())
                .byte_string(&listing.line(name.as_bytes(), &found))
                .attributes(&found);
            count += 1;
        }
        if count == 0 {
            return Err(Status::End.into());
        }
        Ok(Packet::answer(NAME, id).number(count).then(&names))
    }
}

fn apply(file: &File, wanted: Attributes) -> Result<(), Failed> {
    if let Some(size) = wanted.size {
        rustix::fs::ftruncate(file, size).map_err(Failed::doing("truncate"))?;
    }
    if let Some((uid, gid)) = wanted.ids {
        rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .map_err(Failed::doing("chown"))?;
    }
    if let Some(mode) = wanted.mode {
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode & 0o7777)).map_err(Failed::doing("chmod"))?;
    }
    if let Some(times) = wanted.times {
        rustix::fs::futimens(file, &paths::timestamps(times)).map_err(Failed::doing("utimes"))?;
    }
    Ok(())
}

fn number(fields: &mut Fields<'_>) -> Result<u32, Status> {
    let bytes = fields.byte_string()?.try_into().map_err(|_| Status::Failure)?;
    Ok(u32::from_be_bytes(bytes))
}
