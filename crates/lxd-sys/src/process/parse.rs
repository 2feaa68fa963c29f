//! Reads the texts of `/proc/PID/stat` and `/proc/PID/status`; see proc(5).

/// Some fields of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The state's letter, such as `S` or `Z`.
    pub state: char,
    /// The parent's process id.
    pub parent: i32,
    /// When it was started, in clock ticks after the machine's start. A process id together with this names one
    /// process for good.
    pub start_time: u64,
}

/// Some fields of `/proc/PID/status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The ids of the process, from the reader's pid namespace inwards; the last is what it sees itself.
    pub namespace_pids: Vec<i32>,
    /// Signals that the process blocks: bit N - 1 is signal N.
    pub blocked: u64,
}

impl Status {
    /// Whether the process blocks signal number `signal`.
    pub fn blocks(&self, signal: u32) -> bool {
        (1..=64).contains(&signal) && self.blocked >> (signal - 1) & 1 == 1
    }
}

pub(super) fn stat(text: &str) -> Option<Stat> {
    // The second field is the program's name in parentheses, and may hold both spaces and parentheses.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    // The start time is field 22; fields 3 and 4 are taken.
    let start_time = fields.nth(17)?.parse().ok()?;
    Some(Stat {
        state,
        parent,
        start_time,
    })
}

pub(super) fn status(text: &str) -> Option<Status> {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    };
    let namespace_pids = field("NSpid")?
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    let blocked = u64::from_str_radix(field("SigBlk")?.trim(), 16).ok()?;
    Some(Status {
        namespace_pids,
        blocked,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_is_no_trap() {
        let text = "42 (a) b (c) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2 3";
        assert_eq!(
            stat(text),
            Some(Stat {
                state: 'S',
                parent: 7,
                start_time: 987_654
            })
        );
        for bad in ["", "1 (x", "1 (x) S", "1 (x) S 1 1"] {
            assert_eq!(stat(bad), None);
        }
    }

    #[test]
    fn status_has_ids_and_blocked_signals() {
        let text = "Name:\tsystemd\nNSpid:\t4711\t1\nSigBlk:\t7fe3c0fe28014a03\n";
        let parsed = status(text).unwrap();
        assert_eq!(parsed.namespace_pids, [4711, 1]);
        assert!(parsed.blocks(1) && parsed.blocks(37) && !parsed.blocks(3));
        assert!(!parsed.blocks(0) && !parsed.blocks(65));
        assert_eq!(status("NSpid:\t1\n"), None);
    }
}
