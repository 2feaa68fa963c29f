//! JSON as Go writes it: `<`, `>` and `&` escaped.

use std::io;

use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter, PrettyFormatter, Serializer};

/// JSON in one line.
pub(crate) fn compact<T: Serialize + ?Sized>(value: &T) -> String {
    write(value, Escaping(CompactFormatter))
}

/// JSON with a line for each value, indented by tabs.
pub(crate) fn pretty<T: Serialize + ?Sized>(value: &T) -> String {
    write(value, Escaping(PrettyFormatter::with_indent(b"\t")))
}

fn write<T: Serialize + ?Sized, F: Formatter>(value: &T, formatter: F) -> String {
    let mut bytes = Vec::new();
    // Wire types have text as keys, and memory does not refuse to be written to.
    let written = value.serialize(&mut Serializer::with_formatter(&mut bytes, formatter));
    debug_assert!(written.is_ok());
    String::from_utf8(bytes).unwrap_or_default()
}

struct Escaping<F>(F);

macro_rules! forward {
    ($($name:ident($($arg:ident: $ty:ty),*);)*) => {
        $(fn $name<W: ?Sized + io::Write>(&mut self, writer: &mut W $(, $arg: $ty)*) -> io::Result<()> {
            self.0.$name(writer $(, $arg)*)
        })*
    };
}

impl<F: Formatter> Formatter for Escaping<F> {
    forward! {
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first: bool);
        end_object_key();
        begin_object_value();
        end_object_value();
        write_char_escape(escape: CharEscape);
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let letter = rest[at..].chars().next().unwrap_or_default();
            write!(writer, "\\u{:04x}", u32::from(letter))?;
            rest = &rest[at + letter.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped_like_go_does() {
        assert_eq!(
            compact(&["a<b>&c\"d", "é"]),
            r#"["a\u003cb\u003e\u0026c\"d","é"]"#
        );
        assert_eq!(
            pretty(&serde_json::json!({"a": [1], "b": {}, "c": []})),
            "{\n\t\"a\": [\n\t\t1\n\t],\n\t\"b\": {},\n\t\"c\": []\n}"
        );
    }
}
