//! A simplestreams server's files: real busybox images in several forms, and the lists that name them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::image;
use crate::program::sh;
use crate::web::{Page, Web};

/// The files of one version of an image.
pub struct Version {
    date: String,
    items: Value,
}

/// Makes the files of a version of a date (`20230101`) and puts them on the server.
#[track_caller]
pub fn version(web: &Web, folder: &Path, date: &str) -> Version {
    let work = folder.join(date);
    image::tree(&work, &format!("in the file of {date}"));
    std::fs::write(work.join("rootfs/etc/issue"), date).unwrap();
    let path = |name: &str| work.join(name).to_str().unwrap().to_owned();
    let tar = |file: &str, from: &Path, what: &[&str]| {
        let (file, from) = (path(file), from.to_str().unwrap().to_owned());
        // Good compression takes longer than all the rest.
        let packer = if file.ends_with(".xz") { "xz -0" } else { "gzip -1" };
        let how = ["--numeric-owner", "-C", &from, "-I", packer, "-cf", &file];
        sh("tar", &[&how[..], what].concat()).ok();
    };
    tar("lxd.tar.xz", &work, &["metadata.yaml"]);
    tar("root.tar.xz", &work.join("rootfs"), &["."]);
    tar("lxd_combined.tar.gz", &work, &["metadata.yaml", "rootfs"]);
    sh(
        "mksquashfs",
        &[
            &path("rootfs"),
            &path("rootfs.squashfs"),
            "-all-root",
            "-noappend",
            "-quiet",
        ],
    )
    .ok();
    // The beginning of a disk in QEMU's format; nobody looks further.
    let disk = [b"QFI\xfb\0\0\0\x03", date.as_bytes(), &[0; 100_000]].concat();
    std::fs::write(path("disk.qcow2"), disk).unwrap();
    let item = |name: &str, kind: &str| {
        let body = std::fs::read(path(name)).unwrap();
        let place = format!("images/{date}/{name}");
        let (hash, size) = (sha256(&[&body]), body.len());
        web.put(
            &format!("/{place}"),
            Page {
                body,
                has_ranges: true,
                ..Page::default()
            },
        );
        json!({"ftype": kind, "path": place, "sha256": hash, "size": size})
    };
    let mut metadata = item("lxd.tar.xz", "lxd.tar.xz");
    for (key, name) in [
        ("combined_squashfs_sha256", "rootfs.squashfs"),
        ("combined_rootxz_sha256", "root.tar.xz"),
        ("combined_sha256", "root.tar.xz"),
        ("combined_disk-kvm-img_sha256", "disk.qcow2"),
    ] {
        let files = ["lxd.tar.xz", name].map(|name| std::fs::read(path(name)).unwrap());
        metadata[key] = sha256(&[&files[0], &files[1]]).into();
    }
    let items = json!({
        "lxd.tar.xz": metadata,
        "root.squashfs": item("rootfs.squashfs", "squashfs"),
        "root.tar.xz": item("root.tar.xz", "root.tar.xz"),
        "disk.qcow2": item("disk.qcow2", "disk-kvm.img"),
        "lxd_combined.tar.gz": item("lxd_combined.tar.gz", "lxd_combined.tar.gz"),
    });
    Version {
        date: date.to_owned(),
        items,
    }
}

/// Puts lists of versions on the server: one product with the alias `bb` and all but the unified image, one with the
/// alias `uni` and that.
pub fn publish(web: &Web, versions: &[&Version]) {
    let of = |unified: bool| -> Value {
        let one = |version: &&Version| {
            let mut items = version.items.clone();
            let map = items.as_object_mut().unwrap();
            map.retain(|name, _| (name == "lxd_combined.tar.gz") == unified);
            (version.date.clone(), json!({"items": items, "label": "test"}))
        };
        Value::Object(versions.iter().map(one).collect())
    };
    let product = |aliases: &str, unified| {
        json!({"aliases": aliases, "arch": "amd64", "os": "BusyBox", "release": "one", "release_title": "1",
               "support_eol": "2033-04-21", "variant": "default", "versions": of(unified)})
    };
    let products = json!({"format": "products:1.0", "products": {
        "bb": product("bb,busybox/one", false), "uni": product("uni", true)}});
    let index = json!({"format": "index:1.0", "index": {"images": {
        "datatype": "image-downloads", "path": "streams/v1/images.json", "format": "products:1.0",
        "products": ["bb", "uni"]}}});
    web.put_bytes("/streams/v1/images.json", products.to_string());
    web.put_bytes("/streams/v1/index.json", index.to_string());
}

impl Version {
    /// Puts the difference between the squashfs of an older version and this one's on the server.
    #[track_caller]
    pub fn differ(&mut self, web: &Web, folder: &Path, base: &Self) {
        let file = |version: &Self, name: &str| {
            let path = folder.join(&version.date).join(name);
            path.to_str().unwrap().to_owned()
        };
        let (old, new) = (file(base, "rootfs.squashfs"), file(self, "rootfs.squashfs"));
        let difference = file(self, "rootfs.vcdiff");
        sh("xdelta3", &["-e", "-f", "-s", &old, &new, &difference]).ok();
        let body = std::fs::read(difference).unwrap();
        let place = format!("images/{}/rootfs.vcdiff", self.date);
        self.items["delta"] = json!({
            "ftype": "squashfs.vcdiff", "path": place, "sha256": sha256(&[&body]), "size": body.len(),
            "delta_base": base.date,
        });
        web.put_bytes(&format!("/{place}"), body);
    }

    /// The path of a file on the server.
    #[track_caller]
    pub fn path(&self, item: &str) -> String {
        format!("/{}", self.items[item]["path"].as_str().unwrap())
    }

    /// The fingerprint of the squashfs image.
    #[track_caller]
    pub fn fingerprint(&self) -> String {
        self.items["lxd.tar.xz"]["combined_squashfs_sha256"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// The SHA-256 of a file.
    #[track_caller]
    pub fn sha256(&self, item: &str) -> String {
        self.items[item]["sha256"].as_str().unwrap().to_owned()
    }
}

/// Where a folder for all of it is.
pub fn folder(of: &Path) -> PathBuf {
    of.join("streams")
}

fn sha256(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
