// Linear attention by hand, token by token, with the entry points of a generated kernel: S[t] = S[t-1] + v k^T, o = S[t] q.
// Inputs q, k, v. What forward keeps is every S[t], rows by columns. f32 and bf16 are read.

unsafe fn load(view: &abi::View, token: usize, i: usize) -> f32 {
    unsafe {
        let at = token as isize * view.stride + i as isize;
        if view.dtype == abi::DTYPE_BF16 {
            return f32::from_bits((*view.ptr.cast::<u16>().offset(at) as u32) << 16);
        }
        *view.ptr.cast::<f32>().offset(at)
    }
}

unsafe fn store(view: &abi::View, token: usize, i: usize, x: f32) {
    unsafe {
        let at = token as isize * view.stride + i as isize;
        if view.dtype == abi::DTYPE_BF16 {
            let bits = x.to_bits();
            *view.ptr.cast::<u16>().offset(at) = ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16;
            return;
        }
        let place = view.ptr.cast::<f32>().offset(at);
        *place = if view.accumulate == 1 { *place + x } else { x };
    }
}

unsafe fn at(view: &abi::StateView, r: usize, c: usize) -> *mut f32 {
    unsafe { view.ptr.offset(r as isize * view.row_stride + c as isize * view.col_stride) }
}

unsafe fn sizes(args: &abi::Args) -> (usize, usize) {
    unsafe { (*args.sizes, *args.sizes.add(1)) }
}

unsafe fn walk(args: &abi::Args, s: *mut f32) {
    unsafe {
        let (keys, values) = sizes(args);
        let (q, k, v) = (&*args.inputs, &*args.inputs.add(1), &*args.inputs.add(2));
        let mut t = 0;
        while t < args.tokens {
            let mut r = 0;
            while r < values {
                let (mut c, mut sum) = (0, 0.0);
                while c < keys {
                    let x = s.add(r * keys + c);
                    *x += load(v, t, r) * load(k, t, c);
                    sum += *x * load(q, t, c);
                    if !args.saved.is_null() {
                        *args.saved.add((t * values + r) * keys + c) = *x;
                    }
                    c += 1;
                }
                store(&*args.outputs, t, r, sum);
                r += 1;
            }
            t += 1;
        }
    }
}

unsafe fn copy(args: &abi::Args, s: *mut f32, view: &abi::StateView, inward: bool) {
    unsafe {
        let (keys, values) = sizes(args);
        let mut i = 0;
        while i < keys * values {
            let (r, c) = (i / keys, i % keys);
            if inward {
                *s.add(i) = if view.ptr.is_null() { 0.0 } else { *at(view, r, c) };
            } else if !view.ptr.is_null() {
                *at(view, r, c) = *s.add(i);
            }
            i += 1;
        }
    }
}

unsafe extern "C" fn forward(args: *const abi::Args) {
    unsafe {
        let args = &*args;
        copy(args, args.scratch, &*args.states_in, true);
        walk(args, args.scratch);
        copy(args, args.scratch, &*args.states_out, false);
    }
}

unsafe extern "C" fn decode(args: *const abi::Args) {
    unsafe {
        let args = &*args;
        copy(args, args.scratch, &*args.states_in, true);
        walk(args, args.scratch);
        copy(args, args.scratch, &*args.states_in, false);
    }
}

unsafe extern "C" fn backward(args: *const abi::Args) {
    unsafe {
        let args = &*args;
        let (keys, values) = sizes(args);
        let (q, k, v) = (&*args.inputs, &*args.inputs.add(1), &*args.inputs.add(2));
        let (dq, dk, dv) = (&*args.input_grads, &*args.input_grads.add(1), &*args.input_grads.add(2));
        let d_out = &*args.output_grads;
        let ds = args.scratch;
        copy(args, ds, &*args.state_grads_in, true);
        let mut t = args.tokens;
        while t > 0 {
            t -= 1;
            let out = |r: usize| if d_out.ptr.is_null() { 0.0 } else { load(d_out, t, r) };
            let mut r = 0;
            while r < values {
                let (mut c, mut sum) = (0, 0.0);
                while c < keys {
                    *ds.add(r * keys + c) += out(r) * load(q, t, c);
                    sum += *ds.add(r * keys + c) * load(k, t, c);
                    c += 1;
                }
                if !dv.ptr.is_null() {
                    store(dv, t, r, sum);
                }
                r += 1;
            }
            let mut c = 0;
            while c < keys {
                let (mut r, mut sum_q, mut sum_k) = (0, 0.0, 0.0);
                while r < values {
                    sum_q += *args.saved.add((t * values + r) * keys + c) * out(r);
                    sum_k += *ds.add(r * keys + c) * load(v, t, r);
                    r += 1;
                }
                if !dq.ptr.is_null() {
                    store(dq, t, c, sum_q);
                }
                if !dk.ptr.is_null() {
                    store(dk, t, c, sum_k);
                }
                c += 1;
            }
        }
        copy(args, ds, &*args.state_grads_out, false);
    }
}

unsafe extern "C" fn scratch(_: u32, sizes: *const usize) -> usize {
    unsafe { *sizes * *sizes.add(1) }
}

unsafe extern "C" fn saved(tokens: usize, sizes: *const usize) -> usize {
    unsafe { tokens * *sizes * *sizes.add(1) }
}

#[unsafe(no_mangle)]
pub extern "C" fn rla_test_linear_attention_portable() -> abi::Entry {
    abi::Entry {
        forward: Some(forward),
        forward_bf16: None,
        backward: Some(backward),
        decode: Some(decode),
        scratch: Some(scratch),
        saved: Some(saved),
    }
}
