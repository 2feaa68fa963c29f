//! The client's own configuration: remotes, aliases, the client certificate.
//!
//! It lives in `$LXD_CONF`, else in `~/.config/lxc`: `config.yml`, `client.crt`, `client.key`, and in `servercerts/`
//! the certificates of servers that the user accepted.

mod content;
mod remotes;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use lxd_client::{Certificate, KeyPair};
use lxd_model::yaml;

use content::Content;
pub(crate) use remotes::Remote;

use crate::error::{Error, Result};

/// The client's configuration, and where it is kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    folder: PathBuf,
    /// The project that the command line asks for; "" leaves it to the remote's.
    pub(crate) project: String,
    content: Content,
}

/// The mode of folders that hold keys.
const PRIVATE: u32 = 0o750;

impl Config {
    /// Reads the configuration; the second value tells that there was none and it has the defaults.
    ///
    /// # Errors
    /// When the file is there, but can't be read.
    pub(crate) fn load(folder: &Path) -> Result<(Self, bool)> {
        let file = folder.join("config.yml");
        let (mut content, fresh) = match fs::read_to_string(&file) {
            Ok(text) => (parse(&text)?, false),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (Content::default(), true),
            Err(source) => return Err(Error::File { path: file, source }),
        };
        if fresh {
            content.remotes.insert("images".into(), remotes::images());
        }
        for remote in content.remotes.values_mut() {
            if remote.auth_type.is_empty() && !remote.public && !remote.is_simplestreams() {
                // The only way that clients of our time know besides Candid.
                remote.auth_type = "tls".into();
            }
        }
        for (name, remote) in everybodys() {
            content.remotes.entry(name).or_insert(remote);
        }
        for (name, mut remote) in remotes::fixed() {
            // Where a fixed remote leads nobody can change; in which project its commands work, everybody can.
            if let Some(known) = content.remotes.get(name) {
                remote.project.clone_from(&known.project);
            }
            content.remotes.insert(name.into(), remote);
        }
        if content.default_remote.is_empty() {
            content.default_remote = "local".into();
        }
        Ok((
            Self {
                folder: folder.into(),
                project: String::new(),
                content,
            },
            fresh,
        ))
    }

    /// Writes the configuration, whole or not at all.
    ///
    /// # Errors
    /// When the folder can't be written.
    pub(crate) fn save(&self) -> Result<()> {
        self.make_folder(&self.folder)?;
        let mut content = self.content.clone();
        content
            .remotes
            .retain(|name, remote| name == "local" || !(remote.fixed || remote.global));
        let file = self.folder.join("config.yml");
        let new = self.folder.join("config.yml.new");
        let failed = |source| Error::File {
            path: file.clone(),
            source,
        };
        fs::write(&new, yaml::to_string(&content)?).map_err(failed)?;
        fs::rename(&new, &file).map_err(failed)
    }

    /// The aliases, by name.
    pub(crate) fn aliases(&self) -> &BTreeMap<String, String> {
        &self.content.aliases
    }

    /// The aliases, to be changed; [`Config::save`] keeps the change.
    pub(crate) fn aliases_mut(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.content.aliases
    }

    /// The remotes, by name.
    pub(crate) fn remotes(&self) -> &BTreeMap<String, Remote> {
        &self.content.remotes
    }

    /// The remotes, to be changed; [`Config::save`] keeps the change.
    pub(crate) fn remotes_mut(&mut self) -> &mut BTreeMap<String, Remote> {
        &mut self.content.remotes
    }

    /// The name of the remote that commands mean where they name none.
    pub(crate) fn default_remote(&self) -> &str {
        &self.content.default_remote
    }

    /// Chooses the remote that commands mean where they name none.
    pub(crate) fn set_default_remote(&mut self, name: &str) {
        self.content.default_remote = name.into();
    }

    /// Takes `remote:name` apart; the default remote where there is no colon.
    ///
    /// # Errors
    /// When there is no such remote.
    pub(crate) fn split<'a>(&'a self, word: &'a str) -> Result<(&'a str, &'a str)> {
        let Some((remote, name)) = word.split_once(':') else {
            return Ok((self.default_remote(), word));
        };
        if self.content.remotes.contains_key(remote) {
            return Ok((remote, name));
        }
        Err(Error::message(format!("The remote \"{remote}\" doesn't exist")))
    }

    /// The file that holds the certificate of a remote's server.
    pub(crate) fn server_certificate_file(&self, remote: &str) -> PathBuf {
        self.folder.join("servercerts").join(format!("{remote}.crt"))
    }

    /// The certificate of a remote's server, where the user accepted one.
    pub(crate) fn server_certificate(&self, remote: &str) -> Result<Option<Certificate>> {
        let file = match self.content.remotes.get(remote) {
            Some(known) if known.global => global_folder().join("servercerts").join(format!("{remote}.crt")),
            _ => self.server_certificate_file(remote),
        };
        match fs::read_to_string(&file) {
            Ok(pem) => Ok(Some(Certificate::from_pem(&pem)?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::File { path: file, source }),
        }
    }

    /// Keeps the certificate of a remote's server.
    pub(crate) fn accept_server_certificate(&self, remote: &str, certificate: &Certificate) -> Result<()> {
        let file = self.server_certificate_file(remote);
        self.make_folder(&self.folder.join("servercerts"))?;
        fs::write(&file, certificate.pem()).map_err(|source| Error::File { path: file, source })
    }

    /// Forgets the certificate that was accepted for a remote's server, if one was.
    pub(crate) fn forget_server_certificate(&self, remote: &str) -> Result<()> {
        let file = self.server_certificate_file(remote);
        match fs::remove_file(&file) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::File { path: file, source })
            }
            _ => Ok(()),
        }
    }

    /// Whether there is a client certificate.
    pub(crate) fn has_identity(&self) -> bool {
        self.folder.join("client.crt").exists() && self.folder.join("client.key").exists()
    }

    /// The client certificate, if there is one.
    pub(crate) fn identity(&self) -> Result<Option<KeyPair>> {
        if !self.has_identity() {
            return Ok(None);
        }
        let read = |name: &str| {
            let path = self.folder.join(name);
            fs::read_to_string(&path).map_err(|source| Error::File { path, source })
        };
        Ok(Some(KeyPair {
            certificate: Certificate::from_pem(&read("client.crt")?)?,
            key: read("client.key")?,
        }))
    }

    /// The client certificate; a new one is made and kept where there is none.
    pub(crate) fn make_identity(&self, name: &str) -> Result<KeyPair> {
        if let Some(identity) = self.identity()? {
            return Ok(identity);
        }
        let pair = KeyPair::generate_client(name)?;
        self.make_folder(&self.folder)?;
        self.write_private("client.key", &pair.key)?;
        self.write_private("client.crt", pair.certificate.pem())?;
        fs::set_permissions(self.folder.join("client.crt"), fs::Permissions::from_mode(0o644)).map_err(
            |source| Error::File {
                path: self.folder.join("client.crt"),
                source,
            },
        )?;
        Ok(pair)
    }

    fn write_private(&self, name: &str, text: &str) -> Result<()> {
        use std::io::Write;

        let path = self.folder.join(name);
        let file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|source| Error::File { path, source })
    }

    fn make_folder(&self, folder: &Path) -> Result<()> {
        let made = fs::DirBuilder::new().recursive(true).mode(PRIVATE).create(folder);
        made.map_err(|source| Error::File {
            path: folder.into(),
            source,
        })
    }
}

fn parse(text: &str) -> Result<Content> {
    content::parse(text)
        .map_err(|error| Error::message(format!("Unable to decode the configuration: {error}")))
}

/// Where the configuration of all users of this host is.
fn global_folder() -> PathBuf {
    let chosen = std::env::var_os("LXD_GLOBAL_CONF").filter(|folder| !folder.is_empty());
    chosen.map_or_else(|| PathBuf::from("/etc/lxd"), PathBuf::from)
}

/// The remotes of all users of this host. What can't be read is left out.
fn everybodys() -> BTreeMap<String, Remote> {
    let text = fs::read_to_string(global_folder().join("config.yml"));
    let content = text.ok().and_then(|text| parse(&text).ok()).unwrap_or_default();
    let global = |(name, remote)| {
        (
            name,
            Remote {
                global: true,
                ..remote
            },
        )
    };
    content.remotes.into_iter().map(global).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_configuration_is_written_like_the_references() {
        let folder = tempfile::tempdir().unwrap();
        let (config, fresh) = Config::load(folder.path()).unwrap();
        assert!(fresh);
        config.save().unwrap();
        assert_eq!(
            fs::read_to_string(folder.path().join("config.yml")).unwrap(),
            "default-remote: local\nremotes:\n  images:\n    addr: https://images.linuxcontainers.org\n    \
             protocol: simplestreams\n    public: true\n  local:\n    addr: unix://\n    public: false\naliases: {}\n"
        );
        assert!(config.remotes().contains_key("ubuntu-daily"));
        assert!(!Config::load(folder.path()).unwrap().1);
    }

    #[test]
    fn words_are_split_at_the_first_colon() {
        let folder = tempfile::tempdir().unwrap();
        let (config, _) = Config::load(folder.path()).unwrap();
        assert_eq!(config.split("images:debian/12").unwrap(), ("images", "debian/12"));
        assert_eq!(config.split("c1").unwrap(), ("local", "c1"));
        assert_eq!(
            config.split("nope:c1").unwrap_err().to_string(),
            "The remote \"nope\" doesn't exist"
        );
    }

    #[test]
    fn the_identity_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let (config, _) = Config::load(folder.path()).unwrap();
        let first = config.make_identity("root@host").unwrap();
        assert_eq!(
            config.make_identity("root@host").unwrap().certificate,
            first.certificate
        );
        let mode = fs::metadata(folder.path().join("client.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
