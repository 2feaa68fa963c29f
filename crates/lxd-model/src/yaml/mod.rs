//! YAML as the reference reads and writes it: byte for byte what go-yaml v2 prints, as tolerant as it when reading.
//!
//! [`to_string`] turns a value into a tree (`ser`) and the tree into text (`emit`); [`from_str`] turns text into
//! events (granit, through serde-saphyr), a tree with bounded size (`parse`), and that into a value (`de`).
//! `scalar` holds what both directions must agree on: which plain words are numbers, booleans, times or null.

mod de;
mod emit;
mod order;
mod parse;
mod scalar;
mod ser;
mod wording;

use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};

use crate::ErrorKind;

/// What went wrong between YAML and a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is not YAML.
    #[error("yaml: {}{reason}", at(*line))]
    Syntax {
        /// Line of the text as the reference counts it; none with 0.
        line: usize,
        /// What the parser expected or met.
        reason: String,
    },
    /// The text is YAML of another shape than was asked for.
    #[error("yaml: unmarshal errors:\n  {0}")]
    Shape(String),
    /// The text is larger, or grows larger through aliases, than any document of ours.
    #[error("yaml: document exceeds {limit} {what}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much is accepted.
        limit: usize,
    },
    /// A value has no form in YAML, such as a map whose keys are maps.
    #[error("yaml: cannot marshal: {0}")]
    Unrepresentable(String),
}

fn at(line: usize) -> String {
    match line {
        0 => String::new(),
        line => format!("line {line}: "),
    }
}

impl Error {
    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Syntax { .. } | Self::Shape(_) => ErrorKind::BadRequest,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::Unrepresentable(_) => ErrorKind::Internal,
        }
    }
}

/// The result of reading or writing YAML.
pub type Result<T> = std::result::Result<T, Error>;

/// Writes a value as a block-style document that ends with a newline.
///
/// Struct fields keep their order; maps are sorted as go-yaml sorts them (digits inside keys by their number), so a
/// flattened struct loses its order. A type that serializes through `collect_str` and yields an RFC 3339 time is
/// written plain, as times are; a `String` that looks like one is quoted.
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    value.serialize(ser::TreeSerializer).map(|tree| emit::emit(&tree))
}

/// JSON of no known type, as in the metadata of operations: Go takes all its numbers for floats, and so prints
/// `1234567` as `1.234567e+06`.
#[derive(Debug, Clone, Copy)]
pub struct Untyped<'a>(pub &'a serde_json::Value);

impl Serialize for Untyped<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        use serde_json::Value;
        match self.0 {
            Value::Number(number) => serializer.serialize_f64(number.as_f64().unwrap_or(f64::NAN)),
            Value::Array(items) => serializer.collect_seq(items.iter().map(Untyped)),
            Value::Object(map) => {
                serializer.collect_map(map.iter().map(|(key, value)| (key, Untyped(value))))
            }
            other => other.serialize(serializer),
        }
    }
}

/// Reads one document. Like the reference, accepts `null` and nothing where a string, number, list or map is due,
/// numbers and booleans where a string is due, repeated keys (the last wins) and unknown fields.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T> {
    T::deserialize(de::NodeDeserializer::new(parse::parse(text)?))
}

/// Checks for one text that reading never panics and that what was read is written and read back the same.
/// For fuzz targets; returns whether the text was YAML at all.
///
/// The first writing may turn `1.0` into `1`, as the reference's does; from then on nothing changes.
pub fn fuzz_round_trip(text: &str) -> bool {
    let read = |text: &str| from_str::<serde_json::Value>(text);
    let Some(written) = read(text).ok().and_then(|value| to_string(&value).ok()) else {
        return false;
    };
    let value = read(&written);
    let again = value.as_ref().map(to_string);
    assert!(
        matches!(&again, Ok(Ok(again)) if read(again) == value),
        "{written}"
    );
    true
}

#[cfg(test)]
mod tests;
