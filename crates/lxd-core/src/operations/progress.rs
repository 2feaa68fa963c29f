//! Progress of a transfer or an unpacking, shown in an operation's metadata at most ten times a second.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::json;

use super::Operation;

/// How often progress is shown.
const INTERVAL: Duration = Duration::from_millis(100);

/// Shows how far one stage of an operation is. Cheap to call for every chunk.
pub struct Progress {
    operation: Operation,
    /// The metadata key without `_progress`, such as `download` or `create_instance_from_image_unpack`.
    stage: String,
    /// What stands before the numbers, such as `Image Unpack`; empty for none.
    prefix: String,
    total: Option<u64>,
    /// Whether the numbers are shown one by one as well.
    has_numbers: bool,
    state: Mutex<State>,
}

struct State {
    began: Instant,
    shown: Option<Instant>,
    done: u64,
}

impl Progress {
    pub(super) fn new(operation: Operation, stage: &str, prefix: &str, total: Option<u64>) -> Self {
        let state = State {
            began: Instant::now(),
            shown: None,
            done: 0,
        };
        Self {
            operation,
            stage: stage.into(),
            prefix: prefix.into(),
            total,
            has_numbers: true,
            state: Mutex::new(state),
        }
    }

    /// Shows the text only, as the reference does for downloads.
    #[must_use]
    pub fn text_only(self) -> Self {
        Self {
            has_numbers: false,
            ..self
        }
    }

    /// Counts more bytes as done.
    pub fn add(&self, bytes: u64) {
        let (done, elapsed) = {
            let mut state = self.state.lock();
            state.done += bytes;
            let now = Instant::now();
            let is_last = self
                .total
                .is_some_and(|total| (state.done - bytes..state.done).contains(&(total.saturating_sub(1))));
            if !is_last
                && state
                    .shown
                    .is_some_and(|last| now.duration_since(last) < INTERVAL)
            {
                return;
            }
            state.shown = Some(now);
            (state.done, now.duration_since(state.began))
        };
        let shown = render(done, self.total, elapsed);
        let text = if self.prefix.is_empty() {
            shown.text
        } else {
            format!("{}: {}", self.prefix, shown.text)
        };
        let numbers = self.has_numbers.then(|| {
            // Either how much of all, or how much.
            let (name, number) = match self.total {
                Some(_) => ("percent", shown.percent),
                None => ("processed", done),
            };
            let numbers = json!({
                name: number.to_string(),
                "speed": shown.speed.to_string(),
                "stage": self.stage,
            });
            ("progress".to_owned(), numbers)
        });
        let text = (format!("{}_progress", self.stage), json!(text));
        self.operation.update_metadata(numbers.into_iter().chain([text]));
    }
}

struct Shown {
    text: String,
    percent: u64,
    /// Bytes a second.
    speed: u64,
}

/// `57% (12.31MB/s)` when the total is known, else `8.61MB (12.31MB/s)`.
fn render(done: u64, total: Option<u64>, elapsed: Duration) -> Shown {
    let micros = elapsed.as_micros().max(1);
    let speed = u64::try_from(u128::from(done) * 1_000_000 / micros).unwrap_or(u64::MAX);
    let percent = total
        .filter(|t| *t > 0)
        .map(|t| (u128::from(done) * 100 / u128::from(t)).min(100));
    let percent = percent.and_then(|p| u64::try_from(p).ok());
    let text = match percent {
        Some(percent) => format!("{percent}% ({}/s)", size(speed)),
        None => format!("{} ({}/s)", size(done), size(speed)),
    };
    Shown {
        text,
        percent: percent.unwrap_or(0),
        speed,
    }
}

/// A size in decimal units with two digits, as the reference prints it in progress texts.
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
fn size(bytes: u64) -> String {
    if bytes < 1000 {
        return format!("{bytes}B");
    }
    let mut value = bytes as f64;
    for unit in ["kB", "MB", "GB", "TB", "PB"] {
        value /= 1000.0;
        if value < 999.995 {
            return format!("{value:.2}{unit}");
        }
    }
    format!("{:.2}EB", value / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_reads_as_the_references() {
        let half = render(500, Some(1000), Duration::from_secs(1));
        assert_eq!(
            (half.text.as_str(), half.percent, half.speed),
            ("50% (500B/s)", 50, 500)
        );
        assert_eq!(
            render(8_610_000, None, Duration::from_millis(500)).text,
            "8.61MB (17.22MB/s)"
        );
        assert_eq!(render(2000, Some(1000), Duration::from_secs(1)).percent, 100);
        assert_eq!(size(999_999_999), "1.00GB");
    }
}
