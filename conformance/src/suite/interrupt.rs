//! Control-C: clean up first.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on the first Control-C only begins no more scenarios; the second ends the program.
///
/// # Errors
///
/// The operating system's.
pub fn catch_interrupt() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                if INTERRUPTED.swap(true, Ordering::Relaxed) {
                    std::process::exit(130);
                }
                eprintln!(
                    "\ninterrupted: what runs is finished and cleaned up; once more to end at once"
                );
            }
        });
    });
    Ok(())
}

/// Whether somebody has pressed Control-C.
#[must_use]
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}
