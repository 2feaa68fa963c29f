//! Which instances start with the daemon, and in which order they start and stop.

use std::cmp::Reverse;

use crate::config::{Config, instance::value, is_false, is_true};

use super::Status;

/// Whether an instance starts with the daemon: as `boot.autostart` says, else if it ran when the daemon stopped.
pub fn starts(expanded: &Config) -> bool {
    let wish = value(expanded, "boot.autostart");
    if is_true(wish) || is_false(wish) {
        return is_true(wish);
    }
    let power = expanded
        .get("volatile.last_state.power")
        .map(String::as_str)
        .unwrap_or_default();
    Status::parse(power).is_some_and(Status::is_running)
}

/// The key to sort by for starting: higher `boot.autostart.priority` first, then by project and name.
pub fn start_key<'a>(expanded: &Config, project: &'a str, name: &'a str) -> (Reverse<i64>, &'a str, &'a str) {
    (
        Reverse(priority(expanded, "boot.autostart.priority")),
        project,
        name,
    )
}

/// The priority to group by for stopping: higher `boot.stop.priority` first, equals at the same time.
pub fn stop_priority(expanded: &Config) -> Reverse<i64> {
    Reverse(priority(expanded, "boot.stop.priority"))
}

/// Seconds to wait after starting this instance before the next one.
pub fn start_delay_seconds(expanded: &Config) -> u64 {
    u64::try_from(priority(expanded, "boot.autostart.delay")).unwrap_or(0)
}

/// Seconds that a guest has for its shutdown when the host goes down.
pub fn shutdown_timeout_seconds(expanded: &Config) -> u64 {
    u64::try_from(priority(expanded, "boot.host_shutdown_timeout")).unwrap_or(0)
}

fn priority(expanded: &Config, key: &str) -> i64 {
    value(expanded, key).parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(entries: &[(&str, &str)]) -> Config {
        entries
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn the_wish_counts_before_the_last_state() {
        let running = ("volatile.last_state.power", "RUNNING");
        assert!(starts(&config(&[running])));
        assert!(!starts(&config(&[running, ("boot.autostart", "no")])));
        assert!(starts(&config(&[("boot.autostart", "1")])));
        assert!(!starts(&config(&[("volatile.last_state.power", "STOPPED")])));
        assert!(!starts(&config(&[])));
    }

    #[test]
    fn higher_priorities_go_first() {
        let (low, high) = (config(&[]), config(&[("boot.autostart.priority", "5")]));
        assert!(start_key(&high, "p", "z") < start_key(&low, "default", "a"));
        assert!(start_key(&low, "p", "a") < start_key(&low, "p", "b"));
        assert_eq!(shutdown_timeout_seconds(&low), 30);
    }
}
