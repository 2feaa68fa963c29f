//! Points in time as the API writes them: RFC 3339 with as many digits as needed, year 1 for "never".

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Seconds from the Unix epoch to 0001-01-01T00:00:00Z, the API's "never".
const NEVER: i64 = -62_135_596_800;

/// A point in time, in UTC, with nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Timestamp);

impl Time {
    /// The API's "never": the first instant of year 1.
    pub fn never() -> Self {
        Self::from_unix(NEVER)
    }

    /// A time from whole seconds since the Unix epoch; out of range gives the Unix epoch itself.
    pub fn from_unix(seconds: i64) -> Self {
        Self(Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// Whether this is "never".
    pub fn is_never(&self) -> bool {
        self.0.as_second() <= NEVER
    }

    /// The instant itself.
    pub fn timestamp(&self) -> Timestamp {
        self.0
    }
}

impl Default for Time {
    fn default() -> Self {
        Self::never()
    }
}

impl From<Timestamp> for Time {
    fn from(timestamp: Timestamp) -> Self {
        Self(timestamp)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Time {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self::never());
        }
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_is_the_first_instant_of_year_one() {
        assert_eq!(Time::never().to_string(), "0001-01-01T00:00:00Z");
        assert!("0001-01-01T00:00:00Z".parse::<Time>().unwrap().is_never());
    }

    #[test]
    fn offsets_are_read_and_digits_are_kept() {
        let time: Time = "2026-11-24T04:00:00.123456789+01:00".parse().unwrap();
        assert_eq!(time.to_string(), "2026-11-24T03:00:00.123456789Z");
    }
}
