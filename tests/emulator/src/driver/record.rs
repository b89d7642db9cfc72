//! What a stream is asked to do.
use super::answer;
use crate::launch::{Launch, run};
use crate::memory::Memory;
use crate::order::Order;

/// One request.
pub(super) enum Action {
    /// Sets bytes.
    Fill { address: u64, byte: u8, bytes: usize },
    /// Writes bytes of the host.
    Write { to: u64, bytes: Vec<u8> },
    /// Copies on the device.
    Copy { to: u64, from: u64, bytes: usize },
    /// Runs a kernel.
    Launch(Launch),
}

impl Action {
    /// Does it; else the driver's answer and why.
    pub fn run(&self, memory: &mut Memory, order: Order) -> Result<(), (u32, String)> {
        let illegal = |message: String| (answer::ILLEGAL_ADDRESS, message);
        match self {
            Action::Fill { address, byte, bytes } => memory.write(*address, *bytes).map_err(illegal)?.fill(*byte),
            Action::Write { to, bytes } => {
                memory.write(*to, bytes.len()).map_err(illegal)?.copy_from_slice(bytes);
            }
            Action::Copy { to, from, bytes } => {
                let found = memory.read(*from, *bytes).map_err(illegal)?.to_vec();
                memory.write(*to, *bytes).map_err(illegal)?.copy_from_slice(&found);
            }
            Action::Launch(launch) => launches(std::slice::from_ref(launch), memory, order)?,
        }
        Ok(())
    }
}

/// Runs launches of which each but the first may overlap the one before.
pub(super) fn launches(list: &[Launch], memory: &mut Memory, order: Order) -> Result<(), (u32, String)> {
    run(list, memory, order).map_err(|fault| (answer::LAUNCH_FAILED, fault.to_string()))
}
