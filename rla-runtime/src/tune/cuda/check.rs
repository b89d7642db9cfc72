//! What a candidate is held to before it is timed, whatever runs its kernels.
use crate::error::Result;
use crate::ladder::Setting;
use crate::op::{Backend, Operation};
use crate::problem::StateLayout;
use crate::tensor::DType;
use crate::verify::{self, Calls};
use rla_build::table::cuda::Proof;
use rla_codegen::schedule::cuda::Slot;

/// Random cases of the very sizes that are tuned, twice for equal bits; `all`: the ladder and the laws of `rla verify` too. The
/// evidence, or the reason why the kernels are wrong.
///
/// # Errors
/// What was to be checked could not be run.
pub fn check(
    operation: &Operation,
    slot: Slot,
    sizes: &[usize],
    dtype: DType,
    all: bool,
) -> Result<std::result::Result<Proof, String>> {
    let setting = Setting { layout: StateLayout::ValueMajor, dtype, ..Setting::of(Backend::Cuda) };
    let calls = match slot {
        Slot::Forward => Calls::Forward,
        Slot::Training => Calls::Training,
        Slot::Decode => Calls::Decode,
    };
    let mut rows = verify::of_sizes(operation, &setting, sizes, calls)?;
    if all && rows.iter().all(|row| row.passed) {
        rows.extend(verify::until_one_fails(operation, &setting, 1)?);
    }
    if let Some(row) = rows.iter().find(|row| !row.passed) {
        return Ok(Err(format!("{}: {}", row.check, row.remark)));
    }
    Ok(Ok(Proof {
        cases: rows.iter().map(|row| row.cases).sum(),
        repeats: 2,
        worst: rows.iter().filter_map(|row| row.worst).fold(0.0, f64::max),
        verified: all,
    }))
}
