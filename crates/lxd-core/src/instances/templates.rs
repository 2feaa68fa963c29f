//! Files that are rendered into an instance before it runs, from the templates that its image brought along.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use lxd_api::images::{ImageMetadata, ImageMetadataTemplate};
use lxd_model::ErrorKind;
use lxd_model::config::instance::TABLE;
use lxd_model::idmap::IdMap;
use lxd_model::{templates, yaml};
use lxd_storage::{Access, Volume};
use lxd_sys::path::{Links, PathError, Root};
use rustix::fs::{FileType, Mode, OFlags};

use super::record::Record;
use crate::app::{App, blocking};
use crate::error::{Context as _, Error, Result};

/// The directory of templates in an instance's volume.
pub(super) const FOLDER: &str = "templates";

/// The description of an instance's image in its volume.
pub(super) const METADATA: &str = "metadata.yaml";

/// Bytes that a template or `metadata.yaml` may have.
pub(super) const SIZE_MAX: u64 = 4 << 20;

/// Renders what the instance's next start asks for: the templates of `volatile.apply_template`, then those of every start.
/// The instance must not run.
///
/// # Errors
/// A template is missing or makes no sense; a file can't be written.
pub(super) async fn apply(app: &Arc<App>, record: &Record) -> Result<()> {
    let pool = app.pools.get(record.pool())?;
    let volume = Volume::container(&record.row.project, &record.row.name);
    let directory = pool.volume_path(&volume);
    let Some(metadata) = blocking(move || read_metadata(&directory)).await? else {
        return Ok(());
    };
    let pending = record
        .row
        .config
        .get("volatile.apply_template")
        .map(String::as_str);
    let mut wanted = Vec::new();
    for trigger in pending.into_iter().chain(["start"]) {
        let of_trigger = metadata
            .templates
            .iter()
            .filter(|(_, t)| t.when.iter().any(|when| when == trigger));
        wanted.extend(of_trigger.map(|(path, template)| Rendering {
            trigger: trigger.to_owned(),
            path: path.clone(),
            template: template.clone(),
        }));
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let mut access = pool.access(&volume).await?;
    if access.is_running() {
        // What a killed daemon has left mounted there shows other ids.
        drop(access);
        pool.unmount_instance(&volume).await?;
        access = pool.access(&volume).await?;
    }
    let record = record.clone();
    let written = blocking(move || {
        let files = Files::open(&access, &record)?;
        wanted
            .iter()
            .try_for_each(|rendering| files.render(rendering, &record))
    });
    written.await.context("Failed to apply templates")
}

/// `metadata.yaml` of the instance whose volume is the given directory; none if it has none.
///
/// # Errors
/// It can't be read or makes no sense.
pub(super) fn read_metadata(directory: &Path) -> Result<Option<ImageMetadata>> {
    let root = Root::open(directory, Links::Refused)?;
    let text = match root.open_regular(Path::new(METADATA)) {
        Ok(file) => read_text(file, METADATA)?,
        Err(error) if error.io_kind() == Some(io::ErrorKind::NotFound) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let parsed = yaml::from_str(&text);
    parsed
        .map(Some)
        .map_err(|error| Error::internal(format!("Could not parse {METADATA}")).because(error))
}

/// The text of a small file.
///
/// # Errors
/// It is too large, or no text.
pub(super) fn read_text(file: File, name: &str) -> Result<String> {
    let mut bytes = Vec::new();
    let failed = |error: io::Error| Error::internal(format!("Failed reading {name}")).because(error);
    file.take(SIZE_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > SIZE_MAX {
        let text = format!("{name} has more than {SIZE_MAX} bytes");
        return Err(Error::bad_request(text).with_kind(ErrorKind::TooLarge));
    }
    String::from_utf8(bytes).map_err(|error| Error::internal(format!("{name} is no text")).because(error))
}

/// One file to be rendered.
struct Rendering {
    trigger: String,
    /// The file in the instance.
    path: String,
    template: ImageMetadataTemplate,
}

/// Where templates are, and where the files go.
struct Files {
    templates: Option<Root>,
    rootfs: Root,
    /// The ids on disk of the instance's root.
    owner: (u32, u32),
    instance: BTreeMap<String, String>,
}

impl Files {
    fn open(access: &Access, record: &Record) -> Result<Self> {
        let folder = Root::open(&access.directory(), Links::Refused)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let templates = match folder.open_file(Path::new(FOLDER), flags, Mode::empty()) {
            Ok(_) => Some(Root::open(&access.directory().join(FOLDER), Links::Refused)?),
            Err(_) => None,
        };
        let row = &record.row;
        let is_privileged = TABLE.is_true(&record.config, "security.privileged");
        let facts = [
            ("name", row.name.clone()),
            ("type", row.kind.as_str().to_owned()),
            ("architecture", row.architecture.clone()),
            ("privileged", is_privileged.to_string()),
            ("ephemeral", row.ephemeral.to_string()),
        ];
        Ok(Self {
            templates,
            // As the instance itself sees its links.
            rootfs: Root::open(access.rootfs(), Links::InRoot)?,
            owner: owner_on_disk(record)?,
            instance: facts
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        })
    }

    fn render(&self, rendering: &Rendering, record: &Record) -> Result<()> {
        let Rendering {
            trigger,
            path,
            template,
        } = rendering;
        let target = Path::new(path);
        let existing = self.existing(target)?;
        if existing && template.create_only {
            return Ok(());
        }
        let name = &template.template;
        let source = self
            .source(name)
            .with_context(|| format!("Failed to read template {name:?}"))?;
        let context = templates::Context {
            trigger,
            path,
            instance: &self.instance,
            config: &record.config,
            devices: &record.devices,
            properties: &template.properties,
        };
        let text = templates::render(&source, context).map_err(|error| Error::internal(error.to_string()));
        let text = text.with_context(|| format!("Template {name:?} of {path:?}"))?;
        let written = self.write(target, existing, text.as_bytes());
        written.with_context(|| format!("Failed to write {path:?}"))
    }

    fn source(&self, name: &str) -> Result<String> {
        check_name(name)?;
        let missing = || Error::not_found("no such file or directory");
        let file = self
            .templates
            .as_ref()
            .ok_or_else(missing)?
            .open_regular(Path::new(name))?;
        read_text(file, name)
    }

    /// Whether the file is there. What is there must be a file: nothing is written into pipes and devices.
    fn existing(&self, path: &Path) -> Result<bool> {
        if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
            return Err(Error::bad_request(format!(
                "The path of a template is absolute: {}",
                path.display()
            )));
        }
        match self.rootfs.open_file(path, OFlags::PATH, Mode::empty()) {
            Ok(file) => is_file(&file, path).map(|()| true),
            Err(error) if error.io_kind() == Some(io::ErrorKind::NotFound) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn write(&self, path: &Path, existing: bool, content: &[u8]) -> Result<()> {
        if !existing {
            self.make_parents(path)?;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOCTTY;
        let mut file = self.rootfs.open_file(path, flags, Mode::from_raw_mode(0o644))?;
        is_file(&file, path)?;
        let failed = |error: io::Error| Error::internal(error.to_string());
        file.set_len(0).map_err(failed)?;
        file.write_all(content).map_err(failed)?;
        if !existing {
            let (uid, gid) = self.owner;
            std::os::unix::fs::fchown(&file, Some(uid), Some(gid)).map_err(failed)?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644)).map_err(|error| failed(error.into()))?;
        }
        Ok(())
    }

    fn make_parents(&self, path: &Path) -> Result<()> {
        let Some(parent) = path.parent() else {
            return Ok(());
        };
        let mut done = PathBuf::new();
        for part in parent.components().filter(|part| *part != Component::RootDir) {
            done.push::<&OsStr>(part.as_ref());
            match self.rootfs.create_directory(&done, 0o755) {
                Ok(()) => self.rootfs.set_owner(&done, self.owner.0, self.owner.1)?,
                Err(PathError::Call { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Refuses what is not the plain name of a template.
///
/// # Errors
/// In the reference's words, and with its status.
pub(super) fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.contains(['/', '\0']) || matches!(name, "." | "..") {
        return Err(Error::internal("Invalid template filename"));
    }
    Ok(())
}

fn is_file(file: &File, path: &Path) -> Result<()> {
    let stat = rustix::fs::fstat(file)
        .map_err(|error| Error::internal("Failed to look at a file").because(error))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        _ => Err(Error::bad_request(format!("{} is not a file", path.display()))),
    }
}

/// The ids that the instance's root has in the files on disk: its own, unless another daemon has shifted them.
fn owner_on_disk(record: &Record) -> Result<(u32, u32)> {
    let map = record
        .config
        .get("volatile.last_state.idmap")
        .map_or("", String::as_str);
    let map = IdMap::from_json(map)?;
    let of = |is_uid: bool| {
        let entry = map
            .0
            .iter()
            .find(|entry| entry.is_uid == is_uid && entry.ns_id == 0);
        entry
            .and_then(|entry| u32::try_from(entry.host_id).ok())
            .unwrap_or(0)
    };
    Ok((of(true), of(false)))
}
