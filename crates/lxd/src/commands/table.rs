//! Tables with frames, laid out as the reference lays them out.

/// Text in a frame: titles in the middle of their columns, cells on the left. Cells may have several lines.
pub(super) fn render(titles: &[String], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..titles.len())
        .map(|column| {
            let cells = rows
                .iter()
                .filter_map(|row| row.get(column))
                .chain(titles.get(column));
            cells
                .flat_map(|cell| cell.lines())
                .map(display_width)
                .max()
                .unwrap_or(0)
        })
        .collect();
    let frame = frame(&widths);
    let mut table = frame.clone();
    push_row(&mut table, titles, &widths, |gap| gap / 2);
    table.push_str(&frame);
    for row in rows {
        push_row(&mut table, row, &widths, |_| 0);
    }
    table.push_str(&frame);
    table
}

fn frame(widths: &[usize]) -> String {
    let dashes = widths
        .iter()
        .map(|width| "-".repeat(width + 2))
        .collect::<Vec<_>>()
        .join("+");
    format!("+{dashes}+\n")
}

/// One row of cells; `left` says how much of the free room is on their left.
fn push_row(table: &mut String, cells: &[String], widths: &[usize], left: fn(usize) -> usize) {
    let cells: Vec<Vec<&str>> = cells.iter().map(|cell| cell.lines().collect()).collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(1).max(1);
    for line in 0..height {
        table.push('|');
        for (cell, width) in cells.iter().zip(widths) {
            let text = cell.get(line).copied().unwrap_or_default();
            let gap = width - display_width(text).min(*width);
            let left = left(gap);
            table.push_str(&" ".repeat(left + 1));
            table.push_str(text);
            table.push_str(&" ".repeat(gap - left + 1));
            table.push('|');
        }
        table.push('\n');
    }
}

/// How many columns of a terminal a text takes: East Asian characters take two.
fn display_width(text: &str) -> usize {
    let wide = |c: char| {
        matches!(u32::from(c), 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd)
    };
    text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_the_references() {
        let titles = ["id", "updated_at", "'a\nlonger'"].map(ToOwned::to_owned);
        let row = ["1", "2026-11-24T03:29:34Z", "a\nb"]
            .map(ToOwned::to_owned)
            .to_vec();
        let expected = "\
+----+----------------------+---------+
| id |      updated_at      |   'a    |
|    |                      | longer' |
+----+----------------------+---------+
| 1  | 2026-11-24T03:29:34Z | a       |
|    |                      | b       |
+----+----------------------+---------+
";
        assert_eq!(render(&titles, &[row]), expected);
        assert_eq!(render(&["x".to_owned()], &[]), "+---+\n| x |\n+---+\n+---+\n");
    }
}
