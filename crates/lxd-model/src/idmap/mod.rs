//! Maps of user and group ids between containers and the host.

use std::num::IntErrorKind;

use serde::{Deserialize, Serialize};

use crate::config::{Config, is_true};
use crate::{Invalid, units};

/// First host id where `/etc/subuid` and `/etc/subgid` say nothing.
pub const DEFAULT_BASE: i64 = 1_000_000;
/// Ids where `/etc/subuid` and `/etc/subgid` say nothing.
pub const DEFAULT_SIZE: i64 = 1_000_000_000;
/// First id for containers in a container.
pub const NESTED_BASE: i64 = 100_000;
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

    /// Maps ids of the host into the container, as `raw.idmap` asks, splitting the ranges around them.
    ///
    /// The order of the entries is the reference's: one for users and groups stands among the users' and again among the
    /// groups'.
    pub fn with_raw(mut self, raw: &[Entry]) -> Result<Self, Invalid> {
        for wanted in raw {
            self.punch(*wanted)?;
        }
        Ok(self)
    }

    fn punch(&mut self, hole: Entry) -> Result<(), Invalid> {
        let mut entries = Vec::new();
        let mut is_there = false;
        for e in self.0.drain(..) {
            if !e.meets(&hole) {
                entries.push(e);
                continue;
            }
            if e.meets_on_host(&hole) {
                return Err(Invalid::new("Host id is in the range of subids"));
            }
            let (end, hole_end) = (
                e.ns_id.saturating_add(e.range),
                hole.ns_id.saturating_add(hole.range),
            );
            if e.ns_id < hole.ns_id {
                entries.push(Entry {
                    range: hole.ns_id - e.ns_id,
                    ..e
                });
            }
            if !is_there || (e.ns_id..end).contains(&hole.ns_id) {
                entries.push(hole);
                is_there = true;
            }
            if hole_end < end {
                let skipped = hole_end - e.ns_id;
                entries.push(Entry {
                    ns_id: hole_end,
                    host_id: e.host_id.saturating_add(skipped),
                    range: e.range - skipped,
                    ..e
                });
            }
        }
        if !is_there {
            entries.push(hole);
        }
        self.0 = entries;
        Ok(())
    }
}

impl Entry {
    /// Whether two entries have ids in common, inside or on the host. As with the reference, one that is a single id does not
    /// meet another that ends with it.
    fn meets(&self, other: &Self) -> bool {
        let last = |first: i64, range: i64| (first, first.saturating_add(range).saturating_sub(1));
        let have = |a: (i64, i64), b: (i64, i64)| has_end_of(a, b) || has_end_of(b, a);
        self.is_like(other)
            && (have(last(self.host_id, self.range), last(other.host_id, other.range))
                || have(last(self.ns_id, self.range), last(other.ns_id, other.range)))
    }

    /// Whether two entries have ids of the host in common; being neighbours counts, as with the reference.
    fn meets_on_host(&self, other: &Self) -> bool {
        let run = |e: &Self| (e.host_id, e.host_id.saturating_add(e.range));
        self.is_like(other) && (has_end_of(run(self), run(other)) || has_end_of(run(other), run(self)))
    }

    fn is_like(&self, other: &Self) -> bool {
        (self.is_uid && other.is_uid) || (self.is_gid && other.is_gid)
    }
}

/// Whether one of the ends of a run is in another one, whose own end doesn't count.
fn has_end_of(run: (i64, i64), other: (i64, i64)) -> bool {
    [other.0, other.1].iter().any(|end| (run.0..run.1).contains(end))
}

/// The host's run of ids for containers: the largest that `/etc/subuid` and `/etc/subgid` both give to root.
///
/// Entries for `root` count before those for `lxd`. [`None`]: no entry is large enough or common to both files.
/// Where neither file is there, pass empty texts: the default range, or where this system is a container itself and has
/// fewer `ids`, counted from zero, those from [`NESTED_BASE`].
pub fn host_range(subuid: &str, subgid: &str, ids: i64) -> Option<Range> {
    if subuid.trim().is_empty() && subgid.trim().is_empty() {
        let base = match ids >= DEFAULT_BASE + DEFAULT_SIZE {
            true => DEFAULT_BASE,
            false => NESTED_BASE,
        };
        let size = (ids - base).min(DEFAULT_SIZE);
        return (size >= ISOLATED_SIZE).then_some(Range { base, size });
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

/// How many ids there are from zero on, by the text of `/proc/self/uid_map` or `gid_map`.
pub fn ids_from_zero(map: &str) -> i64 {
    let number = |word: Option<&str>| word.and_then(|word| word.parse::<i64>().ok());
    let mut ranges: Vec<(i64, i64)> = map
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((number(words.next())?, number(words.nth(1))?))
        })
        .collect();
    ranges.sort_unstable();
    ranges
        .into_iter()
        .fold(0, |end, (first, count)| match first <= end {
            true => end.max(first + count),
            false => end,
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
    let lines = text.split('\n').filter(|line| !line.is_empty());
    lines.map(raw_line).collect()
}

fn raw_line(line: &str) -> Result<Entry, Invalid> {
    let bad = |what: &str| Invalid::new(format!("{what} {line:?}"));
    let fields: Vec<&str> = line.split(' ').collect();
    let [kind, host, ns] = fields[..] else {
        return Err(bad("Invalid ID map line"));
    };
    let (host, ns) = (raw_range(host)?, raw_range(ns)?);
    if host.size != ns.size {
        return Err(bad("The ID map ranges are of different sizes"));
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
        text.parse::<i64>().map_err(|error| match error.kind() {
            IntErrorKind::PosOverflow => {
                Invalid::new(format!("strconv.ParseInt: parsing {text:?}: value out of range"))
            }
            _ => Invalid::new(units::go_parse_int(text)),
        })
    };
    let (first, last) = match text.split('-').collect::<Vec<_>>()[..] {
        [single] => (number(single)?, number(single)?),
        [first, last] => (number(first)?, number(last)?),
        _ => return Err(Invalid::new(format!("Invalid ID Map range {text:?}"))),
    };
    Ok(Range {
        base: first,
        size: last.saturating_sub(first).saturating_add(1),
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
