//! Compressing while packing: all processors at once, in the formats that the reference's programs write.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use flate2::Compression as GzipLevel;
use liblzma::stream::{Check, LzmaOptions, MtStreamBuilder, Stream};
use liblzma::write::XzEncoder;
use lxd_model::Invalid;
use parking_lot::Mutex;

/// The format of an archive, and how hard to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compressor {
    format: Format,
    level: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    None,
    Gzip,
    Bzip2,
    Xz,
    Lzma,
    Zstd,
}

impl Compressor {
    /// Reads what users write: the name of a program, perhaps with arguments: `gzip`, `zstd -19`, `none`.
    ///
    /// # Errors
    /// A program that this server has not, or an argument that is no level of it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let mut words = text.split_whitespace();
        let program = words.next().unwrap_or_default();
        let (format, normal, levels) = match program {
            "none" => (Format::None, 0, 0..=0),
            "gzip" | "pigz" => (Format::Gzip, 6, 1..=9),
            "bzip2" | "pbzip2" => (Format::Bzip2, 9, 1..=9),
            "xz" | "pxz" => (Format::Xz, 6, 0..=9),
            "lzma" => (Format::Lzma, 6, 0..=9),
            "zstd" => (Format::Zstd, 3, 1..=19),
            _ => return Err(Invalid::new(format!("Invalid compression algorithm {program:?}"))),
        };
        let mut level = normal;
        for word in words {
            let number = word.strip_prefix('-').and_then(|digits| digits.parse().ok());
            level = match (word, number) {
                ("--fast", _) => *levels.start(),
                ("--best", _) => *levels.end(),
                (_, Some(number)) if levels.contains(&number) && format != Format::None => number,
                _ => {
                    return Err(Invalid::new(format!(
                        "Invalid argument {word:?} for compression algorithm {program:?}"
                    )));
                }
            };
        }
        Ok(Self { format, level })
    }

    /// Whether this leaves an archive as it is.
    pub fn is_none(self) -> bool {
        self.format == Format::None
    }

    /// A stream whose bytes end up in `file`, compressed.
    ///
    /// # Errors
    /// The compressor's memory.
    pub fn into_file(self, file: File) -> io::Result<Packing> {
        let out = BufWriter::with_capacity(1 << 20, file);
        Ok(match self.format {
            Format::None => Packing::Plain(out),
            Format::Xz => {
                let stream = MtStreamBuilder::new()
                    .threads(threads())
                    .preset(self.level)
                    .check(Check::Crc64)
                    .encoder()?;
                Packing::Xz(XzEncoder::new_stream(out, stream))
            }
            Format::Lzma => {
                let stream = Stream::new_lzma_encoder(&LzmaOptions::new_preset(self.level)?)?;
                Packing::Xz(XzEncoder::new_stream(out, stream))
            }
            Format::Gzip => Packing::Blocks(Blocks::new(out, self, 1 << 20)),
            Format::Bzip2 => Packing::Blocks(Blocks::new(out, self, 900_000)),
            Format::Zstd => Packing::Blocks(Blocks::new(out, self, 4 << 20)),
        })
    }

    /// Compresses a block as a member of its own. Members one after the other are a valid file in these formats.
    fn block(self, data: &[u8]) -> io::Result<Vec<u8>> {
        match self.format {
            Format::Bzip2 => {
                let mut encoder =
                    bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(self.level));
                encoder.write_all(data)?;
                encoder.finish()
            }
            Format::Zstd => zstd::bulk::compress(data, i32::try_from(self.level).unwrap_or(3)),
            _ => {
                let room = Vec::with_capacity(data.len() / 2);
                let mut encoder = flate2::write::GzEncoder::new(room, GzipLevel::new(self.level));
                encoder.write_all(data)?;
                encoder.finish()
            }
        }
    }
}

fn threads() -> u32 {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(all).unwrap_or(1).min(16)
}

/// A compressed file in the making.
pub enum Packing {
    /// As it is.
    Plain(BufWriter<File>),
    /// xz or lzma, whose library has threads of its own.
    Xz(XzEncoder<BufWriter<File>>),
    /// Blocks side by side.
    Blocks(Blocks),
}

impl Packing {
    /// Ends the file.
    ///
    /// # Errors
    /// Compressing or writing failed.
    pub fn finish(self) -> io::Result<File> {
        let out = match self {
            Self::Plain(out) => out,
            Self::Xz(encoder) => encoder.finish()?,
            Self::Blocks(blocks) => blocks.finish()?,
        };
        out.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

impl Write for Packing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Xz(encoder) => encoder.write(bytes),
            Self::Blocks(blocks) => blocks.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        // The end of a file writes all out; before that nobody reads it.
        Ok(())
    }
}

/// What a compressed block becomes.
type Compressed = io::Result<Vec<u8>>;

/// A block, and where its result is waited for.
type Job = (Vec<u8>, SyncSender<Compressed>);

/// Blocks that several threads compress and one writes, in their order.
pub struct Blocks {
    jobs: Option<SyncSender<Job>>,
    order: Option<SyncSender<Receiver<Compressed>>>,
    workers: Vec<JoinHandle<()>>,
    writer: Option<JoinHandle<io::Result<BufWriter<File>>>>,
    block: Vec<u8>,
    size: usize,
}

impl Blocks {
    fn new(out: BufWriter<File>, compressor: Compressor, size: usize) -> Self {
        let count = threads() as usize;
        let (jobs, queue) = sync_channel::<Job>(count);
        let (order, results) = sync_channel::<Receiver<Compressed>>(2 * count);
        let queue = Arc::new(Mutex::new(queue));
        let work = |queue: Arc<Mutex<Receiver<Job>>>| {
            move || {
                loop {
                    let job = queue.lock().recv();
                    let Ok((block, result)) = job else { return };
                    // The writer is gone when it failed, and says why at the end.
                    let _ = result.send(compressor.block(&block));
                }
            }
        };
        let workers = (0..count)
            .map(|_| std::thread::spawn(work(Arc::clone(&queue))))
            .collect();
        let writer = std::thread::spawn(move || write_in_order(out, &results));
        Self {
            jobs: Some(jobs),
            order: Some(order),
            workers,
            writer: Some(writer),
            block: Vec::with_capacity(size),
            size,
        }
    }

    fn send(&mut self) -> io::Result<()> {
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(self.size));
        let (result, wait) = sync_channel(1);
        let sent = match (&self.order, &self.jobs) {
            (Some(order), Some(jobs)) => order.send(wait).is_ok() && jobs.send((block, result)).is_ok(),
            _ => false,
        };
        if sent { Ok(()) } else { Err(self.failure()) }
    }

    /// Why the writer has ended early.
    fn failure(&mut self) -> io::Error {
        let early = || io::Error::other("the compressor has ended early");
        match self.writer.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => error,
            _ => early(),
        }
    }

    fn finish(mut self) -> io::Result<BufWriter<File>> {
        // An empty archive is a member, too.
        self.send()?;
        self.jobs = None;
        self.order = None;
        match self.writer.take().map(JoinHandle::join) {
            Some(Ok(written)) => written,
            _ => Err(self.failure()),
        }
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        self.jobs = None;
        self.order = None;
        for thread in self.workers.drain(..) {
            // Nothing is lost with a thread that has panicked: the file is incomplete then.
            let _ = thread.join();
        }
    }
}

impl Write for Blocks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.size - self.block.len();
        let taken = room.min(bytes.len());
        let (now, _) = bytes.split_at(taken);
        self.block.extend_from_slice(now);
        if self.block.len() == self.size {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_in_order(
    mut out: BufWriter<File>,
    results: &Receiver<Receiver<Compressed>>,
) -> io::Result<BufWriter<File>> {
    while let Ok(result) = results.recv() {
        let compressed = result.recv();
        let compressed = compressed.map_err(|_| io::Error::other("the compressor has ended early"))?;
        out.write_all(&compressed?)?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::images::Decoder;

    #[test]
    fn every_format_is_read_back() {
        let content: Vec<u8> = (0..5_000_000_u32).map(|n| (n / 7 % 251) as u8).collect();
        for text in [
            "none",
            "gzip",
            "gzip -1",
            "bzip2 -9",
            "xz -0",
            "lzma -0",
            "zstd",
            "zstd -1",
            "pigz --fast",
        ] {
            let compressor = Compressor::parse(text).unwrap();
            let file = tempfile::NamedTempFile::new().unwrap();
            let mut packing = compressor.into_file(file.reopen().unwrap()).unwrap();
            packing.write_all(&content).unwrap();
            packing.finish().unwrap();
            let mut back = Vec::new();
            if compressor.is_none() {
                back = std::fs::read(file.path()).unwrap();
            } else {
                Decoder::open(file.path())
                    .unwrap()
                    .read_to_end(&mut back)
                    .unwrap();
                assert!(file.as_file().metadata().unwrap().len() < 2_000_000, "{text}");
            }
            assert!(back == content, "{text}");
        }
    }

    #[test]
    fn what_is_no_compressor_is_refused_by_name() {
        for (text, why) in [
            ("", "Invalid compression algorithm \"\""),
            ("/bin/sh", "Invalid compression algorithm \"/bin/sh\""),
            ("squashfs", "Invalid compression algorithm \"squashfs\""),
            (
                "gzip -z",
                "Invalid argument \"-z\" for compression algorithm \"gzip\"",
            ),
            (
                "gzip -12",
                "Invalid argument \"-12\" for compression algorithm \"gzip\"",
            ),
            (
                "none -1",
                "Invalid argument \"-1\" for compression algorithm \"none\"",
            ),
        ] {
            assert_eq!(Compressor::parse(text).unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn a_full_disk_is_told() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut packing = Compressor::parse("gzip").unwrap().into_file(full).unwrap();
        let noise: Vec<u8> = (0..3_000_000_u64)
            .map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
            .collect();
        let mut outcome = Ok(());
        for _ in 0..10 {
            outcome = outcome.and_then(|()| packing.write_all(&noise));
        }
        let outcome = outcome.and_then(|()| packing.finish().and_then(|mut file| file.flush()));
        assert_eq!(outcome.unwrap_err().raw_os_error(), Some(28));
    }
}
