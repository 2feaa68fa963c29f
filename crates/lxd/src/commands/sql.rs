//! `lxd sql`.

use super::output;
use std::io::Read as _;

use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, block_on};
use super::table;
use crate::command_line::Invocation;

/// What the daemon says to a query.
#[derive(Deserialize)]
struct Batch {
    #[serde(rename = "Results")]
    results: Option<Vec<Results>>,
}

/// The result of one statement.
#[derive(Deserialize)]
struct Results {
    r#type: String,
    columns: Option<Vec<String>>,
    rows: Option<Vec<Vec<Value>>>,
    rows_affected: i64,
}

#[derive(Deserialize)]
struct Dump {
    text: String,
}

/// Runs a query in one of the daemon's databases and prints its results.
///
/// # Errors
/// The database or query is missing or wrong, or no daemon answers.
pub(crate) fn run(invocation: &Invocation) -> Result<(), String> {
    let (database, query) = match invocation.arguments.as_slice() {
        [] => {
            output::print(&invocation.help());
            return Ok(());
        }
        [database, query] => (database, query),
        _ => {
            output::print(&invocation.help());
            return Err("Missing required arguments".into());
        }
    };
    if database != "local" && database != "global" {
        output::print(&invocation.help());
        return Err("Invalid database type".into());
    }
    let query = if query == "-" {
        standard_input()?
    } else {
        query.clone()
    };
    let client = Client::new(&invocation.dir);
    block_on(async move {
        if let ".dump" | ".schema" = query.as_str() {
            let schema = i32::from(query == ".schema");
            let dump: Dump = client
                .get(&format!("/internal/sql?database={database}&schema={schema}"))
                .await?;
            output::print(&dump.text);
            return Ok(());
        }
        let answer = client
            .send(
                "POST",
                "/internal/sql",
                &json!({"database": database, "query": query}),
            )
            .await?;
        let batch: Batch = serde_json::from_value(answer).map_err(|error| error.to_string())?;
        output::print(&render(&batch.results.unwrap_or_default()));
        Ok(())
    })
}

fn standard_input() -> Result<String, String> {
    let mut query = String::new();
    std::io::stdin()
        .read_to_string(&mut query)
        .map_err(|error| format!("Failed to read from stdin: {error}"))?;
    Ok(query)
}

fn render(results: &[Results]) -> String {
    let mut text = String::new();
    for (index, result) in results.iter().enumerate() {
        if results.len() > 1 {
            text.push_str(&format!("=> Query {index}:\n\n"));
        }
        if result.r#type == "select" {
            let rows: Vec<Vec<String>> = result
                .rows
                .iter()
                .flatten()
                .map(|row| row.iter().map(cell).collect())
                .collect();
            text.push_str(&table::render(
                result.columns.as_deref().unwrap_or_default(),
                &rows,
            ));
        } else {
            text.push_str(&format!("Rows affected: {}\n", result.rows_affected));
        }
        if results.len() > 1 {
            text.push('\n');
        }
    }
    text
}

/// A value as the reference prints it: its numbers have gone through floating point.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), float),
        other => other.to_string(),
    }
}

/// The shortest text that gives the number back; with an exponent from 1e+06 on and below 1e-04.
fn float(number: f64) -> String {
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return number.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_printed_as_the_reference_prints_them() {
        for (number, text) in [
            (json!(1), "1"),
            (json!(123_456), "123456"),
            (json!(1_234_567), "1.234567e+06"),
            (json!(-1_234_567), "-1.234567e+06"),
            (json!(12_345_678_901_i64), "1.2345678901e+10"),
            (json!(1_000_000), "1e+06"),
            (json!(2_097_152), "2.097152e+06"),
            (json!(0.00001), "1e-05"),
            (json!(0.0001), "0.0001"),
            (json!(100_000.5), "100000.5"),
            (json!(1e21), "1e+21"),
            (json!(0), "0"),
            (json!(null), "<nil>"),
        ] {
            assert_eq!(cell(&number), text);
        }
    }

    #[test]
    fn several_results_are_numbered() {
        let exec = || Results {
            r#type: "exec".into(),
            columns: None,
            rows: None,
            rows_affected: 1,
        };
        assert_eq!(render(&[exec()]), "Rows affected: 1\n");
        let two = "=> Query 0:\n\nRows affected: 1\n\n=> Query 1:\n\nRows affected: 1\n\n";
        assert_eq!(render(&[exec(), exec()]), two);
    }
}
