//! Quantities as users write and read them: bytes, bits per second, percentages, and life times of snapshots.

use jiff::civil::DateTime;
use jiff::{SignedDuration, Span, Timestamp, tz::TimeZone};

use crate::Invalid;

/// Suffixes of byte sizes with what they multiply by; plain digits are bytes.
const BYTE_SUFFIXES: &[(&str, i64)] = &[
    ("B", 1),
    ("kB", 1000),
    ("MB", 1000_i64.pow(2)),
    ("GB", 1000_i64.pow(3)),
    ("TB", 1000_i64.pow(4)),
    ("PB", 1000_i64.pow(5)),
    ("EB", 1000_i64.pow(6)),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
    ("EiB", 1 << 60),
];

/// Suffixes of bit rates with what they multiply by.
const BIT_SUFFIXES: &[(&str, i64)] = &[
    ("bit", 1),
    ("kbit", 1000),
    ("Mbit", 1000_i64.pow(2)),
    ("Gbit", 1000_i64.pow(3)),
    ("Tbit", 1000_i64.pow(4)),
    ("Pbit", 1000_i64.pow(5)),
    ("Ebit", 1000_i64.pow(6)),
    ("Kibit", 1 << 10),
    ("Mibit", 1 << 20),
    ("Gibit", 1 << 30),
    ("Tibit", 1 << 40),
    ("Pibit", 1 << 50),
    ("Eibit", 1 << 60),
];

/// Bytes from `512`, `10GB`, `5MiB`, `512kB`; nothing for the empty text is zero.
pub fn parse_bytes(text: &str) -> Result<i64, Invalid> {
    parse_quantity(text, BYTE_SUFFIXES)
}

/// Bits from `100Mbit`, `1Gibit`; the empty text is zero.
pub fn parse_bits(text: &str) -> Result<i64, Invalid> {
    parse_quantity(text, BIT_SUFFIXES)
}

/// Bytes from a size or from a percentage of `total` bytes, as in `limits.memory`.
pub fn parse_bytes_of(text: &str, total: i64) -> Result<i64, Invalid> {
    match text.strip_suffix('%') {
        Some(percent) => {
            let percent: i64 = percent.parse().map_err(|_| Invalid::new(go_parse_int(percent)))?;
            Ok(i64::try_from(i128::from(total) * i128::from(percent) / 100).unwrap_or(i64::MAX))
        }
        None => parse_bytes(text),
    }
}

/// Bytes for people, in powers of 1024: `512.00MiB`, `12B`.
pub fn format_bytes_iec(bytes: i64, precision: usize) -> String {
    format_scaled(
        bytes,
        1024,
        &["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"],
        precision,
    )
}

/// Bytes for people, in powers of 1000: `1.23MB`, `12B`.
pub fn format_bytes(bytes: i64, precision: usize) -> String {
    format_scaled(bytes, 1000, &["kB", "MB", "GB", "TB", "PB", "EB"], precision)
}

/// When something made at `from` expires, by an expression such as `1M 2H 3d`; [`None`] for the empty expression.
///
/// `S` seconds, `M` minutes, `H` hours, `d` days, `w` weeks, `m` months, `y` years; each at most once. Days and more
/// are calendar days in UTC, and a day that the month lacks runs over into the next one.
pub fn expiry(from: Timestamp, expression: &str) -> Result<Option<Timestamp>, Invalid> {
    let bad = || Invalid::new("Invalid expiry expression");
    if expression.trim().is_empty() {
        return Ok(None);
    }
    let mut amounts = [None::<i64>; UNITS.len()];
    for field in expression.split_whitespace() {
        let (at, unit) = field.char_indices().next_back().ok_or_else(bad)?;
        let place = UNITS.iter().position(|known| *known == unit).ok_or_else(bad)?;
        let digits = &field[..at];
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) || amounts[place].is_some() {
            return Err(bad());
        }
        amounts[place] = Some(digits.parse().map_err(|_| bad())?);
    }
    let [seconds, minutes, hours, days, weeks, months, years] = amounts.map(Option::unwrap_or_default);
    let days = weeks
        .checked_mul(7)
        .and_then(|w| w.checked_add(days))
        .ok_or_else(bad)?;
    let months = years
        .checked_mul(12)
        .and_then(|y| y.checked_add(months))
        .ok_or_else(bad)?;
    let start = TimeZone::UTC.to_datetime(from);
    let date = add_months_and_days(start, months, days).ok_or_else(bad)?;
    let mut clock = [(hours, 3600), (minutes, 60), (seconds, 1)].into_iter();
    let clock = clock
        .try_fold(0_i64, |sum, (n, unit)| sum.checked_add(n.checked_mul(unit)?))
        .ok_or_else(bad)?;
    let end = TimeZone::UTC.to_timestamp(date).map_err(|_| bad())?;
    end.checked_add(SignedDuration::from_secs(clock))
        .map(Some)
        .map_err(|_| bad())
}

const UNITS: [char; 7] = ['S', 'M', 'H', 'd', 'w', 'm', 'y'];

fn add_months_and_days(start: DateTime, months: i64, days: i64) -> Option<DateTime> {
    let first = start.with().day(1).build().ok()?;
    let month = first.checked_add(Span::new().try_months(months).ok()?).ok()?;
    let days = days.checked_add(i64::from(start.day()) - 1)?;
    month.checked_add(Span::new().try_days(days).ok()?).ok()
}

fn parse_quantity(text: &str, suffixes: &[(&str, i64)]) -> Result<i64, Invalid> {
    if text.is_empty() {
        return Ok(0);
    }
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(at);
    let factor = match suffix {
        "" => 1,
        _ => suffixes
            .iter()
            .find(|(name, _)| *name == suffix)
            .map_or(0, |(_, factor)| *factor),
    };
    if digits.is_empty() || factor == 0 {
        return Err(Invalid::new(format!("Invalid value: {text}")));
    }
    let value: i64 = digits
        .parse()
        .map_err(|_| Invalid::new(format!("Invalid integer: {text}")))?;
    value
        .checked_mul(factor)
        .ok_or_else(|| Invalid::new(format!("Overflow multiplying {value} with {factor}")))
}

/// What Go says about a text that is not a number.
pub(crate) fn go_parse_int(text: &str) -> String {
    format!("strconv.ParseInt: parsing {text:?}: invalid syntax")
}

fn format_scaled(bytes: i64, base: i64, units: &[&str], precision: usize) -> String {
    if bytes < base {
        return format!("{bytes}B");
    }
    let base = base as f64;
    let mut value = bytes as f64 / base;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    format!("{value:.precision$}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_as_the_reference_reads_them() {
        let cases: &[(&str, Result<i64, &str>)] = &[
            ("", Ok(0)),
            ("0", Ok(0)),
            ("10B", Ok(10)),
            ("512kB", Ok(512_000)),
            ("5MiB", Ok(5 << 20)),
            ("10GB", Ok(10_000_000_000)),
            ("1EB", Ok(1_000_000_000_000_000_000)),
            ("-1", Err("Invalid value: -1")),
            ("GB", Err("Invalid value: GB")),
            ("1.5GB", Err("Invalid value: 1.5GB")),
            ("1 GB", Err("Invalid value: 1 GB")),
            ("1gb", Err("Invalid value: 1gb")),
            ("1k", Err("Invalid value: 1k")),
            ("1bit", Err("Invalid value: 1bit")),
            (
                "999999999999999999999",
                Err("Invalid integer: 999999999999999999999"),
            ),
            ("9EiB", Err("Overflow multiplying 9 with 1152921504606846976")),
        ];
        for (text, wanted) in cases {
            assert_eq!(
                parse_bytes(text).map_err(|e| e.to_string()),
                wanted.map_err(str::to_owned),
                "{text}"
            );
        }
        assert_eq!(parse_bits("100Mbit").unwrap(), 100_000_000);
        assert!(parse_bits("1MB").is_err());
        assert_eq!(parse_bytes_of("25%", 4096).unwrap(), 1024);
    }

    #[test]
    fn bytes_for_people() {
        assert_eq!(format_bytes_iec(1023, 2), "1023B");
        assert_eq!(format_bytes_iec(512 << 20, 2), "512.00MiB");
        assert_eq!(format_bytes_iec(1 << 30, 2), "1.00GiB");
        assert_eq!(format_bytes(1_234_567, 2), "1.23MB");
        assert_eq!(format_bytes(999, 2), "999B");
        assert_eq!(format_bytes_iec(i64::MAX, 1), "8.0EiB");
    }

    #[test]
    fn expiry_counts_calendar_days() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let from = at("2026-01-31T10:00:00Z");
        let cases = [
            ("1M 2H 3d", "2026-02-03T12:01:00Z"),
            ("1m", "2026-03-03T10:00:00Z"),
            ("1y 1w", "2027-02-07T10:00:00Z"),
            (" 30S ", "2026-01-31T10:00:30Z"),
            ("0d", "2026-01-31T10:00:00Z"),
        ];
        for (expression, wanted) in cases {
            assert_eq!(
                expiry(from, expression).unwrap(),
                Some(at(wanted)),
                "{expression}"
            );
        }
        assert_eq!(expiry(from, "").unwrap(), None);
        for bad in [
            "1x",
            "1M 1M",
            "M",
            "-1d",
            "1.5d",
            "1d2w",
            "99999999999999999999d",
            "9223372036854775807y",
            "é",
        ] {
            assert_eq!(
                expiry(from, bad).unwrap_err().to_string(),
                "Invalid expiry expression",
                "{bad}"
            );
        }
    }
}
