//! The machine-readable log of a run: one JSON object a step in `log.jsonl`.

use crate::checkpoint::write_atomically;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// One step. Losses are in nats a byte.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 1.
    pub step: usize,
    /// Mean loss over the step's windows.
    pub loss: f64,
    /// Loss on some held-out windows, at the steps that evaluate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<f64>,
    /// Learning rate.
    pub rate: f64,
    /// The gradient's global norm before clipping.
    pub norm: f64,
    /// Bytes a second.
    pub bytes_per_second: f64,
    /// Share of the training time so far that the recurrences' kernels took.
    pub kernel_share: f64,
}

/// The log, and what it holds.
pub struct Log {
    path: PathBuf,
    file: File,
    entries: Vec<Entry>,
}

impl Log {
    /// Opens the log of a run that goes on after `step`: later lines, and a last line cut short, are dropped.
    pub fn open(folder: &Path, step: usize) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|e| Error::file(folder, e))?;
        let path = folder.join("log.jsonl");
        let text = match std::fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(Error::file(&path, e)),
        };
        let lines = text.lines().map_while(|line| serde_json::from_str::<Entry>(line).ok());
        let entries: Vec<Entry> = lines.filter(|entry| entry.step <= step).collect();
        let mut kept = Vec::new();
        for entry in &entries {
            line(&path, &mut kept, entry)?;
        }
        write_atomically(&path, &kept)?;
        let file = File::options().append(true).open(&path).map_err(|e| Error::file(&path, e))?;
        Ok(Self { path, file, entries })
    }

    /// Adds a step.
    pub fn push(&mut self, entry: Entry) -> Result<()> {
        let mut bytes = Vec::new();
        line(&self.path, &mut bytes, &entry)?;
        self.file.write_all(&bytes).map_err(|e| Error::file(&self.path, e))?;
        self.entries.push(entry);
        Ok(())
    }

    /// All steps.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Mean loss of the last `count` steps.
    pub fn recent_loss(&self, count: usize) -> f64 {
        let last = &self.entries[self.entries.len().saturating_sub(count.max(1))..];
        last.iter().map(|e| e.loss).sum::<f64>() / last.len().max(1) as f64
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn line(path: &Path, bytes: &mut Vec<u8>, entry: &Entry) -> Result<()> {
    serde_json::to_writer(&mut *bytes, entry).map_err(|e| Error::file(path, e))?;
    bytes.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_goes_on_after_a_checkpoint_and_drops_a_cut_line() {
        let folder = std::env::temp_dir().join(format!("rla-log-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let entry = |step, loss| Entry {
            step,
            loss,
            held_out: None,
            rate: 0.1,
            norm: 1.0,
            bytes_per_second: 2.0,
            kernel_share: 0.5,
        };
        let mut log = Log::open(&folder, 0).unwrap();
        (1..=5).for_each(|step| log.push(entry(step, step as f64)).unwrap());
        log.file.write_all(b"{\"step\":6,\"lo").unwrap();
        assert_eq!(log.recent_loss(2), 4.5);
        let mut log = Log::open(&folder, 3).unwrap();
        assert_eq!(log.entries().len(), 3);
        log.push(entry(4, 9.0)).unwrap();
        let again = Log::open(&folder, 10).unwrap();
        assert_eq!(again.entries().iter().map(|e| e.loss).collect::<Vec<_>>(), [1.0, 2.0, 3.0, 9.0]);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
