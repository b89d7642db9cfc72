//! Times of the generated CUDA kernels on this machine's GPU, as lines of CSV:
//! `cuda_times VARIANT B,T,H,D [CHUNK [WARPS [ROUNDS]]]`. Every call is captured in a graph, the level-2 cache flushed before
//! each launch; median, lowest and highest of the rounds in milliseconds.
use rla_dsl::recurrence::{Domain, InputKind};
use rla_runtime::device::cuda::host::{CHUNK, Engine, WARPS};
use rla_runtime::device::cuda::kernels::{Call, Elem, Key, Kind, RawSequences, RawView};
use rla_runtime::device::cuda::memory::Buffer;
use rla_runtime::device::cuda::time;
use rla_runtime::problem::Problem;
use std::sync::Arc;

struct Random(u64);
impl Random {
    fn unit(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1u64 << 24) as f32
    }
    fn normal(&mut self) -> f32 {
        (0..6).map(|_| self.unit() - 0.5).sum::<f32>() * 1.414
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default: usize| arguments.get(i).map_or(Ok(default), |a| a.parse());
    let shape: Vec<usize> = arguments[1].split(',').map(str::parse).collect::<Result<_, _>>()?;
    let [batch, tokens, heads, size] = shape[..] else { return Err("a shape is B,T,H,D".into()) };
    let (chunk, warps, rounds) = (number(2, CHUNK)?, number(3, WARPS)?, number(4, 15)?);
    let recurrence = Arc::new(rla_runtime::op::builtin(&arguments[0])?);
    let engine = Engine::new(&recurrence, Some(chunk))?;
    let device = engine.device().clone();
    let sides = recurrence.sides.len();
    let problem = Problem { sizes: vec![size; sides], ..Problem::new(batch, tokens, heads, heads, size, size) };
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut buffers = vec![];
    let elem = |i: usize| if recurrence.inputs[i].carries_values() { Elem::Bf16 } else { Elem::F32 };
    let strides = |shape: &[usize]| {
        let channels = if shape.len() > 3 { shape[3] } else { 1 } as i64;
        [(shape[1] * shape[2]) as i64 * channels, shape[2] as i64 * channels, channels, 1]
    };
    let mut make = |count: usize, elem: Elem, draw: &mut dyn FnMut() -> f32| -> Result<u64, rla_runtime::Error> {
        let buffer = Buffer::poisoned(&device, count * elem.bytes())?;
        // a pattern that repeats: drawing it all would take longer than the kernels
        let values: Vec<f32> = (0..count.min(65537)).map(|_| draw()).collect();
        let pattern: Vec<u8> = match elem {
            Elem::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            _ => values.iter().flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect(),
        };
        let mut bytes = pattern.repeat((count * elem.bytes()).div_ceil(pattern.len().max(1)));
        bytes.truncate(count * elem.bytes());
        // SAFETY: the bytes are there.
        unsafe { buffer.upload(bytes.as_ptr(), bytes.len())? };
        let address = buffer.address();
        buffers.push(buffer);
        Ok(address)
    };
    let mut call = Call { heads, group: 1, constants: recurrence.const_defaults(&problem.sizes), ..Call::default() };
    call.sequences = RawSequences { offsets: 0, wide: true, count: batch, tokens };
    for (i, decl) in recurrence.inputs.iter().enumerate() {
        let shape = problem.input_shape(&recurrence, i);
        let scale = 1.0 / (size as f32).sqrt();
        let mut draw = || match decl.domain {
            Domain::Range(low, _) if low == f64::NEG_INFINITY => -0.1 * random.unit(),
            Domain::Range(low, high) => low as f32 + (high - low) as f32 * random.unit(),
            _ if elem(i) == Elem::Bf16 && decl.side.is_some_and(|s| s.0 == 0) => scale * random.normal(),
            _ => random.normal(),
        };
        let count = shape.iter().product();
        let address = make(count, elem(i), &mut draw)?;
        let view = match decl.kind {
            InputKind::Param => RawView { address, strides: [0, 0, shape.get(1).copied().unwrap_or(1) as i64, 1] },
            InputKind::Input => RawView { address, strides: strides(&shape) },
        };
        call.inputs.push(view);
        let grad = RawView { address: make(count, elem(i), &mut || 0.0)?, ..view };
        call.input_grads.push(grad);
    }
    for i in 0..recurrence.outputs.len() {
        let shape = problem.output_shape(&recurrence, i);
        let count = shape.iter().product();
        let view = |address| RawView { address, strides: strides(&shape) };
        call.outputs.push(view(make(count, Elem::Bf16, &mut || 0.0)?));
        call.output_grads.push(view(make(count, Elem::Bf16, &mut || random.normal())?));
    }
    let key = Key {
        sizes: problem.sizes.clone(),
        inputs: (0..recurrence.inputs.len()).map(elem).collect(),
        output: Elem::Bf16,
        input_grads: (0..recurrence.inputs.len()).map(elem).collect(),
        chunk,
        warps,
        grouped: false,
    };
    let (forward, save, backward) =
        (engine.pass(Kind::Forward, &key)?, engine.pass(Kind::ForwardSave, &key)?, engine.pass(Kind::Backward, &key)?);
    let kept = Buffer::poisoned(&device, save.kept_bytes(&call.sequences, heads))?;
    call.kept = kept.address();
    let bytes = forward.workspace(&call).max(save.workspace(&call)).max(backward.workspace(&call));
    let workspace = Buffer::poisoned(&device, bytes)?;
    let at = workspace.address();
    for (what, passes) in [
        ("forward", vec![&forward]),
        ("forward_save", vec![&save]),
        ("backward", vec![&backward]),
        ("train", vec![&save, &backward]),
    ] {
        let times = time::graph(&device, rounds, |stream| {
            // SAFETY: every address is of a buffer above, with the sizes of the problem.
            passes.iter().try_for_each(|pass| unsafe { pass.launch(&call, at, stream) })
        })?;
        println!(
            "{},{what},\"{batch},{tokens},{heads},{size}\",bf16,{chunk},{warps},{:.4},{:.4},{:.4},{},{}",
            arguments[0],
            times[times.len() / 2],
            times[0],
            times[times.len() - 1],
            device.name,
            device.driver
        );
        let [pass] = passes[..] else { continue };
        for (i, (kernel, r)) in pass.text.kernels.iter().zip(&pass.resources).enumerate() {
            let times = time::graph(&device, rounds, |stream| {
                // SAFETY: as above; what the kernel reads was left by the calls before.
                unsafe { pass.launch_some(&call, at, stream, i..i + 1) }
            })?;
            println!(
                "# {what} {}: {:.4} ms, {} registers, {} spilled, {} shared, {} scratch, record {} passed {} kept {}",
                kernel.name,
                times[times.len() / 2],
                r.registers,
                r.spill_stores,
                kernel.shared,
                pass.text.scratch,
                pass.text.record,
                pass.text.passed,
                pass.text.kept
            );
        }
    }
    Ok(())
}
