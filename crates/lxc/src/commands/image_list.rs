//! `lxc image list` and `lxc image info`.

use std::fmt::Write;

use lxd_api::Time;
use lxd_api::images::Image;
use regex_lite::Regex;
use serde_json::Value;

use super::image::shown;
use super::list::{is_short_for, pattern};
use super::warning::long_date;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::image_server::ImageServer;
use crate::render::{List, date_utc, list as print_list, print, sort_rows};

/// Digits of a fingerprint that lists show.
const SHORT: usize = 12;

/// A column of `image list`.
type Column = (char, &'static str, fn(&Image) -> String);

const COLUMNS: &[Column] = &[
    ('l', "ALIAS", shortest_alias),
    ('L', "ALIASES", |image| {
        let mut names: Vec<&str> = image.aliases.iter().map(|alias| alias.name.as_str()).collect();
        names.sort_unstable();
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

/// The fields of images that filters may name; an LXD compares them itself.
const FIELDS: &[&str] = &[
    "architecture",
    "auto_update",
    "cached",
    "created_at",
    "expires_at",
    "filename",
    "fingerprint",
    "last_used_at",
    "public",
    "size",
    "type",
    "uploaded_at",
];

/// `lxc image list`.
pub(super) async fn list(cx: &Context) -> Result<()> {
    let columns = columns(cx.text("columns"))?;
    let (server, filters) = server_and_filters(cx)?;
    let mut fields = Vec::new();
    let mut others = Vec::new();
    for filter in &filters {
        match filter.split_once('=') {
            Some((key, value)) if FIELDS.contains(&key) => fields.push((key, value)),
            _ => others.push(*filter),
        }
    }
    let mut images = server.images(&fields).await?;
    let wanted: Vec<Filter> = match server {
        ImageServer::Lxd(_) => others.into_iter().map(Filter::parse).collect(),
        ImageServer::Lists(_) => filters.into_iter().map(Filter::parse).collect(),
    };
    images.retain(|image| wanted.iter().all(|filter| filter.fits(image)));
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

/// The columns of a list of letters, with or without commas between them.
fn columns(text: &str) -> Result<Vec<&'static Column>> {
    let mut columns = Vec::new();
    for entry in text.split(',') {
        if entry.is_empty() {
            return Err(Error::message(format!(
                "Empty column entry (redundant, leading or trailing command) in '{text}'"
            )));
        }
        for letter in entry.chars() {
            let known = COLUMNS.iter().find(|(known, _, _)| *known == letter);
            let unknown = || Error::message(format!("Unknown column shorthand char '{letter}' in '{entry}'"));
            columns.push(known.ok_or_else(unknown)?);
        }
    }
    Ok(columns)
}

/// The server that the first argument may name, and the filters among the arguments.
pub(super) fn server_and_filters(cx: &Context) -> Result<(ImageServer, Vec<&str>)> {
    let words = cx.arguments().iter().map(String::as_str);
    let Some(first) = cx.arguments().first().filter(|first| first.contains(':')) else {
        let (server, _) = cx.image_server("")?;
        return Ok((server, words.filter(|word| !word.is_empty()).collect()));
    };
    let (server, rest) = match cx.image_server(first) {
        Ok(found) => found,
        // It is a filter whose value has a colon.
        Err(_) if first.contains('=') => (cx.image_server("")?.0, first.as_str()),
        Err(error) => return Err(error),
    };
    let words = std::iter::once(rest).chain(words.skip(1));
    Ok((server, words.filter(|word| !word.is_empty()).collect()))
}

/// What an image must have.
enum Filter<'a> {
    /// A property with a value or a pattern for it, or a field with that value.
    Value {
        key: &'a str,
        value: &'a str,
        pattern: Option<Regex>,
    },
    /// A part of an alias or of the fingerprint.
    Part(&'a str),
}

impl<'a> Filter<'a> {
    fn parse(word: &'a str) -> Self {
        match word.split_once('=') {
            Some((key, value)) => Self::Value {
                key,
                value,
                pattern: pattern(value),
            },
            None => Self::Part(word),
        }
    }

    fn fits(&self, image: &Image) -> bool {
        match self {
            Self::Value { key, value, pattern } => {
                let is_it = |text: &str| match pattern {
                    Some(pattern) => pattern.is_match(text),
                    None => text == *value,
                };
                let mut properties = image.properties.iter();
                properties.any(|(name, set)| is_short_for(key, name) && is_it(set))
                    || FIELDS.contains(key) && field(image, key).as_deref() == Some(*value)
            }
            Self::Part(part) => {
                let mut aliases = image.aliases.iter();
                aliases.any(|alias| alias.name.contains(part)) || image.fingerprint.contains(part)
            }
        }
    }
}

/// A field of an image as text.
fn field(image: &Image, name: &str) -> Option<String> {
    let value = serde_json::to_value(image).ok()?;
    Some(match value.get(name)? {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

/// `lxc image info`.
pub(super) async fn info(cx: &Context) -> Result<()> {
    let (_, image) = shown(cx).await?;
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
    fn filters_look_at_properties_fields_aliases_and_fingerprints() {
        for (filter, fits) in [
            ("os=Debian", true),
            ("os=debian", false),
            ("o=Deb.*", true),
            ("os=^Deb", true),
            ("os=Deb", false),
            ("os=[", false),
            ("public=false", true),
            ("fingerprint=61f372d0", true),
            ("fingerprint=61f", false),
            ("type=", true),
            ("1f3", true),
            ("bian", true),
            ("BIAN", false),
            ("x", false),
        ] {
            assert_eq!(Filter::parse(filter).fits(&image()), fits, "{filter}");
        }
    }

    #[test]
    fn columns_are_letters_between_commas() {
        assert_eq!(columns("l,fF").unwrap().len(), 3);
        for (text, wrong) in [
            (
                "l,,f",
                "Empty column entry (redundant, leading or trailing command) in 'l,,f'",
            ),
            ("l,zz", "Unknown column shorthand char 'z' in 'zz'"),
        ] {
            assert_eq!(columns(text).unwrap_err().to_string(), wrong);
        }
    }

    #[test]
    fn the_shortest_alias_stands_for_all() {
        assert_eq!(shortest_alias(&image()), "d (1 more)");
        assert_eq!(megabytes(80_505_252), "76.78MB");
    }
}
