//! The API's filter language: `name eq c.* and not status eq Running`.
//!
//! A clause is a field (dots lead into objects), an operator (`eq`, `ne`) and a value, with `not` in front if wanted.
//! `and` and `or` join clauses from left to right, neither binding tighter. Values are regular expressions that must
//! match the whole field, whatever the case; a value with spaces stands in double quotes. A field that is missing is
//! the empty text, an operator that is unknown matches nothing.

use regex_lite::{Regex, RegexBuilder};
use serde_json::Value;

use crate::{ErrorKind, Invalid};

/// Most clauses of a filter; it is judged once for each object listed.
const MAX_CLAUSES: usize = 64;
/// Bytes that one compiled value may take.
const MAX_PATTERN: usize = 64 << 10;

/// A filter that was read; the empty one matches everything.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    clauses: Vec<Clause>,
}

#[derive(Debug, Clone)]
struct Clause {
    join: Join,
    negated: bool,
    field: String,
    operator: Operator,
    value: String,
    pattern: Option<Regex>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Join {
    And,
    Or,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Operator {
    Equal,
    NotEqual,
    Unknown,
}

impl Filter {
    /// Reads a filter.
    ///
    /// The reference answers 500 for one that it can't read, so the error is [`ErrorKind::Internal`].
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let refuse =
            |reason: &str| Invalid::of_kind(ErrorKind::Internal, format!("Invalid filter: {reason}"));
        let mut words = split(text).map_err(refuse)?.into_iter();
        let mut clauses = Vec::new();
        let mut join = Join::And;
        let Some(mut word) = words.next() else {
            return Ok(Self::default());
        };
        loop {
            let negated = word == "not";
            if negated {
                word = words.next().ok_or_else(|| refuse("incomplete not clause"))?;
            }
            let operator = words.next().ok_or_else(|| refuse("clause has no operator"))?;
            let value = words.next().ok_or_else(|| refuse("clause has no value"))?;
            clauses.push(Clause::new(join, negated, word, &operator, value));
            if clauses.len() > MAX_CLAUSES {
                return Err(refuse("too many clauses"));
            }
            join = match words.next().as_deref() {
                None => return Ok(Self { clauses }),
                Some("and") => Join::And,
                Some("or") => Join::Or,
                Some(_) => return Err(refuse("invalid clause composition")),
            };
            word = words
                .next()
                .ok_or_else(|| refuse("unterminated compound clause"))?;
        }
    }

    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.clauses.is_empty()
    }

    /// Whether an object matches, in the form in which the API answers it.
    pub fn matches(&self, object: &Value) -> bool {
        self.clauses
            .iter()
            .fold(true, |so_far, clause| match clause.join {
                Join::And => so_far && clause.matches(object),
                Join::Or => so_far || clause.matches(object),
            })
    }

    /// The name that objects must have, where a filter is nothing but `name eq NAME`: one may look that up directly.
    pub fn only_name(&self) -> Option<&str> {
        let plain = |value: &str| {
            value
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        match &self.clauses[..] {
            [
                Clause {
                    negated: false,
                    field,
                    operator: Operator::Equal,
                    value,
                    ..
                },
            ] if field == "name" && plain(value) => Some(value),
            _ => None,
        }
    }
}

impl Clause {
    fn new(join: Join, negated: bool, field: String, operator: &str, value: String) -> Self {
        let operator = match operator.to_ascii_lowercase().as_str() {
            "eq" => Operator::Equal,
            "ne" => Operator::NotEqual,
            _ => Operator::Unknown,
        };
        // A pattern may say itself where it begins or ends.
        let pattern = if value.contains(['^', '$']) {
            value.clone()
        } else {
            format!("^(?:{value})$")
        };
        let mut builder = RegexBuilder::new(&pattern);
        let pattern = builder
            .case_insensitive(true)
            .size_limit(MAX_PATTERN)
            .build()
            .ok();
        Self {
            join,
            negated,
            field,
            operator,
            value,
            pattern,
        }
    }

    fn matches(&self, object: &Value) -> bool {
        let found = lookup(object, &self.field).unwrap_or_default();
        let equal = match &self.pattern {
            Some(pattern) => pattern.is_match(&found),
            None => found.eq_ignore_ascii_case(&self.value),
        };
        let holds = match self.operator {
            Operator::Equal => equal,
            Operator::NotEqual => !equal,
            Operator::Unknown => false,
        };
        holds != self.negated
    }
}

/// The text of a field. Keys of configurations hold dots themselves: the longest key that is there wins.
fn lookup(object: &Value, path: &str) -> Option<String> {
    let map = object.as_object()?;
    if let Some(value) = map.get(path) {
        return match value {
            Value::String(text) => Some(text.clone()),
            Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
    }
    let dots = path.match_indices('.').map(|(at, _)| at);
    dots.filter_map(|at| lookup(map.get(&path[..at])?, &path[at + 1..]))
        .next()
}

/// Words between spaces; double quotes keep spaces and are taken away.
fn split(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    if quoted {
        Err("unterminated quote")
    } else {
        Ok(words)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Which of the instances i1, i4 and i5 match, or the reason why the filter can't be read.
    fn run(filter: &str) -> String {
        let parsed = match Filter::parse(filter) {
            Ok(parsed) => parsed,
            Err(error) => return error.to_string(),
        };
        let object = |name: &str| {
            json!({"name": name, "status": "Stopped", "type": "container", "ephemeral": false, "location": "none",
                   "config": {"volatile.apply_template": "create"}, "profiles": ["default"],
                   "expanded_devices": {"root": {"pool": "p"}}})
        };
        let names = ["i1", "i4", "i5"]
            .into_iter()
            .filter(|name| parsed.matches(&object(name)));
        names.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn filters_find_what_the_reference_finds() {
        let cases = [
            ("", "i1 i4 i5"),
            ("name eq i4", "i4"),
            ("name eq  I4", "i4"),
            ("name EQ i4", "i4"),
            ("name eq i.*", "i1 i4 i5"),
            ("name eq 4", ""),
            ("name eq ^i", "i1 i4 i5"),
            ("name eq 4$", "i4"),
            ("name eq [", ""),
            ("NAME eq i4", ""),
            ("name xx y", ""),
            ("name ne i4", "i1 i5"),
            ("not name eq i4", "i1 i5"),
            ("name eq a or not name eq i4", "i1 i5"),
            ("name eq i4 or name eq i5", "i4 i5"),
            ("name eq i4 or name eq i5 and name eq i1", ""),
            ("type eq container and name eq i5", "i5"),
            ("status eq stop", ""),
            ("foo eq x", ""),
            ("config.limits.cpu ne 2", "i1 i4 i5"),
            ("config.volatile.apply_template eq create", "i1 i4 i5"),
            ("expanded_devices.root.pool eq p", "i1 i4 i5"),
            ("(name eq i4)", ""),
            ("name eq \"i 4\" and name eq i4", ""),
            ("ephemeral eq false and name eq \"i4\"", "i4"),
            ("name", "Invalid filter: clause has no operator"),
            ("name=i4", "Invalid filter: clause has no operator"),
            ("and", "Invalid filter: clause has no operator"),
            ("name eq", "Invalid filter: clause has no value"),
            ("name eq i4 and", "Invalid filter: unterminated compound clause"),
            ("name eq i4 and and", "Invalid filter: clause has no operator"),
            ("name eq i4 foo", "Invalid filter: invalid clause composition"),
            (
                "name eq i4 AND name eq i5",
                "Invalid filter: invalid clause composition",
            ),
            ("not not name eq i4", "Invalid filter: invalid clause composition"),
            ("name eq \"i4", "Invalid filter: unterminated quote"),
        ];
        for (filter, wanted) in cases {
            assert_eq!(run(filter), wanted, "{filter}");
        }
    }

    #[test]
    fn a_plain_name_is_known() {
        assert_eq!(Filter::parse("name eq c1").unwrap().only_name(), Some("c1"));
        assert_eq!(Filter::parse("name eq c.*").unwrap().only_name(), None);
        assert_eq!(Filter::parse("name ne c1").unwrap().only_name(), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(?s).{0,60}") {
            if let Ok(filter) = Filter::parse(&text) {
                filter.matches(&json!({"name": "c1"}));
            }
        }
    }
}
