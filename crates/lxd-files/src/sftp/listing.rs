//! The lines that clients show for a directory: `ls -l` as the instance's own users would see it.

use std::collections::HashMap;
use std::fs::{FileType, Metadata};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;

use crate::files;

/// How much of a list of users or groups is read, in bytes: the instance may have made it huge.
const LIST_MAX: u64 = 1 << 20;

const DAY: i64 = 24 * 60 * 60;

/// Files older than this many seconds show the year, not the hour: half a year.
const OLD: i64 = 182 * DAY;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// What the instance calls users and groups.
pub(super) struct Listing {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
    now: i64,
}

impl Listing {
    /// Reads the instance's lists; where there are none, ids stay numbers.
    pub(super) fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            users: names("/etc/passwd"),
            groups: names("/etc/group"),
            now: now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX)),
        }
    }

    /// The line for something.
    pub(super) fn line(&self, name: &[u8], found: &Metadata) -> Vec<u8> {
        let of = |names: &HashMap<u32, String>, id: u32| names.get(&id).cloned().unwrap_or(id.to_string());
        let head = format!(
            "{} {:4} {:8} {:8} {:8} {} ",
            mode(found.file_type(), found.mode()),
            found.nlink(),
            of(&self.users, found.uid()),
            of(&self.groups, found.gid()),
            found.size(),
            date(found.mtime(), self.now),
        );
        // Where links lead, clients add themselves.
        [head.as_bytes(), name].concat()
    }
}

/// Names by id, from `NAME:...:ID:...` lines.
fn names(path: &str) -> HashMap<u32, String> {
    let mut text = Vec::new();
    // Whatever it is, it must not be waited for.
    let opened = files::open(Path::new(path), OFlags::RDONLY | OFlags::NONBLOCK, 0);
    match opened {
        Ok(file) if file.metadata().is_ok_and(|found| found.is_file()) => {
            // A list that can't be read to its end has the names up to there.
            let _ = file.take(LIST_MAX).read_to_end(&mut text);
        }
        _ => {}
    }
    let text = String::from_utf8_lossy(&text);
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        Some((fields.nth(1)?.parse().ok()?, name.to_owned()))
    };
    let mut names = HashMap::new();
    for (id, name) in text.lines().filter_map(entry) {
        names.entry(id).or_insert(name);
    }
    names
}

/// Type and permissions in ten letters.
fn mode(kind: FileType, mode: u32) -> String {
    let first = match kind {
        kind if kind.is_dir() => 'd',
        kind if kind.is_symlink() => 'l',
        kind if kind.is_block_device() => 'b',
        kind if kind.is_char_device() => 'c',
        kind if kind.is_fifo() => 'p',
        kind if kind.is_socket() => 's',
        _ => '-',
    };
    let mut text = String::from(first);
    for (shift, special, mark) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => mark,
            (true, false) => mark.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// `Nov 26 20:48`, or with the year for what is old. In UTC.
fn date(time: i64, now: i64) -> String {
    let (days, rest) = (time.div_euclid(DAY), time.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let month = MONTHS[month];
    if time < now - OLD {
        return format!("{month} {day} {year:5}");
    }
    format!("{month} {day} {:02}:{:02}", rest / 3600, rest / 60 % 60)
}

/// Year, month from 0, and day of a day since 1970, in a calendar whose years begin in March.
fn civil(days: i64) -> (i64, usize, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let years = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * years + years / 4 - years / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 2, 0)
    } else {
        (month - 10, 1)
    };
    (years + era * 400 + next, usize::try_from(month).unwrap_or(0), day)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn dates_are_those_of_ls() {
        let now = 1_795_726_080;
        assert_eq!(date(now, now), "Nov 26 20:48");
        assert_eq!(date(1_577_880_000, now), "Jan 1  2020");
        assert_eq!(date(951_782_400, now), "Feb 29  2000");
        assert_eq!(date(0, now), "Jan 1  1970");
        assert_eq!(date(-1, now), "Dec 31  1969");
    }

    #[test]
    fn lines_are_those_of_ls() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        std::fs::write(&file, "12").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o4654)).unwrap();
        symlink("f", folder.path().join("l")).unwrap();
        let listing = Listing {
            users: [(0, "root".to_owned())].into(),
            groups: HashMap::new(),
            now: 0,
        };
        let line = |name: &str| {
            let path = folder.path().join(name);
            let found = std::fs::symlink_metadata(&path).unwrap();
            String::from_utf8(listing.line(name.as_bytes(), &found)).unwrap()
        };
        let uid = std::fs::metadata(&file).unwrap().uid();
        let (user, text) = (if uid == 0 { "root" } else { "" }, line("f"));
        assert!(text.starts_with(&format!("-rwSr-xr--    1 {user}")), "{text}");
        assert!(text.ends_with(" f") && text.contains("        2 "), "{text}");
        assert!(line("l").starts_with("lrwxrwxrwx ") && line("l").ends_with(" l"));
    }
}
