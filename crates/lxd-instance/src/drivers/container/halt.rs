//! The signal that makes a container's init shut down.

use lxd_sys::command::Signal;
use lxd_sys::process;

use crate::instance::Instance;

/// `SIGRTMIN+3`, which systemd takes for "halt" and therefore blocks; see systemd(1).
const SYSTEMD_HALT: i32 = 37;

/// The C library's first and last signal of real time.
const REAL_TIME: (i32, i32) = (34, 64);

/// The names of signals, from 1.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The signal for this init: what `raw.lxc` says, else what the init wants.
pub(super) fn signal(instance: &Instance, init: i32) -> i32 {
    if let Some(wanted) = instance.config("raw.lxc").and_then(wanted) {
        return wanted;
    }
    match process::status(init) {
        Ok(status) if status.blocks(SYSTEMD_HALT as u32) => SYSTEMD_HALT,
        _ => Signal::POWER.as_raw(),
    }
}

/// The last `lxc.signal.halt` of a configuration for liblxc.
fn wanted(raw: &str) -> Option<i32> {
    let lines = raw.lines().filter_map(|line| line.split_once('='));
    let mut values = lines.filter(|(key, _)| key.trim() == "lxc.signal.halt");
    values.next_back().and_then(|(_, value)| parse(value.trim()))
}

/// Reads a signal as liblxc writes it: `9`, `SIGKILL`, `SIGRTMIN+3`, `SIGRTMAX-1`.
fn parse(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=REAL_TIME.1).contains(&number).then_some(number);
    }
    let name = text.strip_prefix("SIG")?;
    let offset = |rest: &str, sign: char| match rest {
        "" => Some(0),
        rest => rest.strip_prefix(sign)?.parse::<i32>().ok(),
    };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        REAL_TIME.0.checked_add(offset(rest, '+')?)?
    } else if let Some(rest) = name.strip_prefix("RTMAX") {
        REAL_TIME.1.checked_sub(offset(rest, '-')?)?
    } else {
        let index = NAMES.iter().position(|known| *known == name)?;
        return i32::try_from(index + 1).ok();
    };
    (REAL_TIME.0..=REAL_TIME.1).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_as_liblxc_does() {
        for (text, number) in [
            ("SIGTERM", Some(15)),
            ("9", Some(9)),
            ("SIGRTMIN+3", Some(37)),
            ("SIGRTMAX-1", Some(63)),
            ("SIGRTMIN", Some(34)),
            ("SIGRTMIN+99", None),
            ("TERM", None),
            ("0", None),
            ("99", None),
        ] {
            assert_eq!(parse(text), number, "{text}");
        }
        assert_eq!(
            wanted("a = b\nlxc.signal.halt = SIGPWR\nlxc.signal.halt=SIGUSR1"),
            Some(10)
        );
        assert_eq!(wanted("lxc.signal.reboot = SIGTERM"), None);
    }
}
