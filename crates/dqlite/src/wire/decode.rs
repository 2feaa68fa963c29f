//! Responses from bytes, bounded by the bytes that are there.

use super::{Header, MAX_BODY, tag};
use crate::value::Value;

/// Bytes that are not a message of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body ends before what it announces.
    #[error("the body ends at byte {0}, in the middle of a field")]
    Truncated(usize),
    /// A text that is not UTF-8.
    #[error("a text at byte {0} is not UTF-8")]
    NotUtf8(usize),
    /// An unknown kind of response.
    #[error("unknown response {0}")]
    UnknownResponse(u8),
    /// An unknown type of value.
    #[error("unknown type of value {tag} at byte {offset}")]
    UnknownType {
        /// The code found.
        tag: u8,
        /// Where its row's header begins.
        offset: usize,
    },
    /// A message longer than is accepted.
    #[error("a message of {0} bytes is longer than is accepted")]
    TooLong(u64),
    /// Rows without columns would never end.
    #[error("rows without columns")]
    NoColumns,
}

/// One member of the cluster as the protocol tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawMember {
    /// The Raft id.
    pub id: u64,
    /// The address that other members dial.
    pub address: String,
    /// 0 voter, 1 stand-by, 2 spare.
    pub role: u64,
}

/// A file of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileContent {
    /// Its name, such as `db.bin` or `db.bin-wal`.
    pub name: String,
    /// All its bytes.
    pub content: Vec<u8>,
}

/// A part of a query's rows.
#[derive(Debug, Clone, PartialEq)]
pub struct RowBatch {
    /// The columns' names.
    pub columns: Vec<String>,
    /// Values, row after row.
    pub values: Vec<Value>,
    /// Whether another part follows in a message of its own.
    pub more: bool,
}

/// What a node answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    /// The request was refused.
    Failure {
        /// SQLite's or dqlite's result code.
        code: u64,
        /// The engine's words.
        message: String,
    },
    /// The leader; id 0 and no address while there is none.
    Node {
        /// The Raft id.
        id: u64,
        /// Its address.
        address: String,
    },
    /// The client was registered.
    Welcome,
    /// The cluster's members.
    Nodes(Vec<RawMember>),
    /// The handle of an opened database.
    Database(u32),
    /// A prepared statement.
    Statement {
        /// Its handle.
        id: u32,
        /// How many parameters it wants.
        parameters: u64,
    },
    /// The effect of a statement without rows.
    Executed {
        /// The row id of the last insertion on this connection.
        last_insert_id: u64,
        /// How many rows the statement changed.
        rows_affected: u64,
    },
    /// Rows.
    Rows(RowBatch),
    /// Done, with nothing to tell.
    Empty,
    /// The database's files.
    Files(Vec<FileContent>),
    /// What a node says of itself.
    Metadata {
        /// The node's failure domain.
        failure_domain: u64,
        /// Its weight.
        weight: u64,
    },
}

impl Response {
    /// The kind's name for messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Failure { .. } => "failure",
            Self::Node { .. } => "node",
            Self::Welcome => "welcome",
            Self::Nodes(_) => "nodes",
            Self::Database(_) => "database",
            Self::Statement { .. } => "statement",
            Self::Executed { .. } => "result",
            Self::Rows(_) => "rows",
            Self::Empty => "empty",
            Self::Files(_) => "files",
            Self::Metadata { .. } => "metadata",
        }
    }
}

/// Decodes the eight bytes before a body.
///
/// # Errors
/// [`DecodeError::TooLong`] for a body beyond [`MAX_BODY`].
pub fn decode_header(bytes: [u8; 8]) -> Result<Header, DecodeError> {
    let [a, b, c, d, kind, ..] = bytes;
    let length = u64::from(u32::from_le_bytes([a, b, c, d])) * 8;
    match usize::try_from(length) {
        Ok(length) if length <= MAX_BODY => Ok(Header { length, kind }),
        _ => Err(DecodeError::TooLong(length)),
    }
}

/// Decodes the body of a response of the given kind; bytes after what is needed are ignored, as the protocol asks.
///
/// # Errors
/// Any [`DecodeError`] except [`DecodeError::TooLong`].
pub fn decode_response(kind: u8, body: &[u8]) -> Result<Response, DecodeError> {
    let mut reader = Reader {
        bytes: body,
        offset: 0,
    };
    Ok(match kind {
        0 => Response::Failure {
            code: reader.word()?,
            message: reader.lossy_text()?,
        },
        1 => Response::Node {
            id: reader.word()?,
            address: reader.text()?,
        },
        2 => Response::Welcome,
        3 => Response::Nodes(reader.members()?),
        4 => Response::Database(reader.halves()?.0),
        5 => Response::Statement {
            id: reader.halves()?.1,
            parameters: reader.word()?,
        },
        6 => Response::Executed {
            last_insert_id: reader.word()?,
            rows_affected: reader.word()?,
        },
        7 => Response::Rows(reader.rows()?),
        8 => Response::Empty,
        9 => Response::Files(reader.files()?),
        10 => Response::Metadata {
            failure_domain: reader.word()?,
            weight: reader.word()?,
        },
        other => return Err(DecodeError::UnknownResponse(other)),
    })
}

/// A cursor that never leaves its bytes.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    #[cfg(test)]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let end = self.offset.checked_add(length);
        match end.and_then(|end| self.bytes.get(self.offset..end)) {
            Some(taken) => {
                self.offset += length;
                Ok(taken)
            }
            None => Err(DecodeError::Truncated(self.bytes.len())),
        }
    }

    fn word(&mut self) -> Result<u64, DecodeError> {
        let bytes = self.take(8)?;
        let mut word = [0; 8];
        word.copy_from_slice(bytes);
        Ok(u64::from_le_bytes(word))
    }

    /// A word as its low and its high half.
    fn halves(&mut self) -> Result<(u32, u32), DecodeError> {
        let word = self.word()?;
        Ok(((word & u64::from(u32::MAX)) as u32, (word >> 32) as u32))
    }

    /// The bytes up to a NUL, which is padded to a whole word.
    fn terminated(&mut self) -> Result<&'a [u8], DecodeError> {
        let rest = self.bytes.get(self.offset..).unwrap_or_default();
        let length = rest
            .iter()
            .position(|byte| *byte == 0)
            .ok_or(DecodeError::Truncated(self.bytes.len()))?;
        let text = &rest[..length];
        self.take((length + 1).next_multiple_of(8))?;
        Ok(text)
    }

    fn text(&mut self) -> Result<String, DecodeError> {
        let start = self.offset;
        let bytes = self.terminated()?;
        String::from_utf8(bytes.to_vec()).map_err(|_| DecodeError::NotUtf8(start))
    }

    /// A text that may hold anything: messages quote what users typed, rows what others stored.
    fn lossy_text(&mut self) -> Result<String, DecodeError> {
        Ok(String::from_utf8_lossy(self.terminated()?).into_owned())
    }

    fn blob(&mut self) -> Result<Vec<u8>, DecodeError> {
        let length = usize::try_from(self.word()?).map_err(|_| DecodeError::Truncated(self.bytes.len()))?;
        let bytes = self.take(length)?.to_vec();
        self.take(
            length
                .checked_next_multiple_of(8)
                .map_or(0, |padded| padded - length),
        )?;
        Ok(bytes)
    }

    pub(super) fn value(&mut self, tag: u8, header: usize) -> Result<Value, DecodeError> {
        Ok(match tag {
            tag::INTEGER => Value::Integer(self.word()?.cast_signed()),
            tag::FLOAT => Value::Float(f64::from_bits(self.word()?)),
            tag::TEXT => Value::Text(self.lossy_text()?),
            tag::BLOB => Value::Blob(self.blob()?),
            tag::NULL => {
                self.word()?;
                Value::Null
            }
            tag::UNIX_TIME => Value::UnixTime(self.word()?.cast_signed()),
            tag::ISO8601 => Value::Iso8601(self.lossy_text()?),
            tag::BOOLEAN => Value::Boolean(self.word()? != 0),
            tag => return Err(DecodeError::UnknownType { tag, offset: header }),
        })
    }

    fn rows(&mut self) -> Result<RowBatch, DecodeError> {
        let count = self.word()?;
        if count == 0 {
            return Err(DecodeError::NoColumns);
        }
        // Each column takes a word at least, so a count that lies ends at the end of the bytes.
        let mut columns = Vec::new();
        for _ in 0..count {
            columns.push(self.lossy_text()?);
        }
        let header_length = (columns.len() * 4).div_ceil(64) * 8;
        let mut values = Vec::new();
        loop {
            let offset = self.offset;
            match self.bytes.get(offset) {
                None => return Err(DecodeError::Truncated(self.bytes.len())),
                Some(0xff) => {
                    return Ok(RowBatch {
                        columns,
                        values,
                        more: false,
                    });
                }
                Some(0xee) => {
                    return Ok(RowBatch {
                        columns,
                        values,
                        more: true,
                    });
                }
                Some(_) => {}
            }
            let header = self.take(header_length)?;
            for column in 0..columns.len() {
                let tag = (header[column / 2] >> (4 * (column % 2))) & 0x0f;
                values.push(self.value(tag, offset)?);
            }
        }
    }

    fn members(&mut self) -> Result<Vec<RawMember>, DecodeError> {
        let count = self.word()?;
        let mut members = Vec::new();
        for _ in 0..count {
            members.push(RawMember {
                id: self.word()?,
                address: self.text()?,
                role: self.word()?,
            });
        }
        Ok(members)
    }

    fn files(&mut self) -> Result<Vec<FileContent>, DecodeError> {
        let count = self.word()?;
        let mut files = Vec::new();
        for _ in 0..count {
            let name = self.text()?;
            files.push(FileContent {
                name,
                content: self.blob()?,
            });
        }
        Ok(files)
    }
}
