//! `lxc image list` and `lxc image info`.

use std::fmt::Write;

use lxd_api::Time;
use lxd_api::images::Image;
use lxd_client::path;

use super::image::find;
use super::warning::long_date;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::render::{List, date_utc, list as print_list, print, sort_rows};

/// Digits of a fingerprint that lists show.
const SHORT: usize = 12;

/// A column of `image list`.
type Column = (char, &'static str, fn(&Image) -> String);

const COLUMNS: &[Column] = &[
    ('l', "ALIAS", shortest_alias),
    ('L', "ALIASES", |image| {
        let names: Vec<&str> = image.aliases.iter().map(|alias| alias.name.as_str()).collect();
        names.join("\n")
    }),
    ('f', "FINGERPRINT", |image| {
        image.fingerprint.chars().take(SHORT).collect()
    }),
    ('F', "FINGERPRINT", |image| image.fingerprint.clone()),
    ('p', "PUBLIC", |image| {
        if image.public { "yes" } else { "no" }.into()
    }),
    ('d', "DESCRIPTION", |image| {
        image.properties.get("description").cloned().unwrap_or_default()
    }),
    ('a', "ARCHITECTURE", |image| image.architecture.clone()),
    ('s', "SIZE", |image| megabytes(image.size)),
    ('u', "UPLOAD DATE", |image| long_date(&image.uploaded_at)),
    ('t', "TYPE", |image| image.r#type.to_uppercase()),
];

/// A size as the reference prints it for images: powers of 1024 under the names of powers of 1000.
fn megabytes(bytes: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "two digits after the point are shown")]
    let megabytes = bytes as f64 / f64::from(1 << 20);
    format!("{megabytes:.2}MB")
}

fn shortest_alias(image: &Image) -> String {
    let shortest = image
        .aliases
        .iter()
        .map(|alias| alias.name.as_str())
        .min_by_key(|name| name.len());
    match (shortest, image.aliases.len()) {
        (None, _) => String::new(),
        (Some(name), 1) => name.to_owned(),
        (Some(name), count) => format!("{name} ({} more)", count - 1),
    }
}

/// `lxc image list`.
pub(super) async fn list(cx: &Context) -> Result<()> {
    let (remote, filters) = match cx.arguments() {
        [first, rest @ ..] if first.ends_with(':') => (cx.resource(first)?, rest),
        [first, rest @ ..] if first.contains(':') && !first.contains('=') => {
            let remote = cx.resource(first)?;
            return show(cx, &remote, &[std::slice::from_ref(&remote.name), rest].concat()).await;
        }
        words => (cx.resource("")?, words),
    };
    show(cx, &remote, filters).await
}

async fn show(cx: &Context, remote: &crate::context::Resource, filters: &[String]) -> Result<()> {
    let letters = cx.text("columns");
    let mut columns = Vec::new();
    for letter in letters.chars().filter(|letter| *letter != ',') {
        let unknown = || Error::message(format!("Unknown column shorthand char '{letter}' in '{letters}'"));
        columns.push(
            COLUMNS
                .iter()
                .find(|(known, _, _)| *known == letter)
                .ok_or_else(unknown)?,
        );
    }
    let images: Vec<Image> = remote.client.get("/1.0/images?recursion=1").await?;
    let images: Vec<Image> = images
        .iter()
        .filter(|image| is_wanted(image, filters))
        .cloned()
        .collect();
    let cells = |image: &Image| columns.iter().map(|(_, _, cell)| cell(image)).collect();
    let mut rows: Vec<Vec<String>> = images.iter().map(cells).collect();
    sort_rows(&mut rows);
    let header: Vec<&str> = columns.iter().map(|(_, title, _)| *title).collect();
    print_list(
        cx.text("format"),
        &List {
            header: &header,
            rows: &rows,
            raw: &images,
        },
    )
}

/// Whether an image fits all filters: `property=value`, or a part of an alias, or the beginning of the fingerprint.
fn is_wanted(image: &Image, filters: &[String]) -> bool {
    filters.iter().all(|filter| match filter.split_once('=') {
        Some((key, value)) => {
            let found = image.properties.iter().find(|(name, _)| name.starts_with(key));
            found.is_some_and(|(_, set)| set.eq_ignore_ascii_case(value))
        }
        None => {
            let filter = filter.to_lowercase();
            image
                .aliases
                .iter()
                .any(|alias| alias.name.to_lowercase().contains(&filter))
                || image.fingerprint.starts_with(&filter)
        }
    })
}

/// `lxc image info`.
pub(super) async fn info(cx: &Context) -> Result<()> {
    let (found, fingerprint) = find(cx, cx.argument(0)).await?;
    let image: Image = found.client.get(&path(&["images", &fingerprint])).await?;
    print(&text(&image))
}

fn text(image: &Image) -> String {
    let yes = |is: bool| if is { "yes" } else { "no" };
    let is_set = |time: &Time| time.timestamp().as_second() > 0;
    let mut out = format!(
        "Fingerprint: {}\nSize: {}\nArchitecture: {}\nType: {}\nPublic: {}\nTimestamps:\n",
        image.fingerprint,
        megabytes(image.size),
        image.architecture,
        image.r#type,
        yes(image.public)
    );
    if is_set(&image.created_at) {
        let _ = writeln!(out, "    Created: {}", date_utc(&image.created_at));
    }
    let _ = writeln!(out, "    Uploaded: {}", date_utc(&image.uploaded_at));
    for (title, time) in [("Expires", &image.expires_at), ("Last used", &image.last_used_at)] {
        let shown = if is_set(time) {
            date_utc(time)
        } else {
            "never".into()
        };
        let _ = writeln!(out, "    {title}: {shown}");
    }
    out.push_str("Properties:\n");
    for (key, value) in &image.properties {
        let _ = writeln!(out, "    {key}: {value}");
    }
    out.push_str("Aliases:\n");
    for alias in &image.aliases {
        let _ = match alias.description.as_str() {
            "" => writeln!(out, "    - {}", alias.name),
            description => writeln!(out, "    - {} ({description})", alias.name),
        };
    }
    let _ = writeln!(out, "Cached: {}", yes(image.cached));
    let _ = writeln!(
        out,
        "Auto update: {}",
        if image.auto_update { "enabled" } else { "disabled" }
    );
    if let Some(source) = &image.update_source {
        let _ = write!(
            out,
            "Source:\n    Server: {}\n    Protocol: {}\n    Alias: {}\n",
            source.server, source.protocol, source.alias
        );
    }
    if image.profiles.is_empty() {
        out.push_str("Profiles: []\n");
    } else {
        out.push_str("Profiles:\n");
        for profile in &image.profiles {
            let _ = writeln!(out, "    - {profile}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        Image {
            fingerprint: "61f372d0".into(),
            properties: [("os".to_owned(), "Debian".to_owned())].into(),
            aliases: vec![
                lxd_api::images::ImageAlias {
                    name: "debian/12".into(),
                    ..Default::default()
                },
                lxd_api::images::ImageAlias {
                    name: "d".into(),
                    ..Default::default()
                },
            ],
            ..Image::default()
        }
    }

    #[test]
    fn filters_look_at_properties_aliases_and_fingerprints() {
        for (filter, fits) in [
            ("os=debian", true),
            ("os=ubuntu", false),
            ("61f", true),
            ("BIAN", true),
            ("x", false),
        ] {
            assert_eq!(is_wanted(&image(), &[filter.to_owned()]), fits, "{filter}");
        }
    }

    #[test]
    fn the_shortest_alias_stands_for_all() {
        assert_eq!(shortest_alias(&image()), "d (1 more)");
        assert_eq!(megabytes(80_505_252), "76.78MB");
    }
}
