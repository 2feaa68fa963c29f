//! Files inside instances.

use http::{HeaderMap, HeaderValue, Method};
use serde::Deserialize;

use crate::client::{Client, escape, path};
use crate::download::Download;
use crate::upload::Upload;
use crate::{Error, Result};

/// What a file is to have; nothing said leaves it to the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileWish {
    /// Owner, as an id inside.
    pub uid: Option<u32>,
    /// Group, as an id inside.
    pub gid: Option<u32>,
    /// Permission bits.
    pub mode: Option<u32>,
}

/// What something inside an instance is.
#[derive(Debug)]
pub enum InstanceFile {
    /// A file, whose contents come.
    File(Download),
    /// A directory, with these names.
    Directory(Vec<String>),
    /// A symbolic link, which says this.
    Link(String),
}

/// A connection on which the server speaks SFTP.
pub type SftpStream = hyper_util::rt::TokioIo<hyper::upgrade::Upgraded>;

#[derive(Deserialize)]
struct Names {
    metadata: Vec<String>,
}

impl Client {
    /// Reads something inside an instance, with its permission bits.
    ///
    /// # Errors
    /// What the server says.
    pub async fn instance_file(&self, instance: &str, at: &str) -> Result<(u32, InstanceFile)> {
        let path = file_path(instance, at);
        let download = self.download(&path).await?;
        let mode = u32::from_str_radix(download.header("x-lxd-mode"), 8).unwrap_or(0o644);
        let file = match download.header("x-lxd-type") {
            "directory" => {
                let body = download.bytes().await?;
                let names: Names = serde_json::from_slice(&body).map_err(|error| Error::Answer {
                    url: self.url(&path),
                    reason: error.to_string(),
                })?;
                InstanceFile::Directory(names.metadata)
            }
            "symlink" => {
                let target = download.bytes().await?;
                InstanceFile::Link(String::from_utf8_lossy(&target).into_owned())
            }
            _ => InstanceFile::File(download),
        };
        Ok((mode, file))
    }

    /// Writes a file inside an instance.
    ///
    /// # Errors
    /// What the server says.
    pub async fn put_instance_file(
        &self,
        instance: &str,
        at: &str,
        wish: FileWish,
        contents: Upload,
    ) -> Result<()> {
        self.post_file(instance, at, ("file", wish), contents).await
    }

    /// Makes a directory inside an instance; one that is there is fine.
    ///
    /// # Errors
    /// What the server says.
    pub async fn make_instance_directory(&self, instance: &str, at: &str, wish: FileWish) -> Result<()> {
        self.post_file(instance, at, ("directory", wish), Upload::text(""))
            .await
    }

    /// Makes a symbolic link inside an instance.
    ///
    /// # Errors
    /// What the server says.
    pub async fn make_instance_link(
        &self,
        instance: &str,
        at: &str,
        target: &str,
        wish: FileWish,
    ) -> Result<()> {
        self.post_file(instance, at, ("symlink", wish), Upload::text(target))
            .await
    }

    /// Removes a file or an empty directory inside an instance.
    ///
    /// # Errors
    /// What the server says.
    pub async fn remove_instance_file(&self, instance: &str, at: &str) -> Result<()> {
        self.remove(&file_path(instance, at)).await
    }

    /// A connection on which the server speaks SFTP about the files of an instance.
    ///
    /// # Errors
    /// What the server says.
    pub async fn sftp(&self, instance: &str) -> Result<SftpStream> {
        let path = path(&["instances", instance, "sftp"]);
        let mut headers = HeaderMap::new();
        headers.insert(http::header::UPGRADE, HeaderValue::from_static("sftp"));
        headers.insert(http::header::CONNECTION, HeaderValue::from_static("Upgrade"));
        self.upgrade(&path, headers).await
    }

    async fn post_file(
        &self,
        instance: &str,
        at: &str,
        (kind, wish): (&str, FileWish),
        contents: Upload,
    ) -> Result<()> {
        let mut upload = contents
            .header("x-lxd-type", kind)?
            .header("x-lxd-write", "overwrite")?;
        if let Some(uid) = wish.uid {
            upload = upload.header("x-lxd-uid", &uid.to_string())?;
        }
        if let Some(gid) = wish.gid {
            upload = upload.header("x-lxd-gid", &gid.to_string())?;
        }
        if let Some(mode) = wish.mode {
            upload = upload.header("x-lxd-mode", &format!("{mode:04o}"))?;
        }
        self.upload(&file_path(instance, at), upload).await.map(drop)
    }

    /// Asks for another protocol on a connection of its own.
    async fn upgrade(&self, path: &str, headers: HeaderMap) -> Result<SftpStream> {
        let (stream, host, target) = self.connect(path).await?;
        let broken = |error: hyper::Error| Error::Broken {
            method: "Get",
            url: self.url(path),
            reason: error.to_string(),
        };
        let io = hyper_util::rt::TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(broken)?;
        tokio::spawn(connection.with_upgrades());
        let nothing = http_body_util::Empty::<bytes::Bytes>::new();
        let mut request = http::Request::new(nothing);
        *request.method_mut() = Method::GET;
        *request.uri_mut() = target.parse().map_err(|_| Error::Url(target.clone()))?;
        *request.headers_mut() = headers;
        let host = HeaderValue::from_str(&host).map_err(|_| Error::Url(host.clone()))?;
        request.headers_mut().insert(http::header::HOST, host);
        let mut response = sender.send_request(request).await.map_err(broken)?;
        if response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
            let url = self.url(path);
            self.collect(path, response).await?.check(&url)?;
            return Err(Error::Answer {
                url,
                reason: "the server does not change protocols".into(),
            });
        }
        let upgraded = hyper::upgrade::on(&mut response).await.map_err(broken)?;
        Ok(hyper_util::rt::TokioIo::new(upgraded))
    }
}

fn file_path(instance: &str, at: &str) -> String {
    format!("{}?path={}", path(&["instances", instance, "files"]), escape(at))
}
