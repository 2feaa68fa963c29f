//! The order of map keys: as people would sort them, `eth2` before `eth10`, capitals before small letters.

use std::cmp::Ordering;

/// Sorts entries by key.
///
/// A merge sort of our own, because the order of go-yaml is not transitive for some odd keys and the standard
/// library's sorts may panic on such an order.
pub(super) fn sort_entries<T>(entries: Vec<(String, T)>) -> Vec<(String, T)> {
    if entries.len() < 2 {
        return entries;
    }
    let mut left = entries;
    let right = left.split_off(left.len() / 2);
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let mut left = sort_entries(left).into_iter().peekable();
    let mut right = sort_entries(right).into_iter().peekable();
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        merged.extend(if less(&b.0, &a.0) {
            right.next()
        } else {
            left.next()
        });
    }
    merged.extend(left);
    merged.extend(right);
    merged
}

/// Whether one key comes before another.
fn less(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let Some(at) = a.iter().zip(&b).position(|(x, y)| x != y) else {
        return a.len() < b.len();
    };
    match (a[at].is_alphabetic(), b[at].is_alphabetic()) {
        (true, true) => a[at] < b[at],
        // Digits and signs come before letters: "a1.5" and "a10" before "a1b".
        (true, false) => false,
        (false, true) => true,
        (false, false) => {
            let inside_number = (a[at] == '0' || b[at] == '0') && has_leading_value(&a[..at]);
            let (x, x_digits) = number(&a[at..], inside_number);
            let (y, y_digits) = number(&b[at..], inside_number);
            let order = x.cmp(&y).then(x_digits.cmp(&y_digits)).then(a[at].cmp(&b[at]));
            order == Ordering::Less
        }
    }
}

/// Whether the digits that end the common part are worth something, so that a following zero counts.
fn has_leading_value(common: &[char]) -> bool {
    common
        .iter()
        .rev()
        .take_while(|c| is_digit(**c))
        .any(|c| *c != '0')
}

/// The value and count of the digits at the start.
fn number(rest: &[char], inside_number: bool) -> (i64, usize) {
    let digits = rest.iter().take_while(|c| is_digit(**c));
    digits.fold((i64::from(inside_number), 0), |(value, count), digit| {
        let digit = i64::from(*digit as u32) - i64::from('0' as u32);
        (value.wrapping_mul(10).wrapping_add(digit), count + 1)
    })
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}
