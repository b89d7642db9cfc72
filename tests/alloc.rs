//! A call allocates nothing that grows with the sequence but its results: as many allocations for 128 tokens as for 8192,
//! none of them longer than what the results need.
use rla_runtime::op::{BackwardOptions, ForwardOptions, Saved};
use rla_runtime::{Backend, DType, Operation, Problem, StateLayout, Tensor, View};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

static COUNT: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: everything is handed to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The fewest allocations and bytes of several runs after the first, which sizes what a thread keeps. The counter sees every
/// thread: the test harness and the pool's workers allocate now and then, our calls every time.
fn counted(mut run: impl FnMut()) -> (usize, usize) {
    run();
    let once = |run: &mut dyn FnMut()| {
        let before = (COUNT.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed));
        run();
        (COUNT.load(Ordering::Relaxed) - before.0, BYTES.load(Ordering::Relaxed) - before.1)
    };
    (0..5).map(|_| once(&mut run)).min().expect("five runs")
}

struct Counts {
    forward: (usize, usize),
    save: (usize, usize),
    backward: (usize, usize),
    narrow: (usize, usize),
    decode: (usize, usize),
}

fn counts(operation: &Operation, tokens: usize) -> Counts {
    let recurrence = operation.recurrence();
    let problem = Problem::new(1, tokens, 1, 2, 16, 16);
    let inputs: Vec<Tensor> = (0..recurrence.inputs.len())
        .map(|i| Tensor::zeros(DType::F32, &problem.input_shape(recurrence, i)).expect("it fits"))
        .collect();
    let narrow: Vec<Tensor> = inputs.iter().map(|t| Tensor::zeros(DType::Bf16, t.shape()).expect("it fits")).collect();
    let views: Vec<View> = inputs.iter().map(Tensor::view).collect();
    let narrow_views: Vec<View> = narrow.iter().map(Tensor::view).collect();
    let mut output = Tensor::zeros(DType::F32, &problem.output_shape(recurrence, 0)).expect("it fits");
    let options = ForwardOptions::default();
    let mut saved = Saved::default();
    let forward = counted(|| {
        let mut out = [output.view_mut()];
        operation.forward_into(&problem, &views, &options, &mut out, &mut [], None).expect("it runs");
    });
    let save = counted(|| {
        let mut out = [output.view_mut()];
        operation.forward_into(&problem, &views, &options, &mut out, &mut [], Some(&mut saved)).expect("it runs");
    });
    let grad = output.clone();
    let output_grads = [Some(grad.view())];
    let options = BackwardOptions { output_grads: &output_grads, ..BackwardOptions::default() };
    let backward_of = |inputs: &[Tensor], views: &[View]| {
        let mut grads = inputs.to_vec();
        counted(|| {
            let mut grads: Vec<_> = grads.iter_mut().map(|t| Some(t.view_mut())).collect();
            operation.backward_into(&problem, views, &saved, &options, &mut grads, &mut []).expect("it runs");
        })
    };
    let backward = backward_of(&inputs, &views);
    let narrow = backward_of(&narrow, &narrow_views);

    let step = Problem { tokens: 1, ..problem.clone() };
    let step_views: Vec<View> = views.iter().map(|v| v.narrow(1, 0, 1).expect("a token")).collect();
    let mut pool: Vec<Tensor> = (0..recurrence.states.len())
        .map(|i| {
            Tensor::zeros(DType::F32, &step.state_shape(recurrence, i, 1, StateLayout::ValueMajor)).expect("it fits")
        })
        .collect();
    let mut step_output = Tensor::zeros(DType::F32, &step.output_shape(recurrence, 0)).expect("it fits");
    let decode = counted(|| {
        let mut pool: Vec<_> = pool.iter_mut().map(Tensor::view_mut).collect();
        let mut out = [step_output.view_mut()];
        let layout = StateLayout::ValueMajor;
        operation.decode_into(&step, &[0], &step_views, None, &mut pool, layout, &mut out).expect("it runs");
    });
    Counts { forward, save, backward, narrow, decode }
}

#[test]
fn allocations_do_not_grow_with_the_sequence() {
    // the counter counts, or nothing below could fail
    let (count, bytes) = counted(|| drop(std::hint::black_box(vec![0u8; 1000])));
    assert!(count >= 1 && bytes >= 1000);
    let operation = Operation::builtin("rdn", Backend::Cpu).expect("it is compiled in");
    // on one thread: a pool's own queues grow when they like
    rla_runtime::bench::set_threads(1).expect("the first of this process");
    let (short, long) = (counts(&operation, 128), counts(&operation, 8192));
    let same = [
        ("forward", short.forward, long.forward),
        ("forward that keeps", short.save, long.save),
        ("backward", short.backward, long.backward),
        ("backward to 16 bits", short.narrow, long.narrow),
        ("decode", short.decode, long.decode),
    ];
    for (name, short, long) in same {
        println!("{name}: {} allocations, {} bytes", short.0, short.1);
        assert_eq!(short, long, "{name}: allocations and bytes for 128 and for 8192 tokens");
        assert!(short.0 > 0 && short.1 < 1 << 14, "{name}: some small tables, and no more: {short:?}");
    }
}
