//! Forward, backward and decode of the variants that the models use, on one thread: `cargo bench --bench kernels`.
//!
//! For rates beside the machine's own ceilings use `rla bench`; this is for comparing one commit with the next.
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rla_runtime::bench::{Bench, Pass, set_threads};
use rla_runtime::{Backend, DType, Operation, Problem, StateLayout};
use std::time::Duration;

const VARIANTS: [&str; 4] = ["rla", "rdn", "gated_delta_net", "simple_gla"];

fn pass(criterion: &mut Criterion, pass: Pass, tokens: usize) {
    let mut group = criterion.benchmark_group(pass.name());
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for name in VARIANTS {
        let operation = Operation::builtin(name, Backend::Cpu).expect("it is compiled in");
        let (heads, size, layout) = (4, 128, StateLayout::ValueMajor);
        let problem = Problem::new(1, tokens, heads, heads, size, size);
        let mut bench = Bench::new(operation, problem, DType::F32, &[pass], 1, layout).expect("it fits");
        bench.prepare(pass).expect("forward runs");
        group.throughput(Throughput::Elements((tokens * heads) as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| bench.run(pass, layout).expect("it runs"));
        });
    }
    group.finish();
}

fn forward(criterion: &mut Criterion) {
    // ignored where an earlier group has set it
    let _ = set_threads(1);
    pass(criterion, Pass::Forward, 1024);
}

fn backward(criterion: &mut Criterion) {
    let _ = set_threads(1);
    pass(criterion, Pass::Backward, 1024);
}

fn decode(criterion: &mut Criterion) {
    let _ = set_threads(1);
    pass(criterion, Pass::Decode, 1);
}

criterion_group!(kernels, forward, backward, decode);
criterion_main!(kernels);
