//! CUDA kernels are written for every variant, and compiled by NVRTC where it is there; no GPU is needed.

use rla_build::compile_cuda::Nvrtc;
use rla_codegen::emit::cuda::{Grid, Kernel, Kernels};
use rla_codegen::pipeline::chunk_programs;
use rla_codegen::pipeline::cuda::shared_of;
use rla_codegen::schedule::cuda::{Choices, Slot};
use rla_dsl::recurrence::Recurrence;
use rla_runtime::device::cuda::kernels::{Elem, Key, Kind, Source};
use rla_tests::{golden, random_variant};
use std::sync::Arc;

const KINDS: [Kind; 4] = [Kind::Forward, Kind::ForwardSave, Kind::Backward, Kind::Decode];
/// Shared memory of a block on an A100, the least of the targets.
const SHARED: usize = 163 * 1024;

fn key(recurrence: &Recurrence, size: usize, elem: Elem, grouped: bool) -> Key {
    Key { grouped, ..Key::usual(recurrence, &vec![size; recurrence.sides.len()], elem) }
}

#[test]
fn kernels_are_written_for_every_size_and_random_variants() {
    let mut written = 0;
    let mut see = |recurrence: Recurrence, size: usize, elem: Elem| {
        let recurrence = Arc::new(recurrence);
        let source = Source::new(&recurrence).expect("the variant is in the class");
        for kind in KINDS {
            let kernels = source.text(kind, &key(&recurrence, size, elem, size == 60), SHARED).expect("legal");
            assert!(!kernels.kernels.is_empty(), "{}: no kernel of {kind:?}", recurrence.name);
            for kernel in &kernels.kernels {
                let fits = kernel.shared <= SHARED;
                assert!(fits, "{} at {size}: {} of {SHARED} bytes of shared memory", kernel.name, kernel.shared);
                assert!(!kernel.source.contains("@{"), "{}: a hole in its template", kernel.name);
                written += 1;
            }
        }
    };
    for (name, _) in rla_dsl::builtin::BUILTINS {
        for (size, elem) in [(1, Elem::Bf16), (60, Elem::F32), (100, Elem::F16), (128, Elem::Bf16)] {
            see(rla_runtime::op::builtin(name).expect("it is built in"), size, elem);
        }
    }
    for seed in 0..60 {
        let recurrence = golden::parse(&random_variant::text(seed));
        assert!(chunk_programs(&recurrence).is_ok());
        see(recurrence, 32, Elem::Bf16);
    }
    rla_tests::say(format!("CUDA: {written} kernels written"));
}

#[test]
fn nvrtc_accepts_the_kernels() {
    let nvrtc = match Nvrtc::get() {
        Ok(nvrtc) => nvrtc,
        Err(error) => {
            rla_tests::say(format!("CUDA: NOT COMPILED, {error}"));
            return;
        }
    };
    let mut jobs = vec![];
    for (name, _) in rla_dsl::builtin::BUILTINS {
        let recurrence = Arc::new(rla_runtime::op::builtin(name).expect("it is built in"));
        let source = Source::new(&recurrence).expect("a built-in is in the class");
        // as they are dispatched: a block has what its target has of shared memory
        let mut add = |kind: Kind, key: &Key, target| {
            let kernels = source.text(kind, key, shared_of(target)).expect("legal");
            jobs.extend(kernels.kernels.into_iter().map(|kernel| (*name, kernel, target)));
        };
        // finish beside the sequential kernel
        let beside = Choices { beside: 4, ..Choices::default() };
        let beside = Key { choices: beside, ..key(&recurrence, 128, Elem::Bf16, false) };
        for kind in KINDS {
            if kind == Kind::Backward {
                add(kind, &beside, "sm_90a");
            } else {
                let slot = rla_codegen::pipeline::cuda::slot(kind);
                let choices = Choices {
                    chunk: source.chunk(slot, Elem::Bf16, &vec![128; recurrence.sides.len()]),
                    ..Choices::default()
                };
                add(kind, &Key { choices, ..key(&recurrence, 128, Elem::Bf16, false) }, "sm_90a");
            }
            if matches!(*name, "rdn" | "gsa") {
                add(kind, &key(&recurrence, 128, Elem::Bf16, false), "sm_80");
            }
        }
        // blocks of four groups, as for calls of many heads: their warps multiply together
        if matches!(*name, "rdn" | "rla" | "gated_delta_net" | "simple_gla") {
            for kind in &KINDS[..3] {
                let slot = rla_codegen::pipeline::cuda::slot(*kind);
                let chunk = source.chunk(slot, Elem::Bf16, &vec![128; recurrence.sides.len()]);
                let choices = Choices { groups: 4, chunk, ..Choices::default() };
                add(*kind, &Key { choices, ..key(&recurrence, 128, Elem::Bf16, false) }, "sm_90a");
            }
        }
        if *name == "rdn" {
            let span = Choices { span: 2, ..Choices::default() };
            let span = Key { choices: span, ..key(&recurrence, 128, Elem::Bf16, false) };
            [Kind::ForwardSave, Kind::Backward].iter().for_each(|kind| add(*kind, &span, "sm_90a"));
        }
        if matches!(*name, "rdn" | "gated_delta_net" | "kda") {
            KINDS[..3].iter().for_each(|kind| add(*kind, &key(&recurrence, 128, Elem::F16, true), "sm_90a"));
        }
    }
    // decode at sizes that fill no vector, that need more lanes, and in f32
    for name in ["gated_delta_net", "rdn", "linear_attention_norm", "gdn_raw"] {
        let recurrence = Arc::new(rla_runtime::op::builtin(name).expect("it is built in"));
        let source = Source::new(&recurrence).expect("a built-in is in the class");
        for (sizes, elem) in [([37, 21], Elem::F32), ([256, 256], Elem::Bf16), ([64, 100], Elem::F16)] {
            let kernels = source.text(Kind::Decode, &Key::usual(&recurrence, &sizes, elem), SHARED).expect("legal");
            jobs.extend(kernels.kernels.into_iter().map(|kernel| (name, kernel, "sm_90a")));
        }
    }
    // passes share prepare where nothing else differs
    let mut seen = std::collections::BTreeSet::new();
    jobs.retain(|(_, kernel, target)| seen.insert((kernel.source.clone(), *target)));
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((variant, kernel, target)) =
                    jobs.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    let cubin = nvrtc.compile(&kernel.name, &kernel.source, target);
                    let cubin = cubin.unwrap_or_else(|e| panic!("{variant} {}: {e}", kernel.name));
                    assert!(cubin.serialised().is_empty(), "{variant} {}: {:?}", kernel.name, cubin.serialised());
                    let resources = cubin.resources(&kernel.name).expect("the assembler reports");
                    assert_eq!(resources.spill_stores, 0, "{variant} {target} {}: {resources:?}", kernel.name);
                    // who takes registers waits until the block has them: it must be launched with all that were counted on
                    if *target == "sm_90a" && kernel.own().contains("take_registers<") {
                        let counted = 65536 / kernel.threads / 8 * 8;
                        assert_eq!(resources.registers, counted, "{variant} {}: {resources:?}", kernel.name);
                    }
                }
            });
        }
    });
    rla_tests::say(format!("CUDA: {} kernels compiled by NVRTC {:?} from {}", jobs.len(), nvrtc.version, nvrtc.origin));
    assert!(jobs.len() > 40);
}

/// Work on the same elements is one step, on a product's accumulators where it has one: backward's finish has few barriers, and
/// room for another block beside it.
#[test]
fn finish_joins_what_goes_over_the_same_elements() {
    for name in ["rdn", "rla", "gated_delta_net", "simple_gla"] {
        let recurrence = Arc::new(rla_runtime::op::builtin(name).expect("it is built in"));
        let source = Source::new(&recurrence).expect("a built-in is in the class");
        let kernels = source.text(Kind::Backward, &key(&recurrence, 128, Elem::Bf16, false), SHARED).expect("legal");
        let finish = kernels.kernels.iter().find(|k| k.stage == "finish").expect("backward has one");
        let body = finish.source.split("extern \"C\"").nth(1).expect("a kernel");
        let barriers = body.matches("__syncthreads();").count();
        assert!(barriers <= 6, "{name}: {barriers} barriers");
        // two blocks, each with the driver's own kilobyte, on a multiprocessor of Hopper
        assert!(2 * (finish.shared + 1024) <= 228 << 10, "{name}: {} bytes of shared memory", finish.shared);
        // the gradient of q leaves from a tile that products with a state are made in
        let mut tiles = body.split("each_tile<").skip(1);
        let leaves = tiles.any(|t| t.contains("Fragments<") && t.contains("grad0.put("));
        assert!(leaves, "{name}: the gradient of q is made elsewhere");
    }
}

/// States are on their way before the products that read them, where two blocks still have room; and what a sweep makes lies where
/// what it was the last to read lay.
#[test]
fn finish_asks_early_for_what_it_streams() {
    for (name, ahead) in [("rdn", "Ahead<3, 2>"), ("gated_delta_net", "Ahead<2, 4>"), ("comba", "Ahead<2, 4>")] {
        let recurrence = Arc::new(rla_runtime::op::builtin(name).expect("it is built in"));
        let source = Source::new(&recurrence).expect("a built-in is in the class");
        let kernels = source.text(Kind::Backward, &key(&recurrence, 128, Elem::Bf16, false), SHARED).expect("legal");
        let finish = kernels.kernels.iter().find(|k| k.stage == "finish").expect("backward has one");
        let text = finish.own();
        assert!(text.contains(ahead), "{name}: no {ahead}");
        let first = text.find(".lane(k, n)").expect("asked for");
        let barrier = text.find("__syncthreads();").expect("phases");
        let taken = text.find(".take(").expect("taken");
        assert!(first < barrier && barrier < taken, "{name}: asked for in the phase of the products");
        // matrices in the products' type that begin at one place: in RDN, where nothing but this puts two there
        let starts = text.lines().filter(|l| l.contains("bf16* const") && l.contains("(shared + "));
        let mut starts: Vec<&str> = starts.filter_map(|l| l.split("(shared + ").nth(1)).collect();
        let all = starts.len();
        starts.sort_unstable();
        starts.dedup();
        assert!(name != "rdn" || starts.len() + 4 <= all, "{name}: {} of {all} places", starts.len());
    }
}

/// Finish starts beside the last sequential kernel where it is asked for: that says how far it is, and finish waits.
#[test]
fn finish_beside_the_sequential_kernel_waits_for_what_it_reads() {
    for name in ["rdn", "simple_gla", "gsa"] {
        let recurrence = Arc::new(rla_runtime::op::builtin(name).expect("it is built in"));
        let source = Source::new(&recurrence).expect("a built-in is in the class");
        for beside in [0, 2] {
            let choices = Choices { beside, ..Choices::default() };
            let key = Key { choices, ..key(&recurrence, 128, Elem::Bf16, false) };
            for kind in [Kind::ForwardSave, Kind::Backward] {
                let kernels = source.text(kind, &key, SHARED).expect("legal").kernels;
                let expected = beside > 0 && kind == Kind::Backward;
                let last = kernels.iter().rfind(|k| k.stage == "chain");
                let says = last.is_some_and(|k| k.own().contains("tell_progress<"));
                let waits = kernels.iter().filter(|k| k.own().contains("handed_on(") && k.overlaps);
                assert_eq!(says, expected, "{name} {kind:?}");
                assert_eq!(waits.count(), usize::from(expected), "{name} {kind:?}");
                // all but the first start when those before them have, and wait for their end or for what they read
                let waits = |k: &Kernel| k.own().contains("handed_on(") || k.own().contains("wait_for_end();");
                assert!(!kernels[0].overlaps && kernels[1..].iter().all(|k| k.overlaps && waits(k)), "{name} {kind:?}");
                let (last, before) = kernels.split_last().expect("there are kernels");
                let lets = |k: &Kernel| k.own().contains("let_next_start()");
                assert!(before.iter().all(lets) && !lets(last), "{name} {kind:?}");
            }
        }
    }
}

/// Chunks are long where nothing keeps them short: no second state, no inverse to substitute for, no decay of a channel each, no type without products
/// on tensor cores, no state to be kept, no narrow head.
#[test]
fn chunks_are_long_where_nothing_keeps_them_short() {
    let of = |name: &str, slot: Slot, elem: Elem, channels: usize| {
        let recurrence = Arc::new(rla_runtime::op::builtin(name).expect("it is built in"));
        let sizes = vec![channels; recurrence.sides.len()];
        Source::new(&recurrence).expect("a built-in is in the class").chunk(slot, elem, &sizes)
    };
    let chunk = |name: &str, slot: Slot, elem: Elem| of(name, slot, elem, 128);
    for name in ["simple_gla", "linear_attention", "retnet", "mamba2"] {
        assert_eq!(chunk(name, Slot::Forward, Elem::Bf16), 64, "{name}");
        assert_eq!(chunk(name, Slot::Forward, Elem::F32), 32, "{name}");
        assert_eq!(chunk(name, Slot::Training, Elem::Bf16), 32, "{name}");
        assert_eq!(of(name, Slot::Forward, Elem::Bf16, 64), 32, "{name}");
    }
    for name in ["rdn", "rla", "gated_delta_net", "kda", "gla", "gsa", "linear_attention_norm"] {
        assert_eq!(chunk(name, Slot::Forward, Elem::Bf16), 32, "{name}");
    }
}

/// Where backward's prepare needs inputs alone, forward keeps what it would make: both passes find the same bytes, and backward has one
/// kernel fewer; in spans too, whose chains go chunk by chunk. Not where prepare needs gradients, or makes numbers alone.
#[test]
fn forward_keeps_what_backwards_prepare_makes_of_inputs() {
    let kernels = |name: &str, span: usize, kind: Kind| {
        let recurrence = Arc::new(rla_runtime::op::builtin(name).expect("it is built in"));
        let source = Source::new(&recurrence).expect("a built-in is in the class");
        let choices = Choices { span, ..Choices::default() };
        source.text(kind, &Key { choices, ..key(&recurrence, 128, Elem::Bf16, false) }, 227 << 10).expect("legal")
    };
    let prepares = |kernels: &Kernels| kernels.kernels.iter().any(|k| k.stage == "prepare");
    for name in ["rdn", "rla", "gated_delta_net", "comba", "delta_net", "delta_product2", "gdn_raw"] {
        for span in [1, 2] {
            let [forward, backward] = [Kind::ForwardSave, Kind::Backward].map(|kind| kernels(name, span, kind));
            assert_eq!(forward.kept, backward.kept, "{name}");
            assert!(prepares(&forward) && !prepares(&backward) && backward.record == 0, "{name}");
        }
    }
    for name in ["simple_gla", "kda"] {
        let [forward, backward] = [Kind::ForwardSave, Kind::Backward].map(|kind| kernels(name, 1, kind));
        assert_eq!(forward.kept, backward.kept, "{name}");
        assert!(prepares(&backward) && backward.record > 0, "{name}");
    }
}

/// A span of two chunks: states are kept for every other chunk, and backward agrees with forward about it. Where it is not possible,
/// one is taken.
#[test]
fn a_span_keeps_half_of_the_states() {
    let most = |name: &str, span: usize, kind: Kind| {
        let recurrence = Arc::new(rla_runtime::op::builtin(name).expect("it is built in"));
        let source = Source::new(&recurrence).expect("a built-in is in the class");
        let choices = Choices { span, ..Choices::default() };
        let key = Key { choices, ..key(&recurrence, 128, Elem::Bf16, false) };
        source.text(kind, &key, 227 << 10).expect("legal")
    };
    for name in ["rdn", "gated_delta_net", "simple_gla"] {
        let [one, two] = [1, 2].map(|span| most(name, span, Kind::ForwardSave));
        let back = most(name, 2, Kind::Backward);
        assert_eq!((one.span, two.span, back.span), (1, 2, 2), "{name}");
        assert_eq!(two.kept, back.kept, "{name}");
        let states = 2 * 128 * 128 * if name == "rdn" { 2 } else { 1 };
        assert_eq!((one.kept.span, two.kept.span), (0, states), "{name}: a span keeps its states once");
        let (every, half) = (one.kept.of(2, 2), two.kept.of(2, 1));
        assert!(one.kept.chunk >= states && half < every, "{name}: {half} bytes instead of {every}");
        assert_eq!(back.kernels.iter().filter(|k| k.grid == Grid::Spans).count(), 1, "{name}");
    }
    // an inverse is made for single chunks
    assert_eq!(most("kda", 2, Kind::Backward).span, 1);
}

/// Blocks of four groups divide registers anew where roles differ in what they need: those that copy, and those that make results of three
/// roles, leave some to those that carry states. Backward of two states has two roles, which carry and keep them; beside finish too.
#[test]
fn roles_of_four_groups_divide_registers() {
    let chain = |name: &str, kind: Kind, beside: usize| {
        let recurrence = Arc::new(rla_runtime::op::builtin(name).expect("it is built in"));
        let source = Source::new(&recurrence).expect("a built-in is in the class");
        let choices = Choices { groups: 4, beside, ..Choices::default() };
        let key = Key { choices, ..key(&recurrence, 128, Elem::Bf16, false) };
        let kernels = source.text(kind, &key, 227 << 10).expect("legal").kernels;
        kernels.into_iter().find(|k| k.stage == "chain").expect("a chain")
    };
    let divides = |kernel: &Kernel| {
        let count = |what: &str| kernel.own().matches(what).count();
        (kernel.threads, count("take_registers<"), count("leave_registers<"))
    };
    for name in ["rdn", "rla"] {
        for kind in [Kind::Forward, Kind::ForwardSave] {
            assert_eq!(divides(&chain(name, kind, 0)), (512, 2, 2), "{name} {kind:?}");
        }
        for beside in [0, 4] {
            let backward = chain(name, Kind::Backward, beside);
            assert_eq!(divides(&backward), (384, 2, 1), "{name}");
            assert_eq!(backward.grid, Grid::Sequences(2), "{name}");
        }
    }
    assert_eq!(divides(&chain("gated_delta_net", Kind::Forward, 0)), (384, 2, 1));
    assert_eq!(divides(&chain("gated_delta_net", Kind::Backward, 0)), (256, 0, 0), "it keeps its own state");
}

/// Four warps of a role multiply together where the right operand is rows of the caller, of 16 bits and whole panels; a state's readouts
/// come first, and what they need is there before.
#[test]
fn four_warps_multiply_together() {
    let chain = |name: &str, size: usize, elem: Elem, groups: usize| {
        let recurrence = Arc::new(rla_runtime::op::builtin(name).expect("it is built in"));
        let source = Source::new(&recurrence).expect("a built-in is in the class");
        let choices = Choices { groups, ..Choices::default() };
        let key = Key { choices, ..key(&recurrence, size, elem, false) };
        let kernels = source.text(Kind::Forward, &key, 227 << 10).expect("legal").kernels;
        kernels.into_iter().find(|k| k.stage == "chain").expect("a chain").own().to_string()
    };
    let wide = chain("rdn", 128, Elem::Bf16, 4);
    assert_eq!(wide.matches("multiply_together<bf16, 32, false, false>").count(), 4, "two readouts of two states");
    assert_eq!(wide.matches("multiply_together<bf16, 32, true, false>").count(), 2, "two updates");
    // both readouts of a state are one stage, with one operand
    assert_eq!(wide.matches("end_together(").count(), 4);
    assert!(!wide.contains("left_found"), "no state leaves its role");
    let stage = |text: &str| text.find("begin_together").expect("a stage") > text.find("left_of").expect("an operand");
    assert!(stage(&wide));
    for text in [chain("rdn", 128, Elem::Bf16, 2), chain("rdn", 128, Elem::F32, 4), chain("rdn", 96, Elem::Bf16, 4)] {
        assert!(!text.contains("together("), "{}", text.lines().next().unwrap_or_default());
    }
    // a state alone that is not read for its own next value: the role of results reads it
    assert!(chain("simple_gla", 128, Elem::Bf16, 4).contains("left_found"));
}

/// Rows that a chain hands on are in the type of the inputs, and finish copies them while nobody waits for them.
#[test]
fn rows_pass_in_sixteen_bits() {
    let recurrence = Arc::new(rla_runtime::op::builtin("rdn").expect("it is built in"));
    let source = Source::new(&recurrence).expect("a built-in is in the class");
    let backward = |elem| source.text(Kind::Backward, &key(&recurrence, 128, elem, false), 227 << 10).expect("legal");
    let states = 2 * 128 * 128;
    let [half, full] = [Elem::Bf16, Elem::F32].map(backward);
    assert_eq!(half.passed.chunk, 2 * states + 2 * 2 * 32 * 128);
    assert!(full.passed.chunk >= 4 * states + 2 * 4 * 32 * 128);
    let finish = half.kernels.iter().find(|k| k.stage == "finish").expect("backward has one");
    assert_eq!(
        finish.own().matches("copy_apart<bf16, 32, 128, 136>").count(),
        4,
        "two that forward kept, two of the chain"
    );
    assert!(finish.shared <= 112 << 10, "{} bytes: no room for a second block", finish.shared);
}

/// A walk whose last steps, which replace its states, alone read some copies: those come before, and the joined steps keep their
/// order.
#[test]
fn what_the_last_steps_alone_read_is_copied_before_them() {
    let recurrence = Arc::new(golden::parse(&random_variant::text(45)));
    let source = Source::new(&recurrence).expect("the variant is in the class");
    for kind in [Kind::Forward, Kind::ForwardSave] {
        let kernels = source.text(kind, &key(&recurrence, 32, Elem::Bf16, false), SHARED).expect("legal");
        let walk = kernels.kernels.iter().find(|k| k.stage == "walk").expect("a state is shared by all channels");
        let barriers = walk.own().matches("__syncthreads();").count();
        assert!(barriers <= 10, "{kind:?}: {barriers} barriers; the steps are not joined");
    }
}

/// An inverse and what it multiplies are one substitution, those of two states side by side; where one inverse waits for another, or a chunk has more
/// tokens than a warp lanes, they are an inverse and products.
#[test]
fn systems_are_substituted_side_by_side() {
    for (name, chunk, systems) in [("rdn", 32, Some(2)), ("rdn", 64, None), ("delta_product2", 32, None)] {
        let recurrence = Arc::new(rla_runtime::op::builtin(name).expect("it is built in"));
        let source = Source::new(&recurrence).expect("a built-in is in the class");
        let mut key = key(&recurrence, 128, Elem::Bf16, false);
        key.choices.chunk = chunk;
        let kernels = source.text(Kind::Forward, &key, SHARED).expect("legal").kernels;
        let body = kernels[0].own();
        let calls: Vec<&str> = body.split(" systems<").skip(1).collect();
        match systems {
            Some(count) => {
                assert_eq!(calls.len(), 1, "{name}: {calls:?}");
                assert!(calls[0].starts_with(&format!("32, 36, {count}, ")), "{name}: {}", calls[0]);
                assert!(!body.contains(" invert<"), "{name}");
            }
            None => assert!(calls.is_empty() && body.contains(" invert<"), "{name}, {chunk} tokens"),
        }
    }
}

/// Decays of a channel each are products on tensor cores, all derivatives of one sum in one step; in f32, and where a chunk has other
/// tokens, they are walks over pairs of tokens.
#[test]
fn channel_decays_are_products() {
    for name in ["kda", "gla", "rwkv6", "rwkv7", "value_decay"] {
        let recurrence = Arc::new(rla_runtime::op::builtin(name).expect("it is built in"));
        let source = Source::new(&recurrence).expect("a built-in is in the class");
        let calls = |elem: Elem, chunk: usize| {
            let mut key = key(&recurrence, 128, elem, false);
            key.choices.chunk = chunk;
            let kernels = source.text(Kind::Backward, &key, SHARED).expect("legal").kernels;
            let body = |k: &Kernel| k.source.split("extern \"C\"").nth(1).map(str::to_string);
            let text: String = kernels.iter().filter_map(body).collect();
            let count = |call: &str| text.matches(call).count();
            (
                count("decay_parts_32<"),
                count("decay_dot_32<"),
                count("decay_rect<") + count("decay_apply<") + count("decay_dot<"),
            )
        };
        let (parts, dots, walks) = calls(Elem::Bf16, 32);
        assert!(
            parts > 0 && dots > 0 && walks == 0,
            "{name}: {parts} steps of derivatives, {dots} sums, {walks} walks"
        );
        assert!(parts <= 2 * dots, "{name}: {parts} steps of derivatives of {dots} sums");
        for (elem, chunk) in [(Elem::F32, 32), (Elem::Bf16, 16)] {
            let (parts, dots, walks) = calls(elem, chunk);
            assert!(
                parts == 0 && dots == 0 && walks > 0,
                "{name} in {elem:?}, {chunk} tokens: {parts}, {dots}, {walks}"
            );
        }
    }
}

#[test]
fn decode_divides_rows_where_no_value_needs_all_of_them() {
    let stage = |recurrence: Recurrence| {
        let recurrence = Arc::new(recurrence);
        let source = Source::new(&recurrence).expect("the variant is in the class");
        let kernels = source.text(Kind::Decode, &key(&recurrence, 128, Elem::Bf16, false), SHARED).expect("legal");
        (kernels.kernels[0].stage, kernels.kernels[0].grid)
    };
    for (name, _) in rla_dsl::builtin::BUILTINS {
        let (stage, _) = stage(rla_runtime::op::builtin(name).expect("it is built in"));
        // gsa's softmax over slots lies between its two states
        assert_eq!(stage == "rows", *name != "gsa", "{name} by {stage}");
    }
    let parse = |output: &str| {
        let text = format!(
            "pub variant x {{ input q, k: key, v: value; state S: value x key; S[t] = 0.5 * S[t-1] + v * k^T; {output} }}"
        );
        golden::parse(&text)
    };
    assert_eq!(stage(parse("output o = S[t] * q;")).0, "rows");
    assert_eq!(stage(parse("output o = l2norm(S[t] * q, 1e-6);")).0, "decode");
    // where a vector state is shared, one block has all rows
    let shared = "pub variant x { input q, k: key, v: value; state S: value x key; state z: key; \
                  S[t] = S[t-1] + v * k^T; z[t] = z[t-1] + k; output o = S[t] * q / (z[t]^T * q + 9); }";
    assert_eq!(stage(golden::parse(shared)), ("rows", Grid::Sequences(1)));
}

/// The models' own kernels: the elementwise parts, and the products of one token.
#[test]
fn the_models_kernels_compile_without_spills() {
    let Ok(nvrtc) = Nvrtc::get() else {
        println!("no NVRTC: nothing compiled");
        return;
    };
    let shared = include_str!("../rla-runtime/src/model/elementwise.cuh");
    let texts =
        [include_str!("../rla-runtime/src/model/fused/fused.cu"), include_str!("../rla-runtime/src/model/decode.cu")];
    for text in texts.map(|text| format!("{shared}{text}")) {
        for architecture in ["sm_80", "sm_90a"] {
            let made = nvrtc.compile("models", &text, architecture).unwrap_or_else(|e| panic!("{architecture}: {e}"));
            let reports = made.log.lines().filter(|l| l.contains("bytes spill stores"));
            let spilled: Vec<&str> = reports.clone().filter(|l| !l.contains(" 0 bytes spill stores")).collect();
            assert!(reports.count() > 4 && spilled.is_empty(), "{architecture}: {spilled:?}");
        }
    }
}

#[test]
fn nvrtc_refuses_a_broken_kernel() {
    let Ok(nvrtc) = Nvrtc::get() else {
        rla_tests::say("CUDA: NOT COMPILED, there is no NVRTC");
        return;
    };
    let error = nvrtc.compile("bad", "extern \"C\" __global__ void bad() { undeclared = 1; }", "sm_90a").unwrap_err();
    assert!(error.to_string().contains("undeclared"), "{error}");
}
