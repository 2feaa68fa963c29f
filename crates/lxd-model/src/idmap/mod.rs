//! Maps of user and group ids between containers and the host.

use serde::{Deserialize, Serialize};

use crate::config::{Config, is_true};
use crate::{Invalid, units};

/// First host id where `/etc/subuid` and `/etc/subgid` say nothing.
pub const DEFAULT_BASE: i64 = 1_000_000;
/// Ids where `/etc/subuid` and `/etc/subgid` say nothing.
pub const DEFAULT_SIZE: i64 = 1_000_000_000;
/// Ids of an isolated container that doesn't ask for more.
pub const ISOLATED_SIZE: i64 = 65_536;

/// One range of ids. The fields' names are those of the JSON in `volatile.idmap.next`, which is API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Whether it maps users.
    #[serde(rename = "Isuid")]
    pub is_uid: bool,
    /// Whether it maps groups.
    #[serde(rename = "Isgid")]
    pub is_gid: bool,
    /// First id on the host.
    #[serde(rename = "Hostid")]
    pub host_id: i64,
    /// First id in the container.
    #[serde(rename = "Nsid")]
    pub ns_id: i64,
    /// How many ids.
    #[serde(rename = "Maprange")]
    pub range: i64,
}

/// A whole map; the empty one is that of a privileged container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdMap(pub Vec<Entry>);

/// A run of host ids, for users and groups alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first id.
    pub base: i64,
    /// How many.
    pub size: i64,
}

impl IdMap {
    /// Users and groups from zero to a run of host ids.
    pub fn of_range(range: Range) -> Self {
        let entry = |is_uid| Entry {
            is_uid,
            is_gid: !is_uid,
            host_id: range.base,
            ns_id: 0,
            range: range.size,
        };
        Self(vec![entry(true), entry(false)])
    }

    /// Reads the JSON of a volatile key; the empty text is the empty map.
    pub fn from_json(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(text).map_err(|e| Invalid::new(format!("Invalid ID map {text:?}: {e}")))
    }

    /// The JSON of a volatile key.
    pub fn to_json(&self) -> String {
        let entry = |e: &Entry| {
            let Entry {
                is_uid,
                is_gid,
                host_id,
                ns_id,
                range,
            } = e;
            format!(
                "{{\"Isuid\":{is_uid},\"Isgid\":{is_gid},\"Hostid\":{host_id},\"Nsid\":{ns_id},\"Maprange\":{range}}}"
            )
        };
        format!("[{}]", self.0.iter().map(entry).collect::<Vec<_>>().join(","))
    }

    /// The values of `lxc.idmap`: `u 0 1000000 65536`.
    pub fn lxc_lines(&self) -> Vec<String> {
        let line = |kind: char, e: &Entry| format!("{kind} {} {} {}", e.ns_id, e.host_id, e.range);
        let of_entry = |e: &Entry| {
            let user = e.is_uid.then(|| line('u', e));
            user.into_iter()
                .chain(e.is_gid.then(|| line('g', e)))
                .collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of_entry).collect()
    }

    /// The host's id for a container's user id.
    pub fn host_uid(&self, uid: i64) -> Option<i64> {
        Self::shift(self.0.iter().filter(|e| e.is_uid), uid)
    }

    /// The host's id for a container's group id.
    pub fn host_gid(&self, gid: i64) -> Option<i64> {
        Self::shift(self.0.iter().filter(|e| e.is_gid), gid)
    }

    fn shift<'e>(mut entries: impl Iterator<Item = &'e Entry>, id: i64) -> Option<i64> {
        let entry = entries.find(|e| (e.ns_id..e.ns_id.saturating_add(e.range)).contains(&id))?;
        Some(entry.host_id + (id - entry.ns_id))
    }

    /// Maps single ids of the host into the container, as `raw.idmap` asks, splitting the ranges around them.
    pub fn with_raw(mut self, raw: &[Entry]) -> Result<Self, Invalid> {
        for wanted in raw {
            for (is_uid, asked) in [(true, wanted.is_uid), (false, wanted.is_gid)] {
                if asked {
                    self.punch(Entry {
                        is_uid,
                        is_gid: !is_uid,
                        ..*wanted
                    })?;
                }
            }
        }
        self.0.sort_by_key(|e| (!e.is_uid, e.ns_id));
        Ok(self)
    }

    fn punch(&mut self, hole: Entry) -> Result<(), Invalid> {
        let end = |start: i64, range: i64| {
            start
                .checked_add(range)
                .ok_or_else(|| Invalid::new("ID map range is too large"))
        };
        let (hole_end, host_end) = (end(hole.ns_id, hole.range)?, end(hole.host_id, hole.range)?);
        let same = |e: &Entry| e.is_uid == hole.is_uid;
        if self
            .0
            .iter()
            .any(|e| same(e) && e.host_id < host_end && hole.host_id < e.host_id + e.range)
        {
            return Err(Invalid::new("Conflicting ID map: a host id is mapped twice"));
        }
        let mut entries = vec![hole];
        for e in self.0.drain(..) {
            let e_end = e.ns_id + e.range;
            if !same(&e) || e_end <= hole.ns_id || hole_end <= e.ns_id {
                entries.push(e);
                continue;
            }
            if e.ns_id < hole.ns_id {
                entries.push(Entry {
                    range: hole.ns_id - e.ns_id,
                    ..e
                });
            }
            if hole_end < e_end {
                let skipped = hole_end - e.ns_id;
                entries.push(Entry {
                    ns_id: hole_end,
                    host_id: e.host_id + skipped,
                    range: e.range - skipped,
                    ..e
                });
            }
        }
        self.0 = entries;
        Ok(())
    }
}

/// The host's run of ids for containers: the largest that `/etc/subuid` and `/etc/subgid` both give to root.
///
/// Entries for `root` count before those for `lxd`. [`None`]: no entry is large enough or common to both files.
/// Where neither file is there, pass empty texts: the default range.
pub fn host_range(subuid: &str, subgid: &str) -> Option<Range> {
    if subuid.trim().is_empty() && subgid.trim().is_empty() {
        return Some(Range {
            base: DEFAULT_BASE,
            size: DEFAULT_SIZE,
        });
    }
    ["root", "lxd"].iter().find_map(|user| {
        let groups = ranges_of(subgid, user);
        let common = ranges_of(subuid, user).into_iter().flat_map(|u| {
            groups.iter().filter_map(move |g| {
                let base = u.base.max(g.base);
                let end = (u.base + u.size).min(g.base + g.size);
                (end - base >= ISOLATED_SIZE).then_some(Range {
                    base,
                    size: end - base,
                })
            })
        });
        common.max_by_key(|range| range.size)
    })
}

/// The ranges of one user in the text of a subuid or subgid file.
fn ranges_of(text: &str, user: &str) -> Vec<Range> {
    let line = |line: &str| {
        let mut fields = line.trim().split(':');
        let (name, base, size) = (fields.next()?, fields.next()?, fields.next()?);
        let range = Range {
            base: base.parse::<u32>().ok()?.into(),
            size: size.parse::<u32>().ok()?.into(),
        };
        (name == user).then_some(range)
    };
    text.lines().filter_map(line).collect()
}

/// The entries of `raw.idmap`: lines of `uid|gid|both HOST CONTAINER`, each an id or a range `FIRST-LAST`.
pub fn parse_raw(text: &str) -> Result<Vec<Entry>, Invalid> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(raw_line).collect()
}

fn raw_line(line: &str) -> Result<Entry, Invalid> {
    let bad = |what: &str| Invalid::new(format!("{what} {line:?}"));
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [kind, host, ns] = fields[..] else {
        return Err(bad("Invalid ID map line"));
    };
    let (host, ns) = (raw_range(host)?, raw_range(ns)?);
    if host.size != ns.size {
        return Err(bad("The ID map ranges are of different sizes"));
    }
    if host.size < 1 || [host, ns].iter().any(|range| range.base + range.size > 1 << 32) {
        return Err(bad("The ID map ranges are out of bounds"));
    }
    let (is_uid, is_gid) = match kind {
        "uid" => (true, false),
        "gid" => (false, true),
        "both" => (true, true),
        _ => return Err(bad("Invalid ID map type")),
    };
    Ok(Entry {
        is_uid,
        is_gid,
        host_id: host.base,
        ns_id: ns.base,
        range: host.size,
    })
}

fn raw_range(text: &str) -> Result<Range, Invalid> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse::<i64>().ok().filter(|_| digits);
        number
            .map(|number| number.min(1 << 33))
            .ok_or_else(|| Invalid::new(units::go_parse_int(text)))
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    Ok(Range {
        base: first,
        size: last - first + 1,
    })
}

/// The run of ids for a container, out of the host's; [`None`] for a privileged one.
///
/// `taken` are the runs of all other isolated containers, from their `volatile.idmap.base` and size. The first run
/// of an isolated container starts behind those that every container shares.
pub fn allocate(config: &Config, host: Range, taken: &[Range]) -> Result<Option<Range>, Invalid> {
    let set = |name: &str| {
        config
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    };
    if set("security.privileged").is_some_and(is_true) {
        return Ok(None);
    }
    if !set("security.idmap.isolated").is_some_and(is_true) {
        return Ok(Some(host));
    }
    let number = |name: &str| {
        set(name)
            .map(|value| value.parse::<u32>().map(i64::from))
            .transpose()
    };
    let bad = |_| Invalid::new("Invalid value for security.idmap.size or security.idmap.base");
    let size = number("security.idmap.size")
        .map_err(bad)?
        .unwrap_or(ISOLATED_SIZE);
    let end = host.base + host.size;
    if let Some(base) = number("security.idmap.base").map_err(bad)? {
        return Ok(Some(Range { base, size }));
    }
    let mut taken: Vec<Range> = taken.to_vec();
    taken.sort_by_key(|range| range.base);
    let mut base = host.base + ISOLATED_SIZE;
    for other in taken {
        if other.base >= base + size {
            break;
        }
        base = base.max(other.base + other.size);
    }
    match base + size <= end {
        true => Ok(Some(Range { base, size })),
        false => Err(Invalid::new("Not enough uid/gid available for the container")),
    }
}

#[cfg(test)]
mod tests;
