//! What a plain word means: go-yaml's mixture of YAML 1.1 and 1.2.

/// The meaning of a plain scalar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Meaning {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Timestamp,
    /// `<<`, which copies another map's entries.
    Merge,
    Text,
}

/// What a plain scalar means.
pub(super) fn meaning(text: &str) -> Meaning {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Meaning::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => {
            return Meaning::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => {
            return Meaning::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Meaning::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Meaning::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Meaning::Float(f64::NEG_INFINITY),
        "<<" => return Meaning::Merge,
        _ => {}
    }
    match text.as_bytes()[0] {
        b'0'..=b'9' | b'+' | b'-' | b'.' => number_or_time(text),
        _ => Meaning::Text,
    }
}

/// Whether a string can be written without quotes and be read back as a string.
///
/// The reference leaves `<<` bare even as a key, where it then reads it as a merge; we quote it there.
pub(super) fn is_plainly_text(text: &str, key: bool) -> bool {
    match meaning(text) {
        Meaning::Text => !is_sexagesimal(text),
        Meaning::Merge => !key,
        _ => false,
    }
}

/// Whether a text is a point in time that go-yaml reads as such.
pub(super) fn is_timestamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digits = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits != 4 || bytes.get(4) != Some(&b'-') {
        return false;
    }
    let (date, rest) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some((text.as_bytes()[at], &text[at + 1..]))),
        None => (text, None),
    };
    is_date(date) && rest.is_none_or(|(separator, time)| is_time(time, separator != b' '))
}

fn number_or_time(text: &str) -> Meaning {
    if is_timestamp(text) {
        return Meaning::Timestamp;
    }
    if text.starts_with('.') && !groups_digits(text) {
        return Meaning::Text;
    }
    // `_` may group digits.
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    integer(&plain).unwrap_or_else(|| decimal(&plain))
}

/// Whether each `_` stands between two digits. Only numbers that start with their point must keep to that.
fn groups_digits(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digit_at = |i: usize| bytes.get(i).is_some_and(u8::is_ascii_digit);
    (0..bytes.len()).all(|i| bytes[i] != b'_' || (digit_at(i.wrapping_sub(1)) && digit_at(i + 1)))
}

fn decimal(plain: &str) -> Meaning {
    match plain.parse::<f64>() {
        Ok(value) if value.is_finite() && is_decimal(plain) => Meaning::Float(value),
        _ => Meaning::Text,
    }
}

/// Whole numbers: decimal, `0x`, `0b`, `0o`, and a bare leading zero for octal.
fn integer(plain: &str) -> Option<Meaning> {
    // Go-yaml's own reading of `0b` lets a sign follow the prefix.
    if let Some(signed) = plain
        .strip_prefix("0b")
        .filter(|rest| rest.starts_with(['-', '+']))
    {
        return i64::from_str_radix(signed, 2).ok().map(Meaning::Int);
    }
    let (negative, digits) = match plain.as_bytes().first()? {
        b'-' => (true, &plain[1..]),
        b'+' => (false, &plain[1..]),
        _ => (false, plain),
    };
    let (radix, digits) = match digits.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => (16, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let value = i128::from(u64::from_str_radix(digits, radix).ok()?);
    let signed = if negative { -value } else { value };
    match i64::try_from(signed) {
        Ok(value) => Some(Meaning::Int(value)),
        // Go's unsigned parser takes no sign.
        Err(_) if plain.starts_with(['-', '+']) => None,
        Err(_) => u64::try_from(signed).ok().map(Meaning::Uint),
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_decimal(plain: &str) -> bool {
    let unsigned = plain.strip_prefix(['-', '+']).unwrap_or(plain);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let mantissa_ok = match mantissa.split_once('.') {
        Some((whole, part)) => {
            all_digits(whole) && all_digits(part) && !(whole.is_empty() && part.is_empty())
        }
        None => !mantissa.is_empty() && all_digits(mantissa),
    };
    let exponent_ok = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    mantissa_ok && exponent_ok
}

/// The base-60 numbers of YAML 1.1 (`12:30:45`): never read as numbers, but quoted for the sake of other readers.
fn is_sexagesimal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    if !fraction.bytes().all(|b| b.is_ascii_digit() || b == b'_') {
        return false;
    }
    let mut parts = whole.split(':');
    let first = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    let first_ok = first.starts_with(|c: char| c.is_ascii_digit())
        && first.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let group_ok = |group: &&str| match group.as_bytes() {
        [unit] => unit.is_ascii_digit(),
        [ten, unit] => (b'0'..=b'5').contains(ten) && unit.is_ascii_digit(),
        _ => false,
    };
    first_ok && !rest.is_empty() && rest.iter().all(group_ok)
}

/// A whole number of one or two digits within bounds.
fn field(text: &str, low: u32, high: u32) -> bool {
    matches!(text.len(), 1 | 2)
        && text.bytes().all(|b| b.is_ascii_digit())
        && text
            .parse::<u32>()
            .is_ok_and(|value| (low..=high).contains(&value))
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else {
        return false;
    };
    if year.len() != 4 || !field(month, 1, 12) || !field(day, 1, 31) {
        return false;
    }
    let (Ok(year), Ok(month), Ok(day)) = (year.parse(), month.parse(), day.parse()) else {
        return false;
    };
    jiff::civil::Date::new(year, month, day).is_ok()
}

fn is_time(text: &str, with_zone: bool) -> bool {
    let clock = if with_zone {
        let Some(clock) = without_zone(text) else {
            return false;
        };
        clock
    } else {
        text
    };
    let parts: Vec<&str> = clock.split(':').collect();
    let [hour, minute, second] = parts[..] else {
        return false;
    };
    let (second, fraction) = match second.find(['.', ',']) {
        Some(at) => (&second[..at], Some(&second[at + 1..])),
        None => (second, None),
    };
    let fraction_ok =
        fraction.is_none_or(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    field(hour, 0, 23) && field(minute, 0, 59) && field(second, 0, 59) && fraction_ok
}

fn without_zone(text: &str) -> Option<&str> {
    if let Some(clock) = text.strip_suffix('Z') {
        return Some(clock);
    }
    let at = text.len().checked_sub(6)?;
    let (clock, zone) = (text.get(..at)?, text.get(at..)?.as_bytes());
    let digit = |i: usize| zone[i].is_ascii_digit();
    let shape =
        matches!(zone[0], b'+' | b'-') && zone[3] == b':' && digit(1) && digit(2) && digit(4) && digit(5);
    shape.then_some(clock)
}
