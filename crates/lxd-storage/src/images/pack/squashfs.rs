//! A squashfs file system of an archive, through `mksquashfs`.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};

use lxd_sys::command::{Child, Command, Stream};

/// The descriptor that the program has its file at.
const TARGET: i32 = 3;

/// How the file system is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Options {
    method: &'static str,
    block: u32,
}

/// A file system in the making: the archive goes in, the program writes the file.
pub struct Squashing {
    child: Child,
    archive: Option<BufWriter<File>>,
    file: File,
}

impl Options {
    /// Reads arguments as `mksquashfs` or `tar2sqfs` have them; gives the first that is none.
    pub(super) fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Result<Self, &'a str> {
        let mut options = Self {
            // As the reference has it.
            method: "xz",
            block: 128 << 10,
        };
        let mut words = words;
        while let Some(word) = words.next() {
            let (name, joined) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word, None),
            };
            let value = joined.or_else(|| words.next()).ok_or(word)?;
            match name {
                "-comp" | "-c" | "--compressor" => {
                    let known = ["gzip", "lz4", "lzma", "lzo", "xz", "zstd"];
                    options.method = known.into_iter().find(|known| *known == value).ok_or(value)?;
                }
                "-b" | "--block-size" => options.block = block(value).ok_or(value)?,
                _ => return Err(word),
            }
        }
        Ok(options)
    }
}

/// A size of blocks in bytes, perhaps with `K` or `M`: a power of two that the format has.
fn block(text: &str) -> Option<u32> {
    let (digits, unit) = match text.trim_end_matches(['K', 'k']) {
        digits if digits.len() < text.len() => (digits, 1 << 10),
        _ if text.ends_with(['M', 'm']) => (text.trim_end_matches(['M', 'm']), 1 << 20),
        _ => (text, 1),
    };
    let bytes = digits.parse::<u32>().ok()?.checked_mul(unit)?;
    ((4 << 10)..=(1 << 20))
        .contains(&bytes)
        .then_some(bytes)
        .filter(|bytes| bytes.is_power_of_two())
}

impl Squashing {
    /// Starts the program, which writes into `file`.
    pub(super) fn begin(file: File, options: Options) -> io::Result<Self> {
        let command = Command::new("mksquashfs")
            .args(["-", &format!("/proc/self/fd/{TARGET}"), "-tar", "-noappend"])
            .args(["-no-progress", "-quiet", "-comp", options.method])
            .args(["-b", &options.block.to_string()])
            // The same files give the same image.
            .args(["-root-mode", "0755", "-root-time", "0", "-mkfs-time", "0"])
            .fd(file.try_clone()?.into(), TARGET)
            .stdin(Stream::Pipe)
            .stderr(Stream::Pipe);
        let mut child = command.spawn().map_err(io::Error::other)?;
        child.kill_on_drop(true);
        let archive = child.take_stdin().map(File::from);
        Ok(Self {
            child,
            archive: archive.map(|pipe| BufWriter::with_capacity(1 << 20, pipe)),
            file,
        })
    }

    /// Ends the archive, waits until the file is whole.
    pub(super) fn finish(mut self) -> io::Result<File> {
        let sent = match self.archive.take() {
            Some(mut archive) => archive.flush(),
            None => Ok(()),
        };
        if sent.is_err() {
            return Err(self.failure());
        }
        let failure = self.said();
        if self.child.wait_blocking()?.is_success() {
            Ok(self.file)
        } else {
            Err(io::Error::other(format!("mksquashfs: {failure}")))
        }
    }

    /// Why the program has ended early.
    fn failure(&mut self) -> io::Error {
        self.archive = None;
        io::Error::other(format!("mksquashfs: {}", self.said()))
    }

    /// What the program says until its end.
    fn said(&mut self) -> String {
        let mut text = Vec::new();
        if let Some(errors) = self.child.take_stderr() {
            // What can't be read is not there.
            let _ = File::from(errors).read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).trim().to_owned()
    }
}

impl Write for Squashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.archive.as_mut().map(|archive| archive.write(bytes)) {
            Some(Ok(count)) => Ok(count),
            Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            _ => Err(self.failure()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_both_programs_are_understood() {
        let parse = |text: &'static str| Options::parse(text.split_whitespace());
        let of = |method, block| Ok(Options { method, block });
        assert_eq!(parse(""), of("xz", 131_072));
        assert_eq!(parse("-comp xz -b 1M"), of("xz", 1 << 20));
        assert_eq!(parse("--compressor=zstd --block-size 64K"), of("zstd", 65536));
        for (text, wrong) in [
            ("-comp", "-comp"),
            ("-comp nosuch", "nosuch"),
            ("-b 5000", "5000"),
            ("-b 2M", "2M"),
            ("-action delete", "-action"),
            ("/etc/passwd x", "/etc/passwd"),
        ] {
            assert_eq!(parse(text), Err(wrong));
        }
    }

    #[test]
    fn a_full_disk_is_told_in_the_programs_words() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut squashing = Squashing::begin(full, Options::parse("".split(' ').skip(1)).unwrap()).unwrap();
        let sent = squashing.write_all(&[1; 4 << 20]);
        let ended = sent.and_then(|()| squashing.finish().map(drop));
        assert!(ended.unwrap_err().to_string().starts_with("mksquashfs: "));
    }
}
