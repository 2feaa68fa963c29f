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

use super::cut::Cut;
use super::squashfs::{self, Squashing};

/// With a level of xz or lzma: to try even harder.
const EXTREME: u32 = 1 << 31;

/// The format of an archive, and how hard to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compressor {
    format: Format,
    level: u32,
    /// Whether what is the same in two archives shall be the same in the compressed ones.
    rsyncable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    None,
    Gzip,
    Bzip2,
    Xz,
    Lzma,
    Zstd,
    Squashfs(squashfs::Options),
}

impl Compressor {
    /// Reads what users write: the name of a program, perhaps with arguments: `gzip`, `zstd -19 --rsyncable`, `none`.
    ///
    /// # Errors
    /// A program that this server has not, or an argument that is none of it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let mut words = text.split_whitespace();
        let program = words.next().unwrap_or_default();
        let wrong = |word: &str| {
            Invalid::new(format!(
                "Invalid argument {word:?} for compression algorithm {program:?}"
            ))
        };
        let (format, normal) = match program {
            "none" => (Format::None, 0),
            "gzip" | "pigz" => (Format::Gzip, 6),
            "bzip2" | "pbzip2" => (Format::Bzip2, 9),
            "xz" | "pxz" => (Format::Xz, 6),
            "lzma" => (Format::Lzma, 6),
            "zstd" => (Format::Zstd, 3),
            "squashfs" => (
                Format::Squashfs(squashfs::Options::parse(words.by_ref()).map_err(wrong)?),
                0,
            ),
            _ => return Err(Invalid::new(format!("Invalid compression algorithm {program:?}"))),
        };
        let mut made = Self {
            format,
            level: normal,
            rsyncable: false,
        };
        let is_ultra = text.contains(" --ultra");
        for word in words {
            if !made.argue(word, is_ultra) {
                return Err(wrong(word));
            }
        }
        Ok(made)
    }

    /// The same for backups, which are tarballs.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn for_backup(text: &str) -> Result<Self, Invalid> {
        let made = Self::parse(text)?;
        match made.format {
            Format::Squashfs(_) => Err(Invalid::new("Invalid compression algorithm \"squashfs\"")),
            _ => Ok(made),
        }
    }

    /// Takes an argument of the program's; says whether it is one.
    fn argue(&mut self, word: &str, is_ultra: bool) -> bool {
        let levels = match self.format {
            Format::Gzip | Format::Bzip2 => 1..=9,
            Format::Xz | Format::Lzma => 0..=9,
            Format::Zstd if is_ultra => 1..=22,
            Format::Zstd => 1..=19,
            Format::None | Format::Squashfs(_) => return false,
        };
        let is_lzma = matches!(self.format, Format::Xz | Format::Lzma);
        let extreme = self.level & EXTREME;
        let (digits, harder) = match word.strip_suffix('e').filter(|_| is_lzma) {
            Some(digits) => (digits, EXTREME),
            None => (word, 0),
        };
        let number = digits.strip_prefix('-').and_then(|digits| digits.parse().ok());
        match (word, number) {
            ("--fast", _) => self.level = *levels.start() | extreme,
            ("--best", _) => self.level = *levels.end() | extreme,
            (_, Some(number)) if levels.contains(&number) => self.level = number | extreme | harder,
            ("-e" | "--extreme", _) if is_lzma => self.level |= EXTREME,
            ("--rsyncable", _) if matches!(self.format, Format::Gzip | Format::Zstd) => self.rsyncable = true,
            ("--ultra", _) => return self.format == Format::Zstd,
            // All of these are so in any case.
            ("-c" | "--stdout" | "-k" | "--keep" | "-f" | "--force" | "-q" | "--quiet", _) => {}
            ("-n" | "--no-name", _) => return self.format == Format::Gzip,
            _ => return is_count_of_threads(word),
        }
        true
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
        if let Format::Squashfs(options) = self.format {
            return Ok(Packing::Squashfs(Squashing::begin(file, options)?));
        }
        let out = BufWriter::with_capacity(1 << 20, file);
        Ok(match self.format {
            Format::None | Format::Squashfs(_) => Packing::Plain(out),
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

/// Whether an argument says how many threads there shall be. All processors work in any case.
fn is_count_of_threads(word: &str) -> bool {
    let count = ["-T", "--threads=", "-p"]
        .into_iter()
        .find_map(|name| word.strip_prefix(name));
    count.is_some_and(|count| count.parse::<u16>().is_ok())
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
    /// A squashfs file system, which a program makes.
    Squashfs(Squashing),
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
            Self::Squashfs(squashing) => return squashing.finish(),
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
            Self::Squashfs(squashing) => squashing.write(bytes),
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
    cut: Option<Cut>,
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
            cut: compressor.rsyncable.then(Cut::default),
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
        let cut = self.cut.as_mut().and_then(|cut| cut.find(now));
        let taken = cut.unwrap_or(taken);
        let (now, _) = bytes.split_at(taken);
        self.block.extend_from_slice(now);
        if cut.is_some() || self.block.len() == self.size {
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
            "xz -0e -T2",
            "gzip -1 --rsyncable -k",
            "zstd --ultra --rsyncable",
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
            (
                "squashfs -info x",
                "Invalid argument \"-info\" for compression algorithm \"squashfs\"",
            ),
            (
                "zstd -22",
                "Invalid argument \"-22\" for compression algorithm \"zstd\"",
            ),
            (
                "xz --rsyncable",
                "Invalid argument \"--rsyncable\" for compression algorithm \"xz\"",
            ),
            (
                "zstd -o/etc/x",
                "Invalid argument \"-o/etc/x\" for compression algorithm \"zstd\"",
            ),
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
        assert!(Compressor::for_backup("squashfs").is_err() && Compressor::for_backup("xz -9e").is_ok());
    }

    #[test]
    fn what_follows_a_change_is_the_same_in_rsyncable_files() {
        let mut seed = 1_u64;
        let mut noise = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 60) as u8
        };
        let content: Vec<u8> = (0..6_000_000).map(|_| noise()).collect();
        let longer = [b"inserted", content.as_slice()].concat();
        for text in ["gzip -1 --rsyncable", "zstd -1 --rsyncable"] {
            let packed = [&content, &longer].map(|content| {
                let file = tempfile::NamedTempFile::new().unwrap();
                let compressor = Compressor::parse(text).unwrap();
                let mut packing = compressor.into_file(file.reopen().unwrap()).unwrap();
                packing.write_all(content).unwrap();
                packing.finish().unwrap();
                std::fs::read(file.path()).unwrap()
            });
            let same = packed[0].iter().rev().zip(packed[1].iter().rev());
            let same = same.take_while(|(a, b)| a == b).count();
            assert!(same > packed[0].len() / 2, "{text}: {same}");
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
