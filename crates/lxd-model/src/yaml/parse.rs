//! Text as a tree of bounded size.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Tag};

use super::scalar::{Meaning, meaning};
use super::wording::reworded;
use super::{Error, Result};

/// Largest text that is read; a big `backup.yaml` has some hundred kB.
const MAX_BYTES: usize = 16 << 20;
/// Most nodes of a document, with aliases counted as the copies that they are.
const MAX_NODES: usize = 500_000;
/// Deepest nesting.
const MAX_DEPTH: usize = 100;

/// A node of a document that was read.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) content: Content,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// A scalar: its text, and what it means when that isn't text.
    Scalar(String, Meaning),
    /// A list.
    List(Vec<Node>),
    /// A map, keys unique, in order of first appearance.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// The node of a document without content.
    fn null(line: usize) -> Self {
        Self {
            line,
            content: Content::Scalar(String::new(), Meaning::Null),
        }
    }

    fn count(&self) -> usize {
        match &self.content {
            Content::Scalar(..) => 1,
            Content::List(items) => 1 + items.iter().map(Node::count).sum::<usize>(),
            Content::Map(entries) => 1 + entries.iter().map(|(k, v)| k.count() + v.count()).sum::<usize>(),
        }
    }
}

/// Reads the first document of a text.
pub(super) fn parse(text: &str) -> Result<Node> {
    if text.len() > MAX_BYTES {
        return Err(Error::TooLarge {
            what: "bytes",
            limit: MAX_BYTES,
        });
    }
    let mut builder = Builder {
        open: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        root: None,
    };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| reworded(&error, text))?;
        if matches!(event, Event::DocumentEnd | Event::StreamEnd) {
            break;
        }
        builder.event(event, span.start.line())?;
    }
    Ok(builder.root.unwrap_or_else(|| Node::null(1)))
}

/// A collection whose end has not been met.
struct Open {
    node: Node,
    anchor: usize,
    /// The key that waits for its value, in a map.
    key: Option<Node>,
}

struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, line: usize) -> Result<()> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let content = scalar(text.into_owned(), style, tag.as_deref(), line)?;
                self.count(1)?;
                self.complete(Node { line, content }, anchor);
            }
            Event::SequenceStart(_, anchor, _) => self.start(Content::List(Vec::new()), anchor, line)?,
            Event::MappingStart(_, anchor, _) => self.start(Content::Map(Vec::new()), anchor, line)?,
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(mut open) = self.open.pop() {
                    if let Content::Map(entries) = &mut open.node.content {
                        *entries = merged(std::mem::take(entries))?;
                    }
                    self.complete(open.node, open.anchor);
                }
            }
            Event::Alias(id) => {
                let unknown = || Error::Syntax {
                    line,
                    reason: "unknown anchor referenced".into(),
                };
                let node = self.anchors.get(&id).cloned().ok_or_else(unknown)?;
                self.count(node.count())?;
                self.complete(node, 0);
            }
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, content: Content, anchor: usize, line: usize) -> Result<()> {
        self.count(1)?;
        if self.open.len() >= MAX_DEPTH {
            return Err(Error::TooLarge {
                what: "levels",
                limit: MAX_DEPTH,
            });
        }
        self.open.push(Open {
            node: Node { line, content },
            anchor,
            key: None,
        });
        Ok(())
    }

    fn count(&mut self, more: usize) -> Result<()> {
        self.nodes += more;
        match self.nodes > MAX_NODES {
            true => Err(Error::TooLarge {
                what: "nodes",
                limit: MAX_NODES,
            }),
            false => Ok(()),
        }
    }

    fn complete(&mut self, node: Node, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match &mut parent.node.content {
            Content::List(items) => items.push(node),
            Content::Map(entries) => match parent.key.take() {
                Some(key) => entries.push((key, node)),
                None => parent.key = Some(node),
            },
            Content::Scalar(..) => {}
        }
    }
}

/// The content of a scalar: quoted ones are text, plain ones what they look like, tagged ones what the tag says.
fn scalar(text: String, style: ScalarStyle, tag: Option<&Tag>, line: usize) -> Result<Content> {
    let plain = style == ScalarStyle::Plain;
    let Some(tag) = tag else {
        let meaning = if plain { meaning(&text) } else { Meaning::Text };
        return Ok(Content::Scalar(text, meaning));
    };
    if tag.handle() == "tag:yaml.org,2002:" && tag.suffix() == "binary" {
        return binary(&text, line);
    }
    let meaning = match tag.core_suffix() {
        Some("int" | "float" | "bool" | "null") => meaning(&text),
        _ => Meaning::Text,
    };
    Ok(Content::Scalar(text, meaning))
}

fn binary(text: &str, line: usize) -> Result<Content> {
    use base64::Engine;
    let compact: String = text.split_whitespace().collect();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(compact)
        .map_err(|_| Error::Syntax {
            line,
            reason: "!!binary value contains invalid base64 data".into(),
        })?;
    String::from_utf8(bytes)
        .map(|text| Content::Scalar(text, Meaning::Text))
        .map_err(|_| Error::Syntax {
            line,
            reason: "!!binary value is not text".into(),
        })
}

/// Resolves `<<` and repeated keys: a map's own entries win over merged ones, later over earlier.
fn merged(entries: Vec<(Node, Node)>) -> Result<Vec<(Node, Node)>> {
    let mut own: Vec<(Node, Node)> = Vec::with_capacity(entries.len());
    let mut places: HashMap<String, usize> = HashMap::with_capacity(entries.len());
    let mut inherited = Vec::new();
    for (key, value) in entries {
        match &key.content {
            Content::Scalar(_, Meaning::Merge) => collect_merge(value, &mut inherited)?,
            Content::Scalar(text, _) => match places.get(text) {
                Some(place) => own[*place] = (key, value),
                None => {
                    places.insert(text.clone(), own.len());
                    own.push((key, value));
                }
            },
            _ => {
                return Err(Error::Syntax {
                    line: key.line,
                    reason: "a key is a list or map".into(),
                });
            }
        }
    }
    for (key, value) in inherited {
        if let Content::Scalar(text, _) = &key.content
            && !places.contains_key(text)
        {
            places.insert(text.clone(), own.len());
            own.push((key, value));
        }
    }
    Ok(own)
}

fn collect_merge(value: Node, inherited: &mut Vec<(Node, Node)>) -> Result<()> {
    match value.content {
        Content::Map(entries) => inherited.extend(entries),
        Content::List(maps) => {
            for map in maps {
                match map.content {
                    Content::Map(entries) => inherited.extend(entries),
                    _ => return Err(bad_merge(map.line)),
                }
            }
        }
        Content::Scalar(..) => return Err(bad_merge(value.line)),
    }
    Ok(())
}

fn bad_merge(line: usize) -> Error {
    Error::Syntax {
        line,
        reason: "map merge requires map or sequence of maps as the value".into(),
    }
}
