//! A connection to one member: statements with a cache, rows, and the requests that change the cluster.

use std::collections::HashMap;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::error::{Error, code};
use crate::node::Role;
use crate::row::Rows;
use crate::value::Value;
use crate::wire::{self, DecodeError, FileContent, Request, Response};

/// How many statements a connection keeps prepared; one costs about 5 KiB in the engine.
const CACHED_STATEMENTS: usize = 96;

/// How much is read at once; the engine sends rows in parts of 4 KiB.
const READ_BUFFER: usize = 16 * 1024;

/// Buffers that a big statement or answer left behind are given back above this size.
const KEPT_BUFFER: usize = 64 * 1024;

/// The effect of a statement that gives no rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Executed {
    /// The row id of the last insertion on this connection.
    pub last_insert_id: i64,
    /// How many rows the statement changed.
    pub rows_affected: u64,
}

/// One member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The Raft id, never used twice.
    pub id: u64,
    /// The address that other members dial.
    pub address: String,
    /// What it takes part in.
    pub role: Role,
}

/// A connection to one database of one member.
///
/// A call whose future is dropped before it ended leaves requests and answers out of step; every later call then
/// gives [`Error::Abandoned`], and dropping the connection makes the member roll its transaction back.
#[derive(Debug)]
pub struct Connection {
    /// There until the connection is dropped.
    stream: Option<UnixStream>,
    database: u32,
    statements: HashMap<String, Statement>,
    /// Counts uses of statements, to find the one that was used longest ago.
    clock: u64,
    /// Requests that are not written yet.
    out: Vec<u8>,
    /// What has been read and not been understood yet; survives a call that is abandoned.
    input: Input,
    /// How many answers come before the one to the next request.
    unread: usize,
    /// How many of them are for what still waits in `out`.
    unsent: usize,
    state: State,
}

#[derive(Debug, Clone, Copy)]
struct Statement {
    id: u32,
    used: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Every request has been written whole and answered whole, but for `unread`.
    Idle,
    /// A request may have been written in part.
    Writing,
    /// A request has been written whole, and its answer not been read to the end.
    Reading,
    /// The connection is beyond use.
    Broken,
}

impl Connection {
    /// Greets the member behind `stream`, without opening a database: enough for the requests about the cluster.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Decode`] when the other side is not a dqlite member.
    pub async fn greet(stream: UnixStream) -> Result<Self, Error> {
        let mut connection = Self {
            stream: Some(stream),
            database: 0,
            statements: HashMap::new(),
            clock: 0,
            out: wire::PROTOCOL_VERSION.to_le_bytes().to_vec(),
            input: Input::default(),
            unread: 0,
            unsent: 0,
            state: State::Idle,
        };
        match connection.call(Request::Client).await? {
            Response::Welcome => Ok(connection),
            other => Err(unexpected("welcome", &other)),
        }
    }

    /// Greets the member behind `stream` and opens `database` on it.
    ///
    /// # Errors
    /// As [`Self::greet`]; [`Error::Engine`] with [`code::NOT_LEADER`] when another member leads.
    pub async fn open(stream: UnixStream, database: &str) -> Result<Self, Error> {
        let mut connection = Self::greet(stream).await?;
        match connection.call(Request::Open { database }).await? {
            Response::Database(id) => connection.database = id,
            other => return Err(unexpected("database", &other)),
        }
        Ok(connection)
    }

    /// Runs one statement that gives no rows; it stays prepared for the next time.
    ///
    /// # Errors
    /// [`Error::Engine`] when the engine refuses it; [`Error::is_fatal`] tells which errors end the connection.
    pub async fn execute(&mut self, sql: &str, parameters: &[Value]) -> Result<Executed, Error> {
        let statement = self.prepared(sql).await?;
        let request = Request::Exec {
            database: self.database,
            statement,
            parameters,
        };
        executed(self.call(request).await?)
    }

    /// Runs one query and gives all of its rows; it stays prepared for the next time.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub async fn query(&mut self, sql: &str, parameters: &[Value]) -> Result<Rows, Error> {
        let statement = self.prepared(sql).await?;
        self.rows(Request::Query {
            database: self.database,
            statement,
            parameters,
        })
        .await
    }

    /// Runs any number of statements separated by `;` in one round trip, without keeping them prepared.
    ///
    /// What it tells is the effect of the last one. Outside a transaction each statement commits on its own.
    ///
    /// # Errors
    /// As [`Self::execute`]; the statements before the one that failed have had their effect.
    pub async fn execute_batch(&mut self, sql: &str) -> Result<Executed, Error> {
        let request = Request::ExecSql {
            database: self.database,
            sql,
            parameters: &[],
        };
        executed(self.call(request).await?)
    }

    /// Runs one query without keeping it prepared.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub async fn query_once(&mut self, sql: &str) -> Result<Rows, Error> {
        self.rows(Request::QuerySql {
            database: self.database,
            sql,
            parameters: &[],
        })
        .await
    }

    /// Puts a statement before the next request, so that both take one round trip. Its failure is the next call's.
    ///
    /// # Errors
    /// [`Error::Nul`], and [`Error::Abandoned`] on a connection out of step.
    pub fn queue(&mut self, sql: &str) -> Result<(), Error> {
        self.check()?;
        Request::ExecSql {
            database: self.database,
            sql,
            parameters: &[],
        }
        .encode(&mut self.out)?;
        self.unread += 1;
        self.unsent += 1;
        Ok(())
    }

    /// Sends a statement at once without waiting for its answer, and tells whether that worked.
    ///
    /// For `ROLLBACK` in a destructor. The answer is read before the next call's, and a failure in it is ignored;
    /// where this gives `false` the connection must be dropped.
    pub fn send_detached(&mut self, sql: &str) -> bool {
        if self.state != State::Idle {
            return false;
        }
        if !self.out.is_empty() {
            // What was queued was never sent: there is nothing to end, and nothing to read for it.
            self.unread -= std::mem::take(&mut self.unsent);
            self.out.clear();
            return true;
        }
        if self.queue(sql).is_err() {
            return false;
        }
        let sent = self.stream.as_ref().map(|stream| stream.try_write(&self.out));
        let complete = matches!(sent, Some(Ok(length)) if length == self.out.len());
        self.out.clear();
        self.unsent = 0;
        if !complete {
            self.state = State::Broken;
        }
        complete
    }

    /// Whether the connection may be used for another request.
    pub fn is_usable(&self) -> bool {
        self.state == State::Idle
    }

    /// The member that leads, or `None` while there is none.
    ///
    /// # Errors
    /// Those of any request.
    pub async fn leader(&mut self) -> Result<Option<(u64, String)>, Error> {
        match self.call(Request::Leader).await? {
            Response::Node { id, address } => Ok((!address.is_empty()).then_some((id, address))),
            other => Err(unexpected("node", &other)),
        }
    }

    /// All members of the cluster.
    ///
    /// # Errors
    /// Those of any request.
    pub async fn members(&mut self) -> Result<Vec<Member>, Error> {
        match self.call(Request::Cluster).await? {
            Response::Nodes(members) => Ok(members
                .into_iter()
                .map(|raw| Member {
                    id: raw.id,
                    address: raw.address,
                    role: Role::from_code(raw.role),
                })
                .collect()),
            other => Err(unexpected("nodes", &other)),
        }
    }

    /// Adds a member, as a spare; only the leader can.
    ///
    /// # Errors
    /// [`Error::Engine`] while another change of the configuration is under way.
    pub async fn add_member(&mut self, id: u64, address: &str) -> Result<(), Error> {
        empty(self.call(Request::Add { id, address }).await?)
    }

    /// Gives a member a role; only the leader can.
    ///
    /// # Errors
    /// As [`Self::add_member`].
    pub async fn assign_role(&mut self, id: u64, role: Role) -> Result<(), Error> {
        empty(
            self.call(Request::Assign {
                id,
                role: role.code(),
            })
            .await?,
        )
    }

    /// Takes a member out; only the leader can.
    ///
    /// # Errors
    /// As [`Self::add_member`].
    pub async fn remove_member(&mut self, id: u64) -> Result<(), Error> {
        empty(self.call(Request::Remove { id }).await?)
    }

    /// Hands leadership over to a voter; only the leader can.
    ///
    /// # Errors
    /// As [`Self::add_member`].
    pub async fn transfer_leadership(&mut self, id: u64) -> Result<(), Error> {
        empty(self.call(Request::Transfer { id }).await?)
    }

    /// The files of a database, which SQLite opens: `NAME` and `NAME-wal`.
    ///
    /// # Errors
    /// [`Error::Engine`] for a database that does not exist.
    pub async fn dump(&mut self, database: &str) -> Result<Vec<FileContent>, Error> {
        match self.call(Request::Dump { database }).await? {
            Response::Files(files) => Ok(files),
            other => Err(unexpected("files", &other)),
        }
    }

    async fn prepared(&mut self, sql: &str) -> Result<u32, Error> {
        self.clock += 1;
        if let Some(statement) = self.statements.get_mut(sql) {
            statement.used = self.clock;
            return Ok(statement.id);
        }
        if self.statements.len() >= CACHED_STATEMENTS {
            self.forget_oldest()?;
        }
        match self
            .call(Request::Prepare {
                database: self.database,
                sql,
            })
            .await?
        {
            Response::Statement { id, .. } => {
                self.statements
                    .insert(sql.to_owned(), Statement { id, used: self.clock });
                Ok(id)
            }
            other => Err(unexpected("statement", &other)),
        }
    }

    /// Finalizes the statement that was used longest ago, in the same round trip as the next request.
    fn forget_oldest(&mut self) -> Result<(), Error> {
        let oldest = self.statements.iter().min_by_key(|(_, statement)| statement.used);
        let Some((sql, id)) = oldest.map(|(sql, statement)| (sql.clone(), statement.id)) else {
            return Ok(());
        };
        self.check()?;
        self.statements.remove(&sql);
        Request::Finalize {
            database: self.database,
            statement: id,
        }
        .encode(&mut self.out)?;
        self.unread += 1;
        self.unsent += 1;
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        if self.state == State::Idle {
            Ok(())
        } else {
            Err(Error::Abandoned)
        }
    }

    /// Sends a request and gives its answer; a refusal is an error.
    async fn call(&mut self, request: Request<'_>) -> Result<Response, Error> {
        self.check()?;
        request.encode(&mut self.out)?;
        self.state = State::Writing;
        let stream = self.stream.as_mut().ok_or(Error::Abandoned)?;
        stream.write_all(&self.out).await?;
        self.state = State::Reading;
        self.out.clear();
        self.unsent = 0;
        self.out.shrink_to(KEPT_BUFFER);
        let mut earlier = None;
        while self.unread > 0 {
            self.unread -= 1;
            if let Response::Failure { code, message } = self.read().await?
                && code != code_of_ended_transaction()
            {
                earlier = Some(Error::Engine { code, message });
            }
        }
        let answer = self.read().await?;
        if matches!(&answer, Response::Rows(batch) if batch.more) {
            // The rest of the rows is still on its way.
            return Ok(answer);
        }
        self.state = State::Idle;
        match (earlier, answer) {
            (Some(error), _) => Err(error),
            (None, Response::Failure { code, message }) => Err(Error::Engine { code, message }),
            (None, answer) => Ok(answer),
        }
    }

    async fn rows(&mut self, request: Request<'_>) -> Result<Rows, Error> {
        let mut answer = self.call(request).await?;
        let mut rows = Rows::default();
        loop {
            match answer {
                Response::Rows(batch) => {
                    if batch.more && batch.values.is_empty() {
                        self.leak();
                        return Err(Error::ColumnNames);
                    }
                    rows.columns = batch.columns;
                    rows.values.extend(batch.values);
                    if !batch.more {
                        self.state = State::Idle;
                        return Ok(rows);
                    }
                }
                Response::Failure { code, message } => {
                    self.state = State::Idle;
                    return Err(Error::Engine { code, message });
                }
                other => return Err(unexpected("rows", &other)),
            }
            answer = self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<Response, Error> {
        let stream = self.stream.as_mut().ok_or(Error::Abandoned)?;
        loop {
            if let Some(response) = self.input.next()? {
                return Ok(response);
            }
            if stream.read_buf(self.input.room()).await? == 0 {
                return Err(Error::Io(std::io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Keeps the socket open for good: the member is in an endless answer, and hanging up would crash it (see
    /// [`Drain`]). It stops sending once the socket's buffer is full.
    fn leak(&mut self) {
        self.state = State::Broken;
        if let Some(stream) = self.stream.take() {
            tracing::error!("a query's column names are too long: one connection to the database is lost");
            std::mem::forget(stream);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.state == State::Reading
            && let Some(stream) = self.stream.take()
        {
            let drain = Drain {
                input: std::mem::take(&mut self.input),
                answers: self.unread + 1,
            };
            drain.start(stream);
        }
    }
}

/// The rest of answers that nobody waits for.
///
/// libdqlite 1.11 goes on with a query's rows after its client has hung up in the middle of them, with a statement
/// that it has freed. So an answer is always read to its end before the socket is closed, however the call ended.
struct Drain {
    input: Input,
    /// How many are to come.
    answers: usize,
}

impl Drain {
    /// Reads on a thread of its own: this is rare, and a destructor may run outside the runtime.
    fn start(self, stream: UnixStream) {
        let started = stream.into_std().and_then(|stream| {
            stream.set_nonblocking(false)?;
            std::thread::Builder::new()
                .name("dqlite-drain".to_owned())
                .spawn(move || self.run(stream))
        });
        if let Err(error) = started {
            tracing::error!(%error, "cannot end an abandoned query of the database");
        }
    }

    fn run(mut self, mut stream: std::os::unix::net::UnixStream) {
        use std::io::Read;
        let mut part = vec![0; READ_BUFFER];
        while self.answers > 0 {
            // An error means that the member has hung up itself, or that nothing more can be understood.
            match self.input.next() {
                Ok(Some(Response::Rows(batch))) if batch.more && batch.values.is_empty() => {
                    return std::mem::forget(stream);
                }
                Ok(Some(Response::Rows(batch))) if batch.more => {}
                Ok(Some(_)) => self.answers -= 1,
                Ok(None) => match stream.read(&mut part) {
                    Ok(length) if length > 0 => self.input.room().extend_from_slice(&part[..length]),
                    _ => return,
                },
                Err(_) => return,
            }
        }
    }
}

/// Bytes from the member, cut into messages.
#[derive(Debug, Default)]
struct Input {
    bytes: Vec<u8>,
    /// How many of them have been understood.
    used: usize,
}

impl Input {
    /// The next message, if all of it is there.
    fn next(&mut self) -> Result<Option<Response>, DecodeError> {
        let unused = &self.bytes[self.used..];
        let Some((header, rest)) = unused.split_first_chunk::<8>() else {
            return Ok(None);
        };
        let header = wire::decode_header(*header)?;
        let Some(body) = rest.get(..header.length) else {
            return Ok(None);
        };
        let response = wire::decode_response(header.kind, body)?;
        self.used += 8 + header.length;
        if self.used == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_BUFFER);
            self.used = 0;
        }
        Ok(Some(response))
    }

    /// Where to put more. It grows with what arrives, not with what a header promises.
    fn room(&mut self) -> &mut Vec<u8> {
        if self.used > 0 {
            self.bytes.drain(..self.used);
            self.used = 0;
        }
        self.bytes.reserve(READ_BUFFER);
        &mut self.bytes
    }
}

/// `SQLITE_ERROR`, which `ROLLBACK` gives when the engine has ended the transaction by itself already.
fn code_of_ended_transaction() -> u64 {
    1
}

fn executed(answer: Response) -> Result<Executed, Error> {
    match answer {
        Response::Executed {
            last_insert_id,
            rows_affected,
        } => Ok(Executed {
            last_insert_id: last_insert_id.cast_signed(),
            rows_affected,
        }),
        other => Err(unexpected("result", &other)),
    }
}

fn empty(answer: Response) -> Result<(), Error> {
    match answer {
        Response::Empty => Ok(()),
        other => Err(unexpected("empty", &other)),
    }
}

fn unexpected(wanted: &'static str, got: &Response) -> Error {
    Error::Unexpected {
        wanted,
        got: got.name(),
    }
}

/// Whether opening failed only because the member does not lead (yet).
pub(crate) fn is_not_leader(error: &Error) -> bool {
    error.engine_code() == Some(code::NOT_LEADER)
}
