//! Requests to a server, and contents on their way from and to it.

use std::io;

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use lxd_files::protocol::{self, Attributes, INLINE, Reply, Request, Wanted};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;

use super::{Server, ended};
use crate::error::Error;

/// Bytes that are taken from a pipe at once.
const CHUNK: usize = 256 << 10;

/// Something in the root.
pub struct Found {
    /// What is known of it.
    pub attributes: Attributes,
    /// What is in it.
    pub contents: Contents,
}

/// What is in something.
pub enum Contents {
    /// Nobody asked.
    None,
    /// A whole small file, or what a link says.
    Data(Vec<u8>),
    /// A file that comes in parts.
    Stream(BoxStream<'static, io::Result<Bytes>>),
    /// The names in a directory.
    Names(Vec<String>),
}

impl Server {
    /// What is at a path; a link at its end is not followed.
    ///
    /// # Errors
    /// [`Error::FileRefused`].
    pub async fn look(mut self, path: &str) -> Result<Found, Error> {
        match self.ask(&Request::Look(path.into())).await? {
            (Reply::Found(attributes, _), _) => {
                self.give_back();
                Ok(Found {
                    attributes,
                    contents: Contents::None,
                })
            }
            (other, _) => Err(self.refusal(other, path)),
        }
    }

    /// What is at a path, and in it.
    ///
    /// # Errors
    /// [`Error::FileRefused`].
    pub async fn read(mut self, path: &str) -> Result<Found, Error> {
        let (attributes, contents, pipe) = match self.ask(&Request::Read(path.into())).await? {
            (Reply::Found(attributes, contents), pipe) => (attributes, contents, pipe),
            (other, _) => return Err(self.refusal(other, path)),
        };
        let contents = match (contents, pipe) {
            (protocol::Contents::Data(data) | protocol::Contents::Link(data), _) => Contents::Data(data),
            (protocol::Contents::Names(names), _) => {
                let names = names
                    .iter()
                    .map(|name| String::from_utf8_lossy(name).into_owned());
                Contents::Names(names.collect())
            }
            (protocol::Contents::Pipe, Some(pipe)) => {
                let pipe = pipe::Receiver::from_owned_fd(pipe).map_err(lost)?;
                let contents = Contents::Stream(self.stream(pipe, attributes.size));
                return Ok(Found { attributes, contents });
            }
            _ => Contents::None,
        };
        self.give_back();
        Ok(Found { attributes, contents })
    }

    /// What comes through a pipe, of the length that was announced.
    fn stream(self, pipe: pipe::Receiver, length: u64) -> BoxStream<'static, io::Result<Bytes>> {
        let state = Some((self, pipe, BytesMut::new(), length));
        futures::stream::try_unfold(state, |state| async move {
            let Some((mut server, mut pipe, mut buffer, left)) = state else {
                return Ok(None);
            };
            if left == 0 {
                drop(pipe);
                if let Ok((Reply::Done, _)) = server.process.receive().await {
                    server.give_back();
                }
                return Ok(None);
            }
            buffer.reserve(CHUNK);
            let count = tokio::select! {
                count = pipe.read_buf(&mut buffer) => count?,
                () = server.process.end.cancelled() => return Err(io::Error::other(ended())),
            };
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            // It may have grown meanwhile.
            let chunk = buffer.split_to(count.min(usize::try_from(left).unwrap_or(usize::MAX)));
            buffer.clear();
            let left = left - chunk.len() as u64;
            Ok(Some((chunk.freeze(), Some((server, pipe, buffer, left)))))
        })
        .boxed()
    }

    /// Writes a file.
    ///
    /// # Errors
    /// [`Error::FileRefused`], and what the source of the contents says.
    pub async fn write<S>(
        mut self,
        path: &str,
        append: bool,
        wanted: Wanted,
        contents: S,
    ) -> Result<(), Error>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + Unpin,
    {
        let mut contents = contents;
        let (data, rest) = beginning(&mut contents).await?;
        let request = |data| Request::Write {
            path: path.into(),
            append,
            wanted,
            data,
        };
        if rest.is_none() {
            return self.done(&request(Some(data)), path).await;
        }
        let pipe = match self.ask(&request(None)).await? {
            (Reply::Send, Some(pipe)) => pipe::Sender::from_owned_fd(pipe).map_err(lost)?,
            (other, _) => return Err(self.refusal(other, path)),
        };
        let first = [Bytes::from(data)].into_iter().chain(rest).map(Ok);
        let contents = futures::stream::iter(first).chain(contents);
        let sent = {
            let end = self.process.end.clone();
            tokio::select! {
                sent = send(pipe, contents) => sent,
                () = end.cancelled() => return Err(ended()),
            }
        };
        match (sent, self.process.receive().await?) {
            // Whoever sent it has gone: the process is not to believe that this was all.
            (Err(Trouble::Source(error)), _) => Err(Error::Protocol(error.to_string())),
            (_, (Reply::Done, _)) => {
                self.give_back();
                Ok(())
            }
            (_, (other, _)) => Err(self.refusal(other, path)),
        }
    }

    /// Makes a directory; one that is there is fine.
    ///
    /// # Errors
    /// [`Error::FileRefused`].
    pub async fn make_directory(self, path: &str, wanted: Wanted) -> Result<(), Error> {
        let request = Request::MakeDirectory {
            path: path.into(),
            wanted,
        };
        self.done(&request, path).await
    }

    /// Makes a symbolic link; one that says the same is fine.
    ///
    /// # Errors
    /// [`Error::FileRefused`].
    pub async fn make_link(self, path: &str, target: &[u8], wanted: Wanted) -> Result<(), Error> {
        let request = Request::MakeLink {
            path: path.into(),
            target: target.to_vec(),
            wanted,
        };
        let shown = format!("{} {}", String::from_utf8_lossy(target), absolute(path));
        self.done_about(&request, shown).await
    }

    /// Removes a file or an empty directory.
    ///
    /// # Errors
    /// [`Error::FileRefused`].
    pub async fn remove(self, path: &str) -> Result<(), Error> {
        self.done(&Request::Remove(path.into()), path).await
    }

    async fn done(self, request: &Request, path: &str) -> Result<(), Error> {
        self.done_about(request, absolute(path)).await
    }

    async fn done_about(mut self, request: &Request, about: String) -> Result<(), Error> {
        match self.ask(request).await? {
            (Reply::Done, _) => {
                self.give_back();
                Ok(())
            }
            (other, _) => Err(self.refusal_about(other, about)),
        }
    }

    fn refusal(self, reply: Reply, path: &str) -> Error {
        self.refusal_about(reply, absolute(path))
    }

    fn refusal_about(self, reply: Reply, about: String) -> Error {
        match reply {
            Reply::Failed { doing, errno } => {
                self.give_back();
                Error::FileRefused {
                    doing: format!("{doing} {about}"),
                    errno,
                }
            }
            other => Error::Protocol(format!("unexpected answer {other:?}")),
        }
    }
}

/// What a file begins with, and the part that did not fit where there is more to come.
async fn beginning<S>(contents: &mut S) -> Result<(Vec<u8>, Option<Bytes>), Error>
where
    S: Stream<Item = io::Result<Bytes>> + Send + Unpin,
{
    let mut data = Vec::new();
    while let Some(chunk) = contents.next().await {
        let chunk = chunk.map_err(lost)?;
        if data.len() + chunk.len() > INLINE {
            return Ok((data, Some(chunk)));
        }
        data.extend_from_slice(&chunk);
    }
    Ok((data, None))
}

enum Trouble {
    Source(io::Error),
    /// The other end has heard enough, and says why.
    Pipe,
}

async fn send<S>(mut pipe: pipe::Sender, mut contents: S) -> Result<(), Trouble>
where
    S: Stream<Item = io::Result<Bytes>> + Send + Unpin,
{
    while let Some(chunk) = contents.next().await {
        let chunk = chunk.map_err(Trouble::Source)?;
        pipe.write_all(&chunk).await.map_err(|_| Trouble::Pipe)?;
    }
    Ok(())
}

fn absolute(path: &str) -> String {
    format!("/{}", path.trim_start_matches('/'))
}

fn lost(error: io::Error) -> Error {
    Error::Protocol(error.to_string())
}
