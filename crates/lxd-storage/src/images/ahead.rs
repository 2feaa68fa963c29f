//! Reading ahead in a thread of its own: whoever unpacks an archive writes files while the next bytes are decoded.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Bytes that are decoded in one go.
const BLOCK: usize = 256 * 1024;

/// Blocks that wait for whoever reads.
const WAITING: usize = 8;

/// A reader whose bytes another thread has fetched already. That thread ends with it.
pub struct Ahead {
    blocks: Receiver<io::Result<Vec<u8>>>,
    /// Blocks that were read, to be filled again: new memory for each would cost more than to decode into it.
    used: SyncSender<Vec<u8>>,
    block: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Ahead {
    /// Begins to read `inner`.
    pub fn new(inner: Box<dyn Read + Send>) -> io::Result<Self> {
        let (sender, blocks) = sync_channel(WAITING);
        let (used, again) = sync_channel(WAITING);
        std::thread::Builder::new()
            .name("decoder".into())
            .spawn(move || fetch(inner, &sender, &again))?;
        Ok(Self {
            blocks,
            used,
            block: Vec::new(),
            at: 0,
            ended: false,
        })
    }
}

/// Sends block after block; an empty one at the end.
fn fetch(
    mut inner: Box<dyn Read + Send>,
    blocks: &SyncSender<io::Result<Vec<u8>>>,
    again: &Receiver<Vec<u8>>,
) {
    loop {
        let mut block = again.try_recv().unwrap_or_else(|_| Vec::with_capacity(BLOCK));
        block.clear();
        let read = inner.by_ref().take(BLOCK as u64).read_to_end(&mut block);
        let more = matches!(read, Ok(n) if n > 0);
        // What came before an error is worth reading: a member may end before it.
        if read.is_err() && !block.is_empty() && blocks.send(Ok(std::mem::take(&mut block))).is_err() {
            return;
        }
        if blocks.send(read.map(|_| block)).is_err() || !more {
            return;
        }
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() && !self.ended {
            // There may be enough of them, or nobody who wants them.
            let _ = self.used.try_send(std::mem::take(&mut self.block));
            self.block = match self.blocks.recv() {
                Ok(block) => block.inspect_err(|_| self.ended = true)?,
                Err(_) => return Err(io::Error::other("the decoder has ended early")),
            };
            self.at = 0;
            self.ended = self.block.is_empty();
        }
        let rest = self.block.get(self.at..).unwrap_or_default();
        let n = rest.len().min(buffer.len());
        if let (Some(into), Some(from)) = (buffer.get_mut(..n), rest.get(..n)) {
            into.copy_from_slice(from);
        }
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes, then fails.
    struct Broken(io::Cursor<Vec<u8>>);

    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::Error::other("broken")),
                n => Ok(n),
            }
        }
    }

    fn bytes(n: usize) -> Vec<u8> {
        (0..n).map(|i| (i * 7 / 3) as u8).collect()
    }

    #[test]
    fn all_bytes_arrive_in_their_order() {
        for n in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 20 * BLOCK + 17] {
            let mut got = Vec::new();
            let mut ahead = Ahead::new(Box::new(io::Cursor::new(bytes(n)))).unwrap();
            ahead.read_to_end(&mut got).unwrap();
            assert!(got == bytes(n), "{n} bytes");
            assert_eq!(ahead.read(&mut [0; 8]).unwrap(), 0, "the end stays the end");
        }
    }

    #[test]
    fn an_error_comes_after_what_was_before_it() {
        let n = 3 * BLOCK + 5;
        let mut got = Vec::new();
        let mut ahead = Ahead::new(Box::new(Broken(io::Cursor::new(bytes(n))))).unwrap();
        let error = ahead.read_to_end(&mut got).unwrap_err();
        assert_eq!(error.to_string(), "broken");
        assert!(got == bytes(n));
    }

    #[test]
    fn the_thread_ends_with_its_reader() {
        struct Endless {
            _alive: std::sync::Arc<()>,
        }
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                Ok(buffer.len())
            }
        }
        let alive = std::sync::Arc::new(());
        let mut ahead = Ahead::new(Box::new(Endless {
            _alive: std::sync::Arc::clone(&alive),
        }))
        .unwrap();
        ahead.read_exact(&mut [0; 64]).unwrap();
        drop(ahead);
        let begun = std::time::Instant::now();
        while std::sync::Arc::strong_count(&alive) > 1 {
            assert!(begun.elapsed().as_secs() < 60, "it still runs");
            std::thread::yield_now();
        }
    }
}
