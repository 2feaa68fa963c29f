//! An instance's console.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::error::Error;
use crate::exec::Terminal;

/// The console, taken: nobody else can take it until this is dropped.
#[derive(Debug)]
pub struct Console {
    /// Both directions.
    pub terminal: Terminal,
    master: Arc<OwnedFd>,
    _held: OwnedFd,
}

impl Console {
    pub(crate) fn new(held: OwnedFd, master: OwnedFd) -> std::io::Result<Self> {
        let master = Arc::new(master);
        Ok(Self {
            terminal: Terminal::new(&master)?,
            master,
            _held: held,
        })
    }

    /// Sets the size in columns and rows.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn resize(&self, width: u16, height: u16) -> Result<(), Error> {
        crate::exec::resize(&self.master, width, height)
    }
}
