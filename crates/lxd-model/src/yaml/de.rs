//! A tree as a value, as forgiving as go-yaml: null is any type's empty value, and any scalar is a string.

use serde::de::value::{MapDeserializer, SeqDeserializer, StringDeserializer, UnitDeserializer};
use serde::de::{self, DeserializeSeed, EnumAccess, IntoDeserializer, VariantAccess, Visitor};
use serde::{Deserializer, forward_to_deserialize_any};

use super::parse::{Content, Node};
use super::scalar::Meaning;
use super::{Error, Result};

/// Reads a value from a node.
pub(super) struct NodeDeserializer {
    node: Node,
}

impl NodeDeserializer {
    /// Reads from this node.
    pub(super) fn new(node: Node) -> Self {
        Self { node }
    }

    fn is_null(&self) -> bool {
        matches!(self.node.content, Content::Scalar(_, Meaning::Null))
    }

    /// The error for a node of another type.
    fn mismatch(&self, wanted: &str) -> Error {
        let (tag, text) = match &self.node.content {
            Content::List(_) => ("!!seq", String::new()),
            Content::Map(_) => ("!!map", String::new()),
            Content::Scalar(text, meaning) => (tag_of(*meaning), format!(" `{}`", shorten(text))),
        };
        Error::Shape(format!(
            "line {}: cannot unmarshal {tag}{text} into {wanted}",
            self.node.line
        ))
    }

    fn whole<T: TryFrom<i64> + TryFrom<u64> + Default>(&self, wanted: &str) -> Result<T> {
        let value = match &self.node.content {
            Content::Scalar(_, Meaning::Null) => Some(T::default()),
            Content::Scalar(_, Meaning::Int(value)) => T::try_from(*value).ok(),
            Content::Scalar(_, Meaning::Uint(value)) => T::try_from(*value).ok(),
            Content::Scalar(_, Meaning::Float(value)) if value.fract() == 0.0 && value.abs() < 9e15 => {
                T::try_from(*value as i64).ok()
            }
            _ => None,
        };
        value.ok_or_else(|| self.mismatch(wanted))
    }
}

fn tag_of(meaning: Meaning) -> &'static str {
    match meaning {
        Meaning::Null => "!!null",
        Meaning::Bool(_) => "!!bool",
        Meaning::Int(_) | Meaning::Uint(_) => "!!int",
        Meaning::Float(_) => "!!float",
        Meaning::Timestamp => "!!timestamp",
        Meaning::Merge => "!!merge",
        Meaning::Text => "!!str",
    }
}

/// At most ten characters of a value: errors name it, they don't repeat it.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(10) {
        Some(_) => format!("{}...", text.chars().take(7).collect::<String>()),
        None => text.to_owned(),
    }
}

/// Whole number types, by serde's name and Go's.
macro_rules! whole {
    ($($deserialize:ident $visit:ident $ty:ty, $name:literal;)*) => {$(
        fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            visitor.$visit(self.whole::<$ty>($name)?)
        }
    )*};
}

impl<'de> Deserializer<'de> for NodeDeserializer {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.node.content {
            Content::Scalar(text, meaning) => match meaning {
                Meaning::Null => visitor.visit_unit(),
                Meaning::Bool(value) => visitor.visit_bool(value),
                Meaning::Int(value) => visitor.visit_i64(value),
                Meaning::Uint(value) => visitor.visit_u64(value),
                Meaning::Float(value) => visitor.visit_f64(value),
                Meaning::Timestamp | Meaning::Merge | Meaning::Text => visitor.visit_string(text),
            },
            Content::List(_) => self.deserialize_seq(visitor),
            Content::Map(_) => self.deserialize_map(visitor),
        }
    }

    whole! {
        deserialize_i8 visit_i8 i8, "int8";
        deserialize_i16 visit_i16 i16, "int16";
        deserialize_i32 visit_i32 i32, "int32";
        deserialize_i64 visit_i64 i64, "int64";
        deserialize_u8 visit_u8 u8, "uint8";
        deserialize_u16 visit_u16 u16, "uint16";
        deserialize_u32 visit_u32 u32, "uint32";
        deserialize_u64 visit_u64 u64, "uint64";
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.node.content {
            Content::Scalar(_, Meaning::Bool(value)) => visitor.visit_bool(value),
            Content::Scalar(_, Meaning::Null) => visitor.visit_bool(false),
            _ => Err(self.mismatch("bool")),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.node.content {
            Content::Scalar(_, Meaning::Float(value)) => visitor.visit_f64(value),
            Content::Scalar(_, Meaning::Int(value)) => visitor.visit_f64(value as f64),
            Content::Scalar(_, Meaning::Uint(value)) => visitor.visit_f64(value as f64),
            Content::Scalar(_, Meaning::Null) => visitor.visit_f64(0.0),
            _ => Err(self.mismatch("float64")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_string(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.node.content {
            Content::Scalar(_, Meaning::Null) => visitor.visit_string(String::new()),
            Content::Scalar(text, _) => visitor.visit_string(text),
            _ => Err(self.mismatch("string")),
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.node.content {
            Content::Scalar(text, _) => visitor.visit_string(text),
            _ => Err(self.mismatch("string")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.is_null() {
            visitor.visit_unit()
        } else {
            Err(self.mismatch("nil"))
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.node.content {
            Content::List(items) => {
                visitor.visit_seq(SeqDeserializer::new(items.into_iter().map(NodeDeserializer::new)))
            }
            Content::Scalar(_, Meaning::Null) => {
                visitor.visit_seq(SeqDeserializer::new(std::iter::empty::<UnitDeserializer<Error>>()))
            }
            _ => Err(self.mismatch("[]string")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let entries = match self.node.content {
            Content::Map(entries) => entries,
            Content::Scalar(_, Meaning::Null) => Vec::new(),
            _ => return Err(self.mismatch("map[string]string")),
        };
        let entries = entries
            .into_iter()
            .map(|(key, value)| (KeyDeserializer(key), NodeDeserializer::new(value)));
        visitor.visit_map(MapDeserializer::new(entries))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        if matches!(self.node.content, Content::Map(_)) || self.is_null() {
            return self.deserialize_map(visitor);
        }
        Err(self.mismatch(&format!("api.{name}")))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match self.node.content {
            Content::Scalar(text, _) => visitor.visit_enum(text.into_deserializer()),
            Content::Map(mut entries) if entries.len() == 1 => match entries.pop() {
                Some((key, value)) => visitor.visit_enum(Variant { key, value }),
                None => Err(Error::Shape("an enum without a variant".into())),
            },
            _ => Err(self.mismatch("string")),
        }
    }

    forward_to_deserialize_any! { char bytes byte_buf unit_struct tuple tuple_struct ignored_any }
}

impl<'de> IntoDeserializer<'de, Error> for NodeDeserializer {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

/// A map's key: its text, whatever that would mean as a value.
struct KeyDeserializer(Node);

impl<'de> Deserializer<'de> for KeyDeserializer {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.0.content {
            Content::Scalar(text, _) => visitor.visit_string(text),
            _ => Err(NodeDeserializer::new(self.0).mismatch("string")),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Error> for KeyDeserializer {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

/// An enum variant with content: a map of one entry.
struct Variant {
    key: Node,
    value: Node,
}

impl<'de> EnumAccess<'de> for Variant {
    type Error = Error;
    type Variant = NodeDeserializer;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, NodeDeserializer)> {
        let name = match self.key.content {
            Content::Scalar(text, _) => text,
            _ => return Err(NodeDeserializer::new(self.key).mismatch("string")),
        };
        let name: StringDeserializer<Error> = name.into_deserializer();
        Ok((seed.deserialize(name)?, NodeDeserializer::new(self.value)))
    }
}

impl<'de> VariantAccess<'de> for NodeDeserializer {
    type Error = Error;

    fn unit_variant(self) -> Result<()> {
        if self.is_null() {
            Ok(())
        } else {
            Err(self.mismatch("nil"))
        }
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        seed.deserialize(self)
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value> {
        self.deserialize_seq(visitor)
    }
    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value> {
        self.deserialize_map(visitor)
    }
}

impl de::Error for Error {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Shape(message.to_string())
    }
}
