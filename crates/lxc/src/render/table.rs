//! Tables of text, in the layout of LXD's client: bordered with a line below each row, or compact.

use unicode_width::UnicodeWidthStr;

/// A table with borders.
pub(crate) fn bordered(header: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = header.iter().map(|title| title_text(title)).collect();
    let widths = widths(&header, rows);
    let line: String = widths
        .iter()
        .map(|width| format!("+{}", "-".repeat(width + 2)))
        .collect::<String>()
        + "+\n";
    let titles: String = header
        .iter()
        .zip(&widths)
        .map(|(title, width)| format!("| {} ", centered(title, *width)))
        .collect();
    let mut text = format!("{line}{titles}|\n{line}");
    for row in rows {
        for cells in physical_lines(row, &widths) {
            for cell in cells {
                text.push_str(&format!("| {cell} "));
            }
            text.push_str("|\n");
        }
        text.push_str(&line);
    }
    text
}

/// A table without borders.
pub(crate) fn compact(header: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = header.iter().map(|title| title_text(title)).collect();
    let widths = widths(&header, rows);
    let titles: String = header
        .iter()
        .zip(&widths)
        .map(|(title, width)| format!(" {} ", centered(title, *width)))
        .collect();
    let mut text = format!(" {titles} \n");
    for row in rows {
        for cells in physical_lines(row, &widths) {
            let line: String = cells.iter().map(|cell| format!(" {cell} ")).collect();
            text.push_str(&format!(" {line} \n"));
        }
    }
    text
}

/// A title as tables print it: in capitals, with spaces where keys have dots or underscores.
fn title_text(title: &str) -> String {
    let letters: Vec<char> = title.chars().collect();
    let number = |at: Option<usize>| {
        at.and_then(|at| letters.get(at))
            .is_none_or(|letter| letter.is_ascii_digit() || *letter == ' ')
    };
    let spaced: String = letters
        .iter()
        .enumerate()
        .map(|(at, letter)| match letter {
            '_' => ' ',
            '.' if !number(at.checked_sub(1)) || !number(Some(at + 1)) => ' ',
            letter => *letter,
        })
        .collect();
    let trimmed = spaced.trim();
    if trimmed.is_empty() && !title.is_empty() {
        " ".into()
    } else {
        trimmed.to_uppercase()
    }
}

fn widths(header: &[String], rows: &[Vec<String>]) -> Vec<usize> {
    let mut widths: Vec<usize> = header.iter().map(|title| title.width()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell
                .split('\n')
                .map(UnicodeWidthStr::width)
                .max()
                .unwrap_or(0)
                .max(*width);
        }
    }
    widths
}

/// The lines that a row takes: as many as its tallest cell has.
fn physical_lines(row: &[String], widths: &[usize]) -> Vec<Vec<String>> {
    let cells: Vec<Vec<&str>> = row.iter().map(|cell| cell.split('\n').collect()).collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(1);
    let line = |at: usize| {
        let cells = cells.iter().zip(widths);
        cells
            .map(|(lines, width)| padded(lines.get(at).copied().unwrap_or_default(), *width))
            .collect()
    };
    (0..height).map(line).collect()
}

fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

fn centered(text: &str, width: usize) -> String {
    let gap = width.saturating_sub(text.width());
    format!("{}{text}{}", " ".repeat(gap / 2), " ".repeat(gap - gap / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_string()).collect()
    }

    #[test]
    fn titles_are_centered_and_cells_left() {
        let rows = [
            row(&["c1", "RUNNING", "10.0.0.1 (eth0)\n10.0.0.2 (eth1)"]),
            row(&["c10", "STOPPED", ""]),
        ];
        assert_eq!(
            bordered(&["NAME", "STATE", "IPV4"], &rows),
            "+------+---------+-----------------+\n\
             | NAME |  STATE  |      IPV4       |\n\
             +------+---------+-----------------+\n\
             | c1   | RUNNING | 10.0.0.1 (eth0) |\n\
             |      |         | 10.0.0.2 (eth1) |\n\
             +------+---------+-----------------+\n\
             | c10  | STOPPED |                 |\n\
             +------+---------+-----------------+\n"
        );
    }

    #[test]
    fn an_empty_table_has_titles_only() {
        assert_eq!(bordered(&["NAME"], &[]), "+------+\n| NAME |\n+------+\n");
    }

    #[test]
    fn compact_has_no_borders() {
        let rows = [row(&["c1", "RUNNING"])];
        assert_eq!(
            compact(&["NAME", "STATE"], &rows),
            "  NAME   STATE   \n  c1    RUNNING  \n"
        );
    }

    #[test]
    fn wide_letters_take_two_columns() {
        assert!(bordered(&["N"], &[row(&["日本"])]).contains("| 日本 |"));
    }

    #[test]
    fn keys_become_titles() {
        for (key, title) in [
            ("user.comment", "USER COMMENT"),
            ("a_b", "A B"),
            ("1.0", "1.0"),
            ("v1.x", "V1 X"),
        ] {
            assert_eq!(title_text(key), title);
        }
    }
}
