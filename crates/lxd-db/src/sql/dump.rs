//! A database as SQL text that `sqlite3` loads, in the order and the form of the reference's `.dump` and `.schema`.

use std::collections::BTreeMap;

use crate::Result;
use crate::cluster::Tx;

/// All that has a definition, in the order in which it was made.
const OBJECTS: &str = "SELECT type, name, sql FROM sqlite_master
    WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY rowid";

/// The columns of every table.
const COLUMNS: &str = "SELECT m.name, c.name, c.type FROM sqlite_master m JOIN pragma_table_info(m.name) c
    WHERE m.type = 'table' ORDER BY m.rowid, c.cid";

/// The cluster database as text.
pub(crate) async fn cluster(tx: &mut Tx, rows: bool) -> Result<String> {
    let mut objects = Vec::new();
    for row in tx.query_once(OBJECTS).await?.iter() {
        objects.push(Object {
            kind: row.get(0)?,
            name: row.get(1)?,
            sql: row.get(2)?,
        });
    }
    let mut dump = Dump::default();
    if !rows {
        objects.iter().for_each(|object| dump.object(object));
        return Ok(dump.finish());
    }
    let mut columns: BTreeMap<String, Vec<Column>> = BTreeMap::new();
    for row in tx.query_once(COLUMNS).await?.iter() {
        let column = Column {
            name: row.get(1)?,
            time: is_time(row.get(2)?),
        };
        columns.entry(row.get(0)?).or_default().push(column);
    }
    for object in &objects {
        dump.object(object);
        if let Some(query) = object.rows(&columns) {
            for row in tx.query_once(&query).await?.iter() {
                dump.row(row.get(0)?);
            }
        }
    }
    dump.line("DELETE FROM sqlite_sequence;");
    for row in tx.query_once(&sequence_query()).await?.iter() {
        dump.row(row.get(0)?);
    }
    Ok(dump.finish())
}

/// The node database as text.
pub(crate) fn node(connection: &rusqlite::Connection, rows: bool) -> rusqlite::Result<String> {
    let mut statement = connection.prepare(OBJECTS)?;
    let objects = statement
        .query_map([], |row| {
            Ok(Object {
                kind: row.get(0)?,
                name: row.get(1)?,
                sql: row.get(2)?,
            })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut dump = Dump::default();
    if !rows {
        objects.iter().for_each(|object| dump.object(object));
        return Ok(dump.finish());
    }
    let mut columns: BTreeMap<String, Vec<Column>> = BTreeMap::new();
    let mut statement = connection.prepare(COLUMNS)?;
    let mut cursor = statement.query([])?;
    while let Some(row) = cursor.next()? {
        let column = Column {
            name: row.get(1)?,
            time: is_time(row.get_ref(2)?.as_str().unwrap_or_default()),
        };
        columns.entry(row.get(0)?).or_default().push(column);
    }
    for object in &objects {
        dump.object(object);
        if let Some(query) = object.rows(&columns) {
            node_rows(connection, &query, &mut dump)?;
        }
    }
    dump.line("DELETE FROM sqlite_sequence;");
    node_rows(connection, &sequence_query(), &mut dump)?;
    Ok(dump.finish())
}

fn node_rows(connection: &rusqlite::Connection, query: &str, dump: &mut Dump) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(query)?;
    let mut cursor = statement.query([])?;
    while let Some(row) = cursor.next()? {
        dump.row(row.get_ref(0)?.as_str().unwrap_or_default());
    }
    Ok(())
}

/// A table, index, view or trigger.
struct Object {
    kind: String,
    name: String,
    sql: String,
}

impl Object {
    /// The query for a table's rows as statements.
    fn rows(&self, columns: &BTreeMap<String, Vec<Column>>) -> Option<String> {
        let columns = columns.get(&self.name)?;
        (self.kind == "table").then(|| insert_query(&self.name, columns))
    }
}

/// A column of a table.
struct Column {
    name: String,
    time: bool,
}

fn is_time(declared: &str) -> bool {
    declared.eq_ignore_ascii_case("DATETIME") || declared.eq_ignore_ascii_case("TIMESTAMP")
}

/// The table of the last ids, which has no definition of its own in a dump.
fn sequence_query() -> String {
    let columns = ["name", "seq"].map(|name| Column {
        name: name.to_owned(),
        time: false,
    });
    insert_query("sqlite_sequence", &columns)
}

/// A query that lets the engine itself quote each value.
fn insert_query(table: &str, columns: &[Column]) -> String {
    let values: Vec<String> = columns.iter().map(quoted).collect();
    let values = values.join(" || ',' || ");
    // The name of the column would be its whole text otherwise, and go over the wire with every part of the rows.
    format!("SELECT 'INSERT INTO {table} VALUES(' || {values} || ');' AS line FROM \"{table}\"")
}

/// SQL for a value as a literal: times in one form, with nine digits or none, however they are stored; line ends as `\n`.
fn quoted(column: &Column) -> String {
    let name = format!("\"{}\"", column.name);
    let time = format!(
        "WHEN typeof({name}) = 'integer' THEN quote(strftime('%Y-%m-%d %H:%M:%S+00:00', {name}, 'unixepoch'))
         WHEN {name} GLOB '????-??-?? ??:??:??' THEN quote({name} || '+00:00')
         WHEN {name} GLOB '????-??-?? ??:??:??.*+00:00' THEN quote(substr({name}, 1, 20)
           || substr(substr({name}, 21, length({name}) - 26) || '000000000', 1, 9) || '+00:00')",
    );
    let time = if column.time { time } else { String::new() };
    format!(
        "CASE {time} WHEN typeof({name}) = 'text' AND instr({name}, char(10))
         THEN 'replace(' || quote(replace({name}, char(10), '\\n')) || ',''\\n'',char(10))' ELSE quote({name}) END",
    )
}

/// The text as it grows.
struct Dump {
    text: String,
}

impl Default for Dump {
    fn default() -> Self {
        Self {
            text: "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n".to_owned(),
        }
    }
}

impl Dump {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// A definition; quoted table names get `IF NOT EXISTS`, as `sqlite3` writes them.
    fn object(&mut self, object: &Object) {
        match object.sql.strip_prefix("CREATE TABLE \"") {
            Some(rest) => self.line(&format!("CREATE TABLE IF NOT EXISTS \"{rest};")),
            None => self.line(&format!("{};", object.sql)),
        }
    }

    fn row(&mut self, statement: &str) {
        self.line(statement);
    }

    fn finish(mut self) -> String {
        // No line end after the last word: what prints it adds one.
        self.text.push_str("COMMIT;\n");
        self.text
    }
}
