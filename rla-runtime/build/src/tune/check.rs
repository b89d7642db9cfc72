//! A candidate against the oracle, on cases drawn afresh for each search, before it is ever timed.
use super::call::{Call, Kernels, element_of};
use super::memory::Element;
use crate::draw::{self, Gates, KINK_DISTANCE, KINK_DISTANCE_16_BIT, Keys, Plan, Rejection, Rng};
use crate::error::Error;
use crate::judge::{self, Bounds, Judged};
use rla_codegen::data::{Cotangents, Dims, Gradients, Inputs, Outputs};
use rla_codegen::oracle;
use rla_codegen::schedule::Slot;
use rla_dsl::recurrence::Recurrence;

/// A drawn case and what the definition makes of it.
struct Case {
    name: &'static str,
    inputs: Inputs,
    cotangents: Option<Cotangents>,
    judged: Vec<Judged>,
    reference: Vec<Vec<f64>>,
    /// Changes of the reference under roundings of the inputs, made where a bound alone fails.
    movement: Option<Vec<Vec<Vec<f64>>>>,
    /// The definition itself misses the bounds once its inputs are half a unit off.
    ill_posed: bool,
}

/// The cases of one search.
pub struct Cases {
    recurrence: Recurrence,
    slot: Slot,
    element: Element,
    cases: Vec<Case>,
    seed: u64,
}

/// What was measured while checking.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    /// Cases against the oracle.
    pub cases: usize,
    /// Their seed.
    pub seed: u64,
    /// Runs of each case whose bits were equal.
    pub repeats: usize,
    /// The largest relative error of outputs and final states, and their bound.
    pub outputs: f64,
    /// Of gradients; 0 where there are none.
    pub gradients: f64,
    /// The largest error over its bound.
    pub worst: f64,
}

/// What a case is drawn with.
struct Shape {
    name: &'static str,
    sizes: (usize, usize),
    tokens: usize,
    heads: (usize, usize),
    batch: usize,
    sequences: usize,
    gates: Gates,
    keys: Keys,
}

/// Runs of every case.
const REPEATS: usize = 2;
/// Roundings that say how far the definition itself moves.
const TRIES: u64 = 2;
/// Draws that are tried for one case.
const DRAWS: usize = 20;

/// Lengths beside multiples of every chunk, sizes beside multiples of every panel; packed with an empty sequence and one of a
/// token, decays that forget all, one key throughout; and the sizes that are tuned for.
fn shapes(rng: &mut Rng, sizes: &[usize]) -> Vec<Shape> {
    let mut odd = |low: usize, high: usize| low + 2 * rng.below((high - low) / 2) + 1;
    let (independent, grouped) = (Keys::Independent, (1, 2));
    vec![
        Shape {
            name: "packed, forgetting",
            sizes: (odd(8, 24), odd(16, 40)),
            tokens: odd(120, 170),
            heads: grouped,
            batch: 2,
            sequences: 5,
            gates: Gates::Abyss,
            keys: independent,
        },
        Shape {
            name: "strong decay",
            sizes: (odd(8, 24), odd(8, 24)),
            tokens: odd(30, 80),
            heads: (2, 2),
            batch: 2,
            sequences: 0,
            gates: Gates::Strong,
            keys: independent,
        },
        Shape {
            name: "repeated keys",
            sizes: (16, 24),
            tokens: odd(140, 200),
            heads: grouped,
            batch: 2,
            sequences: 0,
            gates: Gates::Weak,
            keys: Keys::Repeated,
        },
        Shape {
            name: "the sizes tuned for",
            sizes: (sizes[0], sizes[1]),
            tokens: odd(34, 70),
            heads: (1, 1),
            batch: 1,
            sequences: 0,
            gates: Gates::Weak,
            keys: independent,
        },
    ]
}

impl Cases {
    /// Draws cases for a slot, their reference by the oracle on the inputs as `element` rounds them.
    pub fn draw(
        recurrence: &Recurrence,
        slot: Slot,
        element: Element,
        sizes: &[usize],
        seed: u64,
    ) -> Result<Cases, Error> {
        let mut rng = Rng::new(seed);
        let mut cases = vec![];
        for shape in shapes(&mut rng, sizes) {
            if let Some(case) = Case::draw(recurrence, slot, element, sizes, &shape, &mut rng)? {
                cases.push(case);
            }
        }
        if cases.is_empty() {
            return Err(Error::Compile(format!("`{}`: every drawn case was rejected", recurrence.name)));
        }
        Ok(Cases { recurrence: recurrence.clone(), slot, element, cases, seed })
    }

    /// Runs every case twice. The evidence, or the reason why the kernels may not be used.
    pub fn check(&mut self, kernels: &Kernels) -> Result<Result<Evidence, String>, Error> {
        let mut evidence = Evidence { cases: 0, seed: self.seed, repeats: REPEATS, ..Evidence::default() };
        for case in self.cases.iter_mut().filter(|case| !case.ill_posed) {
            let elements = (self.element, Element::F32);
            let mut call = Call::new(&self.recurrence, &case.inputs, case.cotangents.as_ref(), elements, 1);
            call.prepare(kernels, self.slot)?;
            let mut first: Option<Vec<Vec<f64>>> = None;
            for _ in 0..REPEATS {
                call.poison();
                call.run(kernels, self.slot)?;
                if call.broken() {
                    return Ok(Err(format!("{}: it wrote beside its working memory", case.name)));
                }
                let gradients = case.cotangents.as_ref().map(|_| call.gradients());
                let results = tensors(&call.computed(), gradients.as_ref());
                match &first {
                    None => {
                        let before = evidence;
                        let mut judged = case.judge(&results, &mut evidence);
                        if judged.is_err() {
                            evidence = before;
                            // asked only where it matters: the answer does not depend on the kernel
                            case.move_inputs(&self.recurrence, self.slot)?;
                            judged = if case.ill_posed { Ok(()) } else { case.judge(&results, &mut evidence) };
                        }
                        if let Err(reason) = judged {
                            return Ok(Err(reason));
                        }
                        first = Some(results);
                    }
                    Some(first) if same_bits(first, &results) => {}
                    Some(_) => return Ok(Err(format!("{}: two runs gave different bits", case.name))),
                }
            }
            evidence.cases += usize::from(!case.ill_posed);
        }
        if evidence.cases == 0 {
            return Ok(Err("no drawn case asks for less than this arithmetic can give".into()));
        }
        Ok(Ok(evidence))
    }
}

fn same_bits(a: &[Vec<f64>], b: &[Vec<f64>]) -> bool {
    a.iter().flatten().zip(b.iter().flatten()).all(|(x, y)| x.to_bits() == y.to_bits())
}

/// All tensors of a result, in the order of [`judge::judged`].
fn tensors(outputs: &Outputs, gradients: Option<&Gradients>) -> Vec<Vec<f64>> {
    let forward = outputs.outputs.iter().chain(&outputs.states);
    forward.chain(gradients.into_iter().flat_map(|g| g.inputs.iter().chain(&g.states))).cloned().collect()
}

fn by_oracle(
    recurrence: &Recurrence,
    inputs: &Inputs,
    cotangents: Option<&Cotangents>,
) -> Result<Vec<Vec<f64>>, Error> {
    let refused = |m: oracle::Misfit| {
        Error::Compile(format!("`{}`: {}: expected {}, found {}", recurrence.name, m.what, m.expected, m.found))
    };
    match cotangents {
        Some(cotangents) => {
            let (outputs, gradients) = oracle::gradient(recurrence, inputs, cotangents).map_err(refused)?;
            Ok(tensors(&outputs, Some(&gradients)))
        }
        None => Ok(tensors(&oracle::forward(recurrence, inputs).map_err(refused)?, None)),
    }
}

impl Case {
    /// A case that the definition itself can hold; `None`: every draw was rejected.
    fn draw(
        recurrence: &Recurrence,
        slot: Slot,
        element: Element,
        tuned: &[usize],
        shape: &Shape,
        rng: &mut Rng,
    ) -> Result<Option<Case>, Error> {
        let mut sizes = vec![shape.sizes.0, shape.sizes.1];
        sizes.extend(tuned[2..].iter().map(|&size| size.min(11)));
        let packed = shape.sequences > 0;
        let (batch, (key_heads, value_heads)) = (if packed { 1 } else { shape.batch }, shape.heads);
        let dims = Dims { sizes, batch, tokens: shape.tokens, key_heads, value_heads };
        let distance = if element == Element::F32 { KINK_DISTANCE } else { KINK_DISTANCE_16_BIT };
        for _ in 0..DRAWS {
            let cu_seqlens = packed.then(|| draw::packing(shape.tokens, shape.sequences, rng));
            let (gates, keys) = (shape.gates, shape.keys);
            let plan = Plan { dims: dims.clone(), cu_seqlens, gates, keys, initial_states: true };
            let mut inputs = match draw::inputs(recurrence, &plan, distance, rng) {
                Ok((inputs, _)) => inputs,
                Err(Rejection::Misfit(m)) => return Err(Error::Compile(format!("{}: {}", recurrence.name, m.what))),
                Err(_) => continue,
            };
            for (decl, values) in recurrence.inputs.iter().zip(&mut inputs.tensors) {
                let element = element_of(decl, element);
                values.iter_mut().for_each(|x| *x = element.round(*x));
            }
            inputs.states.iter_mut().flatten().flatten().for_each(|x| *x = Element::F32.round(*x));
            let training = slot.trains();
            let cotangents = training.then(|| {
                let mut cotangents = draw::cotangents(recurrence, &inputs, rng);
                let all = cotangents.outputs.iter_mut().chain(&mut cotangents.states);
                all.flatten().flatten().for_each(|x| *x = Element::F32.round(*x));
                cotangents
            });
            let bounds = if slot == Slot::Bf16 { Bounds::CPU_16_BIT_PRODUCTS } else { Bounds::F32 };
            let judged = judge::judged(recurrence, &inputs, cotangents.as_ref(), &bounds);
            let reference = by_oracle(recurrence, &inputs, cotangents.as_ref())?;
            let (name, movement, ill_posed) = (shape.name, None, false);
            return Ok(Some(Case { name, inputs, cotangents, judged, reference, movement, ill_posed }));
        }
        Ok(None)
    }

    /// Half a unit of the arithmetic, relative.
    fn half_unit(slot: Slot) -> f64 {
        if slot == Slot::Bf16 { f64::powi(2.0, -9) } else { f64::from(f32::EPSILON) / 2.0 }
    }

    /// How far the definition moves once its inputs are half a unit off, and whether it then misses the bounds itself. No
    /// kernel is looked at.
    fn move_inputs(&mut self, recurrence: &Recurrence, slot: Slot) -> Result<(), Error> {
        if self.movement.is_some() {
            return Ok(());
        }
        let moved = self.moved(recurrence, Case::half_unit(slot))?;
        self.ill_posed = moved.iter().any(|run| {
            self.judged.iter().zip(run.iter().zip(&self.reference)).any(|(tensor, (change, reference))| {
                let x: Vec<f64> = reference.iter().zip(change).map(|(r, c)| r + c).collect();
                !judge::judge(&x, reference, &tensor.layout, tensor.bound, tensor.rms, &mut Vec::new).passed
            })
        });
        self.movement = Some(moved);
        Ok(())
    }

    /// Changes of every tensor under a random rounding of all inputs.
    fn moved(&self, recurrence: &Recurrence, half_unit: f64) -> Result<Vec<Vec<Vec<f64>>>, Error> {
        let run = |seed: u64| {
            let mut random = Rng::new(seed);
            let mut inputs = self.inputs.clone();
            let states = inputs.states.iter_mut().flatten();
            for x in inputs.tensors.iter_mut().chain(states).flatten() {
                *x *= 1.0 + if random.chance(0.5) { half_unit } else { -half_unit };
            }
            let moved = by_oracle(recurrence, &inputs, self.cotangents.as_ref())?;
            let change = |(a, b): (&Vec<f64>, &Vec<f64>)| a.iter().zip(b).map(|(a, b)| a - b).collect();
            Ok(moved.iter().zip(&self.reference).map(change).collect())
        };
        (0..TRIES).map(run).collect()
    }

    /// Judges every tensor; the reason why one may not pass.
    fn judge(&self, results: &[Vec<f64>], evidence: &mut Evidence) -> Result<(), String> {
        let movement = self.movement.as_deref().unwrap_or(&[]);
        for (index, (tensor, (x, reference))) in self.judged.iter().zip(results.iter().zip(&self.reference)).enumerate()
        {
            let mut moved = || movement.iter().map(|run| run[index].clone()).collect();
            let verdict = judge::judge(x, reference, &tensor.layout, tensor.bound, tensor.rms, &mut moved);
            let error = if verdict.error.is_nan() { f64::NAN } else { verdict.error.max(verdict.slice_error) };
            if !verdict.passed {
                let (name, bound) = (&tensor.name, tensor.bound);
                return Err(format!("{}: {name} is off by {error:.1e}, the bound is {bound:.0e}", self.name));
            }
            let slot = if tensor.name.starts_with("out.") { &mut evidence.outputs } else { &mut evidence.gradients };
            *slot = slot.max(error);
            evidence.worst = evidence.worst.max(error / tensor.bound);
        }
        Ok(())
    }
}
