//! Cutting a text into SQL statements, as SQLite's own tokenizer would see them.

/// The statements of a text, without the `;` between them, without those that are only blanks and comments.
///
/// A `;` in a quoted text, a comment or the body of a trigger does not end a statement.
pub fn split(text: &str) -> Vec<String> {
    let mut statements = Vec::new();
    let mut start = 0;
    let mut words = Words::default();
    let mut position = 0;
    while let Some(token) = next(text, position) {
        position = token.end;
        match token.kind {
            Kind::Semicolon if !words.in_trigger() => {
                push(&mut statements, &text[start..token.start], words.any);
                words = Words::default();
                start = token.end;
            }
            Kind::Word => words.see(&text[token.start..token.end]),
            Kind::Semicolon | Kind::Other => words.other(),
            Kind::Blank => {}
        }
    }
    push(&mut statements, &text[start..], words.any);
    statements
}

/// A statement without comments and without blanks around it.
pub(super) fn without_comments(statement: &str) -> String {
    let mut kept = String::with_capacity(statement.len());
    let mut position = 0;
    while let Some(token) = next(statement, position) {
        position = token.end;
        match token.kind {
            Kind::Blank => kept.push(' '),
            _ => kept.push_str(&statement[token.start..token.end]),
        }
    }
    kept.trim().to_owned()
}

/// The words outside of quotes and comments, each with its place.
pub(super) fn words(statement: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let mut position = 0;
    while let Some(token) = next(statement, position) {
        position = token.end;
        if token.kind == Kind::Word {
            words.push((token.start, &statement[token.start..token.end]));
        }
    }
    words
}

fn push(statements: &mut Vec<String>, statement: &str, any: bool) {
    if any {
        statements.push(statement.trim().to_owned());
    }
}

/// What decides whether a statement is a trigger, and whether the trigger has ended.
#[derive(Debug, Default)]
struct Words {
    any: bool,
    count: u32,
    create: bool,
    trigger: bool,
    last_is_end: bool,
}

impl Words {
    fn see(&mut self, word: &str) {
        self.any = true;
        self.count += 1;
        self.last_is_end = word.eq_ignore_ascii_case("end");
        match self.count {
            1 => self.create = word.eq_ignore_ascii_case("create"),
            // CREATE TEMP TRIGGER, CREATE TEMPORARY TRIGGER.
            2 | 3 if self.create => self.trigger |= word.eq_ignore_ascii_case("trigger"),
            _ => {}
        }
    }

    fn other(&mut self) {
        self.any = true;
        self.last_is_end = false;
    }

    fn in_trigger(&self) -> bool {
        self.trigger && !self.last_is_end
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Blank,
    Semicolon,
    Word,
    Other,
}

struct Token {
    kind: Kind,
    start: usize,
    end: usize,
}

/// The token at `start`; all delimiters are ASCII, so every cut is between characters.
fn next(text: &str, start: usize) -> Option<Token> {
    let bytes = text.as_bytes();
    let first = *bytes.get(start)?;
    let rest = &bytes[start..];
    let until = |offset: usize, end: &[u8]| {
        let found = rest[offset.min(rest.len())..]
            .windows(end.len())
            .position(|window| window == end);
        found.map_or(rest.len(), |position| offset + position + end.len())
    };
    let run = |accept: fn(&u8) -> bool| rest.iter().take_while(|byte| accept(byte)).count();
    let (kind, length) = match first {
        b';' => (Kind::Semicolon, 1),
        b'-' if rest.get(1) == Some(&b'-') => (Kind::Blank, until(2, b"\n")),
        b'/' if rest.get(1) == Some(&b'*') => (Kind::Blank, until(2, b"*/")),
        b'\'' | b'"' | b'`' => (Kind::Other, until(1, &[first])),
        b'[' => (Kind::Other, until(1, b"]")),
        byte if byte.is_ascii_whitespace() => (Kind::Blank, run(u8::is_ascii_whitespace)),
        byte if byte.is_ascii_alphabetic() || byte == b'_' => (
            Kind::Word,
            run(|byte| byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii()),
        ),
        byte if !byte.is_ascii() => (Kind::Other, run(|byte| !byte.is_ascii())),
        _ => (Kind::Other, 1),
    };
    Some(Token {
        kind,
        start,
        end: start + length,
    })
}
