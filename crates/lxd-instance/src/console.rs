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
    window: Window,
}

/// What is left of a console beside its two directions. Nobody else can take the console until this is dropped.
#[derive(Debug)]
pub struct Window {
    master: Arc<OwnedFd>,
    _held: OwnedFd,
}

impl Console {
    pub(crate) fn new(held: OwnedFd, master: OwnedFd) -> std::io::Result<Self> {
        let master = Arc::new(master);
        Ok(Self {
            terminal: Terminal::new(&master)?,
            window: Window { master, _held: held },
        })
    }

    /// Both directions, and the rest.
    pub fn into_parts(self) -> (Terminal, Window) {
        (self.terminal, self.window)
    }

    /// As [`Window::resize`].
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn resize(&self, width: u16, height: u16) -> Result<(), Error> {
        self.window.resize(width, height)
    }
}

impl Window {
    /// Sets the size in columns and rows.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn resize(&self, width: u16, height: u16) -> Result<(), Error> {
        crate::exec::resize(&self.master, width, height)
    }
}
