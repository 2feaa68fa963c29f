//! Files that are sent while they are read: whole, or the part that is asked for.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::StatusCode;
use http::header::{ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_RANGE, LAST_MODIFIED};
use tokio::task::JoinHandle;

use super::answer::{self, Answer};

/// Bytes that are read at a time.
const CHUNK: u64 = 64 << 10;

/// A file that is open for sending.
pub(crate) struct File {
    /// The name that a client may keep it under.
    pub(crate) filename: String,
    /// Bytes.
    pub(crate) size: u64,
    /// When it was written.
    pub(crate) modified: SystemTime,
    /// The file.
    pub(crate) file: std::fs::File,
}

/// Sends a file; a part of it when a range is asked for. `keep` lives until it is sent.
pub(crate) fn whole_or_part<K: Send + 'static>(file: File, range: Option<&str>, keep: K) -> Answer {
    let wanted = match range.map_or(Wanted::Whole, |range| parse_range(range, file.size)) {
        Wanted::Whole => None,
        Wanted::Part(start, length) => Some((start, length)),
        Wanted::Beyond => return beyond(file.size),
    };
    let (start, length) = wanted.unwrap_or((0, file.size));
    let (filename, size) = (file.filename, file.size);
    let body = read(file.file, start, length).map(move |chunk| {
        let _ = &keep;
        chunk
    });
    let mut answer = answer::stream("application/octet-stream", Some(length), body);
    let disposition = format!("inline;filename={filename}");
    answer::set_header(&mut answer, CONTENT_DISPOSITION, &disposition);
    answer::set_header(&mut answer, ACCEPT_RANGES, "bytes");
    let modified = jiff::Timestamp::try_from(file.modified).unwrap_or_default();
    let modified = modified.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    answer::set_header(&mut answer, LAST_MODIFIED, &modified);
    if wanted.is_some() {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        let last = start + length.saturating_sub(1);
        answer::set_header(
            &mut answer,
            CONTENT_RANGE,
            &format!("bytes {start}-{last}/{size}"),
        );
    }
    answer
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// All of it: the header is none of ours, or wants several parts, which nobody has to send.
    Whole,
    /// So many bytes from there on.
    Part(u64, u64),
    /// Only what is behind the end, as when a client goes on with what it has whole.
    Beyond,
}

fn parse_range(text: &str, size: u64) -> Wanted {
    let Some((first, last)) = text
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
    else {
        return Wanted::Whole;
    };
    let (first, last) = (first.trim(), last.trim());
    let number = |text: &str| text.parse::<u64>().ok();
    match (number(first), number(last)) {
        _ if size == 0 => Wanted::Whole,
        (Some(first), _) if first >= size && last.is_empty() => Wanted::Beyond,
        (Some(first), Some(last)) if first >= size && first <= last => Wanted::Beyond,
        (Some(first), _) if last.is_empty() => Wanted::Part(first, size - first),
        (Some(first), Some(last)) if first <= last => Wanted::Part(first, last.min(size - 1) - first + 1),
        (None, Some(count)) if first.is_empty() && count > 0 => {
            let count = count.min(size);
            Wanted::Part(size - count, count)
        }
        _ => Wanted::Whole,
    }
}

/// The answer where nothing is left to send.
fn beyond(size: u64) -> Answer {
    let mut answer = answer::bytes("text/plain; charset=utf-8", "invalid range: failed to overlap\n");
    *answer.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
    answer::set_header(&mut answer, CONTENT_RANGE, &format!("bytes */{size}"));
    answer
}

/// A file's bytes from a place on. A file that ends early is an error: the length was promised. The next bytes are read
/// while the last ones are sent.
pub(crate) fn read(
    file: std::fs::File,
    start: u64,
    length: u64,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let first = next(Arc::new(file), start, length);
    futures::stream::try_unfold(first, |reading| async move {
        let Some(reading) = reading else { return Ok(None) };
        let Chunk { bytes, following } = reading.await.map_err(io::Error::other)??;
        let (file, start, left) = following;
        Ok(Some((bytes, next(file, start, left))))
    })
}

/// What was read, and what is to be read after it: the file, the place and how much.
struct Chunk {
    bytes: Bytes,
    following: (Arc<std::fs::File>, u64, u64),
}

/// Begins to read the next bytes; `None` when there are no more to read.
fn next(file: Arc<std::fs::File>, start: u64, left: u64) -> Option<JoinHandle<io::Result<Chunk>>> {
    let wanted = left.min(CHUNK);
    (wanted > 0).then(|| {
        tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; usize::try_from(wanted).map_err(io::Error::other)?];
            file.read_exact_at(&mut bytes, start)?;
            Ok(Chunk {
                bytes: bytes.into(),
                following: (file, start + wanted, left - wanted),
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use futures::TryStreamExt as _;

    use super::*;

    #[test]
    fn ranges_are_read_as_browsers_write_them() {
        for (text, wanted) in [
            ("bytes=0-9", Wanted::Part(0, 10)),
            ("bytes=90-", Wanted::Part(90, 10)),
            ("bytes=-5", Wanted::Part(95, 5)),
            ("bytes=50-1000", Wanted::Part(50, 50)),
            ("bytes=100-", Wanted::Beyond),
            ("bytes=100-200", Wanted::Beyond),
            ("bytes=9-1", Wanted::Whole),
            ("bytes=0-1,5-6", Wanted::Whole),
            ("items=0-1", Wanted::Whole),
        ] {
            assert_eq!(parse_range(text, 100), wanted, "{text}");
        }
        assert_eq!(parse_range("bytes=0-", 0), Wanted::Whole);
    }

    #[tokio::test]
    async fn a_part_of_a_file_is_sent_and_a_shortened_one_is_an_error() {
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..CHUNK + 1000).map(|index| (index % 251) as u8).collect();
        file.write_all(&content).unwrap();
        let all = |start, length| {
            let file = file.try_clone().unwrap();
            read(file, start, length)
                .map_ok(|chunk| chunk.to_vec())
                .try_concat()
        };
        assert_eq!(all(0, content.len() as u64).await.unwrap(), content);
        assert_eq!(all(7, 5).await.unwrap(), content[7..12]);
        let early = all(0, content.len() as u64 + 1).await.unwrap_err();
        assert_eq!(early.kind(), io::ErrorKind::UnexpectedEof);
    }
}
