//! Commands about images.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lxd_api::images::{Image, ImageAliasesEntry, ImageAliasesPost, ImagePut};
use lxd_client::{Client, Etag, ExportedImage, ImagePart, NameOf, Upload, UploadPart, path};
use lxd_model::images::Packing;
use lxd_model::yaml;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::{image_alias, image_copy, image_list, not_yet};
use crate::context::{Context, read_stdin, stdin_is_terminal};
use crate::edit::edit;
use crate::error::{Error, Result};
use crate::image_server::ImageServer;
use crate::key_values::strict_pairs;
use crate::progress::Progress;
use crate::render::{bytes_decimal, print_line, print_yaml};

/// Runs a command about images.
pub(super) async fn run(cx: &Context, path: &str) -> Result<()> {
    match path {
        "image copy" => image_copy::copy(cx).await,
        "image delete" => delete(cx).await,
        "image edit" => edit_image(cx).await,
        "image export" => export(cx).await,
        "image get-property" => get_property(cx).await,
        "image import" => import(cx).await,
        "image info" => image_list::info(cx).await,
        "image list" => image_list::list(cx).await,
        "image refresh" => refresh(cx).await,
        "image set-property" => {
            change_properties(cx, |all| {
                drop(all.insert(cx.argument(1).into(), cx.argument(2).into()))
            })
            .await
        }
        "image show" => show(cx).await,
        "image unset-property" => change_properties(cx, |all| drop(all.remove(cx.argument(1)))).await,
        _ if path.starts_with("image alias ") => image_alias::run(cx, path).await,
        _ => not_yet(),
    }
}

/// The image that a word names on a server that knows us: its alias is looked up first, else it is (the beginning of) a
/// fingerprint.
async fn find(cx: &Context, word: &str) -> Result<(Client, String)> {
    let image = cx.resource(word)?;
    if image.name.is_empty() {
        return Err(Error::message("Image identifier missing"));
    }
    let server = ImageServer::Lxd(image.client.clone());
    let fingerprint = server.fingerprint(&image.name, false).await?;
    Ok((image.client, fingerprint))
}

/// The image that the first argument names, on any server of images.
pub(super) async fn shown(cx: &Context) -> Result<(ImageServer, Image)> {
    let (server, word) = cx.image_server(cx.argument(0))?;
    let fingerprint = server.fingerprint(word, cx.switch("vm")).await?;
    let image = server.image(&fingerprint).await?;
    Ok((server, image))
}

async fn delete(cx: &Context) -> Result<()> {
    for word in cx.arguments() {
        let (client, fingerprint) = find(cx, word).await?;
        let deleted = client.delete(&path(&["images", &fingerprint])).await?;
        cx.wait(&deleted, "").await?;
    }
    Ok(())
}

async fn show(cx: &Context) -> Result<()> {
    let (_, image) = shown(cx).await?;
    print_yaml(&ImagePut::from(&image))
}

async fn get_property(cx: &Context) -> Result<()> {
    let (_, image) = shown(cx).await?;
    let value = image
        .properties
        .get(cx.argument(1))
        .ok_or_else(|| Error::message("Property not found"))?;
    print_line(value)
}

async fn change_properties(cx: &Context, change: impl FnOnce(&mut BTreeMap<String, String>)) -> Result<()> {
    let (client, fingerprint) = find(cx, cx.argument(0)).await?;
    let at = path(&["images", &fingerprint]);
    let (shown, etag): (Image, Etag) = client.get_with_etag(&at).await?;
    let mut put = ImagePut::from(&shown);
    change(&mut put.properties);
    Ok(client.replace(&at, &put, &etag).await?)
}

async fn edit_image(cx: &Context) -> Result<()> {
    let (client, fingerprint) = find(cx, cx.argument(0)).await?;
    let at = path(&["images", &fingerprint]);
    if !stdin_is_terminal() {
        return Ok(client
            .replace(&at, &written(&read_stdin()?)?, &Etag::default())
            .await?);
    }
    let (shown, etag): (Image, Etag) = client.get_with_etag(&at).await?;
    let explanation = "### The image as YAML. Lines that begin with # are left out.\n\n";
    edit(
        &format!("{explanation}{}", yaml::to_string(&ImagePut::from(&shown))?),
        async |text| Ok(client.replace(&at, &written(text)?, &etag).await?),
    )
    .await
}

/// An image as the user wrote it; profiles that it does not mention stay.
fn written(text: &str) -> Result<Value> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Mentioned {
        profiles: Option<IgnoredAny>,
    }
    let put: ImagePut = yaml::from_str(text)?;
    let mentioned: Mentioned = yaml::from_str(text)?;
    let mut put = serde_json::to_value(&put).unwrap_or_default();
    if mentioned.profiles.is_none() {
        put["profiles"] = Value::Null;
    }
    Ok(put)
}

async fn refresh(cx: &Context) -> Result<()> {
    for word in cx.arguments() {
        let (client, fingerprint) = find(cx, word).await?;
        let refreshed = client
            .start(&path(&["images", &fingerprint, "refresh"]), &json!({}))
            .await?;
        let ended = cx.wait(&refreshed, "Refreshing the image: ").await?;
        let is_new = ended.is_some_and(|operation| operation.metadata["refreshed"] == true);
        print_line(if is_new {
            "Image refreshed successfully!"
        } else {
            "Image already up to date."
        })?;
    }
    Ok(())
}

/// What is to be imported, and where.
struct Import {
    first: String,
    rootfs: Option<PathBuf>,
    client: Client,
    properties: BTreeMap<String, String>,
}

/// Tells file, rootfs, remote and properties apart.
fn what_to_import(cx: &Context) -> Result<Import> {
    let (mut files, mut remote, mut properties) = (Vec::new(), "", Vec::new());
    for word in cx.arguments() {
        if word.contains('=') && !Path::new(word).exists() {
            properties.push(word.clone());
        } else if word.ends_with(':') {
            remote = word;
        } else {
            files.push(word.clone());
        }
    }
    let mut files = files.into_iter();
    let first = files.next().ok_or(Error::Count)?;
    let rootfs = files.next_back().map(PathBuf::from);
    let client = cx.resource(remote)?.client;
    Ok(Import {
        first,
        rootfs,
        client,
        properties: strict_pairs(&properties, |word| format!("Bad key=value pair: {word}"))?,
    })
}

async fn import(cx: &Context) -> Result<()> {
    let import = what_to_import(cx)?;
    if import.first.starts_with("http://") {
        return Err(Error::message(
            "Only https:// is supported for remote image import",
        ));
    }
    let background = if import.first.starts_with("https://") {
        let source = json!({
            "public": cx.switch("public"),
            "properties": import.properties,
            "source": {"type": "url", "mode": "pull", "url": import.first, "protocol": "direct"},
        });
        import.client.start(&path(&["images"]), &source).await?
    } else {
        send(cx, &import).await?
    };
    let ended = cx.wait(&background, "Transferring image: ").await?;
    let ended = ended
        .or_else(|| background.operation().cloned())
        .unwrap_or_default();
    let fingerprint = ended.metadata["fingerprint"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    cx.tell(&format!("Image imported with fingerprint: {fingerprint}"))?;
    give_aliases(&import.client, &fingerprint, cx.list("alias")).await
}

/// Gives the image aliases, taking them from other images.
pub(super) async fn give_aliases(client: &Client, fingerprint: &str, names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let all = path(&["images", "aliases"]);
    let known: Vec<ImageAliasesEntry> = client.get(&format!("{all}?recursion=1")).await?;
    for (at, name) in names.iter().enumerate() {
        if names[..at].contains(name) {
            continue;
        }
        if known.iter().any(|alias| alias.name == *name) {
            client.remove(&path(&["images", "aliases", name])).await?;
        }
        let alias = ImageAliasesPost {
            name: name.clone(),
            target: fingerprint.to_owned(),
            ..ImageAliasesPost::default()
        };
        client.create(&all, &alias).await?;
    }
    Ok(())
}

async fn send(cx: &Context, import: &Import) -> Result<lxd_client::Background> {
    let first = PathBuf::from(&import.first);
    let meta = std::fs::metadata(&first).map_err(|source| opening(&first, &source))?;
    let packed = if meta.is_dir() { Some(pack(&first)?) } else { None };
    let file = packed.as_ref().map_or(first.as_path(), |packed| packed.path());
    let upload = match &import.rootfs {
        None => Upload::file(file).await?,
        Some(rootfs) => {
            std::fs::metadata(rootfs).map_err(|source| opening(rootfs, &source))?;
            let part = |name, path: &Path| UploadPart {
                name,
                path: path.to_owned(),
            };
            let name = match packing(rootfs)? {
                Packing::Qcow2 => "rootfs.img",
                _ => "rootfs",
            };
            Upload::files(&[part("metadata", file), part(name, rootfs)]).await?
        }
    };
    let name = file
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let mut upload = upload.header("x-lxd-filename", &name)?;
    if cx.switch("public") {
        upload = upload.header("x-lxd-public", "true")?;
    }
    if !import.properties.is_empty() {
        let pairs: Vec<String> = import
            .properties
            .iter()
            .map(|(key, value)| format!("{}={}", escaped(key), escaped(value)))
            .collect();
        upload = upload.header("x-lxd-properties", &pairs.join("&"))?;
    }
    upload_with_progress(cx, (&import.client, "images"), upload, "Transferring image: ").await
}

/// How a file is packed.
fn packing(path: &Path) -> Result<Packing> {
    use std::io::Read;

    let mut header = Vec::new();
    let size = u64::try_from(Packing::HEADER).unwrap_or_default();
    let read = std::fs::File::open(path).and_then(|file| file.take(size).read_to_end(&mut header));
    read.map_err(|source| opening(path, &source))?;
    if header.is_empty() {
        return Err(Error::message("EOF"));
    }
    Packing::detect(&header).map_err(|error| Error::message(error.to_string()))
}

/// Sends an upload to a list of things, and shows how much of it has gone.
pub(super) async fn upload_with_progress(
    cx: &Context,
    (client, list): (&Client, &str),
    upload: Upload,
    title: &str,
) -> Result<lxd_client::Background> {
    upload_to(cx, (client, &path(&[list])), upload, title).await
}

/// The same for a list whose path has several parts.
pub(super) async fn upload_to(
    cx: &Context,
    (client, at): (&Client, &str),
    upload: Upload,
    title: &str,
) -> Result<lxd_client::Background> {
    let mut progress = Progress::new(cx.is_quiet(), title);
    let (total, sent, began) = (upload.length(), upload.counter(), Instant::now());
    let mut sending = std::pin::pin!(client.upload(at, upload));
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            done = &mut sending => {
                progress.done("");
                return Ok(done?);
            }
            _ = tick.tick() => progress.update(&share(sent.load(Ordering::Relaxed), total, began)),
        }
    }
}

/// How much of a whole is done, and how quickly: `57% (12.31MB/s)`.
pub(super) fn share(done: u64, total: u64, began: Instant) -> String {
    let percent = (done * 100).checked_div(total).unwrap_or(100);
    let micros = began.elapsed().as_micros().max(1);
    let speed = i64::try_from(u128::from(done) * 1_000_000 / micros).unwrap_or(i64::MAX);
    format!("{percent}% ({}/s)", bytes_decimal(speed, 2))
}

pub(super) fn opening(path: &Path, source: &std::io::Error) -> Error {
    let reason = source
        .to_string()
        .split(" (os error")
        .next()
        .unwrap_or_default()
        .to_lowercase();
    Error::message(format!("open {}: {reason}", path.display()))
}

/// Packs a folder as an image.
#[expect(
    clippy::disallowed_methods,
    reason = "the client has no lxd-sys; tar is asked once"
)]
fn pack(folder: &Path) -> Result<tempfile::NamedTempFile> {
    let failed = |source| Error::Terminal {
        doing: "Failed to pack the folder",
        source,
    };
    let file = tempfile::Builder::new()
        .prefix("lxd_image_")
        .tempfile()
        .map_err(failed)?;
    let status = std::process::Command::new("tar")
        .args(["-C"])
        .arg(folder)
        .args([
            "--numeric-owner",
            "--restrict",
            "--force-local",
            "--xattrs",
            "-cJf",
        ])
        .arg(file.path())
        .args(
            ["metadata.yaml", "rootfs", "templates"]
                .iter()
                .filter(|name| folder.join(name).exists()),
        )
        .status()
        .map_err(failed)?;
    if status.success() {
        Ok(file)
    } else {
        Err(Error::message(format!("tar: {status}")))
    }
}

/// Text as a value of a query string.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte as char),
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

async fn export(cx: &Context) -> Result<()> {
    let (server, word) = cx.image_server(cx.argument(0))?;
    let fingerprint = server.fingerprint(word, cx.switch("vm")).await?;
    let (folder, base) = match cx.argument(1) {
        "" => (PathBuf::from("."), None),
        target if Path::new(target).is_dir() => (PathBuf::from(target), None),
        target => {
            let target = Path::new(target);
            let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
            let base = target
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let folder = folder.unwrap_or(Path::new("."));
            std::fs::metadata(folder).map_err(|source| opening(target, &source))?;
            (folder.to_owned(), Some(base))
        }
    };
    let name_of = move |called: &str, part| name_of(base.as_deref(), called, part);
    save(
        cx,
        (&server, &fingerprint),
        &folder,
        &name_of,
        "Exporting the image: ",
    )
    .await?;
    cx.tell("Image exported successfully!")?;
    Ok(())
}

/// The name of a file, where the user may have said a base for it.
fn name_of(base: Option<&str>, called: &str, part: ImagePart) -> String {
    match (base, part) {
        (None, _) => called.to_owned(),
        // The two files of a split image get no ending.
        (Some(base), ImagePart::Root) => format!("{base}.root"),
        (Some(base), ImagePart::Metadata) => base.to_owned(),
        (Some(base), ImagePart::Whole) => match called.split_once('.') {
            Some((_, ending)) => format!("{base}.{ending}"),
            None => base.to_owned(),
        },
    }
}

/// Saves an image's files in a folder, and shows how much of it has come.
pub(super) async fn save(
    cx: &Context,
    (server, fingerprint): (&ImageServer, &str),
    folder: &Path,
    name_of: NameOf<'_>,
    title: &str,
) -> Result<ExportedImage> {
    let mut progress = Progress::new(cx.is_quiet(), title);
    let began = Instant::now();
    let total = |image: &Image| u64::try_from(image.size).unwrap_or(0);
    let saved = match server {
        ImageServer::Lxd(client) => {
            // The full fingerprint names the files.
            let image = client.image(fingerprint, "").await?;
            let mut counted = |bytes: u64| progress.update(&share(bytes, total(&image), began));
            client
                .export_image(&image.fingerprint, folder, name_of, &mut counted)
                .await
        }
        ImageServer::Lists(lists) => {
            let listed = lists.listed(fingerprint).await?;
            let mut counted = |bytes: u64| progress.update(&share(bytes, total(&listed.image), began));
            lists
                .server()
                .export_image(listed, folder, name_of, &mut counted)
                .await
        }
    };
    progress.done("");
    Ok(saved?)
}
