//! Ctrl-C: once asks the command to stop where it can go on from, twice ends it at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::SIGINT;
use signal_hook::flag;

/// The exit code of a command that Ctrl-C ended: 128 and the signal's number, as shells have it.
pub(crate) const EXIT_CODE: u8 = 130;

/// Whether Ctrl-C was pressed, or what stands for it came.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on.
    ///
    /// # Errors
    /// Where the system does not let a process listen.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let pressed = Arc::new(AtomicBool::new(false));
        // In this order: the first press finds the flag down and raises it, the second finds it up.
        flag::register_conditional_shutdown(SIGINT, i32::from(EXIT_CODE), Arc::clone(&pressed))?;
        flag::register(SIGINT, Arc::clone(&pressed))?;
        Ok(Self(pressed))
    }

    /// Takes the end of standard input for a first Ctrl-C.
    pub(crate) fn or_eof(&self) {
        let pressed = Arc::clone(&self.0);
        std::thread::spawn(move || {
            // An input that cannot be read has ended as well.
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            pressed.store(true, Ordering::SeqCst);
        });
    }

    /// Whether to stop.
    pub(crate) fn pressed(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
