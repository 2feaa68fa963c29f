//! A tree as text: the layout rules of libyaml's emitter with go-yaml's choices.

use super::scalar::is_plainly_text;

/// Columns after which long plain and quoted scalars continue on the next line at the next single space.
const WIDTH: usize = 80;
/// Bytes up to which a key stands on the line of its value.
const SIMPLE_KEY: usize = 128;
/// Columns of one level.
const STEP: usize = 2;

/// A value ready to be laid out.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    /// A string, quoted as it needs.
    Text(String),
    /// A number, boolean, time or null, never quoted.
    Plain(String),
    /// Base64 of bytes that are not text.
    Binary(String),
    /// A list.
    List(Vec<Tree>),
    /// A map or struct, in the order to print.
    Map(Vec<(String, Tree)>),
}

/// Lays out a document.
pub(super) fn emit(tree: &Tree) -> String {
    let mut emitter = Emitter {
        out: String::new(),
        column: 0,
        whitespace: true,
        indention: true,
    };
    emitter.node(tree, None, Parent::Root);
    if emitter.column > 0 {
        emitter.out.push('\n');
    }
    emitter.out
}

#[derive(Clone, Copy, PartialEq)]
enum Parent {
    Root,
    List,
    Map,
}

#[derive(Clone, Copy, PartialEq)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

struct Emitter {
    out: String,
    /// Characters on the current line.
    column: usize,
    /// Whether the last thing written was white space (or an indicator that stands for it).
    whitespace: bool,
    /// Whether only indentation and `-`, `?`, `:` are on the current line.
    indention: bool,
}

impl Emitter {
    /// Writes a node; `indent` is that of the container around it.
    fn node(&mut self, tree: &Tree, indent: Option<usize>, parent: Parent) {
        let deeper = indent.map_or(0, |indent| indent + STEP);
        match tree {
            Tree::Text(text) => self.text(text, indent.map_or(STEP, |i| i + STEP), false),
            Tree::Plain(text) => self.plain(text, indent.map_or(STEP, |i| i + STEP), true),
            Tree::Binary(text) => {
                self.indicator("!!binary", true, false, false);
                self.text(text, indent.map_or(STEP, |i| i + STEP), false);
            }
            Tree::List(items) if items.is_empty() => self.indicator("[]", true, false, false),
            Tree::Map(entries) if entries.is_empty() => self.indicator("{}", true, false, false),
            Tree::List(items) => {
                // A list that starts on the line below its key is not indented under it.
                let flush = parent == Parent::Map && !self.indention;
                self.list(items, if flush { indent.unwrap_or(0) } else { deeper });
            }
            Tree::Map(entries) => self.map(entries, deeper),
        }
    }

    fn list(&mut self, items: &[Tree], indent: usize) {
        for item in items {
            self.break_and_indent(indent);
            self.indicator("-", true, false, true);
            self.node(item, Some(indent), Parent::List);
        }
    }

    fn map(&mut self, entries: &[(String, Tree)], indent: usize) {
        for (key, value) in entries {
            self.break_and_indent(indent);
            if key.len() <= SIMPLE_KEY && !key.contains(is_break) {
                self.text(key, indent + STEP, true);
                self.indicator(":", false, false, false);
            } else {
                self.indicator("?", true, false, true);
                self.text(key, indent + STEP, false);
                self.break_and_indent(indent);
                self.indicator(":", true, false, true);
            }
            self.node(value, Some(indent), Parent::Map);
        }
    }

    fn text(&mut self, text: &str, indent: usize, key: bool) {
        match style_of(text, key) {
            Style::Plain => self.plain(text, indent, !key),
            Style::Single => self.single(text, indent, !key),
            Style::Double => self.double(text, indent, !key),
            Style::Literal => self.literal(text, indent),
        }
    }

    fn plain(&mut self, text: &str, indent: usize, fold: bool) {
        if !self.whitespace {
            self.put(' ');
        }
        self.whitespace = false;
        self.indention = false;
        self.words(text, indent, fold, false);
    }

    fn single(&mut self, text: &str, indent: usize, fold: bool) {
        self.indicator("'", true, false, false);
        self.words(text, indent, fold, true);
        self.indicator("'", false, false, false);
    }

    /// Writes text as it is, apart from doubled single quotes, breaking long lines at lone spaces.
    fn words(&mut self, text: &str, indent: usize, fold: bool, quoted: bool) {
        let mut chars = text.chars().peekable();
        let (mut first, mut after_space) = (true, false);
        while let Some(c) = chars.next() {
            let inner = !quoted || (!first && chars.peek().is_some());
            let lone = c == ' ' && !after_space && chars.peek() != Some(&' ');
            if fold && lone && inner && self.column > WIDTH {
                self.break_and_indent(indent);
            } else {
                if quoted && c == '\'' {
                    self.put('\'');
                }
                self.put(c);
            }
            after_space = c == ' ';
            self.indention &= c == ' ';
            first = false;
        }
        self.whitespace = false;
        self.indention = false;
    }

    fn double(&mut self, text: &str, indent: usize, fold: bool) {
        self.indicator("\"", true, false, false);
        // go-yaml looks for the mark at the start of the text, wherever it is, and then escapes everything.
        let escape_all = text.starts_with('\u{feff}');
        let mut chars = text.chars().peekable();
        let (mut first, mut after_space) = (true, false);
        while let Some(c) = chars.next() {
            let space = c == ' ' && !escape_all;
            if escape_all || needs_escape(c) {
                self.escape(c);
            } else if space && fold && !after_space && self.column > WIDTH && !first && chars.peek().is_some()
            {
                self.break_and_indent(indent);
                if chars.peek() == Some(&' ') {
                    self.put('\\');
                }
            } else {
                self.put(c);
            }
            after_space = space;
            first = false;
        }
        self.indicator("\"", false, false, false);
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.indicator("|", true, false, false);
        if text.starts_with([' ', '\n']) {
            self.put_str(&STEP.to_string());
        }
        match text.strip_suffix('\n') {
            None => self.put('-'),
            Some(body) if body.is_empty() || body.ends_with('\n') => self.put('+'),
            Some(_) => {}
        }
        self.line_break();
        self.indention = true;
        self.whitespace = true;
        let mut at_start = true;
        for c in text.chars() {
            if c == '\n' {
                self.line_break();
                self.indention = true;
                at_start = true;
            } else {
                if at_start {
                    self.break_and_indent(indent);
                }
                self.put(c);
                self.indention = false;
                at_start = false;
            }
        }
    }

    fn escape(&mut self, c: char) {
        let short = match c {
            '\0' => '0',
            '\x07' => 'a',
            '\x08' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\x0b' => 'v',
            '\x0c' => 'f',
            '\r' => 'r',
            '\x1b' => 'e',
            '"' => '"',
            '\\' => '\\',
            '\u{85}' => 'N',
            '\u{a0}' => '_',
            '\u{2028}' => 'L',
            '\u{2029}' => 'P',
            _ => {
                let code = c as u32;
                return self.put_str(&match code {
                    0..=0xff => format!("\\x{code:02X}"),
                    0x100..=0xffff => format!("\\u{code:04X}"),
                    _ => format!("\\U{code:08X}"),
                });
            }
        };
        self.put('\\');
        self.put(short);
    }

    fn indicator(&mut self, text: &str, needs_space: bool, is_space: bool, keeps_indention: bool) {
        if needs_space && !self.whitespace {
            self.put(' ');
        }
        self.put_str(text);
        self.whitespace = is_space;
        self.indention &= keeps_indention;
    }

    fn break_and_indent(&mut self, indent: usize) {
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.line_break();
        }
        while self.column < indent {
            self.put(' ');
        }
        self.whitespace = true;
        self.indention = true;
    }

    fn line_break(&mut self) {
        self.out.push('\n');
        self.column = 0;
    }

    fn put(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }

    fn put_str(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }
}

/// How a string is written.
fn style_of(text: &str, key: bool) -> Style {
    if text.is_empty() {
        return Style::Double;
    }
    let facts = Facts::of(text);
    if text.contains('\n') {
        return if facts.literal_ok && !key {
            Style::Literal
        } else {
            Style::Double
        };
    }
    match () {
        () if !is_plainly_text(text, key) || !facts.single_ok => Style::Double,
        () if facts.plain_ok => Style::Plain,
        () => Style::Single,
    }
}

/// Which styles can hold a text outside flow collections.
struct Facts {
    plain_ok: bool,
    single_ok: bool,
    literal_ok: bool,
}

impl Facts {
    fn of(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let last = chars.len() - 1;
        let mut indicator = text.starts_with("---") || text.starts_with("...");
        let (mut special, mut space_break, mut break_space) = (false, false, false);
        for (i, c) in chars.iter().copied().enumerate() {
            let blank_next = chars
                .get(i + 1)
                .is_none_or(|next| *next == ' ' || *next == '\t' || is_break(*next));
            let blank_before =
                i == 0 || chars[i - 1] == ' ' || chars[i - 1] == '\t' || is_break(chars[i - 1]);
            indicator |= match c {
                ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => {
                    i == 0
                }
                '?' | '-' => i == 0 && blank_next,
                ':' => blank_next,
                '#' => blank_before,
                _ => false,
            };
            special |= !is_printable(c) || is_foreign_break(c);
            space_break |= is_break(c) && i > 0 && chars[i - 1] == ' ';
            break_space |= c == ' ' && i > 0 && is_break(chars[i - 1]);
        }
        let edge = |c: char| c == ' ' || is_break(c);
        let line_break = chars.iter().any(|c| is_break(*c));
        let any = !special && !space_break;
        Self {
            plain_ok: any && !indicator && !line_break && !edge(chars[0]) && !edge(chars[last]),
            single_ok: any && !break_space,
            literal_ok: any && chars[last] != ' ',
        }
    }
}

fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Line breaks of YAML 1.1 that are ordinary characters in 1.2.
///
/// The reference writes them bare and indents what follows, which other readers take for content; we escape them.
fn is_foreign_break(c: char) -> bool {
    matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

fn needs_escape(c: char) -> bool {
    !is_printable(c) || is_break(c) || c == '"' || c == '\\'
}
