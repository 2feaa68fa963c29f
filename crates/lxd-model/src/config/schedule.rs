//! The form of schedules: five cron fields, or one or several of the known words.

use jiff::civil::DateTime;

use super::check::{Check, Reason};

/// A schedule of snapshots.
pub const SCHEDULE: Check = Check::Custom("string", schedule);

/// A schedule of snapshots of volumes, which nobody starts.
pub const VOLUME_SCHEDULE: Check = Check::Custom("string", volume_schedule);

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

/// Whether a schedule asks for something at the start of what it belongs to.
pub fn has_startup(schedule: &str) -> bool {
    parts(schedule).any(|one| one.eq_ignore_ascii_case("@startup"))
}

/// Whether a schedule asks for something in this minute. The words leave minute and hour open; `id` spreads them, so that not everything
/// of a server happens at midnight.
pub fn is_due(schedule: &str, now: DateTime, id: i64) -> bool {
    parts(schedule).any(|one| {
        let fields = match one.to_ascii_lowercase().as_str() {
            "@hourly" => spread(id, "M * * * *"),
            "@daily" | "@midnight" => spread(id, "M H * * *"),
            "@weekly" => spread(id, "M H * * 0"),
            "@monthly" => spread(id, "M H 1 * *"),
            "@annually" | "@yearly" => spread(id, "M H 1 1 *"),
            "@startup" | "@never" => return false,
            fields => fields.to_owned(),
        };
        let fields: Vec<&str> = fields.split_whitespace().collect();
        fields.len() == FIELDS.len() && matches(&fields, now)
    })
}

fn parts(schedule: &str) -> impl Iterator<Item = &str> {
    schedule.split(", ").map(str::trim).filter(|one| !one.is_empty())
}

/// Puts a minute and an hour that belong to an id into a form.
fn spread(id: i64, form: &str) -> String {
    // A multiplier without a factor in common with 60 or 24 gives neighbours different minutes.
    let mixed = id.unsigned_abs().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let (minute, hour) = (mixed % 60, mixed / 60 % 24);
    form.replace('M', &minute.to_string())
        .replace('H', &hour.to_string())
}

/// As cron reads it: where both days are given, one of them is enough.
fn matches(fields: &[&str], now: DateTime) -> bool {
    let weekday = now.weekday().to_sunday_zero_offset();
    let values = [now.minute(), now.hour(), now.day(), now.month(), weekday];
    let is_hit: Vec<bool> = fields
        .iter()
        .zip(FIELDS)
        .zip(values)
        .map(|((text, field), value)| {
            let value = u32::from(value.unsigned_abs());
            text.split(',').any(|part| contains(part, field, value))
        })
        .collect();
    let is_open = |text: &&str| text.starts_with('*') || text.starts_with('?');
    let is_either = fields.iter().skip(2).step_by(2).all(|text| !is_open(text));
    match is_hit.as_slice() {
        [minute, hour, day, month, weekday] => {
            let is_day = if is_either {
                *day || *weekday
            } else {
                *day && *weekday
            };
            *minute && *hour && *month && is_day
        }
        _ => false,
    }
}

fn contains(text: &str, (low, high, words): (u32, u32, &[&str]), value: u32) -> bool {
    let (span, step) = text.split_once('/').unwrap_or((text, ""));
    let has_step = !step.is_empty();
    let step = step.parse::<u32>().unwrap_or(1).max(1);
    let (first, last) = match span.split_once('-') {
        _ if matches!(span, "*" | "?") => (Ok(low), Ok(high)),
        Some((first, last)) => (number(first, words, low), number(last, words, low)),
        None if has_step => (number(span, words, low), Ok(high)),
        None => (number(span, words, low), number(span, words, low)),
    };
    match (first, last) {
        (Ok(first), Ok(last)) => (first..=last).contains(&value) && (value - first).is_multiple_of(step),
        _ => false,
    }
}

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

fn volume_schedule(value: &str) -> Result<(), Reason> {
    let is_of_instances = |one: &str| ["@startup", "@never"].contains(&one.trim());
    if value.split(", ").any(is_of_instances) {
        return Err(
            "Schedule must be of the form: <minute> <hour> <day-of-month> <month> <day-of-week>".into(),
        );
    }
    schedule(value)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn due(schedule: &str, now: &str) -> bool {
        is_due(schedule, now.parse().unwrap(), 7)
    }

    #[test]
    fn minutes_that_match() {
        // 2026-11-26 is a Thursday.
        for (schedule, is_now) in [
            ("* * * * *", true),
            ("8 7 * * *", true),
            ("9 7 * * *", false),
            ("*/4 * * * *", true),
            ("*/5 * * * *", false),
            ("3/5 * * * *", true),
            ("0-10,50 6-7 26 nov thu", true),
            ("8 7 1 * thu", true),
            ("8 7 1 * *", false),
            ("8 7 * * fri", false),
            ("9 7 * * *, 8 7 * * *", true),
            ("@never, @startup", false),
            ("", false),
        ] {
            assert_eq!(due(schedule, "2026-11-26T07:08:00"), is_now, "{schedule}");
        }
        assert!(has_startup("@daily, @startup") && !has_startup("@daily"));
    }

    #[test]
    fn words_come_once_in_their_time() {
        let start: DateTime = "2026-11-22T00:00:00".parse().unwrap();
        let count = |schedule: &str, days: i64| {
            let minutes = (0..days * 1440).map(|m| start + jiff::ToSpan::minutes(m));
            minutes.filter(|now| is_due(schedule, *now, 42)).count()
        };
        assert_eq!(count("@hourly", 1), 24);
        assert_eq!(count("@daily", 3), 3);
        assert_eq!(count("@weekly", 14), 2);
        assert_eq!(count("@monthly", 30), 1);
    }
}
