//! Every key of pools and volumes, with good and bad values, asked of both daemons.

use lxd_e2e::Server;
use lxd_e2e::socket::{Fate, ask, fate};
use serde_json::{Value, json};

use super::{Comparison, config_of, one, values};

/// The drivers that both have, each with a pool of its name.
const DRIVERS: [&str; 2] = ["dir", "btrfs"];

/// Keys that pools may have, and some that they may not.
const POOL_KEYS: &[&str] = &[
    "btrfs.mount_options",
    "ceph.osd.pool_name",
    "lvm.vg_name",
    "nosuch",
    "rsync.bwlimit",
    "rsync.compression",
    "size",
    "source",
    "user",
    "user.",
    "user.x",
    "volatile.initial_source",
    "volatile.pool.pristine",
    "volume.block.filesystem",
    "volume.nosuch",
    "volume.security.shifted",
    "volume.security.unmapped",
    "volume.size",
    "volume.snapshots.expiry",
    "volume.snapshots.pattern",
    "volume.snapshots.schedule",
    "volume.user.x",
    "volume.volatile.idmap.last",
    "zfs.pool_name",
];

/// The same of volumes.
const VOLUME_KEYS: &[&str] = &[
    "block.filesystem",
    "block.mount_options",
    "btrfs.mount_options",
    "nosuch",
    "security.shifted",
    "security.unmapped",
    "size",
    "snapshots.expiry",
    "snapshots.nosuch",
    "snapshots.pattern",
    "snapshots.schedule",
    "user",
    "user.",
    "user.x",
    "volatile.idmap.last",
    "volatile.idmap.next",
    "volatile.nosuch",
    "volatile.rootfs.size",
    "volatile.uuid",
    "zfs.blocksize",
];

/// Names that volumes and pools may have or not.
const NAMES: &[&str] = &[
    "",
    ".",
    "..",
    "a/b",
    "a b",
    "-a",
    "a-",
    "1",
    "ü",
    "a_b",
    "a.b",
    "A",
    "a:b",
    "a%b",
    "a?b",
    "a#b",
    "a\\b",
    "a\nb",
    " a",
    "averyveryveryveryveryveryveryveryveryveryveryveryveryveryveryveryverylongname",
];

/// The values to try for a key.
fn values_of(key: &str) -> &'static [&'static str] {
    match key.trim_start_matches("volume.") {
        "size" => &["1MiB", "10MB", "0", "-1", "x", "10XB", "10%", "1.5MB", "1 MB", ""],
        "snapshots.expiry" | "snapshots.schedule" => {
            values::of_instance(key.trim_start_matches("volume."), "string")
        }
        "snapshots.pattern" => &["x%d", "{{ creation_date }}", "{{ nosuch", "a b", ""],
        "security.shifted" | "security.unmapped" | "rsync.compression" => {
            &["true", "false", "1", "0", "yes", "on", "maybe", "TRUE", ""]
        }
        "rsync.bwlimit" => &["10", "10MB", "0", "-1", "x", "10XB", ""],
        "btrfs.mount_options" => &["noatime", "noatime,user_subvol_rm_allowed", ""],
        "source" => &["/nosuch", "word", ""],
        "volatile.idmap.last" | "volatile.idmap.next" => &["[]", "", "x"],
        _ => &["x", "1", ""],
    }
}

/// Some of the values, for what is asked all of them elsewhere.
fn some_of(key: &str) -> impl Iterator<Item = &'static str> {
    let all = values_of(key);
    let wanted = [0, all.len() / 2];
    all.iter()
        .enumerate()
        .filter(move |(index, _)| wanted.contains(index))
        .map(|(_, value)| *value)
}

/// What a place has before it is asked about.
fn before(server: &Server, path: &str) -> Value {
    let (_, shown) = ask(server, "GET", path, &Value::Null);
    let shown = &shown["metadata"];
    json!({"config": shown["config"], "description": shown["description"]})
}

/// Changes the configuration at a path by a method, and puts back what was there.
fn changed(server: &Server, (method, path): (&str, &str), (key, value): (&str, &str)) -> (Fate, Value) {
    let old = before(server, path);
    let mut body = match method {
        "PUT" => old.clone(),
        _ => json!({"config": {}}),
    };
    body["config"][key] = json!(value);
    let fate = fate(server, method, path, &body);
    if !fate.error.is_empty() {
        return (fate, Value::Null);
    }
    let now = config_of(server, path, &one(key, value));
    ask(server, "PUT", path, &old);
    (fate, now)
}

/// Makes something, looks at its configuration, and deletes it.
fn made(server: &Server, (at, name): (&str, &str), body: &Value) -> (Fate, Value) {
    let fate = fate(server, "POST", at, body);
    if !fate.error.is_empty() {
        return (fate, Value::Null);
    }
    let path = format!("{at}/{name}");
    let (_, shown) = ask(server, "GET", &path, &Value::Null);
    ask(server, "DELETE", &path, &Value::Null);
    (fate, shown["metadata"]["config"].clone())
}

fn both_with_pools() -> Comparison {
    let both = Comparison::new();
    for server in [&both.ours, &both.reference] {
        server.lxc(&["storage", "create", "dir", "dir"]).ok();
        server
            .lxc(&["storage", "create", "btrfs", "btrfs", "size=300MiB"])
            .ok();
        for driver in DRIVERS {
            server.lxc(&["storage", "volume", "create", driver, "fs"]).ok();
            server
                .lxc(&[
                    "storage",
                    "volume",
                    "create",
                    driver,
                    "blk",
                    "--type=block",
                    "size=1MiB",
                ])
                .ok();
            server
                .lxc(&["storage", "volume", "snapshot", driver, "fs", "s0"])
                .ok();
            server
                .lxc(&["init", "--empty", &format!("in-{driver}"), "-s", driver])
                .ok();
        }
    }
    both
}

#[test]
fn configuration_of_pools_and_volumes() {
    let mut both = both_with_pools();
    pools(&mut both);
    volumes(&mut both);
    both.finish(650);
}

fn pools(both: &mut Comparison) {
    let mut change = |method: &str, driver: &str, (key, value): (&str, &str)| {
        let path = format!("/1.0/storage-pools/{driver}");
        both.ask(&format!("{method} pool {driver} {key}={value:?}"), |server| {
            changed(server, (method, &path), (key, value))
        });
    };
    for key in POOL_KEYS {
        values_of(key)
            .iter()
            .for_each(|value| change("PATCH", "dir", (key, value)));
        some_of(key).for_each(|value| change("PUT", "dir", (key, value)));
        let is_own = matches!(*key, "size" | "btrfs.mount_options");
        match is_own {
            true => values_of(key)
                .iter()
                .for_each(|value| change("PUT", "btrfs", (key, value))),
            false => some_of(key).for_each(|value| change("PUT", "btrfs", (key, value))),
        }
    }
    let at = "/1.0/storage-pools";
    for key in POOL_KEYS {
        for value in some_of(key) {
            let body = json!({"name": "t", "driver": "dir", "config": one(key, value)});
            both.ask(&format!("new pool dir {key}={value:?}"), |server| {
                made(server, (at, "t"), &body)
            });
        }
    }
    let body = json!({"name": "t", "driver": "btrfs", "config": one("volatile.initial_source", "x")});
    both.ask("new pool btrfs", |server| {
        let (fate, mut now) = made(server, (at, "t"), &body);
        // A fifth of what is free.
        now.as_object_mut().map(|config| config.remove("size"));
        (fate, now)
    });
    for name in NAMES {
        let body = json!({"name": name, "driver": "dir"});
        both.ask(&format!("new pool {name:?}"), |server| {
            made(server, (at, &escaped(name)), &body)
        });
    }
}

fn escaped(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

fn volumes(both: &mut Comparison) {
    let at = |driver: &str, place: &str| format!("/1.0/storage-pools/{driver}/volumes/{place}");
    let mut change = |method: &str, (driver, place): (&str, &str), (key, value): (&str, &str)| {
        let path = at(driver, place);
        both.ask(&format!("{method} {driver} {place} {key}={value:?}"), |server| {
            changed(server, (method, &path), (key, value))
        });
    };
    for key in VOLUME_KEYS {
        values_of(key)
            .iter()
            .for_each(|value| change("PATCH", ("dir", "custom/fs"), (key, value)));
        for value in some_of(key) {
            change("PUT", ("dir", "custom/fs"), (key, value));
            change("PUT", ("dir", "custom/blk"), (key, value));
            change("PUT", ("dir", "container/in-dir"), (key, value));
            change("PATCH", ("btrfs", "custom/fs"), (key, value));
        }
        for value in some_of(key).take(1) {
            change("PUT", ("dir", "custom/fs/snapshots/s0"), (key, value));
            change("PATCH", ("btrfs", "custom/blk"), (key, value));
        }
    }
    let custom = at("dir", "custom");
    for key in VOLUME_KEYS {
        for (kind, value) in ["filesystem", "block"]
            .iter()
            .flat_map(|kind| some_of(key).map(move |value| (kind, value)))
        {
            let body = json!({"name": "t", "content_type": kind, "config": one(key, value)});
            both.ask(&format!("new volume of {kind} {key}={value:?}"), |server| {
                made(server, (&custom, "t"), &body)
            });
        }
    }
    for name in NAMES {
        let body = json!({"name": name});
        both.ask(&format!("new volume {name:?}"), |server| {
            made(server, (&custom, &escaped(name)), &body)
        });
    }
}
