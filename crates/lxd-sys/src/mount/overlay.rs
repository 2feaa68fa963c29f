//! overlayfs of idmapped layers, so that what lands on disk carries the ids of the inside.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags};
use rustix::mount::MountFlags;

use super::{FsContext, MountError, attach, detach, open_tree, set_idmap};

/// Options that the kernel's configuration would otherwise decide.
///
/// `redirect_dir` lets directories of the lower layer be renamed. `index` ties the upper layer to file handles of the lower one
/// and would refuse a copied upper layer; `metacopy` would leave files in the upper layer that have no content of their own.
const OPTIONS: [(&str, &str); 5] = [
    ("redirect_dir", "on"),
    ("index", "off"),
    ("metacopy", "off"),
    ("xino", "auto"),
    ("nfs_export", "off"),
];

/// The same for a view without an upper layer.
const VIEW_OPTIONS: [(&str, &str); 5] = [
    ("redirect_dir", "follow"),
    ("index", "off"),
    ("metacopy", "off"),
    ("xino", "auto"),
    ("nfs_export", "off"),
];

/// The user namespaces whose maps the layers get. Overlay itself can't be idmapped.
#[derive(Debug, Clone, Copy)]
pub struct OverlayMaps<'a> {
    /// For the lower layers: the map of the inside.
    pub lower: BorrowedFd<'a>,
    /// For the upper layer: the same with [`crate::userns::IdMap::with_root_outside`].
    pub upper: BorrowedFd<'a>,
}

/// An overlay to be mounted.
#[derive(Debug, Clone, Copy)]
pub struct Overlay<'a> {
    /// Shown as the mount's source.
    pub source: &'a str,
    /// Lower layers, the topmost first; at least one.
    pub lowers: &'a [&'a Path],
    /// The directory that has the upper layer in `upper_name` and the work directory in `work_name`.
    pub volume: &'a Path,
    /// Name of the upper layer's directory in `volume`.
    pub upper_name: &'a str,
    /// Name of the work directory in `volume`.
    pub work_name: &'a str,
    /// An existing empty directory, on which layers are mounted for the moment where the kernel wants them attached.
    pub scratch: &'a Path,
    /// Id maps of the layers; none for ids as they are on disk.
    pub maps: Option<OverlayMaps<'a>>,
}

impl Overlay<'_> {
    /// Mounts it on `target`, an existing directory. Fails, with nothing mounted, if it can't be written to.
    pub fn mount(&self, target: &Path) -> Result<(), MountError> {
        let lowers = self
            .lowers
            .iter()
            .map(|path| self.lower(path))
            .collect::<Result<Vec<_>, _>>()?;
        // A directory inside a detached idmapped mount is refused as upper layer, so that one is attached while the overlay is made.
        let attached = match self.maps {
            None => None,
            Some(maps) => Some(self.attach_mapped(self.volume, maps.upper)?),
        };
        let volume = if attached.is_some() {
            self.scratch
        } else {
            self.volume
        };
        let upper = open_directory(&volume.join(self.upper_name))?;
        let work = open_directory(&volume.join(self.work_name))?;
        match self.by_descriptor(&lowers, upper.as_fd(), work.as_fd(), target) {
            Err(MountError::Configure { step, .. }) if step.starts_with("lowerdir+=") => {
                self.by_path(volume, target)
            }
            result => result,
        }
    }

    fn lower(&self, path: &Path) -> Result<OwnedFd, MountError> {
        let tree = open_tree(path, false)?;
        if let Some(maps) = self.maps {
            set_idmap(tree.as_fd(), maps.lower, false)?;
        }
        Ok(tree)
    }

    fn attach_mapped(&self, path: &Path, userns: BorrowedFd<'_>) -> Result<Attached<'_>, MountError> {
        let tree = open_tree(path, false)?;
        set_idmap(tree.as_fd(), userns, false)?;
        attach(tree.as_fd(), self.scratch)?;
        Ok(Attached(self.scratch))
    }

    /// Layers as descriptors: Linux 6.13 and later.
    fn by_descriptor(
        &self,
        lowers: &[OwnedFd],
        upper: BorrowedFd<'_>,
        work: BorrowedFd<'_>,
        target: &Path,
    ) -> Result<(), MountError> {
        let context = FsContext::open("overlay")?;
        context.set("source", self.source)?;
        for lower in lowers {
            context.set_fd("lowerdir+", lower.as_fd())?;
        }
        context.set_fd("upperdir", upper)?;
        context.set_fd("workdir", work)?;
        for (key, value) in OPTIONS {
            context.set(key, value)?;
        }
        let mount = context.create()?;
        let state = rustix::fs::fstatvfs(&mount)
            .map_err(|e| MountError::call("examining the overlay for", target, e))?;
        if state.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Err(MountError::ReadOnly {
                fstype: "overlay",
                target: target.to_path_buf(),
            });
        }
        attach(mount.as_fd(), target)
    }

    /// Layers as paths, for older kernels. Mapped lower layers are attached one above the other on the target, which the
    /// overlay then covers; the kernel holds on to the layers itself, so that they are detached at once.
    fn by_path(&self, volume: &Path, target: &Path) -> Result<(), MountError> {
        let mut paths = Vec::new();
        let mut held = Vec::new();
        for lower in self.lowers {
            match self.maps {
                None => paths.push(lower.to_path_buf()),
                Some(_) if self.lowers.len() == 1 => {
                    attach(self.lower(lower)?.as_fd(), target)?;
                    held.push(Attached(target));
                    paths.push(target.to_path_buf());
                }
                Some(_) => {
                    return Err(MountError::Configure {
                        fstype: "overlay",
                        step: "several mapped lower layers".into(),
                        log: ": needs Linux 6.13".into(),
                        source: std::io::ErrorKind::Unsupported.into(),
                    });
                }
            }
        }
        let data = mount_data(
            &paths,
            &volume.join(self.upper_name),
            &volume.join(self.work_name),
        );
        let staged = target.join(".");
        let result = rustix::mount::mount(
            self.source,
            &staged,
            "overlay",
            MountFlags::empty(),
            Some(data.as_c_str()),
        );
        result.map_err(|e| MountError::call("mounting an overlay on", target, e))?;
        let tree = open_tree(target, false)?;
        detach(target)?;
        drop(held);
        let state = rustix::fs::fstatvfs(&tree)
            .map_err(|e| MountError::call("examining the overlay for", target, e))?;
        if state.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Err(MountError::ReadOnly {
                fstype: "overlay",
                target: target.to_path_buf(),
            });
        }
        attach(tree.as_fd(), target)
    }
}

/// A read-only view of stacked layers, the topmost first, that nobody else sees: a detached mount, gone when it is closed. `scratch` is an
/// existing empty directory for kernels that mount on paths only.
///
/// Also of layers that another overlay writes to. What it shows of files that change meanwhile is undefined: freeze who writes.
pub fn overlay_view(source: &str, layers: &[&Path], scratch: &Path) -> Result<OwnedFd, MountError> {
    let trees = layers
        .iter()
        .map(|path| open_tree(path, false))
        .collect::<Result<Vec<_>, _>>()?;
    let context = FsContext::open("overlay")?;
    context.set("source", source)?;
    for tree in &trees {
        match context.set_fd("lowerdir+", tree.as_fd()) {
            Err(MountError::Configure { .. }) => return view_by_path(source, layers, scratch),
            set => set?,
        }
    }
    for (key, value) in VIEW_OPTIONS {
        context.set(key, value)?;
    }
    context.create()
}

fn view_by_path(source: &str, layers: &[&Path], scratch: &Path) -> Result<OwnedFd, MountError> {
    let paths: Vec<std::path::PathBuf> = layers.iter().map(|path| path.to_path_buf()).collect();
    let mut data = Vec::new();
    lower_data(&mut data, &paths);
    for (key, value) in VIEW_OPTIONS {
        data.extend_from_slice(format!(",{key}={value}").as_bytes());
    }
    let data = option_string(data);
    let flags = MountFlags::RDONLY;
    rustix::mount::mount(source, scratch, "overlay", flags, Some(data.as_c_str()))
        .map_err(|e| MountError::call("mounting an overlay on", scratch, e))?;
    let attached = Attached(scratch);
    let tree = open_tree(scratch, false);
    drop(attached);
    tree
}

/// A mount that is detached on drop.
struct Attached<'a>(&'a Path);

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        if let Err(error) = detach(self.0) {
            tracing::warn!(%error, "A helper mount stays");
        }
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd, MountError> {
    rustix::fs::openat(
        CWD,
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
    )
    .map_err(|e| MountError::call("opening", path, e))
}

/// The option string of mount(2), with separators in paths escaped as overlayfs wants it.
fn mount_data(lowers: &[std::path::PathBuf], upper: &Path, work: &Path) -> std::ffi::CString {
    let mut data = Vec::new();
    lower_data(&mut data, lowers);
    data.extend_from_slice(b",upperdir=");
    escape(&mut data, upper, b"\\,");
    data.extend_from_slice(b",workdir=");
    escape(&mut data, work, b"\\,");
    for (key, value) in OPTIONS {
        data.extend_from_slice(format!(",{key}={value}").as_bytes());
    }
    option_string(data)
}

fn lower_data(data: &mut Vec<u8>, lowers: &[std::path::PathBuf]) {
    data.extend_from_slice(b"lowerdir=");
    for (n, lower) in lowers.iter().enumerate() {
        if n > 0 {
            data.push(b':');
        }
        escape(data, lower, b"\\,:");
    }
}

fn escape(data: &mut Vec<u8>, path: &Path, special: &[u8]) {
    use std::os::unix::ffi::OsStrExt;
    for byte in path.as_os_str().as_bytes() {
        if special.contains(byte) {
            data.push(b'\\');
        }
        data.push(*byte);
    }
}

fn option_string(mut data: Vec<u8>) -> std::ffi::CString {
    // Paths from the kernel or from rustix hold no NUL, so nothing is lost here.
    data.retain(|byte| *byte != 0);
    std::ffi::CString::new(data).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_in_paths_are_escaped() {
        let data = mount_data(
            &["/a:b".into(), "/c,d".into()],
            Path::new("/u,v"),
            Path::new("/w"),
        );
        let text = data.to_str().unwrap();
        assert!(
            text.starts_with(r"lowerdir=/a\:b:/c\,d,upperdir=/u\,v,workdir=/w,redirect_dir=on,"),
            "{text}"
        );
    }

    fn overlay_fixture(by_path: bool) {
        use crate::userns::{IdMap, create, idmapped_mounts_supported};
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let dir = tempfile::tempdir().unwrap();
        if !idmapped_mounts_supported(dir.path()) {
            return;
        }
        let at = |name: &str| dir.path().join(name);
        for name in ["lower", "vol", "vol/upper", "vol/work", "scratch", "target"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        std::fs::set_permissions(at("vol"), std::fs::Permissions::from_mode(0o711)).unwrap();
        std::fs::write(at("lower/f"), "old").unwrap();
        let map = IdMap::shifted(1_000_000, 65536);
        let (lower, upper) = (create(&map).unwrap(), create(&map.with_root_outside()).unwrap());
        let lowers = [at("lower")];
        let lowers: Vec<&Path> = lowers.iter().map(|p| p.as_path()).collect();
        let overlay = Overlay {
            source: "test",
            lowers: &lowers,
            volume: &at("vol"),
            upper_name: "upper",
            work_name: "work",
            scratch: &at("scratch"),
            maps: Some(OverlayMaps {
                lower: lower.as_fd(),
                upper: upper.as_fd(),
            }),
        };
        if by_path {
            let _attached = overlay.attach_mapped(overlay.volume, upper.as_fd()).unwrap();
            overlay.by_path(overlay.scratch, &at("target")).unwrap();
        } else {
            overlay.mount(&at("target")).unwrap();
        }
        assert_eq!(std::fs::metadata(at("target/f")).unwrap().uid(), 1_000_000);
        std::fs::write(at("target/f"), "new").unwrap();
        std::os::unix::fs::chown(at("target/f"), Some(1_000_007), Some(1_000_000)).unwrap();
        assert_eq!(std::fs::read(at("lower/f")).unwrap(), b"old");
        assert_eq!(std::fs::metadata(at("vol/upper/f")).unwrap().uid(), 7);
        assert_eq!(
            super::super::mounts_beneath(dir.path()).unwrap().len(),
            1,
            "helper mounts are gone"
        );
        detach(&at("target")).unwrap();
        assert!(super::super::mounts_beneath(dir.path()).unwrap().is_empty());
    }

    #[test]
    fn layers_by_descriptor_write_unshifted_ids_to_disk() {
        overlay_fixture(false);
    }

    #[test]
    fn layers_by_path_write_unshifted_ids_to_disk() {
        overlay_fixture(true);
    }
}
