//! `lxc image copy`: images from one server to another.

use lxd_api::images::{Image, ImageExportPost, ImagesPost, ImagesPostSource};
use lxd_api::server::Server;
use lxd_client::{Background, Client, Upload, UploadPart, path};
use serde_json::json;

use super::image::{give_aliases, save, upload_with_progress};
use crate::context::{Context, Resource};
use crate::error::{Error, Result};
use crate::image_server::ImageServer;

/// What the progress of a copy is called.
const COPYING: &str = "Copying the image: ";
/// What goes before the reasons of a target that could not fetch the image.
const FAILED: &str = "Failed remote image download";

/// What is copied to where.
struct Copy<'a> {
    cx: &'a Context,
    source: ImageServer,
    /// The name of the source's remote.
    remote: &'a str,
    /// The alias or fingerprint.
    word: &'a str,
    target: Client,
    /// The name of the target's remote.
    target_remote: String,
}

/// How a server is reached by another one.
struct Reached {
    urls: Vec<String>,
    certificate: String,
}

/// `lxc image copy`.
pub(super) async fn copy(cx: &Context) -> Result<()> {
    let mode = cx.text("mode");
    if cx.switch("auto-update") && matches!(mode, "push" | "relay") {
        return Err(Error::message("Auto update is only available in pull mode"));
    }
    let (remote, _) = cx.config.split(cx.argument(0))?;
    let (source, word) = cx.image_server(cx.argument(0))?;
    let target = cx.resource(cx.argument(1))?;
    if !target.name.is_empty() {
        return Err(Error::message("Can't provide a name for the target image"));
    }
    let client = match cx.text("target-project") {
        "" => target.client,
        project => target.client.in_project(project),
    };
    let copy = Copy {
        cx,
        source,
        remote,
        word,
        target: client,
        target_remote: target.remote,
    };
    let (fingerprint, names) = match mode {
        "push" => copy.push().await?,
        "relay" => copy.relay().await?,
        _ => copy.pull().await?,
    };
    cx.tell("Image copied successfully!")?;
    give_aliases(&copy.target, &fingerprint, &names).await
}

/// Lets a server fetch an image that another one has just made.
pub(super) async fn fetch_made(cx: &Context, source: &Resource, target: &Resource, made: &str) -> Result<()> {
    let copy = Copy {
        cx,
        source: ImageServer::Lxd(source.client.clone()),
        remote: &source.remote,
        word: made,
        target: target.client.clone(),
        target_remote: target.remote.clone(),
    };
    copy.pull().await.map(drop)
}

impl Copy<'_> {
    /// The image, as its server describes it.
    async fn image(&self) -> Result<Image> {
        let fingerprint = self.source.fingerprint(self.word, self.cx.switch("vm")).await?;
        self.source.image(&fingerprint).await
    }

    /// The aliases that the copy gets.
    fn names(&self, image: Option<&Image>) -> Vec<String> {
        let mut names = self.cx.list("alias").to_vec();
        let theirs = image.into_iter().flat_map(|image| &image.aliases);
        if self.cx.switch("copy-aliases") {
            names.extend(theirs.map(|alias| alias.name.clone()));
        }
        names
    }

    /// Lets the target fetch the image; gives its fingerprint and the aliases for it.
    async fn pull(&self) -> Result<(String, Vec<String>)> {
        let mut from = ImagesPostSource {
            r#type: "image".into(),
            mode: "pull".into(),
            ..ImagesPostSource::default()
        };
        if let ImageServer::Lxd(source) = &self.source {
            let image = self.image().await?;
            self.differ(source)?;
            let reached = self.reached(source, self.remote, "source").await?;
            from.protocol = "lxd".into();
            from.certificate = reached.certificate;
            from.project = project(source).into();
            from.fingerprint.clone_from(&image.fingerprint);
            if !image.public {
                from.secret = secret(source, &image.fingerprint).await?;
            } else if image.aliases.iter().any(|alias| alias.name == self.word) {
                // So the target knows what to follow.
                self.word.clone_into(&mut from.fingerprint);
            }
            self.fetch(from, &reached.urls).await?;
            return Ok((image.fingerprint.clone(), self.names(Some(&image))));
        }
        from.protocol = "simplestreams".into();
        self.word.clone_into(&mut from.fingerprint);
        if self.cx.switch("vm") {
            from.image_type = "virtual-machine".into();
        }
        let certificate = self.cx.config.server_certificate(self.remote)?;
        from.certificate = certificate.map_or(String::new(), |it| it.pem().to_owned());
        let url = self.cx.config.remotes()[self.remote].addr.clone();
        let wants_names = self.cx.switch("copy-aliases");
        let fetched = self.fetch(from, &[url]).await?;
        let image = match (fetched.is_empty(), wants_names) {
            (false, false) => None,
            _ => Some(self.image().await?),
        };
        let names = self.names(image.as_ref());
        let fingerprint = image.map_or(fetched, |image| image.fingerprint);
        Ok((fingerprint, names))
    }

    /// An image can't be copied to where it is.
    fn differ(&self, source: &Client) -> Result<()> {
        if source.base() == self.target.base() && project(source) == project(&self.target) {
            return Err(Error::message("The source and target servers must be different"));
        }
        Ok(())
    }

    /// Asks the target to fetch the image from one of several URLs; gives the fingerprint, if the target says it.
    async fn fetch(&self, source: ImagesPostSource, urls: &[String]) -> Result<String> {
        let mut failures = Vec::new();
        for url in urls {
            let post = ImagesPost {
                auto_update: self.cx.switch("auto-update"),
                public: self.cx.switch("public"),
                source: Some(ImagesPostSource {
                    server: url.clone(),
                    ..source.clone()
                }),
                ..ImagesPost::default()
            };
            match self.fetch_once(&post).await {
                Ok(fingerprint) => return Ok(fingerprint),
                Err(error) => {
                    let text = error.to_string();
                    let may_go_on = text.contains("dial tcp") || text.contains("i/o timeout");
                    failures.push((url, text));
                    if !may_go_on {
                        break;
                    }
                }
            }
        }
        Err(Error::message(match failures.as_slice() {
            [(_, only)] => format!("{FAILED}: {only}"),
            several => {
                let lines: Vec<String> = several
                    .iter()
                    .map(|(url, text)| format!(" - {url}: {text}"))
                    .collect();
                format!("{FAILED}:\n{}", lines.join("\n"))
            }
        }))
    }

    async fn fetch_once(&self, post: &ImagesPost) -> Result<String> {
        let background = self.target.start(&path(&["images"]), post).await?;
        let ended = self.cx.wait(&background, COPYING).await?;
        let fingerprint = ended.and_then(|ended| ended.metadata["fingerprint"].as_str().map(str::to_owned));
        Ok(fingerprint.unwrap_or_default())
    }

    /// Lets the source send the image to the target.
    async fn push(&self) -> Result<(String, Vec<String>)> {
        let ImageServer::Lxd(source) = &self.source else {
            return Err(Error::message(
                "Exporting images is not supported by the simplestreams protocol",
            ));
        };
        let image = self.image().await?;
        self.differ(source)?;
        let reached = self.reached(&self.target, &self.target_remote, "target").await?;
        let expected = self.expect(&image).await?;
        let secret = expected.metadata("secret").as_str().unwrap_or_default();
        let post = ImageExportPost {
            target: reached.urls.into_iter().next().unwrap_or_default(),
            certificate: reached.certificate,
            secret: secret.to_owned(),
            project: project(&self.target).into(),
            ..ImageExportPost::default()
        };
        let at = path(&["images", &image.fingerprint, "export"]);
        let sent = match source.start(&at, &post).await {
            Ok(sending) => self.cx.wait(&sending, COPYING).await.map(drop),
            Err(error) => Err(error.into()),
        };
        // The target waits for no other sender.
        let _ = expected.cancel().await;
        sent?;
        Ok((image.fingerprint.clone(), self.names(Some(&image))))
    }

    /// Makes the target expect the image.
    async fn expect(&self, image: &Image) -> Result<Background> {
        let post = ImagesPost {
            public: self.cx.switch("public"),
            properties: image.properties.clone(),
            expires_at: image.expires_at,
            source: Some(ImagesPostSource {
                mode: "push".into(),
                fingerprint: image.fingerprint.clone(),
                ..ImagesPostSource::default()
            }),
            ..ImagesPost::default()
        };
        Ok(self.target.start(&path(&["images"]), &post).await?)
    }

    /// Fetches the image and sends it on.
    async fn relay(&self) -> Result<(String, Vec<String>)> {
        let image = self.image().await?;
        if let ImageServer::Lxd(source) = &self.source {
            self.differ(source)?;
        }
        let failed = |source| Error::Terminal {
            doing: "Failed to make a folder for the image",
            source,
        };
        let folder = tempfile::Builder::new()
            .prefix("lxd_image_")
            .tempdir()
            .map_err(failed)?;
        let name_of = |called: &str, _| called.to_owned();
        let from = (&self.source, image.fingerprint.as_str());
        let files = save(self.cx, from, folder.path(), &name_of, COPYING).await?;
        let upload = match files.rootfs {
            None => Upload::file(&files.metadata).await?,
            Some(rootfs) => {
                let is_vm = image.r#type == "virtual-machine";
                let parts = [
                    UploadPart {
                        name: "metadata",
                        path: files.metadata,
                    },
                    UploadPart {
                        name: if is_vm { "rootfs.img" } else { "rootfs" },
                        path: rootfs,
                    },
                ];
                Upload::files(&parts).await?
            }
        };
        let mut upload = upload
            .header("x-lxd-filename", &image.filename)?
            .header("x-lxd-fingerprint", &image.fingerprint)?;
        if self.cx.switch("public") {
            upload = upload.header("x-lxd-public", "true")?;
        }
        let background = upload_with_progress(self.cx, (&self.target, "images"), upload, COPYING).await?;
        if let Err(error) = self.cx.wait(&background, COPYING).await {
            // It may have been there before.
            let there = self.target.image(&image.fingerprint, "").await;
            there.map_err(|_| error)?;
        }
        Ok((image.fingerprint.clone(), self.names(Some(&image))))
    }

    /// Where other servers find one, which is the source or the target.
    async fn reached(&self, client: &Client, remote: &str, which: &str) -> Result<Reached> {
        let pinned = self.cx.config.server_certificate(remote)?;
        if let (Some(pinned), false) = (&pinned, client.is_local()) {
            return Ok(Reached {
                urls: vec![client.base()],
                certificate: pinned.pem().to_owned(),
            });
        }
        let server: Server = client.get("/1.0").await?;
        let environment = server.environment;
        let urls = match client.is_local() {
            false => vec![client.base()],
            true => environment
                .addresses
                .iter()
                .map(|address| format!("https://{address}"))
                .collect(),
        };
        if urls.is_empty() {
            return Err(Error::message(format!(
                "The {which} server isn't listening on the network"
            )));
        }
        Ok(Reached {
            urls,
            certificate: environment.certificate,
        })
    }
}

fn project(client: &Client) -> &str {
    match client.project() {
        "" => "default",
        project => project,
    }
}

/// What lets another server fetch a private image.
async fn secret(client: &Client, fingerprint: &str) -> Result<String> {
    let token = client
        .start(&path(&["images", fingerprint, "secret"]), &json!({}))
        .await?;
    Ok(token.metadata("secret").as_str().unwrap_or_default().to_owned())
}
