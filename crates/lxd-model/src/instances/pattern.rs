//! Patterns of snapshots' names: text with `{{ creation_date|date:'2006-01-02' }}` in it, as pongo2 reads it.

use jiff::ZonedDateTime;
use jiff::fmt::strtime;

use crate::Invalid;

/// The only name that a pattern may use.
const DATE: &str = "creation_date";

/// A value inside of `{{ }}` before it is printed.
enum Value {
    Date,
    Text(String),
}

/// The pattern with what is in braces filled in. `%d` stays for [`super::naming::snapshot`].
pub fn render(pattern: &str, now: &ZonedDateTime) -> Result<String, Invalid> {
    let mut text = String::new();
    let mut rest = pattern;
    while let Some(start) = rest.find("{{").into_iter().chain(rest.find("{#")).min() {
        let (before, after) = rest.split_at(start);
        text.push_str(before);
        let is_comment = after.starts_with("{#");
        let end = if is_comment { "#}" } else { "}}" };
        let (inside, behind) = after
            .get(2..)
            .and_then(|inside| inside.split_once(end))
            .ok_or_else(|| broken(&format!("{end:?} is missing")))?;
        if !is_comment {
            text.push_str(&expression(inside.trim(), now)?);
        }
        rest = behind;
    }
    if rest.contains("{%") {
        return Err(broken("tags are not supported"));
    }
    text.push_str(rest);
    Ok(text)
}

fn broken(why: &str) -> Invalid {
    Invalid::new(format!("Invalid snapshot name pattern: {why}"))
}

/// `name|filter:'argument'|filter`.
fn expression(text: &str, now: &ZonedDateTime) -> Result<String, Invalid> {
    let mut parts = split_quoted(text, '|').into_iter();
    let first = parts.next().unwrap_or_default().trim();
    let mut value = match first {
        DATE => Value::Date,
        literal => Value::Text(unquoted(literal).unwrap_or_default()),
    };
    for part in parts {
        let (name, argument) = part.split_once(':').unwrap_or((part, ""));
        let argument = unquoted(argument.trim()).unwrap_or_else(|| argument.trim().to_owned());
        value = Value::Text(filter(&value, (name.trim(), &argument), now)?);
    }
    Ok(printed(&value, now))
}

fn filter(value: &Value, (name, argument): (&str, &str), now: &ZonedDateTime) -> Result<String, Invalid> {
    let text = || printed(value, now);
    match (name, value) {
        ("date" | "time", Value::Date) => Ok(date(argument, now)),
        ("date" | "time", Value::Text(_)) => Err(broken("filter input argument must be of type 'time.Time'")),
        ("upper", _) => Ok(text().to_uppercase()),
        ("lower", _) => Ok(text().to_lowercase()),
        ("cut", _) => Ok(text().replace(argument, "")),
        ("default", _) => Ok(Some(text())
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| argument.to_owned())),
        _ => Err(broken(&format!("Filter '{name}' does not exist."))),
    }
}

fn printed(value: &Value, now: &ZonedDateTime) -> String {
    match value {
        Value::Date => date("2006-01-02 15:04:05.999999999 -0700 MST", now),
        Value::Text(text) => text.clone(),
    }
}

/// Text between quotes of either sort.
fn unquoted(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let inside = text.strip_prefix(quote)?.strip_suffix(quote)?;
    Some(inside.to_owned())
}

/// Splits at a separator that is not in quotes.
fn split_quoted(text: &str, separator: char) -> Vec<&str> {
    let mut quote = None;
    let is_split = move |c: char| match quote {
        Some(open) => {
            if c == open {
                quote = None;
            }
            false
        }
        None if matches!(c, '\'' | '"') => {
            quote = Some(c);
            false
        }
        None => c == separator,
    };
    text.split(is_split).collect()
}

/// What Go's layouts are made of, the longer ones before those that they begin with, and what strftime calls it.
const LAYOUT: &[(&str, &str)] = &[
    ("2006", "%Y"),
    ("January", "%B"),
    ("Monday", "%A"),
    ("Jan", "%b"),
    ("Mon", "%a"),
    ("MST", "%Z"),
    ("Z07:00", "%:z"),
    ("-07:00", "%:z"),
    ("-0700", "%z"),
    ("002", "%j"),
    ("01", "%m"),
    ("02", "%d"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("15", "%H"),
    ("_2", "%e"),
    ("PM", "%p"),
    ("pm", "%P"),
    ("1", "%-m"),
    ("2", "%-d"),
    ("3", "%-I"),
    ("4", "%-M"),
    ("5", "%-S"),
];

/// A time in a layout of Go's.
fn date(layout: &str, now: &ZonedDateTime) -> String {
    let mut text = String::new();
    let mut rest = layout;
    while let Some(next) = rest.chars().next() {
        if let Some((length, digits)) = fraction(rest, now) {
            text.push_str(&digits);
            rest = rest.get(length..).unwrap_or_default();
        } else if let Some((token, format)) = LAYOUT.iter().find(|(token, _)| rest.starts_with(token)) {
            let is_utc_zone = *token == "Z07:00" && now.offset().is_zero();
            match strtime::format(format, now) {
                _ if is_utc_zone => text.push('Z'),
                Ok(part) => text.push_str(&part),
                Err(_) => text.push_str(token),
            }
            rest = rest.get(token.len()..).unwrap_or_default();
        } else {
            text.push(next);
            rest = rest.get(next.len_utf8()..).unwrap_or_default();
        }
    }
    text
}

/// `.000` or `.999` at the beginning of a layout: its length, and the digits that stand for it.
fn fraction(layout: &str, now: &ZonedDateTime) -> Option<(usize, String)> {
    let digits = layout.strip_prefix('.')?;
    let kind = digits.chars().next().filter(|c| matches!(c, '0' | '9'))?;
    let count = digits.chars().take_while(|c| *c == kind).count();
    if digits.chars().nth(count).is_some_and(|c| c.is_ascii_digit()) {
        return None;
    }
    let all = format!("{:09}", now.subsec_nanosecond());
    let shown = all.get(..count.min(9)).unwrap_or_default();
    let shown = match kind {
        '9' => shown.trim_end_matches('0'),
        _ => shown,
    };
    let text = if shown.is_empty() {
        String::new()
    } else {
        format!(".{shown}")
    };
    Some((1 + count, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(pattern: &str) -> Result<String, String> {
        let now: ZonedDateTime = "2026-11-06T07:08:09.012+00:00[UTC]".parse().unwrap();
        render(pattern, &now).map_err(|error| error.to_string())
    }

    #[test]
    fn patterns() {
        for (pattern, text) in [
            ("snap%d", "snap%d"),
            (
                "{{ creation_date|date:'2006-01-02_15-04-05' }}",
                "2026-11-06_07-08-09",
            ),
            ("a-{{creation_date|date:\"20060102\"}}-%d", "a-20261106-%d"),
            (
                "{{ creation_date|date:'Jan 2 06 3PM Monday'|lower }}",
                "nov 6 26 7am friday",
            ),
            (
                "{{ creation_date|date:'_2 .000 .999 Z07:00 -0700' }}",
                " 6 .012 .012 Z +0000",
            ),
            ("{{ creation_date }}", "2026-11-06 07:08:09.012 +0000 UTC"),
            ("x{{ nothing }}y{# comment #}z", "xyz"),
            ("{{ nothing|default:'d' }}{{ 'A|B'|lower }}", "da|b"),
        ] {
            assert_eq!(at(pattern).as_deref(), Ok(text), "{pattern}");
        }
    }

    #[test]
    fn broken_patterns() {
        for (pattern, part) in [
            ("{{ creation_date", "missing"),
            ("{{ creation_date|nothing }}", "does not exist"),
            ("{{ 'x'|date:'2006' }}", "time.Time"),
            ("{% include '/etc/passwd' %}", "tags"),
        ] {
            assert!(at(pattern).unwrap_err().contains(part), "{pattern}");
        }
    }
}
