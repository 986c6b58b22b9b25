//! A terminal: echo, lines, and a size.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::pipe::Writer;
use super::process::{Container, SIGINT};

/// Where a terminal echoes what is typed, until its first process ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Echo(Arc<Mutex<Option<Writer>>>);

impl Echo {
    pub(crate) fn new(writer: Writer) -> Self {
        Self(Arc::new(Mutex::new(Some(writer))))
    }

    /// The output ends with the last of its writers, so this one has to go with the others.
    pub(crate) fn end(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    async fn write(&self, bytes: &[u8]) {
        let writer = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(writer) = writer.filter(|_| !bytes.is_empty()) {
            // Nobody sees it: nothing is lost.
            let _ = writer.write(bytes).await;
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Terminal {
    /// Columns and rows.
    size: Mutex<(u16, u16)>,
    line: Mutex<Vec<u8>>,
    /// Ctrl-C while a shell runs a command.
    pub(crate) interrupt: Notify,
    /// Whether a shell takes Ctrl-C itself.
    pub(crate) has_shell: std::sync::atomic::AtomicBool,
}

impl Terminal {
    pub(crate) fn resize(&self, width: u16, height: u16) {
        *self.size.lock().unwrap_or_else(PoisonError::into_inner) = (width, height);
    }

    pub(crate) fn size(&self) -> (u16, u16) {
        *self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what was typed; returns false when that ends the input.
    pub(crate) async fn typed(
        &self,
        bytes: &[u8],
        stdin: &Writer,
        echo: &Echo,
        container: &Container,
        pid: u32,
    ) -> bool {
        let mut shown = Vec::new();
        for byte in bytes {
            let mut ready = None;
            let mut open = true;
            {
                let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
                match byte {
                    b'\r' | b'\n' => {
                        line.push(b'\n');
                        shown.extend_from_slice(b"\r\n");
                        ready = Some(std::mem::take(&mut *line));
                    }
                    0x04 if line.is_empty() => open = false,
                    0x04 => ready = Some(std::mem::take(&mut *line)),
                    0x03 => {
                        line.clear();
                        shown.extend_from_slice(b"^C\r\n");
                        if self.has_shell.load(std::sync::atomic::Ordering::SeqCst) {
                            self.interrupt.notify_waiters();
                        } else {
                            container.table.signal(pid, SIGINT);
                        }
                    }
                    0x7f | 0x08 => {
                        if line.pop().is_some() {
                            shown.extend_from_slice(b"\x08 \x08");
                        }
                    }
                    other => {
                        line.push(*other);
                        shown.push(*other);
                    }
                }
            }
            if ready.is_some() || !open {
                // The echo of a line comes before whatever the line does.
                echo.write(&shown).await;
                shown.clear();
            }
            if let Some(line) = ready
                && stdin.write(&line).await.is_err()
            {
                return false;
            }
            if !open {
                return false;
            }
        }
        echo.write(&shown).await;
        true
    }
}
