//! The small program that does what forks: start, exec, console; and what liblxc runs as hooks.
//!
//! It stays small and links little, because liblxc's monitor is a fork of it that lives as long as the
//! container. See `liblxc::protocol` for what it is told and what it answers.

mod console;
mod criu;
mod exec;
mod groups;
mod hook;
mod inside;
mod intercept;
mod link;
mod proxy;
mod saved;
mod socket;
mod start;

use std::process::ExitCode;

const USAGE: &str = "usage: lxd-helper start NAME LXCPATH CONFIG | exec | console | intercept | proxy LOG | net LOG NIC... | \
net-back LOG NIC... | hook SOCKET PROJECT NAME KIND | check CONFIG | features | \
mount NAME TARGET file|dir PROPAGATION SPACES | unmount TARGET remove|keep SPACES | uevent SPACES LINE... | \
cgroup NAME LXCPATH KEY VALUE | dump NAME LXCPATH CONFIG FOLDER keep|stop LOG | restore NAME LXCPATH CONFIG FOLDER UID GID plain|mapped LOG NIC...";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["start", name, lxcpath, config] => start::start(name, lxcpath.as_ref(), config.as_ref()),
        ["dump", name, lxcpath, config, folder, end, log] => {
            let named = named(name, lxcpath, config);
            saved::dump(named, folder.as_ref(), *end == "stop", log.as_ref())
        }
        [
            "restore",
            name,
            lxcpath,
            config,
            folder,
            uid,
            gid,
            mapped,
            log,
            nics @ ..,
        ] => {
            let named = named(name, lxcpath, config);
            let ids = [*uid, *gid, *mapped];
            saved::restore(named, folder.as_ref(), ids, log.as_ref(), nics)
        }
        ["check", config] => start::check(config.as_ref()),
        ["features"] => {
            start::features();
            Ok(())
        }
        ["exec"] => exec::serve(),
        ["console"] => console::serve(),
        ["mount", name, target, kind, propagation, spaces] => {
            inside::mount(name, target, kind, propagation, spaces)
        }
        ["unmount", target, removes, spaces] => inside::unmount(target, *removes == "remove", spaces),
        ["uevent", spaces, lines @ ..] => inside::uevent(lines, spaces),
        ["cgroup", name, lxcpath, key, value] => start::set_cgroup(name, lxcpath.as_ref(), key, value),
        ["proxy", log] => proxy::serve(log),
        ["intercept"] => intercept::serve(),
        ["net", log, nics @ ..] => hook::net(log, nics),
        ["net-back", log, nics @ ..] => hook::net_back(log, nics),
        ["hook", socket, project, name, kind] => return hook::send(socket, project, name, kind),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn named<'a>(name: &'a str, lxcpath: &'a str, config: &'a str) -> saved::Named<'a> {
    saved::Named {
        name,
        lxcpath: lxcpath.as_ref(),
        config: config.as_ref(),
    }
}
