//! What commands print: tables, CSV, JSON, YAML, units, dates.

mod csv;
mod json;
mod sort;
mod table;
mod units;

use std::io::Write;

use lxd_model::yaml;
use serde::Serialize;

pub(crate) use json::{compact as json, pretty as pretty_json};
pub(crate) use sort::{natural, rows as sort_rows};
pub(crate) use units::{bytes_binary, bytes_decimal, date, date_utc};

use crate::error::{Error, Result};

/// What a list is called, its cells, and the things it shows.
pub(crate) struct List<'a, T: Serialize + ?Sized> {
    /// The titles of the columns.
    pub(crate) header: &'a [&'a str],
    /// The cells, row by row.
    pub(crate) rows: &'a [Vec<String>],
    /// What JSON and YAML show.
    pub(crate) raw: &'a T,
}

/// Prints a list in one of the formats of `--format`.
///
/// # Errors
/// For a format that does not exist.
pub(crate) fn list<T: Serialize + ?Sized>(format: &str, list: &List<'_, T>) -> Result<()> {
    let text = match format {
        "table" => table::bordered(list.header, list.rows),
        "compact" => table::compact(list.header, list.rows),
        "csv" => csv::lines(list.rows),
        "json" => json::compact(list.raw) + "\n",
        "yaml" => yaml::to_string(list.raw)?,
        _ => return Err(Error::message(format!("Invalid format {format:?}"))),
    };
    print(&text)
}

/// Prints something as YAML.
pub(crate) fn print_yaml<T: Serialize + ?Sized>(value: &T) -> Result<()> {
    print(&yaml::to_string(value)?)
}

/// What ends a command quietly, and as shells see those that write to a pipe that nobody reads any more (`SIGPIPE`).
pub(crate) const READER_GONE: Error = Error::Exit(128 + 13);

/// Prints text as it is.
///
/// # Errors
/// [`READER_GONE`]; what else the kernel says.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(source) if source.kind() == std::io::ErrorKind::BrokenPipe => Err(READER_GONE),
        Err(source) => Err(Error::Terminal {
            doing: "Failed to write to standard output",
            source,
        }),
    }
}

/// Prints a line.
pub(crate) fn print_line(text: &str) -> Result<()> {
    print(&format!("{text}\n"))
}

/// A table with borders, for commands that print more than one.
pub(crate) fn table_text(header: &[&str], rows: &[Vec<String>]) -> String {
    table::bordered(header, rows)
}
