//! What the types that [`rla_variant!`](crate::rla_variant) defines stand on. The macro's expansion maps names to positions
//! and back; everything else happens here and in [`Operation`].
use crate::error::{Error, Result};
use crate::op::{self, BackwardOptions, ForwardOptions, Operation};
use crate::problem::{Problem, Products, StateLayout};
use crate::tensor::{DType, Tensor, View, ViewMut};
use rla_dsl::Recurrence;
use std::marker::PhantomData;

pub use rla_codegen::abi::Entry;
pub use rla_codegen::kernel::{Compiled, Form, Level};

/// What forward of a variant keeps for its backward.
pub struct Saved<V> {
    kept: op::Saved,
    layout: StateLayout,
    variant: PhantomData<fn() -> V>,
}

impl<V> Saved<V> {
    /// Bytes held for backward.
    pub fn bytes(&self) -> usize {
        self.kept.bytes()
    }

    /// The sizes that forward ran with.
    pub fn problem(&self) -> Option<&Problem> {
        self.kept.problem()
    }
}

impl<V> std::fmt::Debug for Saved<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Saved({} bytes)", self.bytes())
    }
}

/// The options of a call, by position.
#[doc(hidden)]
pub struct Call<'o, 'a> {
    /// Name and value of each constant.
    pub constants: &'o [(&'static str, Option<f64>)],
    /// Initial states.
    pub initial: &'o [Option<View<'a>>],
    pub cu_seqlens: Option<&'a [i64]>,
    pub layout: StateLayout,
    /// Of a forward that keeps nothing.
    pub products: Products,
}

impl Call<'_, '_> {
    fn constants(&self, operation: &Operation, problem: &Problem) -> Result<Vec<f64>> {
        let given: Vec<_> = self.constants.iter().filter_map(|&(name, value)| Some((name, value?))).collect();
        operation.constants(&problem.sizes, &given)
    }
}

/// The variant of a canonical text.
#[doc(hidden)]
pub fn recurrence(source: &str) -> Result<Recurrence> {
    let parsed = rla_dsl::parse(source).map_err(|d| Error::Recurrence(d.render("rla_variant!", source)))?;
    parsed.variants.into_iter().next().ok_or_else(|| Error::Recurrence("rla_variant!: no variant in its text".into()))
}

/// Outputs, final states, and where `save` is set what backward needs.
#[doc(hidden)]
pub fn forward<V>(
    operation: &Operation,
    inputs: &[View],
    call: &Call,
    save: bool,
) -> Result<(Vec<Tensor>, Vec<Tensor>, Saved<V>)> {
    let problem = Problem::infer(operation.recurrence(), inputs, call.cu_seqlens)?;
    let constants = call.constants(operation, &problem)?;
    let options = ForwardOptions {
        constants: Some(&constants),
        initial_states: call.initial,
        layout: call.layout,
        products: call.products,
        save,
        final_states: true,
        ..ForwardOptions::default()
    };
    let done = operation.forward(&problem, inputs, &options)?;
    let saved = Saved { kept: done.saved.unwrap_or_default(), layout: call.layout, variant: PhantomData };
    Ok((done.outputs, done.final_states, saved))
}

/// Gradients of inputs and initial states.
#[doc(hidden)]
pub fn backward<V>(
    operation: &Operation,
    inputs: &[View],
    saved: &Saved<V>,
    outputs: &[Option<View>],
    states: &[Option<View>],
) -> Result<(Vec<Tensor>, Vec<Tensor>)> {
    let offsets = saved.problem().and_then(|problem| problem.cu_seqlens.as_deref());
    let problem = Problem::infer(operation.recurrence(), inputs, offsets)?;
    let options = BackwardOptions { output_grads: outputs, final_state_grads: states, layout: saved.layout };
    let grads = operation.backward(&problem, inputs, &saved.kept, &options)?;
    Ok((grads.inputs, grads.initial_states))
}

/// Outputs of a few tokens; the states of the named slots are updated in place.
#[doc(hidden)]
pub fn decode(
    operation: &Operation,
    inputs: &[View],
    slots: &[i64],
    pool: &mut [ViewMut],
    call: &Call,
) -> Result<Vec<Tensor>> {
    let recurrence = operation.recurrence();
    if let Some(at) = call.initial.iter().position(Option::is_some) {
        let name = format!("{}0", recurrence.states[at].name);
        return Err(Error::argument(name, "none in decode, which reads and writes the pool", "a tensor"));
    }
    let problem = Problem::infer(recurrence, inputs, call.cu_seqlens)?;
    let constants = call.constants(operation, &problem)?;
    operation.decode(&problem, slots, inputs, Some(&constants), pool, call.layout)
}

/// Zero states of the sizes that inputs show, for `slots` sequences.
#[doc(hidden)]
pub fn states(operation: &Operation, inputs: &[View], slots: usize, layout: StateLayout) -> Result<Vec<Tensor>> {
    let recurrence = operation.recurrence();
    let problem = Problem::infer(recurrence, inputs, None)?;
    let zeros = |i| Tensor::zeros(DType::F32, &problem.state_shape(recurrence, i, slots, layout));
    (0..recurrence.states.len()).map(zeros).collect()
}

/// The next tensor of a list that has one a name.
#[doc(hidden)]
pub fn next(tensors: &mut std::vec::IntoIter<Tensor>) -> Tensor {
    tensors.next().expect("one tensor a name of the recurrence")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Backend;

    const RUNNING: &str = "variant running {
        input v: value, g: scalar;
        const c = dim(value);
        const d = c + 1;
        state S: value;
        S[t] = g * S[t-1] + v;
        output o = d * S[t];
    }";

    fn running() -> Operation {
        Operation::new(recurrence(RUNNING).unwrap(), Backend::Oracle).unwrap()
    }

    fn ones(shape: &[usize]) -> Tensor {
        Tensor::from_vec(vec![1.0f32; shape.iter().product()], shape).unwrap()
    }

    const NONE: Call = Call {
        constants: &[("c", None), ("d", None)],
        initial: &[None],
        cu_seqlens: None,
        layout: StateLayout::ValueMajor,
        products: Products::F32,
    };

    #[test]
    fn products_of_a_plain_forward_are_as_the_call_permits() {
        let operation = Operation::builtin("simple_gla", Backend::Cpu).unwrap();
        let drawn = |seed| {
            let mut rng = crate::draw::Rng::new(seed);
            let values: Vec<f64> = (0..70 * 32).map(|_| rng.normal()).collect();
            Tensor::from_f64(DType::Bf16, &values, &[1, 70, 1, 32]).unwrap()
        };
        let (q, k, v) = (drawn(1), drawn(2), drawn(3));
        let g = Tensor::from_vec(vec![-0.1f32; 70], &[1, 70, 1]).unwrap();
        let inputs = [q.view(), k.view(), v.view(), g.view()];
        let run = |products, save| {
            let call = Call { constants: &[], initial: &[None], products, ..NONE };
            let (outputs, states, _) = forward::<()>(&operation, &inputs, &call, save).unwrap();
            outputs.iter().chain(&states).flat_map(Tensor::to_f64).collect::<Vec<f64>>()
        };
        let plain = run(Products::F32, false);
        let rounded = run(Products::Input, false);
        // permission, not an order: where the machine has no such products nothing changes
        let used = operation.products(Products::Input, DType::Bf16) == Products::Input;
        assert_eq!(plain != rounded, used);
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
        let off = norm(&mut plain.iter().zip(&rounded).map(|(a, b)| a - b)) / norm(&mut plain.iter().copied());
        assert!(off < 4e-3, "{off}");
        assert_eq!(run(Products::Input, true), run(Products::F32, true));
    }

    #[test]
    fn names_meet_their_positions() {
        let (operation, v, g) = (running(), ones(&[1, 3, 1, 2]), ones(&[1, 3, 1]));
        let inputs = [v.view(), g.view()];
        let last = |call: &Call| {
            let (outputs, states, _) = forward::<()>(&operation, &inputs, call, false).unwrap();
            (outputs[0].to_f64()[4], states[0].to_f64()[0])
        };
        assert_eq!(last(&NONE), (9.0, 3.0));
        // d follows c
        assert_eq!(last(&Call { constants: &[("c", Some(3.0)), ("d", None)], ..NONE }), (12.0, 3.0));
        let start = ones(&[1, 1, 2]);
        assert_eq!(last(&Call { initial: &[Some(start.view())], ..NONE }), (12.0, 4.0));
        let start = ones(&[2, 1, 2]);
        assert_eq!(last(&Call { initial: &[Some(start.view())], cu_seqlens: Some(&[0, 2, 3]), ..NONE }), (6.0, 3.0));
    }

    #[test]
    fn backward_remembers_packing_and_constants() {
        let (operation, v, g) = (running(), ones(&[1, 3, 1, 2]), ones(&[1, 3, 1]));
        let inputs = [v.view(), g.view()];
        let call = Call { constants: &[("c", Some(4.0)), ("d", None)], cu_seqlens: Some(&[0, 2, 3]), ..NONE };
        let (outputs, _, saved) = forward::<()>(&operation, &inputs, &call, true).unwrap();
        let seed = ones(outputs[0].shape());
        let (grads, starts) = backward(&operation, &inputs, &saved, &[Some(seed.view())], &[None]).unwrap();
        assert_eq!(grads[0].to_f64(), [10.0, 10.0, 5.0, 5.0, 5.0, 5.0]);
        assert_eq!(starts[0].to_f64(), [10.0, 10.0, 5.0, 5.0]);
        let (_, _, nothing) = forward::<()>(&operation, &inputs, &call, false).unwrap();
        let refused = backward(&operation, &inputs, &nothing, &[Some(seed.view())], &[None]).unwrap_err();
        assert!(matches!(refused, Error::Argument { ref argument, .. } if argument == "saved"), "{refused}");
    }

    #[test]
    fn decode_takes_a_pool_and_no_initial_states() {
        let (operation, v, g) = (running(), ones(&[2, 1, 1, 2]), ones(&[2, 1, 1]));
        let inputs = [v.view(), g.view()];
        let mut pool = states(&operation, &inputs, 3, StateLayout::ValueMajor).unwrap();
        assert_eq!(pool[0].shape(), [3, 1, 2]);
        let outputs = decode(&operation, &inputs, &[2, -1], &mut [pool[0].view_mut()], &NONE).unwrap();
        assert_eq!(outputs[0].to_f64(), [3.0, 3.0, 0.0, 0.0]);
        assert_eq!(pool[0].to_f64(), [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
        let start = ones(&[2, 1, 2]);
        let call = Call { initial: &[Some(start.view())], ..NONE };
        let refused = decode(&operation, &inputs, &[2, -1], &mut [pool[0].view_mut()], &call).unwrap_err();
        assert!(refused.to_string().starts_with("`S0`: expected none in decode"), "{refused}");
    }
}
