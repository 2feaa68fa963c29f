//! The messages on the first websocket, which are protocol buffers.

use std::collections::BTreeMap;

use lxd_storage::RsyncFeatures;

use super::protobuf::{Message, Writer, fields};

/// The form in which the data comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Form {
    /// Directories, by rsync.
    #[default]
    Rsync = 0,
    /// What `btrfs send` writes.
    Btrfs = 1,
    /// What `zfs send` writes.
    Zfs = 2,
    /// What `rbd export` writes.
    Rbd = 3,
    /// Block devices as they are, directories by rsync.
    BlockAndRsync = 4,
}

/// The form in which the memory of a running instance comes that goes without it.
pub(crate) const NO_MEMORY: i64 = 2;

/// What is offered, and what is wanted of it. Fields for forms that this server does not have are not in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Header {
    pub(crate) form: Form,
    /// The form of the memory; [`NO_MEMORY`] asks for the files a second time, as they are when the instance stands still.
    pub(crate) criu: Option<i64>,
    /// The ids of the files on the sender's disk.
    pub(crate) ids: Vec<Ids>,
    /// The names of snapshots, oldest first.
    pub(crate) snapshot_names: Vec<String>,
    pub(crate) snapshots: Vec<Snapshot>,
    /// Whether memory comes ahead of time. Instances say so, volumes don't.
    pub(crate) predump: Option<bool>,
    pub(crate) rsync: Option<Offer>,
    /// Whether what the receiver has is brought up to date.
    pub(crate) refresh: Option<bool>,
    pub(crate) volume_size: Option<i64>,
    /// The version of the description that comes before the data.
    pub(crate) index_version: Option<u32>,
}

impl Form {
    fn of(code: i64) -> Option<Self> {
        let all = [
            Self::Rsync,
            Self::Btrfs,
            Self::Zfs,
            Self::Rbd,
            Self::BlockAndRsync,
        ];
        all.into_iter().find(|form| *form as i64 == code)
    }
}

impl Message for Header {
    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.number(1, self.form as u64).maybe(2, self.criu);
        for ids in &self.ids {
            out.bytes(3, ids.encode());
        }
        for name in &self.snapshot_names {
            out.bytes(4, name);
        }
        for snapshot in &self.snapshots {
            out.bytes(5, snapshot.encode());
        }
        out.maybe(7, self.predump);
        if let Some(rsync) = &self.rsync {
            out.bytes(8, rsync.encode());
        }
        out.maybe(9, self.refresh)
            .maybe(11, self.volume_size)
            .maybe(13, self.index_version)
            .finish()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut header = Self::default();
        for (tag, value) in fields(bytes)? {
            match tag {
                1 => header.form = Form::of(value.number())?,
                2 => header.criu = Some(value.number()),
                3 => header.ids.push(Ids::decode(value.bytes())?),
                4 => header.snapshot_names.push(value.text()?),
                5 => header.snapshots.push(Snapshot::decode(value.bytes())?),
                7 => header.predump = Some(value.yes()),
                8 => header.rsync = Some(Offer::decode(value.bytes())?),
                9 => header.refresh = Some(value.yes()),
                11 => header.volume_size = Some(value.number()),
                13 => header.index_version = u32::try_from(value.number()).ok(),
                _ => {}
            }
        }
        Some(header)
    }
}

/// A range of ids in files on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ids {
    pub(crate) are_users: bool,
    pub(crate) are_groups: bool,
    pub(crate) on_disk: i32,
    pub(crate) inside: i32,
    pub(crate) count: i32,
}

impl Message for Ids {
    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.number(1, self.are_users.into())
            .number(2, self.are_groups.into())
            .maybe(3, Some(self.on_disk))
            .maybe(4, Some(self.inside))
            .maybe(5, Some(self.count))
            .finish()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut ids = Self::default();
        for (tag, value) in fields(bytes)? {
            let number = || i32::try_from(value.number()).ok();
            match tag {
                1 => ids.are_users = value.yes(),
                2 => ids.are_groups = value.yes(),
                3 => ids.on_disk = number()?,
                4 => ids.inside = number()?,
                5 => ids.count = number()?,
                _ => {}
            }
        }
        Some(ids)
    }
}

/// What rsync is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Offer {
    pub(crate) xattrs: Option<bool>,
    pub(crate) delete: Option<bool>,
    pub(crate) compress: Option<bool>,
    pub(crate) bidirectional: Option<bool>,
    /// Hard links and access lists stay. Only servers of this kind say so; LXD passes over what it doesn't know.
    pub(crate) exact: Option<bool>,
}

/// The number of a field that LXD has not.
const EXACT: u64 = 1900;

impl Offer {
    /// All that this server's rsync does.
    pub(crate) fn all(compress: bool) -> Self {
        Self {
            xattrs: Some(true),
            delete: Some(true),
            compress: Some(compress),
            bidirectional: Some(true),
            exact: Some(true),
        }
    }

    /// What both sides do.
    pub(crate) fn both(self, other: Self) -> Self {
        let both = |a: Option<bool>, b: Option<bool>| Some(a == Some(true) && b == Some(true));
        let is_exact = self.exact == Some(true) && other.exact == Some(true);
        Self {
            exact: is_exact.then_some(true),
            xattrs: both(self.xattrs, other.xattrs),
            delete: both(self.delete, other.delete),
            compress: both(self.compress, other.compress),
            bidirectional: both(self.bidirectional, other.bidirectional),
        }
    }

    /// What it means for the process.
    pub(crate) fn features(self) -> RsyncFeatures {
        RsyncFeatures {
            xattrs: self.xattrs == Some(true),
            delete: self.delete == Some(true),
            compress: self.compress == Some(true),
            exact: self.exact == Some(true),
        }
    }
}

impl Message for Offer {
    fn encode(&self) -> Vec<u8> {
        Writer::default()
            .maybe(1, self.xattrs)
            .maybe(2, self.delete)
            .maybe(3, self.compress)
            .maybe(4, self.bidirectional)
            .maybe(EXACT, self.exact)
            .finish()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut offer = Self::default();
        for (tag, value) in fields(bytes)? {
            match tag {
                1 => offer.xattrs = Some(value.yes()),
                2 => offer.delete = Some(value.yes()),
                3 => offer.compress = Some(value.yes()),
                4 => offer.bidirectional = Some(value.yes()),
                EXACT => offer.exact = Some(value.yes()),
                _ => {}
            }
        }
        Some(offer)
    }
}

/// A snapshot. LXD wants all fields to be there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Snapshot {
    pub(crate) name: String,
    pub(crate) config: Vec<Entry>,
    pub(crate) profiles: Vec<String>,
    pub(crate) ephemeral: bool,
    pub(crate) devices: Vec<Device>,
    pub(crate) architecture: i32,
    pub(crate) stateful: bool,
    pub(crate) created_at: Option<i64>,
    pub(crate) used_at: Option<i64>,
    /// Seconds since 1970; 0 for never.
    pub(crate) expires_at: Option<i64>,
}

impl Message for Snapshot {
    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes(1, &self.name);
        for entry in &self.config {
            out.bytes(2, entry.encode());
        }
        for profile in &self.profiles {
            out.bytes(3, profile);
        }
        out.number(4, self.ephemeral.into());
        for device in &self.devices {
            out.bytes(5, device.encode());
        }
        out.maybe(6, Some(self.architecture))
            .number(7, self.stateful.into())
            .maybe(8, self.created_at)
            .maybe(9, self.used_at)
            .maybe(10, self.expires_at)
            .finish()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut snapshot = Self::default();
        for (tag, value) in fields(bytes)? {
            match tag {
                1 => snapshot.name = value.text()?,
                2 => snapshot.config.push(Entry::decode(value.bytes())?),
                3 => snapshot.profiles.push(value.text()?),
                4 => snapshot.ephemeral = value.yes(),
                5 => snapshot.devices.push(Device::decode(value.bytes())?),
                6 => snapshot.architecture = i32::try_from(value.number()).ok()?,
                7 => snapshot.stateful = value.yes(),
                8 => snapshot.created_at = Some(value.number()),
                9 => snapshot.used_at = Some(value.number()),
                10 => snapshot.expires_at = Some(value.number()),
                _ => {}
            }
        }
        Some(snapshot)
    }
}

/// A device of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) config: Vec<Entry>,
}

impl Message for Device {
    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes(1, &self.name);
        for entry in &self.config {
            out.bytes(2, entry.encode());
        }
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut device = Self::default();
        for (tag, value) in fields(bytes)? {
            match tag {
                1 => device.name = value.text()?,
                2 => device.config.push(Entry::decode(value.bytes())?),
                _ => {}
            }
        }
        Some(device)
    }
}

/// A key of a snapshot's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) value: String,
}

impl Message for Entry {
    fn encode(&self) -> Vec<u8> {
        Writer::default()
            .bytes(1, &self.key)
            .bytes(2, &self.value)
            .finish()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut entry = Self::default();
        for (tag, value) in fields(bytes)? {
            match tag {
                1 => entry.key = value.text()?,
                2 => entry.value = value.text()?,
                _ => {}
            }
        }
        Some(entry)
    }
}

impl Entry {
    /// All of a configuration.
    pub(crate) fn all<'c>(config: impl IntoIterator<Item = (&'c String, &'c String)>) -> Vec<Self> {
        let entry = |(key, value): (&String, &String)| Self {
            key: key.clone(),
            value: value.clone(),
        };
        config.into_iter().map(entry).collect()
    }

    /// The configuration that they are.
    pub(crate) fn config(all: &[Self]) -> BTreeMap<String, String> {
        let pair = |entry: &Self| (entry.key.clone(), entry.value.clone());
        all.iter().map(pair).collect()
    }
}

/// How it has ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Control {
    pub(crate) success: bool,
    pub(crate) message: Option<String>,
}

impl Message for Control {
    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.number(1, self.success.into());
        if let Some(message) = &self.message {
            out.bytes(2, message);
        }
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut control = Self::default();
        for (tag, value) in fields(bytes)? {
            match tag {
                1 => control.success = value.yes(),
                2 => control.message = value.text(),
                _ => {}
            }
        }
        Some(control)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As LXD 5.0.2 sends it for a volume with one snapshot.
    const SENT: &[u8] = b"\x08\x00\x22\x02s0\x2a\x2d\x0a\x02s0\x12\x0e\x0a\x04size\x12\x06100MiB\x12\x0b\x0a\x06user.a\x12\x01b\
                     \x20\x00\x30\x00\x38\x00\x40\x00\x48\x00\x50\x00\x42\x08\x08\x01\x10\x01\x18\x01\x20\x01\x68\x01";

    #[test]
    fn headers_are_those_of_the_reference() {
        let header = Header::decode(SENT).unwrap();
        assert_eq!(header.snapshot_names, ["s0"]);
        assert_eq!(header.snapshots[0].config[1].key, "user.a");
        let offered = header.rsync.unwrap();
        assert_eq!(
            offered,
            Offer {
                exact: None,
                ..Offer::all(true)
            }
        );
        // Between two of ours more is agreed on.
        assert!(!Offer::all(true).both(offered).features().exact);
        assert!(Offer::all(true).both(Offer::all(true)).features().exact);
        assert_eq!((header.refresh, header.index_version), (None, Some(1)));
        assert_eq!(header.encode(), SENT);
    }

    /// As LXD 5.0.2 sends it for a running container, shortened.
    const RUNNING: &[u8] = b"\x08\x00\x10\x02\x1a\x0f\x08\x01\x10\x00\x18\xa0\x8d\x06\x20\x00\x28\x81\xad\xe2\x04\x38\x00\x68\x01";

    #[test]
    fn running_instances_come_with_their_ids() {
        let header = Header::decode(RUNNING).unwrap();
        assert_eq!((header.criu, header.predump), (Some(NO_MEMORY), Some(false)));
        let ids = header.ids[0];
        assert_eq!((ids.are_users, ids.are_groups), (true, false));
        assert_eq!((ids.on_disk, ids.inside, ids.count), (100_000, 0, 10_000_001));
        assert_eq!(header.encode(), RUNNING);
    }

    proptest! {
        #[test]
        fn whatever_is_taken_for_a_header_is_written_as_one(
            at in 0..SENT.len(), gone in 0..9_usize, new in proptest::collection::vec(any::<u8>(), 0..9)
        ) {
            let end = (at + gone).min(SENT.len());
            if let Some(header) = Header::decode(&[&SENT[..at], &new, &SENT[end..]].concat()) {
                prop_assert_eq!(Header::decode(&header.encode()), Some(header));
            }
        }
    }
}
