//! The CUDA kernels of a recurrence, pass by pass, for sizes and types: the same text at build time and at run time.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::scope;

use rla_dsl::recurrence::Recurrence;

use super::{Programs, cuda_programs, interface};
use crate::canon::Outside;
use crate::emit::cuda::{self, Config, Counts, Elem, Error, HandedBytes, Interface, Kernels, Pass, Sizes};
use crate::explain::cost::executed;
use crate::kernel::{Form, fingerprint, symbol};
use crate::pass::division::of_tokens;
use crate::pass::keep::{keep, of_inputs};
use crate::schedule::cuda::{Choices, Cost, Slot, Work};
use crate::tile::{Axis, Op, Program, Role, Value};

/// The programs of a recurrence, ready to be written for sizes and types.
pub struct Source {
    recurrence: Arc<Recurrence>,
    programs: Programs,
    interface: Interface,
    symbol: String,
    /// See [`crate::pass::division::of_tokens`].
    of_tokens: OnceLock<Vec<bool>>,
    /// Spans that were found to fit.
    spans: Mutex<HashMap<(Key, usize), usize>>,
    /// The last texts of each pass: a row of a table is held to its text just before that text is asked for.
    last: Mutex<HashMap<Pass, Written>>,
}

/// Texts, and what they were written for.
struct Written {
    key: Key,
    shared: usize,
    kernels: Arc<Kernels>,
}

/// Tokens of a chunk of forward where nothing keeps it short.
const LONG_CHUNK: usize = 64;

/// Channels of a head up to which they are short all the same.
const NARROW: usize = 64;

/// Tokens of a span, at most: a block's shared memory holds few matrices of more.
const MOST_TOKENS: usize = 64;

/// What a pass is compiled for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Sizes of sides.
    pub sizes: Vec<usize>,
    /// Types of inputs.
    pub inputs: Vec<Elem>,
    /// Type of outputs.
    pub output: Elem,
    /// Types of gradients of inputs.
    pub input_grads: Vec<Elem>,
    /// The free choices.
    pub choices: Choices,
    /// Whether value heads share key heads: their gradients are summed in f32 afterwards.
    pub grouped: bool,
}

impl Key {
    /// The usual key: q, k, v and the like, outputs and their gradients in one type, gates and parameters in f32, a value head
    /// a key head.
    pub fn usual(recurrence: &Recurrence, sizes: &[usize], elem: Elem) -> Key {
        let of = |d: &rla_dsl::recurrence::Input| if d.carries_values() { elem } else { Elem::F32 };
        let inputs: Vec<Elem> = recurrence.inputs.iter().map(of).collect();
        Key {
            sizes: sizes.to_vec(),
            input_grads: inputs.clone(),
            inputs,
            output: elem,
            choices: Choices::default(),
            grouped: false,
        }
    }

    /// The same whatever types gradients have: forward may not know them.
    fn without_gradients(&self) -> Key {
        Key { input_grads: self.inputs.clone(), grouped: false, ..self.clone() }
    }
}

/// Shared memory that a block may have on an architecture, in bytes.
pub fn shared_of(architecture: &str) -> usize {
    match architecture {
        "sm_80" => 163 << 10,
        "sm_86" | "sm_120" => 99 << 10,
        _ => 227 << 10,
    }
}

impl Source {
    /// The programs.
    ///
    /// # Errors
    /// The term that keeps the recurrence out of the class.
    pub fn new(recurrence: &Arc<Recurrence>) -> Result<Source, Outside> {
        Ok(Source {
            recurrence: recurrence.clone(),
            programs: cuda_programs(recurrence)?,
            interface: interface(recurrence),
            symbol: symbol(recurrence, Form::Chunk),
            of_tokens: OnceLock::new(),
            spans: Mutex::default(),
            last: Mutex::default(),
        })
    }

    /// The recurrence.
    pub fn recurrence(&self) -> &Recurrence {
        &self.recurrence
    }

    /// Forward that keeps what backward reads.
    pub fn forward_that_keeps(&self) -> &Program {
        &self.programs.forward_save
    }

    /// Types that the kernels write, before sums over value heads.
    fn written_grads(&self, key: &Key) -> Vec<Elem> {
        let each = self.recurrence.inputs.iter().zip(&key.input_grads);
        each.map(|(d, e)| if key.grouped && d.per_key_head() { Elem::F32 } else { *e }).collect()
    }

    /// Whether backward has this result.
    pub fn has_gradient(&self, role: Role) -> bool {
        self.programs.backward.results.iter().any(|(r, _)| *r == role)
    }

    /// Counts that the argument block depends on.
    pub fn counts(&self) -> Counts {
        let r = &self.recurrence;
        Counts { inputs: r.inputs.len(), outputs: r.outputs.len(), states: r.states.len(), constants: r.consts.len() }
    }

    /// Channels of the longest free side of a state, which sequential kernels divide among blocks.
    pub fn channels(&self, sizes: &[usize]) -> usize {
        let free = |axis: Axis| if let Axis::Side(side) = axis { sizes[side as usize] } else { 1 };
        self.programs.forward.states.iter().map(|state| free(state.free)).max().unwrap_or(1)
    }

    fn program(&self, pass: Pass) -> &Program {
        match pass {
            Pass::Forward => &self.programs.forward,
            Pass::ForwardSave => &self.programs.forward_save,
            Pass::Backward => &self.programs.backward,
            Pass::Decode => &self.programs.decode,
        }
    }

    /// Tokens a chunk where no table says. Forward of one state without systems, whose inverses are substituted for in short chunks, and
    /// without decays of a channel each, which are products in short chunks, takes longer ones where products have 16 bits: fewer steps
    /// wait (simple GLA on an H200 0.154 ms instead of 0.180; RLA, of two states, 0.367 instead of 0.234). Of narrow heads prepare is the
    /// larger part, and short chunks suit it (64 channels, eight sequences of 32 heads: 0.249 instead of 0.189).
    pub fn chunk(&self, slot: Slot, elem: Elem, sizes: &[usize]) -> usize {
        let short = |op: &Op| {
            matches!(
                op,
                Op::Solve { .. }
                    | Op::Inverse(_)
                    | Op::DecayDot { .. }
                    | Op::DecayApply { .. }
                    | Op::DecayRect { .. }
                    | Op::Softmax(_)
            )
        };
        let wide = self.channels(sizes) > NARROW;
        let long = wide && slot == Slot::Forward && elem != Elem::F32 && self.programs.forward.states.len() == 1;
        if long && !self.programs.forward.nodes.iter().any(|n| short(&n.op)) {
            return LONG_CHUNK;
        }
        Choices::default().chunk
    }

    /// The kernels' text for a block that may have `shared` bytes.
    ///
    /// # Errors
    /// A chunk length that is not legal.
    pub fn text(&self, kind: Pass, key: &Key, shared: usize) -> Result<Kernels, Error> {
        self.written(kind, key, shared).map(Arc::unwrap_or_clone)
    }

    fn written(&self, kind: Pass, key: &Key, shared: usize) -> Result<Arc<Kernels>, Error> {
        let key = if kind == Pass::Backward { key.clone() } else { key.without_gradients() };
        let last = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last().get(&kind)
            && (&last.key, last.shared) == (&key, shared)
        {
            return Ok(last.kernels.clone());
        }
        let span = if slot(kind) == Slot::Training { self.span(&key, shared) } else { 1 };
        let kernels = Arc::new(self.text_with(kind, &key, shared, span)?);
        last().insert(kind, Written { key, shared, kernels: kernels.clone() });
        Ok(kernels)
    }

    /// Chunks that a block of backward's finish takes at once: what the choices allow, where the recurrence and a block's memory do.
    /// Forward keeps states accordingly.
    fn span(&self, key: &Key, shared: usize) -> usize {
        let asked = key.choices.span;
        if asked <= 1 || asked * key.choices.chunk > MOST_TOKENS {
            return 1;
        }
        // forward and backward find the same: types of gradients take no memory of a block
        let key = &key.without_gradients();
        let place = (key.clone(), shared);
        let spans = || self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(span) = spans().get(&place) {
            return *span;
        }
        let fits = |kind| self.text_with(kind, key, shared, asked).is_ok();
        let span = if fits(Pass::Backward) && fits(Pass::ForwardSave) { asked } else { 1 };
        spans().insert(place, span);
        span
    }

    fn text_with(&self, kind: Pass, key: &Key, shared: usize, span: usize) -> Result<Kernels, Error> {
        let program = self.program(kind);
        let values = self.recurrence.inputs.iter().zip(&key.inputs);
        let mut products = values.filter(|(d, _)| d.carries_values()).map(|(_, e)| *e);
        let product = products.next().unwrap_or(Elem::F32);
        let product = if products.any(|e| e != product) { Elem::F32 } else { product };
        let beside = kind == Pass::Backward && key.choices.beside > 0;
        let mut config = Config {
            sizes: Sizes { sides: key.sizes.clone(), chunk: if kind == Pass::Decode { 1 } else { key.choices.chunk } },
            product,
            inputs: key.inputs.clone(),
            output: key.output,
            input_grads: self.written_grads(key),
            per_key_head: self.recurrence.inputs.iter().map(|i| i.per_key_head()).collect(),
            warps: if beside { key.choices.beside } else { key.choices.groups },
            beside,
            shared,
            decode: key.choices.tile(),
            span,
            of_tokens: match kind {
                Pass::Backward if span > 1 => {
                    let Programs { forward_save, backward, .. } = &self.programs;
                    self.of_tokens.get_or_init(|| of_tokens(forward_save, backward)).clone()
                }
                _ => vec![],
            },
            prepared: vec![],
        };
        let emit = |program: &Program, config: &Config| {
            cuda::emit(kind, program, &self.interface, config, self.counts(), &self.symbol)
        };
        if slot(kind) == Slot::Training {
            let Programs { forward_save, backward, .. } = &self.programs;
            let prepared = cuda::prepared(backward, &self.interface, &config, self.counts(), &self.symbol);
            let inputs = of_inputs(backward);
            let prepared = prepared.filter(|items| items.iter().all(|item| inputs[item.value.0 as usize]));
            config.prepared = prepared.unwrap_or_default();
            if kind == Pass::ForwardSave && !config.prepared.is_empty() {
                let values: Vec<Value> = config.prepared.iter().map(|p| p.value).collect();
                return emit(&keep(forward_save, backward, &values), &config);
            }
        }
        emit(program, &config)
    }
}

/// The passes that share choices.
pub fn passes(slot: Slot) -> &'static [Pass] {
    match slot {
        Slot::Forward => &[Pass::Forward],
        Slot::Training => &[Pass::ForwardSave, Pass::Backward],
        Slot::Decode => &[Pass::Decode],
    }
}

/// Whose choices a pass has.
pub fn slot(pass: Pass) -> Slot {
    match pass {
        Pass::Forward => Slot::Forward,
        Pass::ForwardSave | Pass::Backward => Slot::Training,
        Pass::Decode => Slot::Decode,
    }
}

impl Source {
    /// The kernels of some passes, one after the other: whole texts, or `bare`, without the headers that they share.
    ///
    /// # Errors
    /// As [`Source::text`].
    pub fn page(&self, passes: &[Pass], key: &Key, shared: usize, bare: bool) -> Result<String, Error> {
        let mut page = String::new();
        for pass in passes {
            for kernel in self.text(*pass, key, shared)?.kernels {
                if bare {
                    let title = kernel.source.lines().next().unwrap_or_default();
                    page += &format!("{title}; {} threads, {} bytes of shared memory\n", kernel.threads, kernel.shared);
                }
                page += if bare { kernel.own() } else { &kernel.source };
                page.push('\n');
            }
        }
        Ok(page)
    }

    /// The texts of a slot, side by side: each takes milliseconds.
    fn written_all(&self, slot: Slot, key: &Key, shared: usize) -> Vec<Result<Arc<Kernels>, Error>> {
        let write = |pass: &Pass| self.written(*pass, key, shared);
        let (first, others) = passes(slot).split_first().expect("a slot has passes");
        scope(|threads| {
            let others: Vec<_> = others.iter().map(|pass| threads.spawn(move || write(pass))).collect();
            let others = others.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
            let first = write(first);
            std::iter::once(first).chain(others).collect()
        })
    }

    /// The fingerprint of a slot's texts, and what they are predicted to cost.
    ///
    /// # Errors
    /// As [`Source::text`].
    pub fn predict(&self, slot: Slot, key: &Key, shared: usize) -> Result<(String, Cost), Error> {
        let (mut written, mut cost) = (vec![], Cost::default());
        for (pass, kernels) in passes(slot).iter().zip(self.written_all(slot, key, shared)) {
            let kernels = kernels?;
            if let Some(kernel) = kernels.kernels.iter().find(|k| k.shared > shared) {
                let what =
                    format!("{}: a block needs {} bytes of shared memory of {shared}", kernel.name, kernel.shared);
                return Err(Error::Schedule(what));
            }
            let flops = executed(self.program(*pass), key.choices.chunk, &key.sizes);
            // a span reads fewer bytes, but takes longer: nothing runs on its multiprocessor while it waits
            let handed = |bytes: HandedBytes| bytes.of(1, 1) * if kernels.span > 1 { 9 } else { 8 } / 8;
            let records = 2 * (kernels.record + handed(kernels.passed) + kernels.scratch) + handed(kernels.kept);
            let short = *pass == Pass::Forward && self.chunk(slot, Elem::Bf16, &key.sizes) == LONG_CHUNK;
            let work = Work { backward: *pass == Pass::Backward, short, flops, records };
            cost = cost + Cost::of(&key.choices, &work);
            written.push(kernels);
        }
        let texts: Vec<&str> = written.iter().flat_map(|pass| &pass.kernels).map(|k| k.source.as_str()).collect();
        Ok((format!("{:032x}", fingerprint(&texts)), cost))
    }
}

/// Name, text and entries of the kernels that sum gradients over value heads and over chunks, for results of a type.
pub fn sums(elem: Elem) -> (String, String, [&'static str; 2]) {
    let reduce = include_str!("../../../templates/cuda/reduce.cu");
    let text = format!("{}\n#define ELEM {}\n{reduce}", cuda::HEADERS[0].1, elem.c());
    (format!("rla_sums_{}", elem.c()), text, ["sum_heads", "sum_parts"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emit::graph::{Graph, Kind, Take};
    use crate::tile::MapFn;
    use crate::tile::verify::verify;

    #[test]
    fn kept_values_are_those_that_backward_makes() {
        let text = "variant own { input q, k: key unit, v: value; input g: scalar in -inf..0, b: scalar in 0..1; state S: value x key; \
                    S[t] = exp(g) * S[t-1] * (I - b * k * k^T) + b * v * k^T; output o = S[t] * q; }";
        let recurrence = rla_dsl::parse(text).expect("it parses").variants.remove(0);
        let programs = cuda_programs(&recurrence).expect("it is of the class");
        let backward = &programs.backward;
        let inputs = of_inputs(backward);
        let inverse = |v: &Value| matches!(backward.node(*v).op, Op::Inverse(_));
        let values: Vec<Value> = (0..backward.nodes.len() as u32).map(Value).filter(inverse).collect();
        assert!(values.len() == 1 && inputs[values[0].0 as usize]);
        let kept = keep(&programs.forward_save, backward, &values);
        verify(&kept).expect("a program");
        let inverses = |p: &Program| p.nodes.iter().filter(|n| matches!(n.op, Op::Inverse(_))).count();
        assert_eq!(inverses(&kept), inverses(&programs.forward_save) + 1);
        // what both make is one value
        let exps = |p: &Program| p.nodes.iter().filter(|n| matches!(n.op, Op::Map(MapFn::Exp, _))).count();
        assert_eq!(exps(&kept), exps(&programs.forward_save));
    }

    const ONE_STEP: &str = "S[t] = exp(g) * S[t-1] * (I - b * k * k^T) + b * v * k^T;";
    const TWO_STEPS: &str =
        "let X = exp(g) * S[t-1] * (I - b * k * k^T) + b * v * k^T; S[t] = X * (I - c * p * p^T) + c * v * p^T;";

    fn graphs(update: &str) -> [Graph; 3] {
        let more = if update == TWO_STEPS { "input p: key unit; input c: scalar in 0..1; " } else { "" };
        let text = format!(
            "variant own {{ input q, k: key unit, v: value; input g: scalar in -inf..0, b: scalar in 0..1; {more}state S: value x key; \
             {update} output o = S[t] * q; }}"
        );
        let recurrence = rla_dsl::parse(&text).expect("it parses").variants.remove(0);
        let programs = cuda_programs(&recurrence).expect("it is of the class");
        [programs.forward, programs.forward_save, programs.backward].map(|program| {
            let mut graph = Graph::new(&program);
            graph.substitute();
            graph
        })
    }

    /// Matrix, numbers, sign and what is taken, of all results of systems.
    fn systems(graph: &Graph) -> Vec<(usize, usize, bool, Take)> {
        let of = |kind: &Kind| match kind {
            Kind::System { lower, scale, minus, take } => Some((lower.node, scale.node, *minus, *take)),
            _ => None,
        };
        graph.nodes.iter().filter_map(|n| of(&n.kind)).collect()
    }

    #[test]
    fn an_inverse_and_its_product_are_one_system() {
        for graph in graphs(ONE_STEP) {
            assert!(!graph.nodes.iter().any(|n| matches!(n.kind, Kind::Inverse(_) | Kind::Substitute { .. })));
            let mut all = systems(&graph);
            assert!(
                !all.is_empty() && all.iter().all(|x| (x.0, x.1, x.2) == (all[0].0, all[0].1, all[0].2)),
                "{all:?}"
            );
            let count = all.len();
            all.sort_unstable();
            all.dedup();
            assert_eq!(count, all.len(), "a result is one value");
        }
    }

    #[test]
    fn an_inverse_that_waits_for_another_stays() {
        let [forward, ..] = graphs(TWO_STEPS);
        assert!(systems(&forward).is_empty() && forward.nodes.iter().any(|n| matches!(n.kind, Kind::Inverse(_))));
    }
}
