//! Limits on reading and writing: `limits.read`, `limits.write` and `limits.max` of all disks of an instance, by the block
//! devices behind them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lxd_model::units;
use lxd_sys::cgroup::Throttle;
use rustix::fs::{major, minor, stat};

use super::is_root;
use crate::devices::{Device, DeviceConfig, of_type, value};
use crate::error::Error;
use crate::instance::Instance;

/// Bytes and operations a second; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    /// Bytes.
    pub bytes: u64,
    /// Operations.
    pub operations: u64,
}

/// Reads a limit: `10MB`, `100iops`, or nothing.
///
/// # Errors
/// [`Error::DeviceValue`].
pub fn parse_rates(text: &str) -> Result<Rates, Error> {
    let mut rates = Rates::default();
    if text.is_empty() {
        return Ok(rates);
    }
    let bad = |reason: String| Error::DeviceValue(reason);
    match text.strip_suffix("iops") {
        Some(number) => {
            rates.operations = number
                .trim()
                .parse()
                .map_err(|_| bad(format!("Invalid value: {text}")))?;
        }
        None => {
            let bytes = units::parse_bytes(text).map_err(|invalid| bad(invalid.to_string()))?;
            rates.bytes = u64::try_from(bytes).map_err(|_| bad(format!("Invalid value: {text}")))?;
        }
    }
    Ok(rates)
}

/// What disks ask for, by the block devices behind them. Disks on the same one share a limit: the mean of all.
type Wanted = BTreeMap<(u32, u32), Vec<[Rates; 2]>>;

/// The limits that a disk of an instance brings.
pub(super) fn of_disk(device: &Device) -> Result<Vec<Throttle>, Error> {
    let own = wanted(&device.instance, |name| name == device.name)?;
    if own.is_empty() {
        return Ok(Vec::new());
    }
    let all = wanted(&device.instance, |_| true)?;
    let shared = all.into_iter().filter(|(numbers, _)| own.contains_key(numbers));
    Ok(shared.map(|(numbers, rates)| mean(numbers, &rates)).collect())
}

/// The limits that go with a disk: those of block devices that no other disk limits.
pub(super) fn only_of_disk(device: &Device) -> Result<Vec<Throttle>, Error> {
    let own = wanted(&device.instance, |name| name == device.name)?;
    if own.is_empty() {
        return Ok(Vec::new());
    }
    let others = wanted(&device.instance, |name| name != device.name)?;
    let gone = own.into_keys().filter(|numbers| !others.contains_key(numbers));
    Ok(gone.map(Throttle::open).collect())
}

/// What brings the limits of one configuration to those of another.
pub(super) fn between(old: &Instance, new: &Instance) -> Result<Vec<Throttle>, Error> {
    let (before, after) = (wanted(old, |_| true)?, wanted(new, |_| true)?);
    let gone = before.into_keys().filter(|numbers| !after.contains_key(numbers));
    let mut throttles: Vec<Throttle> = gone.map(Throttle::open).collect();
    throttles.extend(after.iter().map(|(numbers, rates)| mean(*numbers, rates)));
    Ok(throttles)
}

fn wanted(instance: &Instance, is_meant: impl Fn(&str) -> bool) -> Result<Wanted, Error> {
    let has_limit = |config: &DeviceConfig| config.keys().any(|key| key.starts_with("limits."));
    let mut wanted = Wanted::new();
    let mut known: Option<Vec<(PathBuf, (u32, u32))>> = None;
    for (name, config) in of_type(instance, "disk") {
        if !has_limit(config) || !is_meant(name) {
            continue;
        }
        let path = path_of(instance, config);
        let mounts = match &known {
            Some(mounts) => mounts,
            None => known.insert(mounts()),
        };
        let Some(device) = block_device(&path, mounts) else {
            // As the reference does: file systems such as overlay or NFS have no device to limit.
            tracing::warn!(instance = %instance.key, device = name, "A disk without a block device is not limited");
            continue;
        };
        let limit = |key: &str| parse_rates(value(config, key).unwrap_or_default());
        let max = limit("limits.max")?;
        let of = |own: Rates| {
            if value(config, "limits.max").is_some() {
                max
            } else {
                own
            }
        };
        let rates = [of(limit("limits.read")?), of(limit("limits.write")?)];
        wanted.entry(device).or_default().push(rates);
    }
    Ok(wanted)
}

fn mean(device: (u32, u32), all: &[[Rates; 2]]) -> Throttle {
    let of = |pick: fn(&[Rates; 2]) -> u64| {
        let set: Vec<u64> = all.iter().map(pick).filter(|limit| *limit > 0).collect();
        set.iter().sum::<u64>() / (set.len() as u64).max(1)
    };
    Throttle {
        device,
        read_bytes: of(|[read, _]| read.bytes),
        read_operations: of(|[read, _]| read.operations),
        write_bytes: of(|[_, write]| write.bytes),
        write_operations: of(|[_, write]| write.operations),
    }
}

/// What of the host's files lies behind a disk.
fn path_of(instance: &Instance, config: &DeviceConfig) -> PathBuf {
    let source = value(config, "source").unwrap_or_default();
    if is_root(config) || value(config, "pool").is_some() {
        // The pool's volumes are all on the file system of the container's own.
        return instance.paths.containers.join(instance.key.prefixed());
    }
    source.into()
}

/// Block devices by mount point, the youngest mount last.
fn mounts() -> Vec<(PathBuf, (u32, u32))> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let line = |line: &str| {
        let mut fields = line.split(' ');
        let (major, minor) = fields.nth(2)?.split_once(':')?;
        let target = fields.nth(1)?.replace("\\040", " ");
        let source = line.split_once(" - ")?.1.split(' ').nth(1)?.to_owned();
        let own = (major.parse().ok()?, minor.parse().ok()?);
        // File systems such as btrfs have numbers of their own: their device's are the source's.
        let device = if own.0 == 0 {
            numbers(Path::new(&source))?
        } else {
            own
        };
        Some((PathBuf::from(target), device))
    };
    text.lines().filter_map(line).collect()
}

/// The numbers of a device node, if it is a block device.
fn numbers(path: &Path) -> Option<(u32, u32)> {
    use std::os::unix::fs::FileTypeExt;
    if !std::fs::metadata(path).ok()?.file_type().is_block_device() {
        return None;
    }
    let found = stat(path).ok()?;
    Some((major(found.st_rdev), minor(found.st_rdev)))
}

/// The whole disk behind a path: the kernel limits no partitions.
fn block_device(path: &Path, mounts: &[(PathBuf, (u32, u32))]) -> Option<(u32, u32)> {
    let path = path.canonicalize().ok()?;
    let found = match numbers(&path) {
        Some(device) => device,
        None => {
            let above = mounts.iter().filter(|(target, _)| path.starts_with(target));
            // max_by_key takes the last of equals, which is the mount on top.
            above.max_by_key(|(target, _)| target.as_os_str().len())?.1
        }
    };
    Some(whole(found).unwrap_or(found))
}

fn whole((major, minor): (u32, u32)) -> Option<(u32, u32)> {
    let folder = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    if !folder.join("partition").exists() {
        return None;
    }
    let text = std::fs::read_to_string(folder.join("../dev")).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_bytes_or_operations() {
        let rates = |text| {
            parse_rates(text)
                .map(|rates| (rates.bytes, rates.operations))
                .ok()
        };
        assert_eq!(rates("10MB"), Some((10_000_000, 0)));
        assert_eq!(rates("1MiB"), Some((1 << 20, 0)));
        assert_eq!(rates("100iops"), Some((0, 100)));
        assert_eq!(rates(""), Some((0, 0)));
        for bad in ["x", "10Xiops", "-5", "5Q"] {
            assert_eq!(rates(bad), None, "{bad}");
        }
    }

    #[test]
    fn disks_on_one_device_share_the_mean() {
        let rates = |bytes| Rates { bytes, operations: 0 };
        let all = [[rates(10), rates(0)], [rates(30), rates(8)]];
        let throttle = mean((8, 0), &all);
        assert_eq!(
            (
                throttle.read_bytes,
                throttle.write_bytes,
                throttle.read_operations
            ),
            (20, 8, 0)
        );
    }

    #[test]
    fn the_deepest_and_youngest_mount_counts() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let mounts = [
            (PathBuf::from("/"), (250, 1)),
            (root.clone(), (250, 2)),
            (root.clone(), (250, 3)),
        ];
        assert_eq!(block_device(&root, &mounts), Some((250, 3)));
        assert_eq!(block_device(Path::new("/nonexistent"), &mounts), None);
    }
}
