//! Volumes and where they are on disk.

use std::path::PathBuf;

/// The project whose instances have no prefix.
const DEFAULT_PROJECT: &str = "default";

/// What a volume is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VolumeType {
    /// A container's.
    Container,
    /// A virtual machine's.
    VirtualMachine,
    /// Made by the user.
    Custom,
    /// An unpacked image.
    Image,
}

impl VolumeType {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Container, Self::VirtualMachine, Self::Custom, Self::Image];

    /// The directory in a pool, and its mode.
    pub fn directory(self) -> (&'static str, u32) {
        match self {
            Self::Container => ("containers", 0o711),
            Self::VirtualMachine => ("virtual-machines", 0o700),
            Self::Custom => ("custom", 0o700),
            Self::Image => ("images", 0o700),
        }
    }

    /// The directory of snapshots in a pool, and its mode; images have none.
    pub fn snapshots_directory(self) -> Option<(&'static str, u32)> {
        match self {
            Self::Container => Some(("containers-snapshots", 0o711)),
            Self::VirtualMachine => Some(("virtual-machines-snapshots", 0o700)),
            Self::Custom => Some(("custom-snapshots", 0o700)),
            Self::Image => None,
        }
    }

    /// The word of the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::VirtualMachine => "virtual-machine",
            Self::Custom => "custom",
            Self::Image => "image",
        }
    }
}

/// A volume in a pool, by its name on disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Volume {
    /// What it is for.
    pub kind: VolumeType,
    /// `NAME`, `PROJECT_NAME`, or an image's fingerprint.
    pub name: String,
    /// For snapshots the part behind the slash.
    pub snapshot: Option<String>,
}

impl Volume {
    /// The root volume of an instance: prefixed unless its project is the default one. A snapshot is named `INSTANCE/SNAPSHOT`.
    pub fn instance(kind: VolumeType, project: &str, name: &str) -> Self {
        let (name, snapshot) = split(name);
        let name = if project == DEFAULT_PROJECT {
            name.to_owned()
        } else {
            format!("{project}_{name}")
        };
        Self { kind, name, snapshot }
    }

    /// A container's root volume.
    pub fn container(project: &str, name: &str) -> Self {
        Self::instance(VolumeType::Container, project, name)
    }

    /// A custom volume: always prefixed.
    pub fn custom(project: &str, name: &str) -> Self {
        let (name, snapshot) = split(name);
        Self {
            kind: VolumeType::Custom,
            name: format!("{project}_{name}"),
            snapshot,
        }
    }

    /// An unpacked image.
    pub fn image(fingerprint: &str) -> Self {
        Self {
            kind: VolumeType::Image,
            name: fingerprint.to_owned(),
            snapshot: None,
        }
    }

    /// A snapshot of it; the directory of all of them for the empty name.
    pub fn with_snapshot(&self, name: &str) -> Self {
        Self {
            snapshot: Some(name.to_owned()),
            ..self.clone()
        }
    }

    /// Where it is in a pool.
    pub fn relative_path(&self) -> PathBuf {
        match (&self.snapshot, self.kind.snapshots_directory()) {
            (Some(snapshot), Some((directory, _))) => [directory, &self.name, snapshot].iter().collect(),
            _ => [self.kind.directory().0, &self.name].iter().collect(),
        }
    }

    /// The symbolic link beneath LXD_DIR that leads to it, for instances and the directory of their snapshots, with what
    /// it leads to inside the pool.
    pub fn link(&self) -> Option<(PathBuf, PathBuf)> {
        let snapshots = |kind: VolumeType| {
            kind.snapshots_directory()
                .map(|(directory, _)| [directory, &self.name].iter().collect())
        };
        let (place, target) = match (self.kind, &self.snapshot) {
            (VolumeType::Container, None) => ("containers", self.relative_path()),
            (VolumeType::VirtualMachine, None) => ("virtual-machines", self.relative_path()),
            (VolumeType::Container, Some(_)) => ("snapshots", snapshots(self.kind)?),
            (VolumeType::VirtualMachine, Some(_)) => ("virtual-machines-snapshots", snapshots(self.kind)?),
            (VolumeType::Custom | VolumeType::Image, _) => return None,
        };
        Some(([place, &self.name].iter().collect(), target))
    }
}

fn split(name: &str) -> (&str, Option<String>) {
    match name.split_once('/') {
        Some((name, snapshot)) => (name, Some(snapshot.to_owned())),
        None => (name, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_reference() {
        let path = |volume: Volume| volume.relative_path().display().to_string();
        assert_eq!(path(Volume::container("default", "c1")), "containers/c1");
        assert_eq!(
            path(Volume::container("p", "c1/s0")),
            "containers-snapshots/p_c1/s0"
        );
        assert_eq!(path(Volume::custom("default", "v")), "custom/default_v");
        assert_eq!(path(Volume::image("abc")), "images/abc");
        let (link, target) = Volume::container("p", "c1/s0").link().unwrap();
        assert_eq!(
            (link, target),
            ("snapshots/p_c1".into(), "containers-snapshots/p_c1".into())
        );
        assert_eq!(Volume::custom("default", "v").link(), None);
    }
}
