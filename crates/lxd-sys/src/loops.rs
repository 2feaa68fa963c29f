//! Files as block devices.
#![allow(unsafe_code, reason = "the ioctls of linux/loop.h")]

use std::ffi::{c_int, c_ulong, c_void};
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::path::PathError;

const GET_FREE: c_ulong = 0x4C82;
const CONFIGURE: c_ulong = 0x4C0A;
const SET_CAPACITY: c_ulong = 0x4C07;

/// `LO_FLAGS_AUTOCLEAR`: the device goes with its last user.
const AUTOCLEAR: u32 = 4;
/// `LO_FLAGS_DIRECT_IO`: nothing is cached twice.
const DIRECT_IO: u32 = 16;

/// `struct loop_config`, with its `struct loop_info64`.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    numbers: [u64; 5],
    number: u32,
    encryption: [u32; 2],
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    key: [u8; 32],
    init: [u64; 2],
    reserved: [u64; 8],
}

/// A file that is a block device as long as this lives, or longer: until whatever is mounted of it is unmounted.
#[derive(Debug)]
pub struct Loop {
    device: File,
    path: PathBuf,
}

impl Loop {
    /// The device.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a device of a file.
    ///
    /// # Errors
    /// The file can't be opened; no loop devices.
    pub fn attach(file: &Path) -> Result<Self, PathError> {
        let failed = |e: std::io::Error| PathError::call("making a block device of", file, e);
        let backing = OpenOptions::new()
            .read(true)
            .write(true)
            .open(file)
            .map_err(failed)?;
        let control = Path::new("/dev/loop-control");
        let opened = OpenOptions::new().read(true).write(true).open(control);
        let control = opened.map_err(|e| PathError::call("opening", control, e))?;
        loop {
            let number = call(&control, GET_FREE, std::ptr::null_mut()).map_err(failed)?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let opened = OpenOptions::new().read(true).write(true).open(&path);
            let device = opened.map_err(|e| PathError::call("opening", &path, e))?;
            match configure(&device, &backing, file) {
                Ok(()) => return Ok(Self { device, path }),
                // Somebody else took it meanwhile.
                Err(e) if e.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => {}
                Err(e) => return Err(failed(e)),
            }
        }
    }

    /// The device that a file already is, by its path, as sysfs says it.
    pub fn of_device(path: &Path) -> Result<Self, PathError> {
        let opened = OpenOptions::new().read(true).write(true).open(path);
        Ok(Self {
            device: opened.map_err(|e| PathError::call("opening", path, e))?,
            path: path.to_path_buf(),
        })
    }

    /// Lets the device be as large as its file has become.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn grow(&self) -> Result<(), PathError> {
        call(&self.device, SET_CAPACITY, std::ptr::null_mut())
            .map(drop)
            .map_err(|e| PathError::call("growing", &self.path, e))
    }
}

fn configure(device: &File, backing: &File, name: &Path) -> std::io::Result<()> {
    let direct = set_up(device, backing, name, AUTOCLEAR | DIRECT_IO);
    match direct {
        // Not every file system can.
        Err(e) if e.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
            set_up(device, backing, name, AUTOCLEAR)
        }
        done => done,
    }
}

fn set_up(device: &File, backing: &File, name: &Path, flags: u32) -> std::io::Result<()> {
    let mut config = Config {
        fd: u32::try_from(backing.as_raw_fd()).unwrap_or(u32::MAX),
        block_size: 0,
        numbers: [0; 5],
        number: 0,
        encryption: [0; 2],
        flags,
        file_name: [0; 64],
        crypt_name: [0; 64],
        key: [0; 32],
        init: [0; 2],
        reserved: [0; 8],
    };
    // For people only: a longer name is cut.
    for (to, from) in config
        .file_name
        .iter_mut()
        .take(63)
        .zip(name.as_os_str().as_bytes())
    {
        *to = *from;
    }
    call(device, CONFIGURE, (&raw mut config).cast()).map(drop)
}

fn call(file: &File, request: c_ulong, argument: *mut c_void) -> std::io::Result<c_int> {
    // SAFETY: the requests take nothing, or the structure that `set_up` gives.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), request as _, argument) };
    if result < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(result)
}
