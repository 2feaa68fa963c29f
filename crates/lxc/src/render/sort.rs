//! The order in which people expect names: `c2` before `c10`.

use std::cmp::Ordering;

/// Compares names: runs of digits by their value, everything else by its letters.
pub(crate) fn natural(a: &str, b: &str) -> Ordering {
    let (mut a_rest, mut b_rest) = (a, b);
    while !a_rest.is_empty() && !b_rest.is_empty() {
        let (a_run, b_run) = (run(a_rest), run(b_rest));
        (a_rest, b_rest) = (&a_rest[a_run.len()..], &b_rest[b_run.len()..]);
        let order = match (a_run.parse::<u128>(), b_run.parse::<u128>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            _ => a_run.cmp(b_run),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    a_rest.len().cmp(&b_rest.len()).then_with(|| a.cmp(b))
}

/// Sorts rows by their first column, rows with the same by the second, and so on; empty cells come last.
pub(crate) fn rows(rows: &mut [Vec<String>]) {
    rows.sort_by(|a, b| {
        let cells = a.iter().zip(b).map(|(a, b)| match (a.is_empty(), b.is_empty()) {
            (false, false) => natural(a, b),
            (a, b) => a.cmp(&b),
        });
        cells
            .into_iter()
            .find(|order| *order != Ordering::Equal)
            .unwrap_or(Ordering::Equal)
    });
}

/// The digits, or the letters up to the next digit, that a text starts with.
fn run(text: &str) -> &str {
    let digits = text.starts_with(|letter: char| letter.is_ascii_digit());
    let end = text
        .find(|letter: char| letter.is_ascii_digit() != digits)
        .unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_by_value() {
        let mut names = ["c10", "c2", "c1", "b", "c", "c1a2", "c1a10", "10"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["10", "b", "c", "c1", "c1a2", "c1a10", "c2", "c10"]);
    }

    #[test]
    fn empty_cells_come_last() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_string()).collect::<Vec<_>>();
        let mut all = vec![row(&["", "a"]), row(&["x", "b"]), row(&["x", "a"])];
        rows(&mut all);
        assert_eq!(all, [row(&["x", "a"]), row(&["x", "b"]), row(&["", "a"])]);
    }
}
