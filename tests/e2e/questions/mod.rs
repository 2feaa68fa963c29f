//! Every key of instances, profiles and devices, with good and bad values, asked of both daemons.

mod storage;
mod values;

use std::collections::BTreeMap;
use std::path::Path;

use lxd_e2e::socket::{Fate, ask, fate};
use lxd_e2e::{Kind, Server};
use serde_json::{Map, Value, json};

/// A key, and the type that its values have.
struct Key {
    name: String,
    kind: String,
}

/// The keys of every noun: those of our catalog, and those of the reference's where its list is at hand.
fn keys() -> BTreeMap<String, Vec<Key>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &Path| -> Option<Value> {
        Some(serde_json::from_str(&std::fs::read_to_string(path).ok()?).unwrap())
    };
    let ours = read(&here.join("../api/config-keys.json")).unwrap();
    let mut found: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut add = |noun: &str, name: &str, kind: &Value| {
        let kind = kind.as_str().unwrap_or("string").to_owned();
        found
            .entry(noun.to_owned())
            .or_default()
            .entry(name.to_owned())
            .or_insert(kind);
    };
    for (noun, rows) in ours.as_object().unwrap() {
        for row in rows.as_array().unwrap() {
            add(noun, row["key"].as_str().unwrap(), &row["type"]);
        }
    }
    if let Some(theirs) = read(&here.join("../../shared/reference/lxd-5.0.2-config-keys.json")) {
        for (noun, rows) in theirs["scopes"].as_object().unwrap() {
            for (name, row) in rows.as_object().unwrap() {
                add(noun, name, &row["type"]);
            }
        }
    }
    let keys = |rows: BTreeMap<String, String>| {
        rows.into_iter()
            .map(|(name, kind)| Key { name, kind })
            .collect::<Vec<_>>()
    };
    found.into_iter().map(|(noun, rows)| (noun, keys(rows))).collect()
}

/// Two servers in the same state, and what they have answered differently.
struct Comparison {
    ours: Server,
    reference: Server,
    asked: usize,
    differences: Vec<String>,
}

impl Comparison {
    fn new() -> Self {
        let (ours, reference) = (
            Server::ready(Kind::Ours, "dir"),
            Server::ready(Kind::Reference, "dir"),
        );
        for server in [&ours, &reference] {
            server.lxc(&["init", "--empty", "c1"]).ok();
            server.lxc(&["profile", "create", "p1"]).ok();
        }
        Self {
            ours,
            reference,
            asked: 0,
            differences: Vec::new(),
        }
    }

    /// Asks both the same and notes a difference. `look` reads from each what the request has made of it.
    fn ask(&mut self, question: &str, one: impl Fn(&Server) -> (Fate, Value) + Sync) {
        let answer = |server: &Server| {
            let (fate, now) = one(server);
            let clean = |text: String| {
                text.replace(server.bridge(), "BRIDGE")
                    .replace(server.dir().to_str().unwrap(), "LXD_DIR")
            };
            let clean = |text: String| values::without_variables(&clean(text));
            (fate.code, fate.status, clean(fate.error), clean(now.to_string()))
        };
        let (a, b) = std::thread::scope(|scope| {
            let reference = scope.spawn(|| answer(&self.reference));
            (answer(&self.ours), reference.join().unwrap())
        });
        self.asked += 1;
        if a == b || values::is_explained(question, &a.2, &b.2) {
            return;
        }
        let shown = |(code, status, error, now): &(u16, u64, String, String)| match a.3 == b.3 {
            true => format!("{code} {status} {error}"),
            false => format!("{code} {status} {error} {now}"),
        };
        self.differences.push(format!(
            "{question}\n  ours      {}\n  reference {}",
            shown(&a),
            shown(&b)
        ));
    }

    /// Ends with all differences.
    fn finish(self, least: usize) {
        let Self {
            asked, differences, ..
        } = &self;
        println!("{asked} questions, {} differences", differences.len());
        assert!(*asked >= least, "only {asked} questions were asked");
        assert!(
            differences.is_empty(),
            "{} of {asked} answers differ:\n{}",
            differences.len(),
            differences.join("\n")
        );
    }
}

/// What can be written of a noun at a path.
fn writable(server: &Server, path: &str) -> Value {
    let (_, answer) = ask(server, "GET", path, &Value::Null);
    let all = &answer["metadata"];
    let mut out = Map::new();
    for field in [
        "architecture",
        "config",
        "devices",
        "ephemeral",
        "profiles",
        "stateful",
        "description",
    ] {
        if !all[field].is_null() {
            out.insert(field.to_owned(), all[field].clone());
        }
    }
    Value::Object(out)
}

fn config_of(server: &Server, path: &str, keys: &Map<String, Value>) -> Value {
    let (_, answer) = ask(server, "GET", path, &Value::Null);
    let config = &answer["metadata"]["config"];
    keys.keys().map(|key| json!([key, config[key]])).collect()
}

fn one(key: &str, value: &str) -> Map<String, Value> {
    Map::from_iter([(key.to_owned(), json!(value))])
}

/// All questions about configuration keys: a key and a value, or keys that go together or don't.
fn configurations() -> Vec<Map<String, Value>> {
    let all = keys();
    let mut found = Vec::new();
    // The reference's list has notes among the keys.
    let keys = all["instance"].iter().filter(|key| !key.name.starts_with('_'));
    for key in keys {
        let name = values::concrete(&key.name);
        for value in values::of_instance(&key.name, &key.kind) {
            found.push(one(&name, value));
        }
    }
    found.extend(values::UNKNOWN.iter().map(|name| one(name, "1")));
    found.extend(values::TOGETHER.iter().map(|text| {
        let config: Map<String, Value> = serde_json::from_str(text).unwrap();
        config
    }));
    found
}

#[test]
fn configuration_of_profiles_and_instances() {
    let mut both = Comparison::new();
    for config in configurations() {
        let text = Value::Object(config.clone()).to_string();
        both.ask(&format!("profile {text}"), |server| {
            let path = "/1.0/profiles/p1";
            let fate = fate(server, "PUT", path, &json!({"config": config}));
            let now = config_of(server, path, &config);
            ask(server, "PUT", path, &json!({}));
            (fate, now)
        });
        both.ask(&format!("instance {text}"), |server| {
            let path = "/1.0/instances/c1";
            let before = writable(server, path);
            let fate = fate(server, "PATCH", path, &json!({"config": config}));
            let now = config_of(server, path, &config);
            if fate.error.is_empty() {
                self::fate(server, "PUT", path, &before);
            }
            (fate, now)
        });
    }
    both.finish(600);
}

#[test]
fn configuration_of_new_instances() {
    let mut both = Comparison::new();
    for config in configurations() {
        let text = Value::Object(config.clone()).to_string();
        both.ask(&format!("new instance {text}"), |server| {
            let body = json!({"name": "c2", "source": {"type": "none"}, "config": config});
            let fate = fate(server, "POST", "/1.0/instances", &body);
            let path = "/1.0/instances/c2";
            let now = config_of(server, path, &config);
            let free = json!({"config": {"security.protection.delete": ""}});
            ask(server, "PATCH", path, &free);
            self::fate(server, "DELETE", path, &Value::Null);
            (fate, now)
        });
    }
    both.finish(300);
}

/// All questions about devices: a device, whole.
fn devices() -> Vec<Map<String, Value>> {
    let all = keys();
    let mut found: Vec<Map<String, Value>> = Vec::new();
    for (noun, text) in values::DEVICES {
        let base: Map<String, Value> = serde_json::from_str(text).unwrap();
        found.push(base.clone());
        let empty = Vec::new();
        for key in all.get(*noun).unwrap_or(&empty) {
            let name = values::concrete(&key.name);
            for value in values::of_device(noun, &key.name, &key.kind) {
                let mut device = base.clone();
                device.insert(name.clone(), json!(value));
                found.push(device);
            }
            if base.contains_key(&name) && name != "type" {
                let mut device = base.clone();
                device.remove(&name);
                found.push(device);
            }
        }
        let mut device = base.clone();
        device.insert("nosuch".to_owned(), json!("1"));
        found.push(device);
    }
    found.extend(values::MORE_DEVICES.iter().map(|text| {
        let device: Map<String, Value> = serde_json::from_str(text).unwrap();
        device
    }));
    found
}

/// A device with the server's own names in it.
fn device_for(server: &Server, device: &Map<String, Value>) -> Value {
    let text = Value::Object(device.clone())
        .to_string()
        .replace("BRIDGE", server.bridge());
    serde_json::from_str(&text).unwrap()
}

#[test]
fn devices_of_profiles_and_instances() {
    let mut both = Comparison::new();
    let name = |question: &Map<String, Value>| Value::Object(question.clone()).to_string();
    for device in devices() {
        let text = name(&device);
        both.ask(&format!("profile device {text}"), |server| {
            let path = "/1.0/profiles/p1";
            let body = json!({"devices": {"dev": device_for(server, &device)}});
            let fate = fate(server, "PUT", path, &body);
            let now = writable(server, path)["devices"].clone();
            ask(server, "PUT", path, &json!({}));
            (fate, now)
        });
        both.ask(&format!("instance device {text}"), |server| {
            let path = "/1.0/instances/c1";
            let before = writable(server, path);
            let mut body = before.clone();
            body["devices"]["dev"] = device_for(server, &device);
            let fate = fate(server, "PUT", path, &body);
            let now = writable(server, path)["devices"].clone();
            if fate.error.is_empty() {
                self::fate(server, "PUT", path, &before);
            }
            (fate, now)
        });
    }
    both.finish(600);
}
