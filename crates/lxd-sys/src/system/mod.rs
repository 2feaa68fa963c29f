//! What this machine is: kernel, processors, memory, distribution, features.

mod features;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::LazyLock;

pub use features::KernelFeatures;

/// A fact about this machine that could not be read or set.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of `/proc` or `/etc` could not be read.
    #[error("Failed to read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A kernel setting could not be changed.
    #[error("Failed to set {name} to {value:?}")]
    Sysctl {
        /// The setting, with slashes.
        name: String,
        /// The value that it should have got.
        value: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

/// What uname(2) tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// `Linux`.
    pub name: String,
    /// The release, such as `6.1.0-13-amd64`.
    pub release: String,
    /// The architecture as the kernel names it, such as `x86_64`.
    pub architecture: String,
    /// The host's name.
    pub hostname: String,
}

/// What the kernel says about itself and the host's name.
pub fn kernel() -> Kernel {
    let uname = rustix::system::uname();
    let text = |s: &std::ffi::CStr| s.to_string_lossy().into_owned();
    Kernel {
        name: text(uname.sysname()),
        release: text(uname.release()),
        architecture: text(uname.machine()),
        hostname: text(uname.nodename()),
    }
}

/// The architectures whose programs run here: the kernel's own, then the 32-bit one it can also run.
pub fn architectures(kernel_name: &str) -> Vec<&'static str> {
    match kernel_name {
        "x86_64" => vec!["x86_64", "i686"],
        "i386" | "i486" | "i586" | "i686" => vec!["i686"],
        "aarch64" => vec!["aarch64", "armv7l"],
        "armv6l" => vec!["armv6l"],
        "armv7l" | "armv8l" => vec!["armv7l"],
        "ppc" => vec!["ppc"],
        "ppc64" => vec!["ppc64", "ppc"],
        "ppc64le" => vec!["ppc64le"],
        "s390x" => vec!["s390x"],
        "mips" => vec!["mips"],
        "mips64" => vec!["mips64", "mips"],
        "riscv32" => vec!["riscv32"],
        "riscv64" => vec!["riscv64"],
        _ => Vec::new(),
    }
}

/// Name and version of the distribution (os-release(5)); empty where it doesn't say.
pub fn os_release() -> (String, String) {
    let text = ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|p| std::fs::read_to_string(p).ok());
    let facts = parse_os_release(&text.unwrap_or_default());
    let get = |key: &str| facts.get(key).cloned().unwrap_or_default();
    (get("NAME"), get("VERSION_ID"))
}

fn parse_os_release(text: &str) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    for line in text.lines() {
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let value = value.trim();
        let bare = ['"', '\'']
            .iter()
            .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote))
            .unwrap_or(value);
        facts.insert(key.trim().to_owned(), bare.to_owned());
    }
    facts
}

/// How many processors this process may run on.
pub fn cpu_count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The machine's memory in bytes.
///
/// # Errors
/// [`Error::Read`].
pub fn memory_total() -> Result<u64, Error> {
    let path = PathBuf::from("/proc/meminfo");
    let text = std::fs::read_to_string(&path).map_err(|source| Error::Read {
        path: path.clone(),
        source,
    })?;
    parse_memory_total(&text).ok_or_else(|| Error::Read {
        path,
        source: io::Error::other("there is no line MemTotal"),
    })
}

fn parse_memory_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The size of a memory page in bytes.
pub fn page_size() -> usize {
    rustix::param::page_size()
}

/// What the kernel calls the time since it booted: another text after the next boot. Empty where it says nothing.
pub fn boot_id() -> &'static str {
    static ID: LazyLock<String> = LazyLock::new(|| {
        let read = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        read.map(|id| id.trim_end().to_owned()).unwrap_or_default()
    });
    &ID
}

/// A kernel setting below `/proc/sys`; `name` has slashes (`net/ipv4/ip_forward`). Those of the network are of the
/// thread's own namespace.
///
/// # Errors
/// [`Error::Read`].
pub fn sysctl(name: &str) -> Result<String, Error> {
    let path = PathBuf::from("/proc/sys").join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim_end().to_owned()),
        Err(source) => Err(Error::Read { path, source }),
    }
}

/// Changes a kernel setting below `/proc/sys`.
///
/// # Errors
/// [`Error::Sysctl`].
pub fn set_sysctl(name: &str, value: &str) -> Result<(), Error> {
    std::fs::write(PathBuf::from("/proc/sys").join(name), value).map_err(|source| Error::Sysctl {
        name: name.to_owned(),
        value: value.to_owned(),
        source,
    })
}

/// Major and minor number of a kernel release; zeros where it has none.
pub fn version_of(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
