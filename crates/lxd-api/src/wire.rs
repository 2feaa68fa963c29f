//! The macros that declare wire types: every field may be missing or `null` in what a client sends, as with the
//! reference, and then has its empty value.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Declares structs that go over the wire.
macro_rules! wire {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* $field:ident : $ty:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        #[allow(missing_docs, reason = "the fields are the API's own words; its specification explains them")]
        pub struct $name {
            $(
                $(#[$fmeta])*
                #[serde(deserialize_with = "crate::wire::null_is_empty")]
                pub $field: $ty,
            )*
        }
    };
}

/// Declares that one wire type holds all fields of another, the part that clients may write.
macro_rules! part_of {
    ($part:ident of $whole:ident : $($field:ident),*) => {
        impl From<&$whole> for $part {
            fn from(whole: &$whole) -> Self {
                Self { $($field: whole.$field.clone()),* }
            }
        }

        impl $whole {
            /// Replaces the writable part.
            pub fn set_writable(&mut self, part: $part) {
                $(self.$field = part.$field;)*
            }
        }
    };
}

pub(crate) use {part_of, wire};

/// Reads `null` as the empty value.
pub(crate) fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Some maps the reference does not make before there is something to put in.
pub(crate) fn null_when_empty<S, K, V>(map: &BTreeMap<K, V>, serializer: S) -> Result<S::Ok, S::Error>
where
    S: Serializer,
    K: Serialize + Ord,
    V: Serialize,
{
    if map.is_empty() {
        // `null` in JSON; YAML has the empty map for it.
        return serializer.serialize_unit_struct("NilMap");
    }
    map.serialize(serializer)
}

/// The same for lists.
pub(crate) fn null_list_when_empty<S, T>(list: &[T], serializer: S) -> Result<S::Ok, S::Error>
where
    S: Serializer,
    T: Serialize,
{
    if list.is_empty() {
        return serializer.serialize_unit_struct("NilList");
    }
    list.serialize(serializer)
}

/// Whether a value is the empty one, which some fields leave out.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
