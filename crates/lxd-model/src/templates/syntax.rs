//! From pongo2's syntax to Jinja's: arguments of filters, operators, loops, and tags with other names.

use std::fmt::Write as _;

/// The same template as Jinja writes it.
///
/// # Errors
/// A tag that does not end.
pub(super) fn translate(source: &str) -> Result<String, String> {
    let mut out = String::with_capacity(source.len() + 64);
    let mut rest = source;
    while let Some(at) = next_opening(rest) {
        out.push_str(&rest[..at]);
        let tag = &rest[at..];
        let (closing, is_block) = match &tag[..2] {
            "{#" => ("#}", false),
            "{%" => ("%}", true),
            _ => ("}}", false),
        };
        let length = end_of(tag, closing).ok_or_else(|| format!("{:?} is not closed", &tag[..2]))?;
        rest = &tag[length..];
        if closing == "#}" {
            continue;
        }
        let inner = &tag[2..length - 2];
        let (before, inner, after) = trims(inner);
        if is_block && let Some(end) = left_out(inner, rest) {
            let (content, after_it) = end?;
            out.push_str(&content);
            rest = after_it;
            continue;
        }
        let tokens = tokens(inner);
        let text = if is_block {
            block(tokens)
        } else {
            expression(&tokens)
        };
        let _ = write!(out, "{}{before}{text}{after}{closing}", &tag[..2]);
    }
    out.push_str(rest);
    Ok(out)
}

fn next_opening(text: &str) -> Option<usize> {
    let openings = ["{{", "{%", "{#"];
    openings.iter().filter_map(|opening| text.find(opening)).min()
}

/// The length of a tag with its end, which does not count within quotes.
fn end_of(tag: &str, closing: &str) -> Option<usize> {
    let mut quote = None;
    let mut is_escaped = false;
    for (at, letter) in tag.char_indices().skip(2) {
        match quote {
            Some(_) if is_escaped => is_escaped = false,
            Some(_) if letter == '\\' => is_escaped = true,
            Some(open) if letter == open => quote = None,
            Some(_) => {}
            None if tag[at..].starts_with(closing) => return Some(at + closing.len()),
            None if closing != "#}" && (letter == '"' || letter == '\'') => quote = Some(letter),
            None => {}
        }
    }
    None
}

/// The marks that take white space away, apart from what is between them.
fn trims(inner: &str) -> (&str, &str, &str) {
    let (before, inner) = match inner.strip_prefix('-') {
        Some(inner) => ("- ", inner),
        None => (" ", inner),
    };
    let (inner, after) = match inner.strip_suffix('-') {
        Some(inner) => (inner, " -"),
        None => (inner, " "),
    };
    (before, inner.trim(), after)
}

/// What becomes of a tag whose content is no template: nothing of a comment, the very text of `verbatim`.
fn left_out<'a>(inner: &str, rest: &'a str) -> Option<Result<(String, &'a str), String>> {
    let word = inner.split_whitespace().next().unwrap_or_default();
    if word != "comment" && word != "verbatim" {
        return None;
    }
    let end = format!("end{word}");
    let mut from = 0;
    while let Some(found) = rest[from..].find("{%") {
        let at = from + found;
        let Some(length) = end_of(&rest[at..], "%}") else {
            break;
        };
        if trims(&rest[at + 2..at + length - 2]).1 == end {
            let raw = format!("{{% raw %}}{}{{% endraw %}}", &rest[..at]);
            let content = if word == "verbatim" { raw } else { String::new() };
            return Some(Ok((content, &rest[at + length..])));
        }
        from = at + 2;
    }
    Some(Err(format!("{word:?} has no {end:?}")))
}

#[derive(Debug, Clone, PartialEq)]
enum Token<'a> {
    /// A name with what follows after dots, or a number.
    Word(&'a str),
    /// Text with its quotes.
    Text(&'a str),
    /// One or two signs.
    Sign(&'a str),
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '"' | '\'' => {
                let length = quoted(rest, first);
                (Token::Text(&rest[..length]), length)
            }
            letter if letter.is_alphanumeric() || letter == '_' => {
                let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
                let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
                (Token::Word(&rest[..length]), length)
            }
            letter => {
                let two = ["&&", "||", "==", "!=", "<=", ">=", "<>", "//", "**"];
                let length = two
                    .iter()
                    .find(|sign| rest.starts_with(**sign))
                    .map_or(letter.len_utf8(), |sign| sign.len());
                (Token::Sign(&rest[..length]), length)
            }
        };
        found.push(token);
        rest = rest[length..].trim_start();
    }
    found
}

/// The length of a text in quotes; of all that is left if they don't end.
fn quoted(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            letter if letter == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn expression(tokens: &[Token<'_>]) -> String {
    let mut out = String::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        let spelled = match token {
            Token::Sign("&&") => "and",
            Token::Sign("||") => "or",
            Token::Sign("!") => "not",
            Token::Sign("<>") => "!=",
            Token::Word("nil") => "none",
            Token::Word(word) => counter(word),
            Token::Text(text) | Token::Sign(text) => text,
        };
        // `|filter:argument`
        if let (Token::Sign("|"), Some(Token::Word(name))) = (token, tokens.get(at)) {
            at += 1;
            let _ = write!(out, "|{name}");
            if let (Some(Token::Sign(":")), Some(argument)) = (tokens.get(at), tokens.get(at + 1)) {
                at += 2;
                let argument = match (argument, tokens.get(at)) {
                    (Token::Sign("-"), Some(number)) => {
                        at += 1;
                        format!("-{}", expression(std::slice::from_ref(number)))
                    }
                    (argument, _) => expression(std::slice::from_ref(argument)),
                };
                let _ = write!(out, "({})", argument.trim());
            }
            continue;
        }
        let is_glued = matches!(spelled, "(" | ")" | "," | "[" | "]" | "." | ":");
        if !out.is_empty() && !is_glued && !out.ends_with(['(', '[', '.']) {
            out.push(' ');
        }
        out.push_str(spelled);
    }
    out
}

/// What pongo2 says about the turns of a loop, in Jinja's words.
fn counter(word: &str) -> &str {
    match word {
        "forloop.Counter" | "forloop.counter" => "loop.index",
        "forloop.Counter0" | "forloop.counter0" => "loop.index0",
        "forloop.Revcounter" | "forloop.revcounter" => "loop.revindex",
        "forloop.Revcounter0" | "forloop.revcounter0" => "loop.revindex0",
        "forloop.First" | "forloop.first" => "loop.first",
        "forloop.Last" | "forloop.last" => "loop.last",
        word => word,
    }
}

fn block(tokens: Vec<Token<'_>>) -> String {
    let (word, rest) = match tokens.split_first() {
        Some((Token::Word(word), rest)) => (*word, rest),
        _ => return expression(&tokens),
    };
    match word {
        "for" => for_loop(rest),
        "empty" => "else".into(),
        "endifequal" | "endifnotequal" => "endif".into(),
        "ifequal" | "ifnotequal" => {
            let sign = if word == "ifequal" { "==" } else { "!=" };
            match rest {
                [a, b] => format!("if {} {sign} {}", one(a), one(b)),
                _ => format!("if {}", expression(rest)),
            }
        }
        "autoescape" => match rest {
            [Token::Word("on")] => "autoescape true".into(),
            _ => "autoescape false".into(),
        },
        _ => format!("{word} {}", expression(rest)),
    }
}

fn one(token: &Token<'_>) -> String {
    expression(std::slice::from_ref(token))
}

/// `for key, value in map sorted reversed`
fn for_loop(rest: &[Token<'_>]) -> String {
    let Some(at) = rest.iter().position(|token| *token == Token::Word("in")) else {
        return format!("for {}", expression(rest));
    };
    let (names, mut source) = (&rest[..at], &rest[at + 1..]);
    let (mut is_sorted, mut is_reversed) = (false, false);
    while let [head @ .., Token::Word(word @ ("sorted" | "reversed"))] = source {
        is_sorted |= *word == "sorted";
        is_reversed |= *word == "reversed";
        source = head;
    }
    let mut filters = String::new();
    if names.len() > 1 {
        filters.push_str("|items");
    }
    if is_sorted {
        filters.push_str("|sort");
    }
    if is_reversed {
        filters.push_str("|reverse");
    }
    format!("for {} in {}{filters}", expression(names), expression(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_otherwise_is_translated() {
        for (source, wanted) in [
            (
                "a {{ b|default:\"}}\"|upper }} c",
                "a {{ b|default(\"}}\")|upper }} c",
            ),
            ("{{a.b|add:-1}}", "{{ a.b|add(-1) }}"),
            ("{% if a && !b || c != d %}", "{% if a and not b or c != d %}"),
            (
                "{%- for a, b in c.d sorted -%}",
                "{%- for a, b in c.d|items|sort -%}",
            ),
            ("{{ f(\"x\", a.b) }}", "{{ f(\"x\", a.b) }}"),
            ("{% comment %}{% x %}{% endcomment %}y", "y"),
            ("100% { } {", "100% { } {"),
        ] {
            assert_eq!(translate(source).as_deref(), Ok(wanted), "{source}");
        }
        assert!(translate("{{ a").is_err());
        assert!(translate("{% comment %}").is_err());
    }
}
