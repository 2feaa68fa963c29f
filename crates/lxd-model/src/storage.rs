//! Storage volumes: their types and contents, with the API's words and the database's numbers.

use crate::Invalid;

/// What a volume is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VolumeType {
    /// A container's root.
    Container,
    /// An image that was unpacked.
    Image,
    /// Made by users.
    Custom,
    /// A virtual machine's root.
    VirtualMachine,
}

/// What is in a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContentType {
    /// Files.
    Filesystem,
    /// A disk.
    Block,
}

impl VolumeType {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Container, Self::Image, Self::Custom, Self::VirtualMachine];

    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Custom => "custom",
            Self::VirtualMachine => "virtual-machine",
        }
    }

    /// The number in the database.
    pub fn id(self) -> i64 {
        match self {
            Self::Container => 0,
            Self::Image => 1,
            Self::Custom => 2,
            Self::VirtualMachine => 3,
        }
    }

    /// The type with a number.
    pub fn from_id(id: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.id() == id)
    }

    /// The type with a word.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        known.ok_or_else(|| Invalid::new("Invalid storage volume type name"))
    }

    /// The type of a request to make a volume: only custom ones are made by hand.
    pub fn parse_for_creation(text: &str) -> Result<Self, Invalid> {
        match Self::parse(text) {
            Ok(Self::Custom) => Ok(Self::Custom),
            _ => Err(Invalid::new(format!(
                "Currently not allowed to create storage volumes of type {text:?}"
            ))),
        }
    }

    /// The folder of a pool that holds such volumes.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Container => "containers",
            Self::Image => "images",
            Self::Custom => "custom",
            Self::VirtualMachine => "virtual-machines",
        }
    }

    /// The folder of a pool that holds such volumes' snapshots; images have none.
    pub fn snapshots_folder(self) -> Option<&'static str> {
        match self {
            Self::Container => Some("containers-snapshots"),
            Self::Image => None,
            Self::Custom => Some("custom-snapshots"),
            Self::VirtualMachine => Some("virtual-machines-snapshots"),
        }
    }
}

impl ContentType {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Filesystem => "filesystem",
            Self::Block => "block",
        }
    }

    /// The number in the database.
    pub fn id(self) -> i64 {
        match self {
            Self::Filesystem => 0,
            Self::Block => 1,
        }
    }

    /// The content with a number.
    pub fn from_id(id: i64) -> Option<Self> {
        [Self::Filesystem, Self::Block]
            .into_iter()
            .find(|kind| kind.id() == id)
    }

    /// The content with a word; the empty text means files.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "" | "filesystem" => Ok(Self::Filesystem),
            "block" => Ok(Self::Block),
            _ => Err(Invalid::new("Invalid volume content type name")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_go_both_ways() {
        for kind in VolumeType::ALL {
            assert_eq!(VolumeType::parse(kind.as_str()).unwrap(), kind);
            assert_eq!(VolumeType::from_id(kind.id()), Some(kind));
        }
        for kind in [ContentType::Filesystem, ContentType::Block] {
            assert_eq!(ContentType::parse(kind.as_str()).unwrap(), kind);
            assert_eq!(ContentType::from_id(kind.id()), Some(kind));
        }
        let refused = VolumeType::parse_for_creation("container")
            .unwrap_err()
            .to_string();
        assert_eq!(
            refused,
            "Currently not allowed to create storage volumes of type \"container\""
        );
        assert!(ContentType::parse("foo").is_err());
    }
}
