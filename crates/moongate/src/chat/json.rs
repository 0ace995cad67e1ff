//! The conversation for programs: each event as one line, as the server wrote it.

use std::io::{self, Write as _};

use moongate_protocol::{Delta, Envelope, InputId, Notice};

use super::view::View;
use crate::exit::Outcome;

/// Writes events as JSON lines.
pub(crate) struct JsonLines;

impl View for JsonLines {
    fn own(&mut self, _: InputId) {}

    fn event(&mut self, _: &Envelope, raw: &str) -> Outcome {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{raw}")?;
        Ok(stdout.flush()?)
    }

    /// The item's event that follows is complete.
    fn delta(&mut self, _: &Delta) -> Outcome {
        Ok(())
    }

    fn notice(&mut self, _: &Notice) {}

    fn aside(&mut self, text: &str) {
        // Standard error may be closed.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}
