//! Values as they travel to and from the database, and the Rust types they become.

/// One value of a row, or one parameter of a statement.
///
/// dqlite refines SQLite's five types by the declared type of the column it read: `DATETIME` and `TIMESTAMP` give
/// [`Value::UnixTime`] or [`Value::Iso8601`], `BOOLEAN` gives [`Value::Boolean`].
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// SQL's NULL.
    Null,
    /// A 64-bit integer.
    Integer(i64),
    /// A 64-bit float.
    Float(f64),
    /// Text without NUL bytes.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
    /// Seconds since 1970.
    UnixTime(i64),
    /// Time as text. NULL in a `DATETIME` column arrives as the empty text.
    Iso8601(String),
    /// A truth value, stored as 0 or 1.
    Boolean(bool),
}

impl Value {
    /// The type's name for messages.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Text(_) => "text",
            Self::Blob(_) => "a blob",
            Self::UnixTime(_) => "a unix time",
            Self::Iso8601(_) => "a time",
            Self::Boolean(_) => "a boolean",
        }
    }

    /// Whether this is NULL, as the engine or as a `DATETIME` column tells it.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null) || matches!(self, Self::Iso8601(text) if text.is_empty())
    }
}

macro_rules! from {
    ($($type:ty => |$value:ident| $conversion:expr),* $(,)?) => {
        $(impl From<$type> for Value {
            fn from($value: $type) -> Self {
                $conversion
            }
        })*
    };
}

from! {
    i64 => |value| Self::Integer(value),
    i32 => |value| Self::Integer(value.into()),
    u32 => |value| Self::Integer(value.into()),
    bool => |value| Self::Boolean(value),
    f64 => |value| Self::Float(value),
    String => |value| Self::Text(value),
    &str => |value| Self::Text(value.to_owned()),
    &String => |value| Self::Text(value.clone()),
    Vec<u8> => |value| Self::Blob(value),
    &[u8] => |value| Self::Blob(value.to_vec()),
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A type that a column's value can be read as.
pub trait FromValue<'a>: Sized {
    /// The type's name for messages.
    const WANTED: &'static str;

    /// The value as this type, if it is one.
    fn from_value(value: &'a Value) -> Option<Self>;
}

macro_rules! from_value {
    ($($type:ty, $wanted:literal, $($pattern:pat => $result:expr),+;)*) => {
        $(impl<'a> FromValue<'a> for $type {
            const WANTED: &'static str = $wanted;

            fn from_value(value: &'a Value) -> Option<Self> {
                match value {
                    $($pattern => $result,)+
                    _ => None,
                }
            }
        })*
    };
}

from_value! {
    i64, "an integer",
        Value::Integer(number) | Value::UnixTime(number) => Some(*number),
        Value::Boolean(truth) => Some((*truth).into());
    bool, "a boolean",
        Value::Boolean(truth) => Some(*truth),
        Value::Integer(number) => Some(*number != 0);
    f64, "a float",
        Value::Float(number) => Some(*number),
        Value::Integer(number) => Some(*number as f64);
    &'a str, "text", Value::Text(text) | Value::Iso8601(text) => Some(text);
    String, "text", Value::Text(text) | Value::Iso8601(text) => Some(text.clone());
    &'a [u8], "a blob",
        Value::Blob(bytes) => Some(bytes),
        Value::Text(text) => Some(text.as_bytes());
    Vec<u8>, "a blob",
        Value::Blob(bytes) => Some(bytes.clone()),
        Value::Text(text) => Some(text.as_bytes().to_vec());
}

impl<'a> FromValue<'a> for &'a Value {
    const WANTED: &'static str = "a value";

    fn from_value(value: &'a Value) -> Option<Self> {
        Some(value)
    }
}

impl<'a, T: FromValue<'a>> FromValue<'a> for Option<T> {
    const WANTED: &'static str = T::WANTED;

    fn from_value(value: &'a Value) -> Option<Self> {
        if value.is_null() {
            Some(None)
        } else {
            T::from_value(value).map(Some)
        }
    }
}
