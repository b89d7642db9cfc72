//! A case by decode: every token a call of its own against a pool of states.
use super::{Setting, input_dtype, problem, state_tensor, wide};
use crate::case::Case;
use crate::error::Result;
use crate::op::{Operation, interpret};
use crate::problem::Problem;
use crate::tensor::{Tensor, View, ViewMut};
use rla_codegen::data::Outputs;
use rla_dsl::recurrence::InputKind;

/// Outputs and final states of a case that has no packed sequences.
pub(super) fn compute(operation: &Operation, case: &Case, setting: &Setting) -> Result<Outputs> {
    let recurrence = operation.recurrence();
    let (problem, layout, wide) = (problem(&case.inputs), setting.layout, wide(setting.dtype));
    let (batch, tokens) = (problem.batch, problem.tokens);
    let inputs = (0..recurrence.inputs.len())
        .map(|i| {
            let dtype = input_dtype(&recurrence.inputs[i], setting);
            Tensor::from_f64(dtype, &case.inputs.tensors[i], &problem.input_shape(recurrence, i))
        })
        .collect::<Result<Vec<_>>>()?;
    let mut pool = (0..recurrence.states.len())
        .map(|i| {
            let shape = problem.state_shape(recurrence, i, batch, layout);
            match &case.inputs.states[i] {
                Some(values) => state_tensor(wide, values, &shape, layout),
                None => Tensor::zeros(wide, &shape),
            }
        })
        .collect::<Result<Vec<_>>>()?;
    let mut outputs = (0..recurrence.outputs.len())
        .map(|i| super::poisoned(wide, &problem.output_shape(recurrence, i)))
        .collect::<Result<Vec<_>>>()?;
    let slots: Vec<i64> = (0..batch as i64).collect();
    let step = Problem { tokens: 1, ..problem };
    for token in 0..tokens {
        let views = inputs.iter().zip(&recurrence.inputs).map(|(tensor, decl)| match decl.kind {
            InputKind::Input => tensor.view().narrow(1, token, 1),
            InputKind::Param => Ok(tensor.view()),
        });
        let views = views.collect::<Result<Vec<View>>>()?;
        let rows = outputs.iter_mut().map(|tensor| tensor.view_mut().narrow(1, token, 1));
        let mut rows = rows.collect::<Result<Vec<ViewMut>>>()?;
        let mut pool: Vec<ViewMut> = pool.iter_mut().map(Tensor::view_mut).collect();
        let constants = Some(&case.inputs.consts[..]);
        operation.decode_into(&step, &slots, &views, constants, &mut pool, layout, &mut rows)?;
    }
    Ok(Outputs {
        outputs: outputs.iter().map(Tensor::to_f64).collect(),
        states: pool.iter().map(|state| interpret::state_to_f64(&state.view(), layout)).collect(),
    })
}
