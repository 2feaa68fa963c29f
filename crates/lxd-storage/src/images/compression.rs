//! Telling archives apart by their first bytes, and the decoders.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use liblzma::stream::{MtStreamBuilder, Stream};

use super::ImageError;
use super::ahead::Ahead;

/// Memory that an xz decoder may take in all; a file that needs more for one thread is refused.
const XZ_MEMORY: u64 = 1 << 30;

/// Above this the xz decoder uses fewer threads.
const XZ_MEMORY_THREADS: u64 = 256 << 20;

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// A tar archive as it is.
    None,
    /// gzip.
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
    /// The older format of lzma-utils.
    Lzma,
    /// Zstandard.
    Zstd,
    /// Not a tar archive: a squashfs file system.
    Squashfs,
}

impl Compression {
    /// Recognizes the first bytes of a file (512 of them, or all).
    pub fn of_magic(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [b'B', b'Z', b'h', ..] => Some(Self::Bzip2),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [0x5d, 0, 0, ..] => Some(Self::Lzma),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            [b'h', b's', b'q', b's', ..] => Some(Self::Squashfs),
            _ if head.get(257..262) == Some(b"ustar") => Some(Self::None),
            _ => None,
        }
    }

    /// Recognizes the file at `path`.
    pub fn of_file(path: &Path) -> Result<Self, ImageError> {
        let mut head = Vec::new();
        let failed = |e| ImageError::file("reading", path, e);
        File::open(path)
            .map_err(failed)?
            .take(512)
            .read_to_end(&mut head)
            .map_err(failed)?;
        if head.is_empty() {
            return Err(ImageError::Empty);
        }
        Self::of_magic(&head).ok_or(ImageError::UnsupportedCompression)
    }

    /// The file name's extension, with its dot, as the reference gives it to exported images.
    pub fn extension(self) -> &'static str {
        match self {
            Self::None => ".tar",
            Self::Gzip => ".tar.gz",
            Self::Bzip2 => ".tar.bz2",
            Self::Xz => ".tar.xz",
            Self::Lzma => ".tar.lzma",
            Self::Zstd => ".tar.zst",
            Self::Squashfs => ".squashfs",
        }
    }
}

/// A stream of unpacked bytes from a packed file, that knows how much of the file it has used.
pub struct Decoder {
    inner: Box<dyn Read + Send>,
    used: Arc<AtomicU64>,
}

impl Decoder {
    /// Opens the archive at `path`; not for squashfs.
    pub fn open(path: &Path) -> Result<Self, ImageError> {
        let compression = Compression::of_file(path)?;
        let file = File::open(path).map_err(|e| ImageError::file("opening", path, e))?;
        Self::new(file, compression)
    }

    /// Opens the archive at `path` to read all of it: where decoding is work, another thread does it ahead of the reader.
    pub fn open_ahead(path: &Path) -> Result<Self, ImageError> {
        let compression = Compression::of_file(path)?;
        let file = File::open(path).map_err(|e| ImageError::file("opening", path, e))?;
        let decoder = Self::new(file, compression)?;
        if compression == Compression::None {
            return Ok(decoder);
        }
        let ahead = Ahead::new(decoder.inner).map_err(|e| ImageError::file("decoding", path, e))?;
        Ok(Self {
            inner: Box::new(ahead),
            used: decoder.used,
        })
    }

    /// Decodes `file`, from its beginning.
    pub fn new(mut file: File, compression: Compression) -> Result<Self, ImageError> {
        let failed = |e: io::Error| ImageError::Corrupt {
            member: String::new(),
            source: e,
        };
        file.rewind().map_err(failed)?;
        let used = Arc::new(AtomicU64::new(0));
        let input = BufReader::with_capacity(
            128 * 1024,
            Counted {
                file,
                used: Arc::clone(&used),
            },
        );
        let inner: Box<dyn Read + Send> = match compression {
            Compression::None => Box::new(input),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
            Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
            Compression::Xz => Box::new(Xz::new(input).map_err(failed)?),
            Compression::Lzma => {
                let stream = Stream::new_lzma_decoder(XZ_MEMORY).map_err(|e| failed(e.into()))?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
            }
            Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input).map_err(failed)?),
            Compression::Squashfs => return Err(ImageError::UnsupportedCompression),
        };
        Ok(Self { inner, used })
    }

    /// Bytes of the packed file read so far.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

impl Read for Decoder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

/// An xz file, which may be several streams in a row with padding between them. Several threads where a stream has blocks of
/// known size (as `xz -T0` writes); else it is decoded as always.
struct Xz<R> {
    // None for the moment between two streams, and for good after an error.
    stream: Option<liblzma::bufread::XzDecoder<R>>,
}

impl<R: BufRead> Xz<R> {
    fn new(input: R) -> io::Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
        let stream = MtStreamBuilder::new()
            .threads(threads)
            .memlimit_threading(XZ_MEMORY_THREADS)
            .memlimit_stop(XZ_MEMORY)
            .decoder()?;
        Ok(Self {
            stream: Some(liblzma::bufread::XzDecoder::new_stream(input, stream)),
        })
    }
}

impl<R: BufRead> Read for Xz<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(stream) = &mut self.stream else {
                return Ok(0);
            };
            let n = stream.read(buffer)?;
            if n > 0 || buffer.is_empty() {
                return Ok(n);
            }
            let Some(mut input) = self.stream.take().map(liblzma::bufread::XzDecoder::into_inner) else {
                return Ok(0);
            };
            loop {
                let padding = input.fill_buf()?;
                let zeros = padding.iter().take_while(|byte| **byte == 0).count();
                if zeros == 0 {
                    break;
                }
                input.consume(zeros);
            }
            if input.fill_buf()?.is_empty() {
                return Ok(0);
            }
            self.stream = Self::new(input)?.stream;
        }
    }
}

struct Counted {
    file: File,
    used: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.used.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}
