//! Templates of files in instances: what images bring along as `templates/*.tpl`, written in pongo2's language.
//!
//! Jinja's engine does the work, with what pongo2 writes or means otherwise translated or replaced. A template sees what it
//! is given and nothing else: there is no way to name a file.

mod syntax;

use std::collections::BTreeMap;
use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error as EngineError, ErrorKind as EngineKind, UndefinedBehavior};

use crate::config::Config;
use crate::devices::Devices;

/// What a template may cost: instructions of the engine.
const FUEL: u64 = 5_000_000;

/// Bytes that a rendered file may have.
const SIZE_MAX: usize = 64 << 20;

/// What a template knows of the instance that it is rendered for.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Why it is rendered: `create`, `copy`, `rename` or `start`.
    pub trigger: &'a str,
    /// The file in the instance that it becomes.
    pub path: &'a str,
    /// The instance: `name`, `type`, `architecture`, `privileged`, `ephemeral`.
    pub instance: &'a BTreeMap<String, String>,
    /// The configuration with that of the profiles.
    pub config: &'a Config,
    /// The devices with those of the profiles.
    pub devices: &'a Devices,
    /// The properties of the template in `metadata.yaml`.
    pub properties: &'a BTreeMap<String, String>,
}

/// Why a template has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Failed to render template: {reason}")]
pub struct TemplateError {
    reason: String,
}

/// Renders a template.
///
/// # Errors
/// It is not understood, or it takes more than any file of configuration needs.
pub fn render(source: &str, context: Context<'_>) -> Result<String, TemplateError> {
    let failed = |reason: String| TemplateError { reason };
    let translated = syntax::translate(source).map_err(failed)?;
    let engine = engine();
    let mut out = Limited(Vec::new());
    let template = engine.template_from_str(&translated);
    let template = template.map_err(|error| failed(explain(&error)))?;
    let rendered = template.render_captured_to(root(context), &mut out).map(drop);
    rendered.map_err(|error| failed(explain(&error)))?;
    String::from_utf8(out.0).map_err(|error| failed(error.to_string()))
}

/// A buffer of at most [`SIZE_MAX`] bytes.
struct Limited(Vec<u8>);

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > SIZE_MAX {
            return Err(io::Error::other(format!(
                "the result has more than {SIZE_MAX} bytes"
            )));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn explain(error: &EngineError) -> String {
    match error.line() {
        Some(line) => format!(
            "line {line}: {}",
            error
                .detail()
                .map_or_else(|| error.kind().to_string(), str::to_owned)
        ),
        None => error.to_string(),
    }
}

fn engine() -> Environment<'static> {
    let mut engine = Environment::new();
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        engine.set_syntax(syntax);
    }
    engine.set_auto_escape_callback(|_| AutoEscape::None);
    engine.set_undefined_behavior(UndefinedBehavior::Chainable);
    engine.set_fuel(Some(FUEL));
    engine.set_formatter(|out, state, value| match value.kind() {
        // As Go prints them.
        ValueKind::None | ValueKind::Undefined => Ok(()),
        ValueKind::Bool => Ok(out.write_str(if value.is_true() { "True" } else { "False" })?),
        _ => minijinja::escape_formatter(out, state, value),
    });
    engine.add_filter(
        "default",
        |value: Value, other: Value| if value.is_true() { value } else { other },
    );
    engine.add_filter("default_if_none", |value: Value, other: Value| {
        if value.is_none() || value.is_undefined() {
            other
        } else {
            value
        }
    });
    engine.add_filter("split", |text: String, by: String| -> Vec<String> {
        text.split(by.as_str()).map(str::to_owned).collect()
    });
    engine.add_filter("cut", |text: String, what: String| text.replace(&what, ""));
    engine.add_filter("capfirst", |text: String| {
        let mut letters = text.chars();
        let first = letters.next().map(|letter| letter.to_uppercase().to_string());
        first.unwrap_or_default() + letters.as_str()
    });
    engine.add_filter("integer", |value: Value| number(&value));
    engine.add_filter("add", add);
    engine.add_filter("yesno", yesno);
    engine.add_filter("ljust", |text: String, width: usize| {
        justified(&text, width, true)
    });
    engine.add_filter("rjust", |text: String, width: usize| {
        justified(&text, width, false)
    });
    engine
}

/// All that a template can name.
fn root(context: Context<'_>) -> Value {
    let config = context.config.clone();
    let get = move |key: String, other: Option<Value>| match config.get(&key) {
        Some(value) => Value::from(value.trim_end_matches(['\r', '\n'])),
        None => other.unwrap_or_default(),
    };
    let instance = texts(context.instance);
    let devices = context
        .devices
        .iter()
        .map(|(name, device)| (name.as_str(), texts(device)));
    Value::from_pairs([
        ("trigger", Value::from(context.trigger)),
        ("path", Value::from(context.path)),
        ("container", instance.clone()),
        ("instance", instance),
        ("config", texts(context.config)),
        ("devices", Value::from_pairs(devices)),
        ("properties", texts(context.properties)),
        ("config_get", Value::from_function(get)),
    ])
}

fn texts(map: &BTreeMap<String, String>) -> Value {
    Value::from_pairs(map.iter().map(|(key, value)| (key.as_str(), value.as_str())))
}

/// A number, or the text of one; 0 for anything else.
fn number(value: &Value) -> i64 {
    match value.as_str() {
        Some(text) => text.trim().parse().unwrap_or(0),
        None => i64::try_from(value.clone()).unwrap_or(0),
    }
}

/// Sums of numbers; other things stand one after the other.
fn add(value: Value, other: Value) -> Result<Value, EngineError> {
    if value.is_number() && other.is_number() {
        let sum = number(&value).checked_add(number(&other));
        let sum =
            sum.ok_or_else(|| EngineError::new(EngineKind::InvalidOperation, "the sum is too large"))?;
        return Ok(Value::from(sum));
    }
    Ok(Value::from(format!("{value}{other}")))
}

/// `yes,no,maybe`, chosen by a value.
fn yesno(value: Value, words: Option<String>) -> String {
    let words = words.unwrap_or_else(|| "yes,no,maybe".into());
    let mut words = words.split(',');
    let (yes, no) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let maybe = words.next().unwrap_or(no);
    let chosen = match () {
        () if value.is_none() || value.is_undefined() => maybe,
        () if value.is_true() => yes,
        () => no,
    };
    chosen.to_owned()
}

fn justified(text: &str, width: usize, is_left: bool) -> String {
    // Nobody writes wider lines, and a template must not take all memory.
    let width = width.min(10_000);
    if is_left {
        format!("{text:<width$}")
    } else {
        format!("{text:>width$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(source: &str) -> Result<String, String> {
        let pairs = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        let instance = pairs(&[("name", "c1"), ("type", "container"), ("privileged", "false")]);
        let config = pairs(&[("user.a", "x\n"), ("user.b", "<&>"), ("limits.cpu", "2")]);
        let devices = BTreeMap::from([("root".to_owned(), pairs(&[("type", "disk"), ("path", "/")]))]);
        let properties = pairs(&[("default", "from the image")]);
        let context = Context {
            trigger: "create",
            path: "/etc/hostname",
            instance: &instance,
            config: &config,
            devices: &devices,
            properties: &properties,
        };
        render(source, context).map_err(|error| error.to_string())
    }

    #[test]
    fn what_images_write() {
        for (source, wanted) in [
            ("{{ container.name }}\n", "c1\n"),
            (
                "{{ instance.name|upper }} {{ trigger }} {{ path }}",
                "C1 create /etc/hostname",
            ),
            ("{{ config_get(\"user.a\", \"\") }}|", "x|"),
            ("{{ config_get(\"user.b\", \"\") }}", "<&>"),
            (
                "{{ config_get(\"user.none\", properties.default) }}",
                "from the image",
            ),
            ("{{ config_get(\"user.none\", properties.none) }}|", "|"),
            (
                "{% if config_get(\"user.a\", \"\") == \"\" %}none{% else %}some{% endif %}",
                "some",
            ),
            (
                "{% if instance.type == \"container\" && !(trigger == \"copy\") %}yes{% endif %}",
                "yes",
            ),
            (
                "{% if trigger == \"copy\" || container.privileged == \"true\" %}a{% elif true %}b{% endif %}",
                "b",
            ),
            ("{{ properties.none|default:\"other\" }}", "other"),
            ("{{ \"a:b|c\"|default:'x' }}", "a:b|c"),
            (
                "{% for name, device in devices %}{{ name }}={{ device.type }};{% endfor %}",
                "root=disk;",
            ),
            (
                "{% for key in config sorted %}{{ forloop.Counter }}{{ key }} {% endfor %}",
                "1limits.cpu 2user.a 3user.b ",
            ),
            (
                "{% for x in properties.none %}{{ x }}{% empty %}nothing{% endfor %}",
                "nothing",
            ),
            ("{% comment %}{{ bogus( }}{% endcomment %}{# {{ #}a", "a"),
            (
                "{% ifequal trigger \"create\" %}same{% else %}other{% endifequal %}",
                "same",
            ),
            ("{% set a = \"1,2\" %}{{ a|split:\",\"|join:\"-\" }}", "1-2"),
            ("{{ 1|add:2 }} {{ 1 == 1 }} {{ 2 <= 1 }}", "3 True False"),
            ("a\n{% if true %}\nb\n{% endif %}\n", "a\n\nb\n\n"),
            (
                "{% autoescape on %}{{ config_get(\"user.b\", \"\") }}{% endautoescape %}",
                "&lt;&amp;&gt;",
            ),
            ("{% verbatim %}{{ a }}{% endverbatim %}", "{{ a }}"),
        ] {
            assert_eq!(rendered(source).as_deref(), Ok(wanted), "{source}");
        }
    }

    #[test]
    fn nothing_leads_to_files_and_nothing_goes_on_for_ever() {
        for source in [
            "{% include \"/etc/shadow\" %}",
            "{% ssi \"/etc/shadow\" %}",
            "{% extends \"/etc/shadow\" %}",
            "{% import \"/etc/shadow\" as a %}",
            "{% from \"/etc/shadow\" import a %}",
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            "{{ bogus",
            "{% bogus %}",
            "{% if %}",
            "{{ \"x\"|bogus }}",
        ] {
            let error = rendered(source).unwrap_err();
            assert!(
                error.starts_with("Failed to render template: "),
                "{source}: {error}"
            );
        }
    }
}
