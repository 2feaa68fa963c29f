//! The files that tell dnsmasq which card gets which address and which name.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The directory of these files, within the network's.
pub const DIRECTORY: &str = "dnsmasq.hosts";

/// An instance's card on a network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostEntry {
    /// The instance's project.
    pub project: String,
    /// The instance, by name: also the name it gets in the network's DNS.
    pub instance: String,
    /// The device.
    pub device: String,
    /// The card's hardware address.
    pub hwaddr: String,
    /// The IPv4 address it always gets.
    pub ipv4: Option<Ipv4Addr>,
    /// The IPv6 address it always gets.
    pub ipv6: Option<Ipv6Addr>,
}

impl HostEntry {
    /// The name of its file: `[PROJECT_]INSTANCE.DEVICE`.
    pub fn file_name(&self) -> String {
        // A device's name may hold slashes.
        let device = self.device.replace('-', "--").replace('/', "-");
        match self.project.as_str() {
            "" | "default" => format!("{}.{device}", self.instance),
            project => format!("{project}_{}.{device}", self.instance),
        }
    }

    /// What dnsmasq reads about it; nothing when there is nothing to say. `names` says whether the network names its
    /// instances.
    pub fn line(&self, names: bool) -> Option<String> {
        let mut line = self.hwaddr.clone();
        if let Some(address) = self.ipv4 {
            line.push_str(&format!(",{address}"));
        }
        if let Some(address) = self.ipv6 {
            line.push_str(&format!(",[{address}]"));
        }
        if names {
            line.push_str(&format!(",{}", self.instance));
        }
        (line.len() > self.hwaddr.len()).then_some(line)
    }
}

/// The fixed addresses that an entry's file tells of.
pub(crate) fn addresses(text: &str) -> Vec<std::net::IpAddr> {
    let items = text.trim().split(',').map(|item| item.trim_matches(['[', ']']));
    items.filter_map(|item| item.parse().ok()).collect()
}

/// Writes the files of these entries; true when one of them changed.
///
/// # Errors
/// [`Error::File`].
pub async fn write(directory: &Path, entries: &[HostEntry], names: bool) -> Result<bool> {
    let mut changed = false;
    for entry in entries {
        let Some(line) = entry.line(names) else {
            changed |= remove(directory, entry).await?;
            continue;
        };
        let path = path(directory, entry);
        let content = format!("{line}\n");
        if tokio::fs::read_to_string(&path)
            .await
            .is_ok_and(|present| present == content)
        {
            continue;
        }
        replace(&path, &content).await?;
        changed = true;
    }
    Ok(changed)
}

/// Removes an entry's file; true when there was one.
///
/// # Errors
/// [`Error::File`].
pub async fn remove(directory: &Path, entry: &HostEntry) -> Result<bool> {
    let path = path(directory, entry);
    match tokio::fs::remove_file(&path).await {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::File {
            what: "remove",
            path,
            source,
        }),
    }
}

fn path(directory: &Path, entry: &HostEntry) -> PathBuf {
    directory.join(DIRECTORY).join(entry.file_name())
}

/// Puts a file in place whole: dnsmasq may read at any time. It skips names that begin with a dot.
pub(super) async fn replace(path: &Path, content: &str) -> Result<()> {
    let fail = |source| Error::File {
        what: "write",
        path: path.to_owned(),
        source,
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = path.with_file_name(format!(".{name}"));
    tokio::fs::write(&draft, content).await.map_err(fail)?;
    tokio::fs::rename(&draft, path).await.map_err(fail)
}
