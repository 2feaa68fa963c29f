//! Sizes: lines of files and functions, parameters, handlers. Tests are not counted.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::Finding;
use crate::source::Source;

const FILE: usize = 800;
const FILE_P90: usize = 400;
const FUNCTION: usize = 100;
const FUNCTION_P90: usize = 40;
const HANDLER: usize = 40;
const PARAMETERS: usize = 6;
const INLINE_TESTS: usize = 200;

/// What was measured, and what is too large.
pub struct Measured {
    /// Broken limits.
    pub findings: Vec<Finding>,
    /// The figures in a line.
    pub summary: String,
}

/// Measures every production file.
pub fn check(sources: &[Source]) -> Measured {
    let mut findings = Vec::new();
    let mut files = Vec::new();
    let mut functions = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let parsed = match syn::parse_file(&source.text) {
            Ok(parsed) => parsed,
            Err(why) => {
                findings.push(Finding::new("parse", source.path.clone(), why.to_string()));
                continue;
            }
        };
        let mut visitor = Functions::default();
        visitor.visit_file(&parsed);
        let lines = source.text.lines().count().saturating_sub(visitor.test_lines);
        if lines > FILE {
            findings.push(Finding::new(
                "file",
                source.path.clone(),
                format!("{lines} lines, over {FILE}"),
            ));
        }
        if visitor.test_lines > INLINE_TESTS {
            let why = format!(
                "{} lines of inline tests, over {INLINE_TESTS}: move them to a sibling",
                visitor.test_lines
            );
            findings.push(Finding::new("tests", source.path.clone(), why));
        }
        files.push(lines);
        let is_edge = source.path.starts_with("crates/lxd/src/api/");
        for function in visitor.found {
            let place = format!("{}:{}", source.path, function.name);
            let limit = if is_edge { HANDLER } else { FUNCTION };
            if function.lines > limit {
                findings.push(Finding::new(
                    "function",
                    place.clone(),
                    format!("{} lines, over {limit}", function.lines),
                ));
            }
            if function.parameters > PARAMETERS {
                let why = format!("{} parameters, over {PARAMETERS}", function.parameters);
                findings.push(Finding::new("parameters", place, why));
            }
            functions.push(function.lines);
        }
    }
    let (file_p90, function_p90) = (p90(&mut files), p90(&mut functions));
    if file_p90 > FILE_P90 {
        findings.push(Finding::new(
            "file-p90",
            "all",
            format!("{file_p90} lines, over {FILE_P90}"),
        ));
    }
    if function_p90 > FUNCTION_P90 {
        findings.push(Finding::new(
            "function-p90",
            "all",
            format!("{function_p90} lines, over {FUNCTION_P90}"),
        ));
    }
    let summary = format!(
        "files p90 {file_p90}, longest {}; functions p90 {function_p90}, longest {}",
        files.last().unwrap_or(&0),
        functions.last().unwrap_or(&0)
    );
    Measured { findings, summary }
}

fn p90(sizes: &mut [usize]) -> usize {
    sizes.sort_unstable();
    sizes.get(sizes.len() * 9 / 10).copied().unwrap_or(0)
}

struct Function {
    name: String,
    lines: usize,
    parameters: usize,
}

#[derive(Default)]
struct Functions {
    found: Vec<Function>,
    test_lines: usize,
}

impl Functions {
    fn add(&mut self, signature: &syn::Signature, end: Span) {
        let lines = end.end().line + 1 - signature.span().start().line;
        self.found.push(Function {
            name: signature.ident.to_string(),
            lines,
            parameters: signature.inputs.len(),
        });
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.attrs.iter().any(is_cfg_test) {
            if item.content.is_some() {
                let span = item.span();
                self.test_lines += span.end().line + 1 - span.start().line;
            }
            return;
        }
        visit::visit_item_mod(self, item);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if item.attrs.iter().any(is_cfg_test) {
            return;
        }
        self.add(&item.sig, item.block.span());
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(&item.sig, item.block.span());
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.add(&item.sig, block.span());
        }
        visit::visit_trait_item_fn(self, item);
    }
}

fn is_cfg_test(attribute: &syn::Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute
            .meta
            .require_list()
            .is_ok_and(|list| list.tokens.to_string().contains("test"))
}
