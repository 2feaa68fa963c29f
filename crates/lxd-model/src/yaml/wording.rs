//! What is wrong with a text that is no YAML, in the words of the reference's parser.

use serde_saphyr::granit_parser::ScanError;

use super::Error;

/// The parser's error as clients know it. The reference counts the lines of what its grammar did not expect from zero,
/// and leaves line zero out.
pub(super) fn reworded(error: &ScanError, text: &str) -> Error {
    let line = error.marker().line();
    let info = error.info();
    let info = info.trim_end();
    let ends = text.matches('\n').count();
    // What the parser was about stands before the comma.
    let short = match info.split_once(", ") {
        Some((doing, met)) if doing.starts_with("while ") => met,
        _ => info,
    };
    let first_left_out = |line: usize| if line == 1 { 0 } else { line };
    let (line, reason) = match short {
        _ if info.starts_with("unclosed bracket") => {
            let open = info.chars().rev().nth(1).unwrap_or('[');
            let rest = text.rsplit(open).next().unwrap_or_default();
            let reason = match (rest.trim().is_empty(), open) {
                (true, _) => "did not find expected node content",
                (false, '{') => "did not find expected ',' or '}'",
                (false, _) => "did not find expected ',' or ']'",
            };
            (ends.max(1), reason.to_owned())
        }
        "unclosed quote" => {
            let line = if ends == 0 { 0 } else { ends + 1 };
            (line, "found unexpected end of stream".to_owned())
        }
        "misplaced bracket" => (
            line.saturating_sub(1),
            "did not find expected node content".to_owned(),
        ),
        "found unknown anchor" => (0, format!("unknown anchor '{}' referenced", anchor(error, text))),
        "simple key expected ':'" => (line + 1, "could not find expected ':'".to_owned()),
        "found a tab" => (
            line + 1,
            "found a tab character that violates indentation".to_owned(),
        ),
        "illegal placement of ':' indicator" => (
            line.saturating_sub(1),
            "did not find expected ',' or ']'".to_owned(),
        ),
        _ if short.starts_with("tabs disallowed") || short.starts_with("unexpected character") => (
            first_left_out(line),
            "found character that cannot start any token".to_owned(),
        ),
        "did not find expected key"
        | "did not find expected ',' or '}'"
        | "did not find expected ',' or ']'" => (line.saturating_sub(1), short.to_owned()),
        _ => (first_left_out(line), short.to_owned()),
    };
    Error::Syntax { line, reason }
}

/// The name after the last `*` before the place of an error.
fn anchor<'a>(error: &ScanError, text: &'a str) -> &'a str {
    let line = text
        .lines()
        .nth(error.marker().line().saturating_sub(1))
        .unwrap_or_default();
    let name = line.rsplit_once('*').map_or("", |(_, name)| name);
    name.split([' ', ',', ']', '}']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn texts_are_refused_in_the_references_words() {
        for (text, why) in [
            ("a: b: c\n", "mapping values are not allowed in this context"),
            ("x: [\n", "line 1: did not find expected node content"),
            ("{", "line 1: did not find expected node content"),
            ("a: {b\n", "line 1: did not find expected ',' or '}'"),
            ("\"a", "found unexpected end of stream"),
            ("a: \"b\n", "line 2: found unexpected end of stream"),
            ("a:\n\t- b", "line 2: found character that cannot start any token"),
            ("a: @b\n", "found character that cannot start any token"),
            ("config:\n  a: b\n c: d\n", "line 2: did not find expected key"),
            ("a: b\n- c\n", "line 1: did not find expected key"),
            ("a: &x 1\nb: *y\n", "unknown anchor 'y' referenced"),
            (
                "a: b\n  c: d\n",
                "line 2: mapping values are not allowed in this context",
            ),
            ("a: >x\n", "did not find expected comment or line break"),
            ("a: ]\n", "did not find expected node content"),
            (
                "a: b\n\tc: d\n",
                "line 2: found a tab character that violates indentation",
            ),
            (
                "x:\n  y: {a: b\n  z: c\n",
                "line 2: did not find expected ',' or '}'",
            ),
        ] {
            let error = super::super::from_str::<serde_json::Value>(text).unwrap_err();
            assert_eq!(error.to_string(), format!("yaml: {why}"), "{text:?}");
        }
    }
}
