//! Points in time as the databases hold them.
//!
//! The reference stores text such as `2026-11-24 03:23:46.139090462+00:00`, and year 1 for "never".

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::{Error, Result};

/// "Never": the first second of year 1, which the REST API shows as `0001-01-01T00:00:00Z`.
pub const ZERO: Timestamp = Timestamp::constant(-62_135_596_800, 0);

/// The text to store: as many digits of the fraction as there are.
pub fn to_sql(time: Timestamp) -> String {
    let text = time.strftime("%Y-%m-%d %H:%M:%S%.f").to_string();
    text + "+00:00"
}

/// The time of a stored text; an empty one is [`ZERO`].
///
/// # Errors
/// [`Error::Stored`] for a text that is no time.
pub fn from_sql(text: &str) -> Result<Timestamp> {
    if text.is_empty() {
        return Ok(ZERO);
    }
    let parsed = text.parse::<Timestamp>().or_else(|_| {
        // Without an offset, as CURRENT_TIMESTAMP writes it: UTC.
        text.parse::<DateTime>()
            .and_then(|civil| TimeZone::UTC.to_timestamp(civil))
    });
    parsed.map_err(|_| Error::Stored {
        value: text.to_owned(),
        wanted: "a time",
    })
}

/// The time in a column of a row; NULL is [`ZERO`], an integer counts seconds since 1970.
pub(crate) fn get(row: &dqlite::Row<'_>, index: usize) -> Result<Timestamp> {
    match row.get::<&dqlite::Value>(index)? {
        value if value.is_null() => Ok(ZERO),
        dqlite::Value::Integer(seconds) | dqlite::Value::UnixTime(seconds) => {
            Timestamp::from_second(*seconds).map_err(|_| Error::Stored {
                value: seconds.to_string(),
                wanted: "a time",
            })
        }
        _ => from_sql(row.get(index)?),
    }
}

/// The parameter for a time.
pub(crate) fn value(time: Timestamp) -> dqlite::Value {
    dqlite::Value::Iso8601(to_sql(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_reference_go_both_ways() {
        for text in [
            "2026-11-24 03:23:46.139090462+00:00",
            "2026-11-24 03:22:45+00:00",
            "1970-01-01 00:00:00+00:00",
            "0001-01-01 00:00:00+00:00",
        ] {
            assert_eq!(to_sql(from_sql(text).unwrap()), text);
        }
        assert_eq!(from_sql("0001-01-01 00:00:00+00:00").unwrap(), ZERO);
        assert_eq!(ZERO.to_string(), "0001-01-01T00:00:00Z");
    }

    #[test]
    fn other_writers_times_are_read() {
        let expected = from_sql("2026-11-24 03:22:45+00:00").unwrap();
        for text in [
            "2026-11-24 03:22:45",
            "2026-11-24T03:22:45Z",
            "2026-11-24 04:22:45+01:00",
        ] {
            assert_eq!(from_sql(text).unwrap(), expected, "{text}");
        }
        assert_eq!(from_sql("").unwrap(), ZERO);
        assert!(from_sql("yesterday").is_err());
    }
}
