//! Device nodes that a group may use, and how much it may read and write of block devices.

use std::fmt;

use super::{Cgroups, Version, Write};

/// A device node that a group may read, write and make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceRule {
    /// Whether it is a block device; else a character device.
    pub is_block: bool,
    /// Its numbers.
    pub major: u32,
    /// Its numbers.
    pub minor: u32,
}

impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_block { 'b' } else { 'c' };
        write!(f, "{kind} {}:{} rwm", self.major, self.minor)
    }
}

/// Limits on one block device; 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Throttle {
    /// Major and minor number.
    pub device: (u32, u32),
    /// Bytes a second.
    pub read_bytes: u64,
    /// Bytes a second.
    pub write_bytes: u64,
    /// Operations a second.
    pub read_operations: u64,
    /// Operations a second.
    pub write_operations: u64,
}

impl Throttle {
    /// The same device without limits.
    pub fn open(device: (u32, u32)) -> Self {
        Self {
            device,
            ..Self::default()
        }
    }

    /// The writes that set this, those of no limit only when `resets`; none when this machine can't limit.
    pub fn writes(&self, machine: &Cgroups, resets: bool) -> Option<Vec<Write>> {
        let (major, minor) = self.device;
        if machine.version("blkio") == Some(Version::V1) {
            let files = [
                ("blkio.throttle.read_bps_device", self.read_bytes),
                ("blkio.throttle.read_iops_device", self.read_operations),
                ("blkio.throttle.write_bps_device", self.write_bytes),
                ("blkio.throttle.write_iops_device", self.write_operations),
            ];
            let wanted = files.into_iter().filter(|(_, limit)| resets || *limit > 0);
            let write = |(file, limit)| Write {
                version: Version::V1,
                controller: "blkio",
                file,
                value: format!("{major}:{minor} {limit}"),
            };
            return Some(wanted.map(write).collect());
        }
        machine.version("io")?;
        let number = |limit: u64| match limit {
            0 => "max".to_owned(),
            limit => limit.to_string(),
        };
        let value = format!(
            "{major}:{minor} rbps={} wbps={} riops={} wiops={}",
            number(self.read_bytes),
            number(self.write_bytes),
            number(self.read_operations),
            number(self.write_operations)
        );
        Some(vec![Write {
            version: Version::V2,
            controller: "io",
            file: "io.max",
            value,
        }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttles_of_both_versions() {
        let throttle = Throttle {
            read_bytes: 10,
            write_operations: 3,
            ..Throttle::open((8, 1))
        };
        let v1 = Cgroups::at(
            [("blkio".to_owned(), "/b".into())].into(),
            None,
            Default::default(),
        );
        let text = |writes: Vec<Write>| -> Vec<String> {
            writes
                .into_iter()
                .map(|w| format!("{}={}", w.file, w.value))
                .collect()
        };
        assert_eq!(
            text(throttle.writes(&v1, false).unwrap()),
            [
                "blkio.throttle.read_bps_device=8:1 10",
                "blkio.throttle.write_iops_device=8:1 3"
            ]
        );
        assert_eq!(Throttle::open((8, 1)).writes(&v1, true).unwrap().len(), 4);
        let v2 = Cgroups::at(Default::default(), Some("/u".into()), ["io".to_owned()].into());
        assert_eq!(
            text(throttle.writes(&v2, false).unwrap()),
            ["io.max=8:1 rbps=10 wbps=max riops=max wiops=3"]
        );
        let none = Cgroups::at(Default::default(), None, Default::default());
        assert_eq!(throttle.writes(&none, false), None);
        let rule = DeviceRule {
            is_block: false,
            major: 1,
            minor: 3,
        };
        assert_eq!(rule.to_string(), "c 1:3 rwm");
    }
}
