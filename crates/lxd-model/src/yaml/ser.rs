//! A value as a tree: what go-yaml makes of Go's types, for serde's.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{self, Serialize};

use super::emit::Tree;
use super::order::sort_entries;
use super::scalar::is_timestamp;
use super::{Error, Result};

/// Builds the tree of a value.
#[derive(Clone, Copy)]
pub(super) struct TreeSerializer;

/// Collects a list.
pub(super) struct Items(Vec<Tree>, Option<&'static str>);

/// Collects a map (sorted at the end) or a struct (kept in order).
pub(super) struct Entries {
    entries: Vec<(String, Tree)>,
    key: Option<String>,
    sorted: bool,
    variant: Option<&'static str>,
}

impl Entries {
    fn new(len: Option<usize>, sorted: bool, variant: Option<&'static str>) -> Self {
        Self {
            entries: Vec::with_capacity(len.unwrap_or(0)),
            key: None,
            sorted,
            variant,
        }
    }

    fn finish(self) -> Tree {
        let entries = if self.sorted {
            sort_entries(self.entries)
        } else {
            self.entries
        };
        wrap(self.variant, Tree::Map(entries))
    }
}

fn wrap(variant: Option<&'static str>, tree: Tree) -> Tree {
    match variant {
        Some(name) => Tree::Map(vec![(name.to_owned(), tree)]),
        None => tree,
    }
}

fn plain(text: impl ToString) -> Result<Tree> {
    Ok(Tree::Plain(text.to_string()))
}

/// A float as Go's `%g` prints it: shortest digits, with an exponent below 1e-4 and from 1e6 on.
fn float(value: f64) -> String {
    if value.is_nan() {
        return ".nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+.inf" } else { "-.inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    format!("{value}")
}

impl ser::Serializer for TreeSerializer {
    type Ok = Tree;
    type Error = Error;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Items;
    type SerializeTupleVariant = Items;
    type SerializeMap = Entries;
    type SerializeStruct = Entries;
    type SerializeStructVariant = Entries;

    fn serialize_bool(self, v: bool) -> Result<Tree> {
        plain(v)
    }
    fn serialize_i8(self, v: i8) -> Result<Tree> {
        plain(v)
    }
    fn serialize_i16(self, v: i16) -> Result<Tree> {
        plain(v)
    }
    fn serialize_i32(self, v: i32) -> Result<Tree> {
        plain(v)
    }
    fn serialize_i64(self, v: i64) -> Result<Tree> {
        plain(v)
    }
    fn serialize_u8(self, v: u8) -> Result<Tree> {
        plain(v)
    }
    fn serialize_u16(self, v: u16) -> Result<Tree> {
        plain(v)
    }
    fn serialize_u32(self, v: u32) -> Result<Tree> {
        plain(v)
    }
    fn serialize_u64(self, v: u64) -> Result<Tree> {
        plain(v)
    }
    fn serialize_f32(self, v: f32) -> Result<Tree> {
        plain(float(f64::from(v)))
    }
    fn serialize_f64(self, v: f64) -> Result<Tree> {
        plain(float(v))
    }
    fn serialize_char(self, v: char) -> Result<Tree> {
        Ok(Tree::Text(v.to_string()))
    }
    fn serialize_str(self, v: &str) -> Result<Tree> {
        Ok(Tree::Text(v.to_owned()))
    }
    fn collect_str<T: std::fmt::Display + ?Sized>(self, value: &T) -> Result<Tree> {
        let text = value.to_string();
        Ok(if is_timestamp(&text) {
            Tree::Plain(text)
        } else {
            Tree::Text(text)
        })
    }
    fn serialize_bytes(self, v: &[u8]) -> Result<Tree> {
        Ok(match std::str::from_utf8(v) {
            Ok(text) => Tree::Text(text.to_owned()),
            Err(_) => Tree::Binary(STANDARD.encode(v)),
        })
    }
    fn serialize_none(self) -> Result<Tree> {
        plain("null")
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Tree> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<Tree> {
        plain("null")
    }
    fn serialize_unit_struct(self, name: &'static str) -> Result<Tree> {
        // Go's nil maps and lists are `null` in JSON, but empty ones in YAML.
        match name {
            "NilMap" => Ok(Tree::Map(Vec::new())),
            "NilList" => Ok(Tree::List(Vec::new())),
            _ => plain("null"),
        }
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Tree> {
        Ok(Tree::Text(variant.to_owned()))
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<Tree> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Tree> {
        Ok(wrap(Some(variant), value.serialize(self)?))
    }
    fn serialize_seq(self, len: Option<usize>) -> Result<Items> {
        Ok(Items(Vec::with_capacity(len.unwrap_or(0)), None))
    }
    fn serialize_tuple(self, len: usize) -> Result<Items> {
        self.serialize_seq(Some(len))
    }
    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Items> {
        self.serialize_seq(Some(len))
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Items> {
        Ok(Items(Vec::with_capacity(len), Some(variant)))
    }
    fn serialize_map(self, len: Option<usize>) -> Result<Entries> {
        Ok(Entries::new(len, true, None))
    }
    fn serialize_struct(self, _: &'static str, len: usize) -> Result<Entries> {
        Ok(Entries::new(Some(len), false, None))
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Entries> {
        Ok(Entries::new(Some(len), false, Some(variant)))
    }
}

impl ser::SerializeSeq for Items {
    type Ok = Tree;
    type Error = Error;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.0.push(value.serialize(TreeSerializer)?);
        Ok(())
    }
    fn end(self) -> Result<Tree> {
        Ok(wrap(self.1, Tree::List(self.0)))
    }
}

/// Tuples and their kin are lists too.
macro_rules! like_a_list {
    ($($trait:ident :: $method:ident),*) => {$(
        impl ser::$trait for Items {
            type Ok = Tree;
            type Error = Error;
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
                ser::SerializeSeq::serialize_element(self, value)
            }
            fn end(self) -> Result<Tree> {
                ser::SerializeSeq::end(self)
            }
        }
    )*};
}
like_a_list!(
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

impl ser::SerializeMap for Entries {
    type Ok = Tree;
    type Error = Error;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        self.key = Some(match key.serialize(TreeSerializer)? {
            Tree::Text(text) | Tree::Plain(text) | Tree::Binary(text) => text,
            Tree::List(_) | Tree::Map(_) => {
                return Err(Error::Unrepresentable("a key is a list or map".into()));
            }
        });
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        let key = self
            .key
            .take()
            .ok_or_else(|| Error::Unrepresentable("a value has no key".into()))?;
        self.entries.push((key, value.serialize(TreeSerializer)?));
        Ok(())
    }
    fn end(self) -> Result<Tree> {
        Ok(self.finish())
    }
}

/// Structs and struct variants keep their fields in order.
macro_rules! like_a_struct {
    ($($trait:ident),*) => {$(
        impl ser::$trait for Entries {
            type Ok = Tree;
            type Error = Error;
            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<()> {
                self.entries.push((key.to_owned(), value.serialize(TreeSerializer)?));
                Ok(())
            }
            fn end(self) -> Result<Tree> {
                Ok(self.finish())
            }
        }
    )*};
}
like_a_struct!(SerializeStruct, SerializeStructVariant);

impl ser::Error for Error {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Unrepresentable(message.to_string())
    }
}
