//! Requests as bytes.

use super::tag;
use crate::error::Error;
use crate::value::Value;

/// The requests that are used; see the protocol's description for what each does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Request<'a> {
    Leader,
    Client,
    Open {
        database: &'a str,
    },
    Prepare {
        database: u32,
        sql: &'a str,
    },
    Exec {
        database: u32,
        statement: u32,
        parameters: &'a [Value],
    },
    Query {
        database: u32,
        statement: u32,
        parameters: &'a [Value],
    },
    Finalize {
        database: u32,
        statement: u32,
    },
    ExecSql {
        database: u32,
        sql: &'a str,
        parameters: &'a [Value],
    },
    QuerySql {
        database: u32,
        sql: &'a str,
        parameters: &'a [Value],
    },
    Add {
        id: u64,
        address: &'a str,
    },
    Assign {
        id: u64,
        role: u64,
    },
    Remove {
        id: u64,
    },
    Dump {
        database: &'a str,
    },
    Cluster,
    Transfer {
        id: u64,
    },
}

impl Request<'_> {
    fn kind(&self) -> u8 {
        match self {
            Self::Leader => 0,
            Self::Client => 1,
            Self::Open { .. } => 3,
            Self::Prepare { .. } => 4,
            Self::Exec { .. } => 5,
            Self::Query { .. } => 6,
            Self::Finalize { .. } => 7,
            Self::ExecSql { .. } => 8,
            Self::QuerySql { .. } => 9,
            Self::Add { .. } => 12,
            Self::Assign { .. } => 13,
            Self::Remove { .. } => 14,
            Self::Dump { .. } => 15,
            Self::Cluster => 16,
            Self::Transfer { .. } => 17,
        }
    }

    /// Appends the whole message, header included.
    ///
    /// On an error `out` is as it was.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        let start = out.len();
        out.extend([0; 8]);
        if let Err(error) = self.encode_body(out) {
            out.truncate(start);
            return Err(error);
        }
        // A statement's text is at most gigabytes; 2^32 words are 32 GiB.
        let words = u32::try_from((out.len() - start) / 8 - 1).unwrap_or(u32::MAX);
        out[start..start + 4].copy_from_slice(&words.to_le_bytes());
        out[start + 4] = self.kind();
        Ok(())
    }

    fn encode_body(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        match *self {
            Self::Leader => put_word(out, 0),
            // The server logs the client's id and does nothing else with it.
            Self::Client => put_word(out, 1),
            Self::Open { database } => {
                put_text(out, database)?;
                put_word(out, 0);
                put_text(out, "volatile")?;
            }
            Self::Prepare { database, sql } => {
                put_word(out, database.into());
                put_text(out, sql)?;
            }
            Self::Exec {
                database,
                statement,
                parameters,
            }
            | Self::Query {
                database,
                statement,
                parameters,
            } => {
                put_word(out, u64::from(statement) << 32 | u64::from(database));
                put_parameters(out, parameters)?;
            }
            Self::Finalize { database, statement } => {
                put_word(out, u64::from(statement) << 32 | u64::from(database));
            }
            Self::ExecSql {
                database,
                sql,
                parameters,
            }
            | Self::QuerySql {
                database,
                sql,
                parameters,
            } => {
                put_word(out, database.into());
                put_text(out, sql)?;
                put_parameters(out, parameters)?;
            }
            Self::Add { id, address } => {
                put_word(out, id);
                put_text(out, address)?;
            }
            Self::Assign { id, role } => {
                put_word(out, id);
                put_word(out, role);
            }
            Self::Remove { id } | Self::Transfer { id } => put_word(out, id),
            Self::Dump { database } => put_text(out, database)?,
            // Format 1 carries the members' roles.
            Self::Cluster => put_word(out, 1),
        }
        Ok(())
    }
}

fn put_word(out: &mut Vec<u8>, word: u64) {
    out.extend(word.to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) -> Result<(), Error> {
    if text.contains('\0') {
        return Err(Error::Nul(text.chars().take(80).collect()));
    }
    out.extend(text.as_bytes());
    out.push(0);
    pad(out);
    Ok(())
}

/// Parameters: a count, one byte of type each, padding, then the values.
///
/// Messages start on a multiple of eight in `out`, so padding `out` pads the message.
fn put_parameters(out: &mut Vec<u8>, parameters: &[Value]) -> Result<(), Error> {
    let count = u8::try_from(parameters.len()).map_err(|_| Error::TooManyParameters(parameters.len()))?;
    if count == 0 {
        return Ok(());
    }
    out.push(count);
    // The engine gives unix times but does not take them.
    out.extend(parameters.iter().map(|value| match tag_of(value) {
        tag::UNIX_TIME => tag::INTEGER,
        tag => tag,
    }));
    pad(out);
    for value in parameters {
        put_value(out, value)?;
    }
    Ok(())
}

pub(super) fn tag_of(value: &Value) -> u8 {
    match value {
        Value::Null => tag::NULL,
        Value::Integer(_) => tag::INTEGER,
        Value::Float(_) => tag::FLOAT,
        Value::Text(_) => tag::TEXT,
        Value::Blob(_) => tag::BLOB,
        Value::UnixTime(_) => tag::UNIX_TIME,
        Value::Iso8601(_) => tag::ISO8601,
        Value::Boolean(_) => tag::BOOLEAN,
    }
}

pub(super) fn put_value(out: &mut Vec<u8>, value: &Value) -> Result<(), Error> {
    match value {
        Value::Null => put_word(out, 0),
        Value::Integer(number) | Value::UnixTime(number) => put_word(out, number.cast_unsigned()),
        Value::Float(number) => put_word(out, number.to_bits()),
        Value::Text(text) | Value::Iso8601(text) => put_text(out, text)?,
        Value::Blob(bytes) => {
            put_word(out, bytes.len() as u64);
            out.extend(bytes);
            pad(out);
        }
        Value::Boolean(truth) => put_word(out, (*truth).into()),
    }
    Ok(())
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(8), 0);
}
