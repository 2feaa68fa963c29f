//! Why a body is no JSON, or not the JSON that is wanted: in the words of the reference, which scripts compare.

use serde_path_to_error::{Path, Segment};

/// How deep values may lie in each other.
const DEPTH: usize = 128;

/// Fields whose content is named by the user: a mistake in them is one of the field.
const MAPS: [&str; 6] = [
    "config",
    "devices",
    "environment",
    "properties",
    "secrets",
    "tokens",
];

/// What is wrong with the text of a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It stops in the middle, or never begins.
    Ends,
    /// A character where it may not be.
    At(String),
}

/// Looks for the first flaw of a value, and tells where the value ends.
pub(super) fn flaw(body: &[u8]) -> Result<usize, Flaw> {
    let mut scanner = Scanner { body, at: 0 };
    scanner.value(0)?;
    Ok(scanner.at)
}

/// The same of a body that is one value and nothing else.
pub(super) fn flaw_of_all(body: &[u8]) -> Result<(), Flaw> {
    let end = flaw(body)?;
    match body[end..].trim_ascii_start().first() {
        Some(byte) => Err(misplaced(*byte, "after top-level value")),
        None => Ok(()),
    }
}

struct Scanner<'a> {
    body: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn value(&mut self, depth: usize) -> Result<(), Flaw> {
        if depth > DEPTH {
            return Err(Flaw::At("exceeded max depth".to_owned()));
        }
        match self.next_visible()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            byte @ (b'-' | b'0'..=b'9') => self.number(byte),
            byte => Err(misplaced(byte, "looking for beginning of value")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), Flaw> {
        let mut is_first = true;
        loop {
            match self.next_visible()? {
                b'}' if is_first => return Ok(()),
                b'"' => self.string()?,
                byte => return Err(misplaced(byte, "looking for beginning of object key string")),
            }
            is_first = false;
            match self.next_visible()? {
                b':' => self.value(depth + 1)?,
                byte => return Err(misplaced(byte, "after object key")),
            }
            match self.next_visible()? {
                b',' => {}
                b'}' => return Ok(()),
                byte => return Err(misplaced(byte, "after object key:value pair")),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Flaw> {
        if self.next_visible()? == b']' {
            return Ok(());
        }
        self.at -= 1;
        loop {
            self.value(depth + 1)?;
            match self.next_visible()? {
                b',' => {}
                b']' => return Ok(()),
                byte => return Err(misplaced(byte, "after array element")),
            }
        }
    }

    fn string(&mut self) -> Result<(), Flaw> {
        loop {
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' => match self.next()? {
                    b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => {}
                    b'u' => self.hexadecimal()?,
                    byte => return Err(misplaced(byte, "in string escape code")),
                },
                byte if byte < b' ' => return Err(misplaced(byte, "in string literal")),
                _ => {}
            }
        }
    }

    fn hexadecimal(&mut self) -> Result<(), Flaw> {
        for _ in 0..4 {
            let byte = self.next()?;
            if !byte.is_ascii_hexdigit() {
                return Err(misplaced(byte, "in \\u hexadecimal character escape"));
            }
        }
        Ok(())
    }

    fn literal(&mut self, word: &str) -> Result<(), Flaw> {
        for expected in word.chars().skip(1) {
            let byte = self.next()?;
            if char::from(byte) != expected {
                let place = format!("in literal {word} (expecting '{expected}')");
                return Err(misplaced(byte, &place));
            }
        }
        Ok(())
    }

    fn number(&mut self, first: u8) -> Result<(), Flaw> {
        let first = match first {
            b'-' => self.digit("in numeric literal")?,
            digit => digit,
        };
        if first != b'0' {
            self.digits();
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digit("after decimal point in numeric literal")?;
            self.digits();
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digit("in exponent of numeric literal")?;
            self.digits();
        }
        Ok(())
    }

    fn digit(&mut self, place: &str) -> Result<u8, Flaw> {
        match self.next()? {
            byte if byte.is_ascii_digit() => Ok(byte),
            byte => Err(misplaced(byte, place)),
        }
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    fn next(&mut self) -> Result<u8, Flaw> {
        let byte = self.peek().ok_or(Flaw::Ends)?;
        self.at += 1;
        Ok(byte)
    }

    fn next_visible(&mut self) -> Result<u8, Flaw> {
        loop {
            match self.next()? {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                byte => return Ok(byte),
            }
        }
    }
}

fn misplaced(byte: u8, place: &str) -> Flaw {
    let shown = match char::from(byte) {
        '\'' => "\\'".to_owned(),
        '"' => "\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        low if low < ' ' || byte == 0x7f => format!("\\x{byte:02x}"),
        high @ '\u{80}'..='\u{a0}' | high @ '\u{ad}' => format!("\\u{:04x}", u32::from(high)),
        other => other.to_string(),
    };
    Flaw::At(format!("invalid character '{shown}' {place}"))
}

/// A value of a wrong type: the reference names what was found, the field, and the type that the field has.
///
/// `message` is what the decoder says; `None` when it says something else.
pub(super) fn wrong_type(root: &str, path: &Path, message: &str) -> Option<String> {
    let message = message.split(" at line ").next()?;
    let (found, expected) = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))?
        .split_once(", expected ")?;
    let (found, literal) = found_kind(found)?;
    let fields = fields(path);
    let Some(field) = fields.last() else {
        return Some(not_an_object(root, found));
    };
    let kind = wanted_kind(expected, path, field)?;
    // Numbers that do not fit are shown, others are not.
    let found = match literal {
        Some(literal) if kind.contains("int") => format!("{found} {literal}"),
        _ => found.to_owned(),
    };
    let owner = match (root, fields.first()) {
        _ if fields.len() == 1 => root,
        ("InstancesPost", Some(&"source")) => "InstanceSource",
        ("InstancesPut", Some(&"state")) => "InstanceStatePut",
        ("InstancePost", Some(&"target")) => "InstancePostTarget",
        ("InstanceSnapshotPost", Some(&"target")) => "InstancePostTarget",
        _ => return None,
    };
    let field = fields.join(".");
    Some(format!(
        "json: cannot unmarshal {found} into Go struct field {owner}.{field} of type {kind}"
    ))
}

/// A text that is no time. The reference tells the part of its layout that was not found, and what stands there instead.
pub(super) fn wrong_time(text: &str) -> Option<String> {
    let layout = ["2006", "-", "01", "-", "02", "T", "15", ":", "04", ":", "05"];
    let whole = format!("\"{text}\"");
    let mut rest = whole.strip_prefix('"')?;
    let missing = layout.into_iter().find(|part| {
        let found = match part.bytes().all(|byte| byte.is_ascii_digit()) {
            false => rest.strip_prefix(part),
            true => rest
                .get(part.len()..)
                .filter(|_| rest.bytes().take(part.len()).all(|byte| byte.is_ascii_digit())),
        };
        rest = found.unwrap_or(rest);
        found.is_none()
    });
    let part = match missing {
        Some(part) => part,
        None if rest == "\"" => "Z07:00",
        None => return None,
    };
    let layout = "\"2006-01-02T15:04:05Z07:00\"";
    Some(format!(
        "parsing time {whole:?} as {layout:?}: cannot parse {rest:?} as {part:?}"
    ))
}

/// Something else where a whole object is wanted.
pub(super) fn not_an_object(root: &str, found: &str) -> String {
    let wanted = match root {
        "Value" | "Map" => "shared.Jmap".to_owned(),
        root => format!("api.{root}"),
    };
    format!("json: cannot unmarshal {found} into Go value of type {wanted}")
}

fn found_kind(found: &str) -> Option<(&'static str, Option<&str>)> {
    let word = found.split(' ').next()?;
    let kind = match word {
        "sequence" => "array",
        "map" => "object",
        "string" => "string",
        "boolean" => "bool",
        "integer" | "floating" => "number",
        _ => return None,
    };
    Some((kind, found.split('`').nth(1).filter(|_| kind == "number")))
}

/// The names of the fields that lead to a value, down to the first whose content is the user's.
fn fields(path: &Path) -> Vec<&str> {
    let mut fields = Vec::new();
    for segment in path {
        let Segment::Map { key } = segment else { break };
        fields.push(key.as_str());
        if MAPS.contains(&key.as_str()) {
            break;
        }
    }
    fields
}

fn wanted_kind(expected: &str, path: &Path, field: &str) -> Option<String> {
    let is_below = path
        .iter()
        .rfind(|segment| matches!(segment, Segment::Map { .. }));
    let is_whole = matches!(is_below, Some(Segment::Map { key }) if key == field);
    Some(match expected {
        "a string" => "string".to_owned(),
        "a boolean" => "bool".to_owned(),
        "a sequence" => "[]string".to_owned(),
        "a map" if field == "devices" && is_whole => "map[string]map[string]string".to_owned(),
        "a map" => "map[string]string".to_owned(),
        "i64" if field.ends_with("_date") => "int64".to_owned(),
        "i64" | "i32" | "u16" => "int".to_owned(),
        "u32" => "uint32".to_owned(),
        expected => format!("api.{}", expected.strip_prefix("struct ")?),
    })
}
