//! Operations in a mode, and the mode of those that are told none.
use super::{Bucketed, Engine, Mode, Operation};
use crate::error::{Error, Result};
use crate::kernel::dispatch::{self, Kernel};
use crate::kernel::throughput::{Asked, Chosen, Throughput};
use crate::problem::{Problem, Products};
use crate::tensor::{DType, View};
use rla_build::table::MODE_VARIABLE;
use rla_codegen::kernel::Form;
use rla_codegen::schedule::Slot;
use std::sync::{Arc, OnceLock};

static OF_PROCESS: OnceLock<Mode> = OnceLock::new();

/// The mode of operations that are made from here on, in place of what `RLA_MODE` says; once a process.
///
/// # Errors
/// It was set to another before.
pub fn set_mode(mode: Mode) -> Result<()> {
    match *OF_PROCESS.get_or_init(|| mode) {
        set if set == mode => Ok(()),
        set => Err(Error::argument("mode", format!("{set}, which was set before"), mode.name())),
    }
}

/// What was set, else what the user's environment says.
///
/// # Errors
/// `RLA_MODE` is neither of the two.
pub fn mode_of_process() -> Result<Mode> {
    let refused = |found| Error::argument(MODE_VARIABLE, "invariant or throughput", found);
    OF_PROCESS.get().map_or_else(|| Mode::of_environment().map_err(refused), |mode| Ok(*mode))
}

/// Which pass a call runs.
#[derive(Clone, Copy)]
pub(super) enum CallOf {
    Forward(Products),
    Training,
    Decode,
}

impl Operation {
    /// The same in a mode. Pinned kernels and interpreters have one for all calls, whatever the mode.
    pub fn with_mode(self, mode: Mode) -> Result<Operation> {
        let operation = Operation { throughput: None, ..self };
        match (&operation.engine, mode) {
            (Engine::Kernel(kernel), Mode::Throughput)
                if kernel.report.form == Form::Chunk && !kernel.report.pinned =>
            {
                let (rows, passed_over) = dispatch::throughput(&operation.recurrence, kernel.report.level)?;
                Ok(operation.with_rows(rows, passed_over))
            }
            (Engine::Cuda(engine), mode) => {
                let engine = Engine::Cuda(engine.with_mode(&operation.recurrence, mode)?);
                Ok(Operation { engine, ..operation })
            }
            _ => Ok(operation),
        }
    }

    /// In mode throughput by these rows, the first that holds first; `passed_over`: what was, and why. On other backends than a CPU's
    /// kernels nothing changes.
    pub fn with_rows(self, rows: Vec<Bucketed>, passed_over: Vec<String>) -> Operation {
        let Engine::Kernel(kernel) = &self.engine else { return self };
        let throughput = Throughput::new(self.recurrence.clone(), kernel.clone(), rows, passed_over);
        Operation { throughput: Some(Arc::new(throughput)), ..self }
    }

    /// What the configuration of a call may depend on.
    pub fn mode(&self) -> Mode {
        match &self.engine {
            Engine::Cuda(engine) => engine.mode(),
            _ if self.throughput.is_some() => Mode::Throughput,
            _ => Mode::Invariant,
        }
    }

    /// The rows of mode throughput; `None` in mode invariant, and where there are no kernels for a CPU.
    pub fn throughput(&self) -> Option<&Throughput> {
        self.throughput.as_deref()
    }

    /// The kernel of a call.
    pub(super) fn chosen(
        &self,
        kernel: &Arc<Kernel>,
        problem: &Problem,
        inputs: &[View],
        slot: CallOf,
    ) -> Result<Chosen> {
        let Some(throughput) = &self.throughput else { return Ok(Chosen { kernel: kernel.clone(), threads: 0 }) };
        let mut values = self.recurrence.inputs.iter().zip(inputs).filter(|(decl, _)| decl.carries_values());
        let dtype = values.next().map_or(DType::F32, |(_, view)| view.dtype());
        let slot = match slot {
            CallOf::Forward(Products::Input) if kernel.products(Products::Input, [dtype]) == Products::Input => {
                Slot::Bf16
            }
            CallOf::Forward(_) => Slot::Forward,
            CallOf::Training => throughput.training(),
            CallOf::Decode => Slot::Decode,
        };
        throughput.choose(Asked::of(problem, slot, dtype))
    }
}
