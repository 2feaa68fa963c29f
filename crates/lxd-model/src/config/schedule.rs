//! The form of schedules: five cron fields, or one or several of the known words.

use super::check::{Check, Reason};

/// A schedule of snapshots.
pub const SCHEDULE: Check = Check::Custom("string", schedule);

/// Words that stand for a schedule.
pub const ALIASES: &[&str] = &[
    "@hourly",
    "@daily",
    "@midnight",
    "@weekly",
    "@monthly",
    "@annually",
    "@yearly",
    "@startup",
    "@never",
];

/// Lowest and highest value of each field, and the words that stand for values.
const FIELDS: [(u32, u32, &[&str]); 5] = [
    (0, 59, &[]),
    (0, 23, &[]),
    (1, 31, &[]),
    (
        1,
        12,
        &[
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ],
    ),
    (0, 6, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];

fn schedule(value: &str) -> Result<(), Reason> {
    value.split(", ").try_for_each(|one| {
        let one = one.trim();
        if ALIASES.contains(&one) {
            return Ok(());
        }
        let fields: Vec<&str> = one.split_whitespace().collect();
        if fields.len() != FIELDS.len() {
            return Err(
                "Schedule must be of the form: <minute> <hour> <day-of-month> <month> <day-of-week>".into(),
            );
        }
        let pairs = fields.iter().zip(FIELDS);
        pairs.into_iter().try_for_each(|(text, field)| {
            text.split(',').try_for_each(|part| {
                range(part, field).map_err(|reason| format!("Error parsing schedule: {reason}"))
            })
        })
    })
}

/// `*`, `5`, `1-5`, `*/10`, `1-30/2`.
fn range(text: &str, (low, high, words): (u32, u32, &[&str])) -> Result<(), Reason> {
    let (span, step) = match text.split_once('/') {
        Some((span, step)) => (span, number(step, &[], 0)?),
        None => (text, 1),
    };
    if step == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    if matches!(span, "*" | "?") {
        return Ok(());
    }
    let (first, last) = match span.split_once('-') {
        Some((first, last)) => (number(first, words, low)?, number(last, words, low)?),
        None => (number(span, words, low)?, number(span, words, low)?),
    };
    if first < low {
        return Err(format!(
            "beginning of range ({first}) below minimum ({low}): {text}"
        ));
    }
    if last > high {
        return Err(format!("end of range ({last}) above maximum ({high}): {text}"));
    }
    if first > last {
        return Err(format!(
            "beginning of range ({first}) beyond end of range ({last}): {text}"
        ));
    }
    Ok(())
}

fn number(text: &str, words: &[&str], low: u32) -> Result<u32, Reason> {
    if let Some(place) = words.iter().position(|word| word.eq_ignore_ascii_case(text)) {
        return Ok(u32::try_from(place).unwrap_or_default() + low);
    }
    text.parse().map_err(|_| {
        format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")
    })
}
