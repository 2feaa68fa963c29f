//! Faults on purpose: tests fail, or kill the daemon at, any step of any work.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::error::Error;

/// Which side of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// It is recorded, and has not begun.
    Before,
    /// It has run; nothing after it is recorded.
    After,
}

/// What to do at a step.
pub enum Verdict {
    /// Nothing: go on.
    Go,
    /// Fail with an error, which undoes the work.
    Fail(Error),
    /// Leave everything as it is, as if the process had died.
    Crash,
}

type Hook = dyn Fn(&str, &str, When) -> Verdict + Send + Sync;

/// A hook that every step passes. Empty in production.
#[derive(Clone, Default)]
pub struct Faults(Arc<RwLock<Option<Arc<Hook>>>>);

impl Faults {
    /// No faults.
    pub fn none() -> Self {
        Self::default()
    }

    /// Asks a function of work, step and side at every step.
    pub fn set(&self, hook: impl Fn(&str, &str, When) -> Verdict + Send + Sync + 'static) {
        *self.0.write() = Some(Arc::new(hook));
    }

    /// No more faults.
    pub fn clear(&self) {
        *self.0.write() = None;
    }

    /// Kills the process at a step.
    pub fn kill_at(point: FaultPoint) -> Self {
        let faults = Self::default();
        faults.set(move |work, step, when| {
            if point.work == work && point.step == step && point.when == when {
                let _ =
                    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            }
            Verdict::Go
        });
        faults
    }

    pub(super) fn at(&self, work: &str, step: &str, when: When) -> Verdict {
        let hook = self.0.read().clone();
        hook.map_or(Verdict::Go, |hook| hook(work, step, when))
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.read().is_some() {
            "Faults(on)"
        } else {
            "Faults(none)"
        })
    }
}

/// Where to die: `kind:step:before` or `kind:step:after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultPoint {
    work: String,
    step: String,
    when: When,
}

impl FromStr for FaultPoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parts: Vec<&str> = text.split(':').collect();
        let (work, step, when) = match parts[..] {
            [work, step, "before"] => (work, step, When::Before),
            [work, step, "after"] => (work, step, When::After),
            _ => {
                return Err(Error::bad_request(format!(
                    "{text:?} is not KIND:STEP:before or KIND:STEP:after"
                )));
            }
        };
        Ok(Self {
            work: work.into(),
            step: step.into(),
            when,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_points_are_read() {
        let point: FaultPoint = "instances.create:row:after".parse().unwrap();
        assert_eq!(
            (point.work.as_str(), point.step.as_str(), point.when),
            ("instances.create", "row", When::After)
        );
        for wrong in ["", "a:b", "a:b:now", "a:b:c:after"] {
            assert!(wrong.parse::<FaultPoint>().is_err(), "{wrong}");
        }
    }
}
