//! Comma-separated values, quoted where they must be.

/// A line for each row.
pub(crate) fn lines(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for row in rows {
        // A row of one empty cell would look like no row at all.
        let cells: Vec<String> = if row.len() == 1 && row[0].is_empty() {
            vec![String::new()]
        } else {
            row.iter().map(|cell| quoted(cell)).collect()
        };
        text.push_str(&cells.join(","));
        text.push('\n');
    }
    text
}

fn quoted(cell: &str) -> String {
    let needs = cell == "\\."
        || cell.contains([',', '"', '\n', '\r'])
        || cell.chars().next().is_some_and(char::is_whitespace);
    if needs {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_must_be_quoted_is() {
        let row = ["a", "b c", " d", "e,f", "g\"h", "i\nj", ""]
            .map(String::from)
            .to_vec();
        assert_eq!(lines(&[row]), "a,b c,\" d\",\"e,f\",\"g\"\"h\",\"i\nj\",\n");
    }
}
