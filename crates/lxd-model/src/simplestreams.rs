//! Simplestreams: lists of images on plain web servers, and which of their files make which image.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use lxd_api::Time;
use lxd_api::images::{Image, ImageAlias, ImageAliasesEntry};
use serde::Deserialize;

use crate::instances::architecture;
use crate::{ErrorKind, Invalid};

/// Where the index is on a server.
pub const INDEX: &str = "streams/v1/index.json";

/// The kind of the lists that tell of images.
const IMAGES: &str = "image-downloads";
/// The metadata archives of images, and the root file systems that go with them, best first, with the sort of machine.
const METADATA: &str = "lxd.tar.xz";
/// Images that are one file.
const UNIFIED: &str = "lxd_combined.tar.gz";
/// Differences between the root file systems of two versions.
const DELTA: &str = "squashfs.vcdiff";

/// The images of a server, and their aliases.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    /// All images, newest first within a product.
    pub images: Vec<Listed>,
    /// All aliases.
    pub aliases: Vec<ImageAliasesEntry>,
}

/// An image on a list.
#[derive(Debug, Clone)]
pub struct Listed {
    /// What it is.
    pub image: Image,
    /// Its metadata, or the whole of it.
    pub metadata: File,
    /// Its root file system where that is a file of its own.
    pub rootfs: Option<File>,
    /// Differences from which the root file system can be made.
    pub deltas: Vec<Delta>,
}

/// A file of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path on the server.
    pub path: String,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// Bytes; 0 if the list does not say.
    pub size: u64,
}

/// A difference between the root file system of another image and this one's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// The fingerprint of the other image.
    pub base: String,
    /// The file.
    pub file: File,
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    index: BTreeMap<String, IndexEntry>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct IndexEntry {
    datatype: String,
    path: String,
    products: Option<Vec<String>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Products {
    products: BTreeMap<String, Product>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Product {
    aliases: String,
    arch: String,
    os: String,
    lxd_requirements: Option<BTreeMap<String, String>>,
    release: String,
    release_title: String,
    support_eol: Option<String>,
    variant: String,
    version: String,
    versions: BTreeMap<String, Version>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Version {
    items: BTreeMap<String, Item>,
    label: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Item {
    ftype: String,
    path: String,
    sha256: String,
    size: u64,
    delta_base: String,
    combined_sha256: String,
    combined_rootxz_sha256: String,
    combined_squashfs_sha256: String,
    #[serde(rename = "combined_disk1-img_sha256")]
    combined_disk1: String,
    #[serde(rename = "combined_disk-kvm-img_sha256")]
    combined_disk_kvm: String,
    #[serde(rename = "combined_uefi1-img_sha256")]
    combined_uefi1: String,
}

/// The paths of the lists of images that an index names.
///
/// # Errors
/// It is no index.
pub fn parse_index(text: &[u8]) -> Result<Vec<String>, Invalid> {
    let index: Index = serde_json::from_slice(text).map_err(|error| broken(text, &error))?;
    let lists = index.index.into_values();
    let lists = lists.filter(|entry| {
        entry.datatype == IMAGES && entry.products.as_ref().is_some_and(|all| !all.is_empty())
    });
    Ok(lists.map(|entry| entry.path).collect())
}

/// The images on a list.
///
/// # Errors
/// It is no list.
pub fn parse_products(text: &[u8]) -> Result<Vec<Listed>, Invalid> {
    let products: Products = serde_json::from_slice(text).map_err(|error| broken(text, &error))?;
    let mut images = Vec::new();
    for product in products.products.values() {
        let Ok(id) = architecture::id(&product.arch) else {
            continue;
        };
        let Ok(architecture) = architecture::name(id) else {
            continue;
        };
        for (name, version) in &product.versions {
            images.extend(product.images(architecture, name, version));
        }
    }
    Ok(images)
}

impl Catalogue {
    /// The images of all lists of a server. An alias means the newest image for this host's architecture, or else for any;
    /// with the name of an architecture behind it the newest for that.
    pub fn new(mut images: Vec<Listed>, architecture: &str) -> Self {
        images.sort_by_key(|listed| std::cmp::Reverse(listed.image.created_at.timestamp()));
        let mut aliases: Vec<ImageAliasesEntry> = Vec::new();
        let mut taken: BTreeSet<(String, String)> = BTreeSet::new();
        // What another machine's image is called where none of this host's is called so.
        let mut others: Vec<ImageAliasesEntry> = Vec::new();
        for listed in &mut images {
            let image = &mut listed.image;
            let given = std::mem::take(&mut image.aliases);
            let suffix = image.properties.get("architecture").cloned().unwrap_or_default();
            for alias in given {
                let entry = |name| ImageAliasesEntry {
                    name,
                    target: image.fingerprint.clone(),
                    r#type: image.r#type.clone(),
                    ..ImageAliasesEntry::default()
                };
                let mut entries = vec![entry(format!("{}/{suffix}", alias.name))];
                if image.architecture == architecture {
                    entries.insert(0, entry(alias.name));
                } else {
                    others.push(entry(alias.name));
                }
                entries.retain(|entry| taken.insert((entry.name.clone(), entry.r#type.clone())));
                image.aliases.extend(entries.iter().map(|entry| ImageAlias {
                    name: entry.name.clone(),
                    ..ImageAlias::default()
                }));
                aliases.extend(entries);
            }
        }
        others.retain(|entry| taken.insert((entry.name.clone(), entry.r#type.clone())));
        aliases.extend(others);
        Self { images, aliases }
    }

    /// What an alias means; of several sorts of machine a container where none is asked for.
    pub fn alias(&self, kind: &str, name: &str) -> Option<&ImageAliasesEntry> {
        let fits =
            |entry: &&ImageAliasesEntry| entry.name == name && (kind.is_empty() || entry.r#type == kind);
        let container = |entry: &&ImageAliasesEntry| entry.r#type == "container";
        let mut all = self.aliases.iter().filter(fits);
        let first = all.clone().next();
        all.find(container).or(first)
    }

    /// The image whose fingerprint begins so.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub fn image(&self, fingerprint: &str) -> Result<&Listed, Invalid> {
        let mut found = self
            .images
            .iter()
            .filter(|listed| listed.image.fingerprint.starts_with(fingerprint));
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => Err(Invalid::of_kind(
                ErrorKind::NotFound,
                "The requested image couldn't be found",
            )),
            (Some(_), Some(_)) => Err(Invalid::new(
                "More than one match for the provided partial fingerprint",
            )),
        }
    }
}

impl Product {
    fn images(&self, architecture: &str, name: &str, version: &Version) -> Vec<Listed> {
        let Some(created_at) = created(name) else {
            return Vec::new();
        };
        let mut images = Vec::new();
        let of_kind = |kind: &str| {
            version
                .items
                .values()
                .filter(move |item| item.ftype == kind)
                .collect::<Vec<_>>()
        };
        for unified in of_kind(UNIFIED) {
            let facts = (name, version, created_at, architecture);
            images.push(self.listed(facts, (unified, &unified.sha256), None));
        }
        for metadata in of_kind(METADATA) {
            for (kind, combined) in [
                ("squashfs", &metadata.combined_squashfs_sha256),
                ("root.tar.xz", &metadata.combined_rootxz_sha256),
                ("disk-kvm.img", &metadata.combined_disk_kvm),
                ("uefi1.img", &metadata.combined_uefi1),
                ("disk1.img", &metadata.combined_disk1),
            ] {
                let Some(root) = of_kind(kind).into_iter().next() else {
                    continue;
                };
                let fingerprint = match combined.as_str() {
                    "" if kind == "root.tar.xz" => &metadata.combined_sha256,
                    combined => combined,
                };
                if !fingerprint.is_empty() {
                    let facts = (name, version, created_at, architecture);
                    images.push(self.listed(facts, (metadata, fingerprint), Some(root)));
                }
            }
        }
        images
    }

    fn listed(
        &self,
        (name, version, created_at, architecture): (&str, &Version, Time, &str),
        (metadata, fingerprint): (&Item, &str),
        root: Option<&Item>,
    ) -> Listed {
        let kind = root.map_or("tar.gz", |root| root.ftype.as_str());
        let image = Image {
            fingerprint: fingerprint.to_owned(),
            size: i64::try_from(metadata.size + root.map_or(0, |root| root.size)).unwrap_or(i64::MAX),
            filename: metadata.path.rsplit('/').next().unwrap_or_default().to_owned(),
            architecture: architecture.to_owned(),
            public: true,
            created_at,
            uploaded_at: created_at,
            expires_at: self
                .support_eol
                .as_deref()
                .and_then(day)
                .unwrap_or(Time::from_unix(0)),
            properties: self.properties(name, version, kind),
            aliases: self.aliases(),
            r#type: if kind.ends_with(".img") {
                "virtual-machine"
            } else {
                "container"
            }
            .to_owned(),
            ..Image::default()
        };
        let deltas = if kind == "squashfs" {
            self.deltas(version)
        } else {
            Vec::new()
        };
        Listed {
            image,
            metadata: metadata.file(),
            rootfs: root.map(Item::file),
            deltas,
        }
    }

    fn aliases(&self) -> Vec<ImageAlias> {
        let names = self
            .aliases
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let alias = |name: &str| ImageAlias {
            name: name.to_owned(),
            ..ImageAlias::default()
        };
        names.map(alias).collect()
    }

    fn properties(&self, name: &str, version: &Version, kind: &str) -> BTreeMap<String, String> {
        let mut description = format!("{} {} {}", self.os, self.release_title, self.arch);
        if !version.label.is_empty() {
            description = format!("{description} ({})", version.label);
        }
        description = format!("{description} ({name})");
        let known = [
            ("architecture", self.arch.as_str()),
            ("description", &description),
            ("label", &version.label),
            ("os", &self.os),
            ("release", &self.release),
            ("serial", name),
            ("type", kind),
            ("variant", &self.variant),
            ("version", &self.version),
        ];
        let known = known.into_iter().filter(|(_, value)| !value.is_empty());
        let mut properties: BTreeMap<String, String> = known
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        for (key, value) in self.lxd_requirements.iter().flatten() {
            properties.insert(format!("requirements.{key}"), value.clone());
        }
        properties
    }

    /// The differences to a version, from those that are still listed.
    fn deltas(&self, version: &Version) -> Vec<Delta> {
        let deltas = version.items.values().filter(|item| item.ftype == DELTA);
        let delta = |item: &Item| {
            let base = self.versions.get(&item.delta_base)?;
            let metadata = base.items.values().find(|item| item.ftype == METADATA)?;
            Some(Delta {
                base: Some(metadata.combined_squashfs_sha256.clone()).filter(|base| !base.is_empty())?,
                file: item.file(),
            })
        };
        deltas.filter_map(delta).collect()
    }
}

impl Item {
    fn file(&self) -> File {
        File {
            path: self.path.clone(),
            sha256: self.sha256.clone(),
            size: self.size,
        }
    }
}

/// When a version was made, by its name: `20230131`, `20230131.1` or `20230131_07:42`; the hour does not count.
fn created(name: &str) -> Option<Time> {
    let date = compact(name.get(..8)?)?;
    date.in_tz("UTC").ok().map(|at| at.timestamp().into())
}

fn compact(date: &str) -> Option<Date> {
    let is_plain = date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit());
    let part = |from, to| {
        is_plain
            .then(|| date.get(from..to)?.parse::<i16>().ok())
            .flatten()
    };
    let small = |value: i16| i8::try_from(value).ok();
    Date::new(part(0, 4)?, small(part(4, 6)?)?, small(part(6, 8)?)?).ok()
}

fn day(text: &str) -> Option<Time> {
    let date: Date = text.parse().ok()?;
    date.in_tz("UTC").ok().map(|at| at.timestamp().into())
}

fn broken(text: &[u8], error: &serde_json::Error) -> Invalid {
    let first = String::from_utf8_lossy(text.get(..64).unwrap_or(text));
    let first = first.trim_start().chars().next();
    let text = match first {
        _ if error.is_eof() => "unexpected end of JSON input".to_owned(),
        // A page for people, as a rule.
        Some(first) if !"{[\"-0123456789tfn".contains(first) => {
            format!("invalid character {first:?} looking for beginning of value")
        }
        _ => error.to_string(),
    };
    Invalid::of_kind(ErrorKind::Internal, text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PRODUCTS: &str = r#"{"products": {
        "a": {"aliases": "busybox, bb", "arch": "amd64", "os": "Busybox", "release": "one", "release_title": "One",
              "support_eol": "2033-04-21", "lxd_requirements": {"secureboot": "false"}, "variant": "default",
              "versions": {
                "20230101_07:42": {"label": "release", "items": {
                    "m": {"ftype": "lxd.tar.xz", "path": "1/lxd.tar.xz", "size": 2, "sha256": "aa",
                          "combined_squashfs_sha256": "11", "combined_sha256": "12", "combined_disk-kvm-img_sha256": "13"},
                    "s": {"ftype": "squashfs", "path": "1/s", "size": 3}, "r": {"ftype": "root.tar.xz", "path": "1/r"},
                    "d": {"ftype": "disk-kvm.img", "path": "1/d"}}},
                "20230201": {"items": {
                    "m": {"ftype": "lxd.tar.xz", "path": "2/lxd.tar.xz", "combined_squashfs_sha256": "21"},
                    "s": {"ftype": "squashfs", "path": "2/s"},
                    "v": {"ftype": "squashfs.vcdiff", "path": "2/v", "delta_base": "20230101_07:42"}}}}},
        "b": {"aliases": "busybox,other", "arch": "arm64",
              "versions": {"20230301": {"items": {"c": {"ftype": "lxd_combined.tar.gz", "path": "3/c", "sha256": "31"}}}}},
        "c": {"aliases": "vax", "arch": "vax", "versions": {"20230301": {"items": {}}}},
        "d": {"aliases": "undated", "arch": "amd64", "versions": {"foo": {"items": {}}}}}}"#;

    fn catalogue() -> Catalogue {
        Catalogue::new(parse_products(PRODUCTS.as_bytes()).unwrap(), "x86_64")
    }

    #[test]
    fn the_newest_image_for_this_host_has_the_alias() {
        let catalogue = catalogue();
        let means = |kind, name| catalogue.alias(kind, name).map(|alias| alias.target.as_str());
        assert_eq!(means("", "busybox"), Some("21"));
        assert_eq!(means("container", "bb/amd64"), Some("21"));
        assert_eq!(means("virtual-machine", "bb"), Some("13"));
        assert_eq!(means("", "busybox/arm64"), Some("31"));
        assert_eq!(means("", "other"), Some("31"));
        assert_eq!(means("", "vax"), None);
        assert_eq!(means("", "undated"), None);
    }

    #[test]
    fn an_image_is_what_the_reference_makes_of_it() {
        let catalogue = catalogue();
        let listed = catalogue.image("11").unwrap();
        let image = &listed.image;
        assert_eq!(
            image.properties["description"],
            "Busybox One amd64 (release) (20230101_07:42)"
        );
        assert_eq!(image.properties["requirements.secureboot"], "false");
        assert_eq!(
            (image.size, image.filename.as_str(), image.architecture.as_str()),
            (5, "lxd.tar.xz", "x86_64")
        );
        assert_eq!(image.created_at.to_string(), "2023-01-01T00:00:00Z");
        assert_eq!(image.expires_at.to_string(), "2033-04-21T00:00:00Z");
        assert_eq!(listed.rootfs.as_ref().unwrap().path, "1/s");
        assert_eq!(
            catalogue.image("12").unwrap().image.properties["type"],
            "root.tar.xz"
        );
        assert_eq!(catalogue.image("13").unwrap().image.r#type, "virtual-machine");
        let unified = catalogue.image("3").unwrap();
        assert!(unified.rootfs.is_none());
        assert_eq!(unified.image.expires_at.to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(catalogue.image("21").unwrap().deltas[0].base, "11");
        assert!(
            catalogue
                .image("1")
                .unwrap_err()
                .to_string()
                .starts_with("More than one")
        );
        assert_eq!(catalogue.image("x").unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn an_index_names_the_lists_of_images() {
        let index = r#"{"index": {
            "images": {"datatype": "image-downloads", "path": "streams/v1/images.json", "products": ["a"]},
            "none": {"datatype": "image-downloads", "path": "n", "products": []},
            "ids": {"datatype": "image-ids", "path": "i", "products": ["a"]}}}"#;
        assert_eq!(parse_index(index.as_bytes()).unwrap(), ["streams/v1/images.json"]);
        assert_eq!(
            parse_index(b"{").unwrap_err().to_string(),
            "unexpected end of JSON input"
        );
        assert_eq!(
            parse_products(b"\n<html>").unwrap_err().to_string(),
            "invalid character '<' looking for beginning of value"
        );
    }

    proptest! {
        #[test]
        fn no_version_name_is_too_odd(name in ".{0,20}") {
            let _ = created(&name);
        }
    }
}
