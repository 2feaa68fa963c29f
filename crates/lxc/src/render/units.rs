//! Sizes and dates for people.

use jiff::tz::TimeZone;
use lxd_api::Time;

/// A number of bytes in powers of 1000, as in `1.50MB`; `digits` after the point.
pub(crate) fn bytes_decimal(bytes: i64, digits: usize) -> String {
    scaled(bytes, 1000.0, digits, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// A number of bytes in powers of 1024, as in `1.50MiB`; `digits` after the point.
pub(crate) fn bytes_binary(bytes: i64, digits: usize) -> String {
    scaled(
        bytes,
        1024.0,
        digits,
        &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"],
    )
}

/// A time in the host's zone, as in `2026/11/24 03:48 UTC`.
pub(crate) fn date(time: &Time) -> String {
    format_in(time, TimeZone::system())
}

/// A time in UTC, as in `2026/11/24 03:48 UTC`.
pub(crate) fn date_utc(time: &Time) -> String {
    format_in(time, TimeZone::UTC)
}

fn format_in(time: &Time, zone: TimeZone) -> String {
    time.timestamp()
        .to_zoned_datetime(zone)
        .strftime("%Y/%m/%d %H:%M %Z")
        .to_string()
}

fn scaled(bytes: i64, base: f64, digits: usize, names: &[&str]) -> String {
    if (bytes as f64).abs() < base {
        return format!("{bytes}B");
    }
    let mut value = bytes as f64;
    let mut name = 0;
    while value.abs() >= base && name + 1 < names.len() {
        value /= base;
        name += 1;
    }
    format!("{value:.digits$}{}", names[name])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_like_the_reference() {
        assert_eq!(bytes_decimal(999, 2), "999B");
        assert_eq!(bytes_decimal(1_500_000, 2), "1.50MB");
        assert_eq!(bytes_binary(1536, 2), "1.50KiB");
    }

    #[test]
    fn dates_name_their_zone() {
        let time: Time = "2026-11-24T03:48:59.5Z".parse().unwrap();
        assert_eq!(date_utc(&time), "2026/11/24 03:48 UTC");
    }
}
