//! Images: what their metadata must say, and how they are named.

use std::path::{Component, Path};

use lxd_api::images::ImageMetadata;

use crate::config::Config;
use crate::instances::architecture;
use crate::{ErrorKind, Invalid, yaml};

/// Largest `metadata.yaml`; real ones have a few kB.
pub const METADATA_MAX: usize = 1 << 20;
/// Most properties, and most templates.
const ENTRIES_MAX: usize = 1000;

/// Reads and checks the `metadata.yaml` of an image. It may be written as JSON, which is YAML too.
pub fn parse_metadata(text: &[u8]) -> Result<ImageMetadata, Invalid> {
    if text.len() > METADATA_MAX {
        let text = format!("metadata.yaml is larger than {METADATA_MAX} bytes");
        return Err(Invalid::of_kind(ErrorKind::BadRequest, text));
    }
    let text = std::str::from_utf8(text).map_err(|_| Invalid::new("metadata.yaml is not UTF-8 text"))?;
    if text.trim().is_empty() {
        return Err(Invalid::new("EOF"));
    }
    let metadata: ImageMetadata = yaml::from_str(text).map_err(|e| Invalid::new(e.to_string()))?;
    architecture::id(&metadata.architecture)?;
    if metadata.creation_date == 0 {
        return Err(Invalid::new("Missing creation date"));
    }
    for (what, count) in [
        ("properties", metadata.properties.len()),
        ("templates", metadata.templates.len()),
    ] {
        if count > ENTRIES_MAX {
            return Err(Invalid::new(format!(
                "metadata.yaml has more than {ENTRIES_MAX} {what}"
            )));
        }
    }
    Ok(metadata)
}

/// Checks where a template's result goes: an absolute path that does not climb. Returns it without the first slash.
pub fn template_target(path: &str) -> Result<&Path, Invalid> {
    let refuse = || Invalid::new(format!("Invalid template target {path:?}"));
    let inner = Path::new(path.strip_prefix('/').ok_or_else(refuse)?);
    let plain = inner
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if plain && !inner.as_os_str().is_empty() && !path.contains('\0') {
        Ok(inner)
    } else {
        Err(refuse())
    }
}

/// Checks the name of a template's file: one name inside `templates/`.
pub fn template_file(name: &str) -> Result<&str, Invalid> {
    let good = !name.is_empty() && !matches!(name, "." | "..") && !name.contains(['/', '\0']);
    if good {
        Ok(name)
    } else {
        Err(Invalid::new(format!("Invalid template name {name:?}")))
    }
}

/// Whether a text may be a fingerprint or the start of one.
pub fn is_fingerprint_prefix(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The one image that a fingerprint's beginning means, out of those that start so.
pub fn resolve<T>(matches: Vec<T>) -> Result<T, Invalid> {
    let mut matches = matches.into_iter();
    match (matches.next(), matches.next()) {
        (Some(image), None) => Ok(image),
        (None, _) => Err(not_found()),
        (Some(_), Some(_)) => Err(Invalid::of_kind(
            ErrorKind::Internal,
            "More than one image matches",
        )),
    }
}

/// The fingerprint and the URL of an image that is a single file on a web server, from the headers `LXD-Image-Hash` and
/// `LXD-Image-URL` of its answer.
///
/// # Errors
/// One of them is missing, or says nothing that can be used.
pub fn direct_headers<'a>(hash: Option<&'a str>, url: Option<&'a str>) -> Result<(String, &'a str), Invalid> {
    let hash = hash.filter(|hash| !hash.is_empty());
    let hash = hash.ok_or_else(|| Invalid::new("Missing LXD-Image-Hash header"))?;
    let url = url.filter(|url| !url.is_empty());
    let url = url.ok_or_else(|| Invalid::new("Missing LXD-Image-URL header"))?;
    if hash.len() != 64 || !is_fingerprint_prefix(hash) {
        return Err(Invalid::new(format!("Invalid LXD-Image-Hash header {hash:?}")));
    }
    if !url.starts_with("https://") && !url.starts_with("http://") {
        return Err(Invalid::new(format!("Invalid LXD-Image-URL header {url:?}")));
    }
    Ok((hash.to_ascii_lowercase(), url))
}

/// Refuses to start an instance whose image needs what the host has not. `config` is the instance's.
///
/// # Errors
/// In the reference's words.
pub fn requirements(config: &Config, only_cgroup_v2: bool) -> Result<(), Invalid> {
    let needs_v1 = config
        .get("image.requirements.cgroup")
        .is_some_and(|version| version == "v1");
    if needs_v1 && only_cgroup_v2 {
        return Err(Invalid::new(
            "The image used by this instance requires a CGroupV1 host system",
        ));
    }
    Ok(())
}

/// The error for an image that isn't there.
pub fn not_found() -> Invalid {
    Invalid::of_kind(ErrorKind::NotFound, "Image not found")
}

/// The error for an alias that isn't there.
pub fn alias_not_found() -> Invalid {
    Invalid::of_kind(ErrorKind::NotFound, "Image alias not found")
}

/// The error for an alias that is there already.
pub fn alias_exists(name: &str) -> Invalid {
    Invalid::of_kind(ErrorKind::Conflict, format!("Alias {name:?} already exists"))
}

/// The `image.*` configuration keys that an instance gets from its image's properties.
pub fn instance_config<'a>(
    properties: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> impl Iterator<Item = (String, String)> {
    properties
        .into_iter()
        .map(|(key, value)| (format!("image.{key}"), value.clone()))
}

/// How a tarball or file system image is packed, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// A plain tarball.
    Tar,
    /// gzip.
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
    /// lzma, the older format of xz.
    Lzma,
    /// zstd.
    Zstd,
    /// A squashfs file system.
    Squashfs,
    /// A qcow2 disk image.
    Qcow2,
}

impl Packing {
    /// Bytes that [`detect`](Self::detect) wants to see, or all of a shorter file.
    pub const HEADER: usize = 263;

    /// Recognizes a file by its first bytes.
    pub fn detect(header: &[u8]) -> Result<Self, Invalid> {
        let known: [(&[u8], Self); 7] = [
            (b"\x1f\x8b", Self::Gzip),
            (b"BZh", Self::Bzip2),
            (b"\xfd7zXZ\0", Self::Xz),
            (b"\x5d\0\0", Self::Lzma),
            (b"\x28\xb5\x2f\xfd", Self::Zstd),
            (b"hsqs", Self::Squashfs),
            (b"QFI\xfb", Self::Qcow2),
        ];
        if let Some((_, packing)) = known.into_iter().find(|(magic, _)| header.starts_with(magic)) {
            return Ok(packing);
        }
        match header.get(257..262) {
            Some(b"ustar") => Ok(Self::Tar),
            _ => Err(Invalid::new("Unsupported compression")),
        }
    }

    /// The end of the file name that an export gets.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Tar => ".tar",
            Self::Gzip => ".tar.gz",
            Self::Bzip2 => ".tar.bz2",
            Self::Xz => ".tar.xz",
            Self::Lzma => ".tar.lzma",
            Self::Zstd => ".tar.zst",
            Self::Squashfs => ".squashfs",
            Self::Qcow2 => ".qcow2",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> String {
        parse_metadata(text.as_bytes())
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn images_for_old_control_groups_start_where_there_are_some() {
        let config =
            |version: &str| Config::from([("image.requirements.cgroup".to_owned(), version.to_owned())]);
        assert!(requirements(&config("v1"), true).is_err());
        assert!(requirements(&config("v1"), false).is_ok());
        assert!(requirements(&config("v2"), true).is_ok());
        assert!(requirements(&Config::new(), true).is_ok());
    }

    #[test]
    fn metadata_is_judged_as_by_the_reference() {
        let cases = [
            ("", "EOF"),
            ("architecture: x86_64", "Missing creation date"),
            ("creation_date: 5", "Architecture isn't supported: "),
            (
                "architecture: bogus\ncreation_date: 5\n",
                "Architecture isn't supported: bogus",
            ),
            ("architecture: x86_64\ncreation_date: 5\n", ""),
            ("architecture: x86_64\ncreation_date: 8.0\nfoo: bar\n", ""),
            (
                "architecture: x86_64\ncreation_date: x\n",
                "yaml: unmarshal errors:\n  line 2: cannot unmarshal !!str `x` into int64",
            ),
            (
                "- a",
                "yaml: unmarshal errors:\n  line 1: cannot unmarshal !!seq into api.ImageMetadata",
            ),
            (
                "architecture: x86_64\ncreation_date: 7\nproperties:\n  a: [1]\n",
                "yaml: unmarshal errors:\n  line 4: cannot unmarshal !!seq into string",
            ),
        ];
        for (text, wanted) in cases {
            assert_eq!(reason(text), wanted, "{text}");
        }
        assert!(reason("architecture: [\n").starts_with("yaml: line "));
        assert!(reason(&"#".repeat(METADATA_MAX + 1)).contains("larger"));
        assert!(parse_metadata(b"\xff").is_err());
    }

    #[test]
    fn properties_are_text_and_json_is_yaml() {
        let text = r#"{"architecture":"amd64","creation_date":1424284563,"expiry_date":99,
                       "properties":{"os":"B","n":5,"b":true,"z":null}}"#;
        let metadata = parse_metadata(text.as_bytes()).unwrap();
        let values: Vec<&str> = metadata.properties.values().map(String::as_str).collect();
        assert_eq!(values, ["true", "5", "B", ""]);
        assert_eq!(metadata.expiry_date, 99);
    }

    #[test]
    fn templates_stay_inside() {
        assert_eq!(
            template_target("/etc/hostname").unwrap(),
            Path::new("etc/hostname")
        );
        for bad in ["etc/x", "/../x", "/a/../../x", "/", "", "/a\0b"] {
            assert!(template_target(bad).is_err(), "{bad:?}");
        }
        assert_eq!(template_file("hostname.tpl").unwrap(), "hostname.tpl");
        for bad in ["../x", "a/b", "", "..", "."] {
            assert!(template_file(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn one_image_must_match() {
        assert_eq!(resolve(vec![1]).unwrap(), 1);
        assert_eq!(
            resolve(Vec::<u8>::new()).unwrap_err().to_string(),
            "Image not found"
        );
        assert_eq!(
            resolve(vec![1, 2]).unwrap_err().to_string(),
            "More than one image matches"
        );
        assert!(is_fingerprint_prefix("0a1f") && !is_fingerprint_prefix("%") && !is_fingerprint_prefix(""));
    }

    #[test]
    fn packings_are_known_by_their_first_bytes() {
        assert_eq!(Packing::detect(b"\x28\xb5\x2f\xfd....").unwrap(), Packing::Zstd);
        let mut tar = [0_u8; Packing::HEADER];
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(Packing::detect(&tar).unwrap(), Packing::Tar);
        assert!(Packing::detect(b"").is_err() && Packing::detect(&[0; 300]).is_err());
    }
}
