//! Unpacking archives into a directory that nothing gets out of, within limits.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lxd_sys::path::{Links, Owners, PathError, Root, Special};
use lxd_sys::userns::IdMap;
use rustix::fs::{FileType, Timespec, Timestamps};

use super::{Acl, Compression, Decoder, ImageError, ImageFiles, Kind, Member, Members, squashfs};
use crate::watch::Watch;

mod acl;

/// Unpacked bytes up to which any ratio of compression is taken for possible.
const RATIO_FROM: u64 = 1 << 30;

/// Bytes beyond which nothing is unpacked, whatever has room.
const LARGEST: u64 = 1 << 40;

/// What unpacking may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of content, holes not counted. The pool's free space, less what must stay free.
    pub bytes: u64,
    /// Members.
    pub entries: u64,
    /// Unpacked bytes for each packed one, beyond the first GiB.
    pub ratio: u64,
}

impl Limits {
    /// For a pool with this many bytes free: a twentieth of them stays, and no image may be larger than 1 TiB or 4 million members.
    pub fn for_free_space(free: u64) -> Self {
        Self {
            bytes: (free - free / 20).min(LARGEST),
            entries: 4_000_000,
            ratio: 1000,
        }
    }

    /// Refuses more bytes than there may be.
    fn hold(&self, bytes: u64) -> Result<(), ImageError> {
        if bytes <= self.bytes {
            return Ok(());
        }
        if self.bytes < LARGEST {
            return Err(ImageError::no_room(self.bytes));
        }
        Err(ImageError::TooLarge {
            reason: format!("more than {LARGEST} bytes"),
        })
    }
}

/// What an archive is unpacked as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Its root is the target; `rootfs/`, `metadata.yaml` and `templates/` lie in it. Owner and mode of the target stay.
    Image,
    /// Its root is the root file system, whose owner and mode count.
    Rootfs,
}

/// What was unpacked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Members.
    pub entries: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// Members left out on purpose: device nodes other than the harmless ones of /dev.
    pub skipped: Vec<String>,
}

/// Unpacks an image into `target`, an existing empty directory. Afterwards it has `rootfs/` (or `rootfs.img`) and `metadata.yaml`.
///
/// On failure `target` is in an undefined state: use a staging directory.
pub fn unpack(
    files: &ImageFiles,
    target: &Path,
    limits: Limits,
    watch: &Watch,
) -> Result<Unpacked, ImageError> {
    let unpacked = match files {
        ImageFiles::Unified(image) => archive(image, target, Layout::Image, limits, watch)?,
        ImageFiles::Split { metadata, rootfs } => {
            let mut unpacked = archive(metadata, target, Layout::Image, limits, watch)?;
            let below = target.join("rootfs");
            if let Err(source) = std::fs::create_dir(&below)
                && source.kind() != std::io::ErrorKind::AlreadyExists
            {
                return Err(ImageError::file("creating", &below, source));
            }
            let second = archive(rootfs, &below, Layout::Rootfs, limits, watch)?;
            unpacked.entries += second.entries;
            unpacked.bytes += second.bytes;
            unpacked.skipped.extend(second.skipped);
            unpacked
        }
    };
    let has = |name: &str, kind: FileType| {
        rustix::fs::lstat(target.join(name)).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == kind)
    };
    if !has("metadata.yaml", FileType::RegularFile) {
        return Err(ImageError::NoMetadata);
    }
    if !has("rootfs", FileType::Directory) && !has("rootfs.img", FileType::RegularFile) {
        return Err(ImageError::NoRoot);
    }
    Ok(unpacked)
}

fn archive(
    image: &Path,
    target: &Path,
    layout: Layout,
    limits: Limits,
    watch: &Watch,
) -> Result<Unpacked, ImageError> {
    if Compression::of_file(image)? == Compression::Squashfs {
        return from_squashfs(image, target, limits, watch);
    }
    let whole = [Part {
        name: String::new(),
        target: target.to_path_buf(),
        layout,
        ids: None,
    }];
    Unpacking::begin(image, &whole, limits, watch)?.all()
}

/// A directory of an archive, and the directory that it becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its path in the archive.
    pub name: String,
    /// An existing directory.
    pub target: PathBuf,
    /// What it is.
    pub layout: Layout,
    /// Ids that this has outside become those inside.
    pub ids: Option<IdMap>,
}

/// Unpacks some directories of a tar archive; what is in none of them is passed over, and what is in several goes to the first
/// one that is named.
///
/// On failure the targets are in an undefined state.
pub fn unpack_parts(
    archive: &Path,
    parts: &[Part],
    limits: Limits,
    watch: &Watch,
) -> Result<Unpacked, ImageError> {
    Unpacking::begin(archive, parts, limits, watch)?.all()
}

/// `unsquashfs` itself refuses names that lead out; the listing is judged all the same, before anything is written.
fn from_squashfs(image: &Path, target: &Path, limits: Limits, watch: &Watch) -> Result<Unpacked, ImageError> {
    let mut done = Unpacked::default();
    let mut nodes: Vec<PathBuf> = Vec::new();
    for entry in squashfs::list(image, watch)? {
        done.entries += 1;
        done.bytes = done.bytes.saturating_add(entry.size);
        clean_name(&entry.path).map_err(|reason| ImageError::member(&entry.path, reason))?;
        if matches!(entry.kind, b'c' | b'b') && !(entry.kind == b'c' && harmless(entry.device)) {
            nodes.push(entry.relative());
        }
    }
    if done.entries > limits.entries {
        return Err(ImageError::TooLarge {
            reason: format!("more than {} members", limits.entries),
        });
    }
    limits.hold(done.bytes)?;
    squashfs::unpack(image, target, watch)?;
    let root = Root::open(target, Links::Refused).map_err(|source| ImageError::Write {
        member: String::new(),
        source,
    })?;
    for node in nodes {
        let member = node.display().to_string();
        root.remove_file(&node).map_err(|source| ImageError::Write {
            member: member.clone(),
            source,
        })?;
        done.skipped.push(member);
    }
    if !watch.advance(done.bytes) {
        return Err(ImageError::Cancelled);
    }
    Ok(done)
}

/// A [`Part`] that is being filled.
struct Opened {
    name: Vec<u8>,
    root: Root,
    layout: Layout,
    owners: Owners,
}

struct Unpacking<'a> {
    parts: Vec<Opened>,
    /// The one that the present member is in.
    current: usize,
    limits: Limits,
    watch: &'a Watch,
    members: Members<Decoder>,
    done: Unpacked,
    /// Directories whose times are set at the end, because what goes into them changes these.
    directories: Vec<(usize, PathBuf, (i64, i64))>,
    packed: u64,
    buffer: Vec<u8>,
    /// The directory that the last member was in, most often that of the next one: its part, its path, and itself.
    near: Option<(usize, PathBuf, Arc<Root>)>,
    /// Whether what is made there gets the directory's group.
    gives_group: bool,
}

impl<'a> Unpacking<'a> {
    fn begin(archive: &Path, parts: &[Part], limits: Limits, watch: &'a Watch) -> Result<Self, ImageError> {
        let open = |part: &Part| {
            let root = Root::open(&part.target, Links::Beneath).map_err(|source| ImageError::Write {
                member: part.name.clone(),
                source,
            })?;
            Ok(Opened {
                name: part.name.clone().into_bytes(),
                root,
                layout: part.layout,
                owners: Owners::new(part.ids.as_ref(), None),
            })
        };
        Ok(Self {
            parts: parts.iter().map(open).collect::<Result<_, ImageError>>()?,
            current: 0,
            limits,
            watch,
            members: Members::new(Decoder::open_ahead(archive)?),
            done: Unpacked::default(),
            directories: Vec::new(),
            packed: 0,
            buffer: vec![0; 256 * 1024],
            near: None,
            gives_group: false,
        })
    }

    fn all(mut self) -> Result<Unpacked, ImageError> {
        while let Some(member) = self.members.next_member()? {
            self.member(&member)?;
        }
        self.finish()
    }

    /// The directory that the present member goes to.
    fn root(&self) -> &Root {
        &self.parts[self.current].root
    }

    fn member(&mut self, member: &Member) -> Result<(), ImageError> {
        self.done.entries += 1;
        if self.done.entries > self.limits.entries {
            return Err(ImageError::TooLarge {
                reason: format!("more than {} members", self.limits.entries),
            });
        }
        let name = clean_name(&member.path).map_err(|reason| ImageError::member(&member.path, reason))?;
        let found = self.parts.iter().enumerate();
        let mut found = found.filter_map(|(index, part)| Some((index, beneath(&name, &part.name)?.to_vec())));
        let Some((index, name)) = found.next() else {
            return self.advance(0);
        };
        drop(found);
        self.current = index;
        if name.is_empty() {
            return self.root_directory(member);
        }
        let path = PathBuf::from(std::ffi::OsString::from_vec(name));
        if let Kind::Character(major, minor) | Kind::Block(major, minor) = member.kind
            && !(matches!(member.kind, Kind::Character(..)) && harmless((major, minor)))
        {
            self.done.skipped.push(path.display().to_string());
            return Ok(());
        }
        self.make(member, &path)?;
        self.advance(0)
    }

    /// The archive's "./".
    fn root_directory(&mut self, member: &Member) -> Result<(), ImageError> {
        if member.kind != Kind::Directory {
            return Err(ImageError::member(&member.path, "it has no name"));
        }
        match self.parts[self.current].layout {
            Layout::Image => Ok(()),
            Layout::Rootfs => {
                self.give(member, self.root().as_fd(), true).map_err(|e| {
                    ImageError::file("setting the attributes of", self.root().path(), e.into())
                })?;
                self.directories
                    .push((self.current, PathBuf::new(), member.mtime));
                self.near = None;
                Ok(())
            }
        }
    }

    fn make(&mut self, member: &Member, path: &Path) -> Result<(), ImageError> {
        let failed = |source| write_error(member, source);
        let above = self.above(path).map_err(failed)?;
        let name = Path::new(path.file_name().unwrap_or_default());
        match &member.kind {
            Kind::Directory => self.make_directory(&above, name).map_err(failed)?,
            Kind::File => return self.make_file(member, &above, name),
            Kind::HardLink => {
                let link = clean_name(&member.link).map_err(|reason| {
                    ImageError::member(&member.path, format!("its hard link's target: {reason}"))
                })?;
                let link = beneath(&link, &self.parts[self.current].name).ok_or_else(|| {
                    ImageError::member(&member.path, "its hard link leads out of its directory")
                })?;
                let existing = PathBuf::from(std::ffi::OsString::from_vec(link.to_vec()));
                if existing != path {
                    let link = |this: &Self| this.root().hard_link(&existing, path);
                    self.place(&above, name, link).map_err(failed)?;
                }
                // It is the file that it is linked to, whose owner and mode were set then.
                return Ok(());
            }
            Kind::Symlink => {
                if member.link.contains(&0) || member.link.is_empty() {
                    return Err(ImageError::member(&member.path, "its link's target is malformed"));
                }
                let target = OsStr::from_bytes(&member.link);
                self.place(&above, name, |_| above.symlink(target, name))
                    .map_err(failed)?;
            }
            Kind::Fifo => self.make_node(&above, name, Special::Fifo).map_err(failed)?,
            Kind::Character(major, minor) | Kind::Block(major, minor) => {
                let (major, minor) = (*major, *minor);
                let node = Special::Character { major, minor };
                self.make_node(&above, name, node).map_err(failed)?;
            }
        }
        self.attributes(member, &above, name).map_err(failed)?;
        if member.kind == Kind::Directory {
            // Its times come at the end: what goes into it changes them.
            self.directories
                .push((self.current, path.to_path_buf(), member.mtime));
            return Ok(());
        }
        above.set_times(name, &times(member.mtime)).map_err(failed)
    }

    /// The directory that `path` is in, made if the archive has no member for it (yet).
    fn above(&mut self, path: &Path) -> Result<Arc<Root>, PathError> {
        let wanted = path.parent().unwrap_or(Path::new(""));
        if let Some((part, near, root)) = &self.near
            && *part == self.current
            && near == wanted
        {
            return Ok(Arc::clone(root));
        }
        let root = match self.root().directory(wanted) {
            Err(error) if error.io_kind() == Some(std::io::ErrorKind::NotFound) => {
                self.root().create_directories(wanted, 0o755)?;
                self.root().directory(wanted)?
            }
            result => result?,
        };
        self.gives_group = gives_group(&root)?;
        let root = Arc::new(root);
        self.near = Some((self.current, wanted.to_path_buf(), Arc::clone(&root)));
        Ok(root)
    }

    fn make_directory(&mut self, above: &Root, name: &Path) -> Result<(), PathError> {
        match above.create_directory(name, 0o700) {
            Err(error) if error.io_kind() == Some(std::io::ErrorKind::AlreadyExists) => {}
            result => return result,
        }
        if FileType::from_raw_mode(above.stat(name)?.st_mode) == FileType::Directory {
            return Ok(());
        }
        // It may have been a link on the way to the near directory.
        self.near = None;
        above.remove_file(name)?;
        above.create_directory(name, 0o700)
    }

    fn make_node(&mut self, above: &Root, name: &Path, node: Special) -> Result<(), PathError> {
        self.place(above, name, |_| above.create_special(name, node, 0o600))
    }

    /// Makes something. It is looked for an earlier member in its place only where there is one: most archives name
    /// nothing twice.
    fn place<T>(
        &mut self,
        above: &Root,
        name: &Path,
        make: impl Fn(&Self) -> Result<T, PathError>,
    ) -> Result<T, PathError> {
        match make(self) {
            Err(error) if error.io_kind() == Some(std::io::ErrorKind::AlreadyExists) => {
                self.clear(above, name)?;
                make(self)
            }
            result => result,
        }
    }

    /// Makes room for a member that replaces an earlier one. A directory is replaced only when empty, as tar does.
    fn clear(&mut self, above: &Root, name: &Path) -> Result<(), PathError> {
        let Ok(stat) = above.stat(name) else {
            return Ok(());
        };
        self.near = None;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return above.remove_file(name);
        }
        rustix::fs::unlinkat(above.as_fd(), name, rustix::fs::AtFlags::REMOVEDIR).map_err(|e| {
            PathError::Call {
                doing: "replacing the directory",
                path: above.path().join(name),
                source: e.into(),
            }
        })
    }

    fn make_file(&mut self, member: &Member, above: &Root, name: &Path) -> Result<(), ImageError> {
        let failed = |source| write_error(member, source);
        let file = self.place(above, name, |_| above.create_file(name, 0o600));
        let file = file.map_err(failed)?;
        self.write_content(member, &file, &above.path().join(name))?;
        let given = self.give(member, file.as_fd(), self.gives_group);
        let given = given.and_then(|()| rustix::fs::futimens(&file, &times(member.mtime)));
        given.map_err(|e| {
            failed(PathError::Call {
                doing: "setting the attributes of",
                path: above.path().join(name),
                source: e.into(),
            })
        })
    }

    /// Gives something that is open its owner, attributes and mode. What was just made is root's already, unless its directory
    /// gives it another group.
    fn give(&self, member: &Member, to: BorrowedFd<'_>, always: bool) -> rustix::io::Result<()> {
        let owners = &self.parts[self.current].owners;
        let (uid, gid) = (owners.user(member.uid), owners.group(member.gid));
        // Owner first: changing it clears capabilities and setuid bits.
        if (uid, gid) != (0, 0) || always {
            let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
            rustix::fs::fchown(to, Some(uid), Some(gid))?;
        }
        for (name, value) in &self.extended(member) {
            let none = rustix::fs::XattrFlags::empty();
            match rustix::fs::fsetxattr(to, OsStr::from_bytes(name), value, none) {
                Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::PERM) => {}
                result => result?,
            }
        }
        rustix::fs::fchmod(to, rustix::fs::Mode::from_raw_mode(member.mode))
    }

    fn write_content(&mut self, member: &Member, file: &File, path: &Path) -> Result<(), ImageError> {
        let failed = |e: rustix::io::Errno| {
            write_error(
                member,
                PathError::Call {
                    doing: "writing",
                    path: path.to_path_buf(),
                    source: e.into(),
                },
            )
        };
        let whole = [(0, member.size)];
        let pieces = member.pieces.as_deref().unwrap_or(&whole);
        let mut has_holes = member.pieces.is_some();
        for &(offset, length) in pieces {
            let mut at = offset;
            let end = offset + length;
            while at < end {
                let room = usize::try_from(end - at)
                    .unwrap_or(usize::MAX)
                    .min(self.buffer.len());
                let (buffer, _) = self.buffer.split_at_mut(room);
                let n = self.members.read_data(buffer)?;
                if n == 0 {
                    return Err(ImageError::member(
                        &member.path,
                        "it has less data than its header says",
                    ));
                }
                let mut rest = buffer.get(..n).unwrap_or_default();
                if rest.iter().all(|byte| *byte == 0) {
                    // Nothing takes no room.
                    (at, has_holes, rest) = (at + n as u64, true, &[]);
                }
                while !rest.is_empty() {
                    let written =
                        rustix::io::retry_on_intr(|| rustix::io::pwrite(file, rest, at)).map_err(failed)?;
                    at += written as u64;
                    rest = rest.get(written..).unwrap_or_default();
                }
                self.advance(n as u64)?;
            }
        }
        if has_holes {
            rustix::fs::ftruncate(file, member.size).map_err(failed)?;
        }
        Ok(())
    }

    /// Extended attributes of a member that belong to it, ids in them shifted; its ACLs among them.
    fn extended<'m>(&self, member: &'m Member) -> Vec<(&'m [u8], Vec<u8>)> {
        let owners = &self.parts[self.current].owners;
        let plain = member.xattrs.iter().filter(|(name, _)| allowed_attribute(name));
        let plain = plain.map(|(name, value)| (name.as_slice(), owners.attribute(name, value).to_vec()));
        let acls = member.acls.iter().filter_map(|(which, text)| {
            let value = acl::encode(text)?;
            let name: &[u8] = match which {
                Acl::Access => b"system.posix_acl_access",
                Acl::Default => b"system.posix_acl_default",
            };
            Some((name, owners.attribute(name, &value).to_vec()))
        });
        plain.chain(acls).collect()
    }

    /// Owner first: changing it clears capabilities and setuid bits.
    fn attributes(&self, member: &Member, above: &Root, name: &Path) -> Result<(), PathError> {
        let owners = &self.parts[self.current].owners;
        let (uid, gid) = (owners.user(member.uid), owners.group(member.gid));
        if (uid, gid) != (0, 0) || self.gives_group {
            above.set_owner(name, uid, gid)?;
        }
        for (attribute, value) in self.extended(member) {
            ignore_unsupported(above.set_xattr(name, OsStr::from_bytes(attribute), &value))?;
        }
        match member.kind {
            Kind::Symlink => Ok(()),
            _ => above.set_mode(name, member.mode),
        }
    }

    /// Counts written bytes and holds them against the limits.
    fn advance(&mut self, bytes: u64) -> Result<(), ImageError> {
        self.done.bytes += bytes;
        self.limits.hold(self.done.bytes)?;
        let packed = self.members.reader().used();
        if self.done.bytes > RATIO_FROM && self.done.bytes / self.limits.ratio > packed {
            let reason = format!(
                "{} bytes from {packed}: it looks like a decompression bomb",
                self.done.bytes
            );
            return Err(ImageError::TooLarge { reason });
        }
        let step = packed - self.packed;
        self.packed = packed;
        if self.watch.advance(step) {
            Ok(())
        } else {
            Err(ImageError::Cancelled)
        }
    }

    fn finish(self) -> Result<Unpacked, ImageError> {
        for (part, path, mtime) in self.directories.iter().rev() {
            let root = &self.parts[*part].root;
            if path.as_os_str().is_empty() {
                rustix::fs::futimens(root.as_fd(), &times(*mtime))
                    .map_err(|e| ImageError::file("setting the times of", root.path(), e.into()))?;
                continue;
            }
            // A later member may have replaced it.
            match root.set_times(path, &times(*mtime)) {
                Err(PathError::Call { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                result => result.map_err(|source| ImageError::Write {
                    member: path.display().to_string(),
                    source,
                })?,
            }
        }
        Ok(self.done)
    }
}

/// A path below another one; none if it is elsewhere. Everything is below the empty path.
fn beneath<'a>(path: &'a [u8], above: &[u8]) -> Option<&'a [u8]> {
    if above.is_empty() {
        return Some(path);
    }
    let rest = path.strip_prefix(above)?;
    match rest {
        [] => Some(rest),
        [b'/', rest @ ..] => Some(rest),
        _ => None,
    }
}

/// A member's path without leading slashes, `.` parts and doubled slashes; the reason if it may not be used.
pub(super) fn clean_name(path: &[u8]) -> Result<Vec<u8>, String> {
    if path.contains(&0) {
        return Err("its name has a NUL byte".into());
    }
    let mut clean = Vec::with_capacity(path.len());
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err("Member name contains '..'".into()),
            part if part.len() > 255 => return Err("a part of its name is longer than 255 bytes".into()),
            part => {
                if !clean.is_empty() {
                    clean.push(b'/');
                }
                clean.extend_from_slice(part);
            }
        }
    }
    if clean.len() > 4000 {
        Err("its name is longer than 4000 bytes".into())
    } else {
        Ok(clean)
    }
}

/// Character devices that do no harm in any container: null, zero, full, random, urandom; tty, console, ptmx.
///
/// Others are left out, though the reference makes them: an unpacked image lies in the host's file system and serves privileged containers too. (0, 0)
/// would even make a name vanish in an overlay.
fn harmless((major, minor): (u32, u32)) -> bool {
    matches!((major, minor), (1, 3 | 5 | 7 | 8 | 9) | (5, 0..=2))
}

/// Attributes that belong to files. `trusted.*` belongs to the host (overlayfs keeps its own marks there), labels to its security modules.
pub(super) fn allowed_attribute(name: &[u8]) -> bool {
    name == b"security.capability"
        || name.starts_with(b"system.posix_acl_")
        || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
}

fn ignore_unsupported(result: Result<(), PathError>) -> Result<(), PathError> {
    match result {
        Err(PathError::Call { source, .. }) if matches!(source.raw_os_error(), Some(code) if code == rustix::io::Errno::OPNOTSUPP.raw_os_error() || code == rustix::io::Errno::PERM.raw_os_error()) => {
            Ok(())
        }
        result => result,
    }
}

fn write_error(member: &Member, source: PathError) -> ImageError {
    match source {
        PathError::Escapes { .. } => {
            ImageError::member(&member.path, "a symbolic link in its path leads out of the image")
        }
        source => ImageError::Write {
            member: String::from_utf8_lossy(&member.path).into_owned(),
            source,
        },
    }
}

fn times((seconds, nanoseconds): (i64, i64)) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
/// Whether a directory has the bit that gives its group to what is made in it.
fn gives_group(directory: &Root) -> Result<bool, PathError> {
    let stat = rustix::fs::fstat(directory.as_fd()).map_err(|e| PathError::Call {
        doing: "examining",
        path: directory.path().to_path_buf(),
        source: e.into(),
    })?;
    Ok(stat.st_mode & 0o2000 != 0)
}
