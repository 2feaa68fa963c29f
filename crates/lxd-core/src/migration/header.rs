//! The messages on the first websocket, which are protocol buffers.

use lxd_storage::RsyncFeatures;

/// The form in which the data comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum Form {
    /// Directories, by rsync.
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

/// What is offered, and what is wanted of it. Fields that volumes have no use for are not in it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Header {
    #[prost(enumeration = "Form", required, tag = "1")]
    pub(crate) form: i32,
    /// The names of snapshots, oldest first.
    #[prost(string, repeated, tag = "4")]
    pub(crate) snapshot_names: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) snapshots: Vec<Snapshot>,
    #[prost(message, optional, tag = "8")]
    pub(crate) rsync: Option<Offer>,
    /// Whether what the receiver has is brought up to date.
    #[prost(bool, optional, tag = "9")]
    pub(crate) refresh: Option<bool>,
    #[prost(int64, optional, tag = "11")]
    pub(crate) volume_size: Option<i64>,
    /// The version of the description that comes before the data.
    #[prost(uint32, optional, tag = "13")]
    pub(crate) index_version: Option<u32>,
}

/// What rsync is to do.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Offer {
    #[prost(bool, optional, tag = "1")]
    pub(crate) xattrs: Option<bool>,
    #[prost(bool, optional, tag = "2")]
    pub(crate) delete: Option<bool>,
    #[prost(bool, optional, tag = "3")]
    pub(crate) compress: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    pub(crate) bidirectional: Option<bool>,
}

impl Offer {
    /// All that this server's rsync does.
    pub(crate) fn all(compress: bool) -> Self {
        Self {
            xattrs: Some(true),
            delete: Some(true),
            compress: Some(compress),
            bidirectional: Some(true),
        }
    }

    /// What both sides do.
    pub(crate) fn both(self, other: Self) -> Self {
        let both = |a: Option<bool>, b: Option<bool>| Some(a == Some(true) && b == Some(true));
        Self {
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
        }
    }
}

/// A snapshot. LXD wants all fields to be there.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Snapshot {
    #[prost(string, required, tag = "1")]
    pub(crate) name: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) config: Vec<Entry>,
    #[prost(string, repeated, tag = "3")]
    pub(crate) profiles: Vec<String>,
    #[prost(bool, required, tag = "4")]
    pub(crate) ephemeral: bool,
    #[prost(int32, required, tag = "6")]
    pub(crate) architecture: i32,
    #[prost(bool, required, tag = "7")]
    pub(crate) stateful: bool,
    #[prost(int64, optional, tag = "8")]
    pub(crate) created_at: Option<i64>,
    #[prost(int64, optional, tag = "9")]
    pub(crate) used_at: Option<i64>,
    /// Seconds since 1970; 0 for never.
    #[prost(int64, optional, tag = "10")]
    pub(crate) expires_at: Option<i64>,
}

/// A key of a snapshot's configuration.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Entry {
    #[prost(string, required, tag = "1")]
    pub(crate) key: String,
    #[prost(string, required, tag = "2")]
    pub(crate) value: String,
}

/// How it has ended.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Control {
    #[prost(bool, required, tag = "1")]
    pub(crate) success: bool,
    #[prost(string, optional, tag = "2")]
    pub(crate) message: Option<String>,
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn headers_are_those_of_the_reference() {
        // As LXD 5.0.2 sends it for a volume with one snapshot.
        let sent = b"\x08\x00\x22\x02s0\x2a\x2d\x0a\x02s0\x12\x0e\x0a\x04size\x12\x06100MiB\x12\x0b\x0a\x06user.a\x12\x01b\
                     \x20\x00\x30\x00\x38\x00\x40\x00\x48\x00\x50\x00\x42\x08\x08\x01\x10\x01\x18\x01\x20\x01\x68\x01";
        let header = Header::decode(&sent[..]).unwrap();
        assert_eq!(header.snapshot_names, ["s0"]);
        assert_eq!(header.snapshots[0].config[1].key, "user.a");
        assert_eq!(header.rsync, Some(Offer::all(true)));
        assert_eq!((header.refresh, header.index_version), (None, Some(1)));
        assert_eq!(header.encode_to_vec(), sent);
    }
}
