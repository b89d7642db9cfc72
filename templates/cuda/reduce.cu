// Sums that several blocks contribute to, always in the same order. ELEM is the type of the result.
// Compiled behind base.cuh.

struct Heads {
  View from, to;  // per value head, f32; per key head
  i64 batch, tokens, heads, group, channels;
};

// The gradient of a row that `group` value heads share.
extern "C" __global__ void __launch_bounds__(256) sum_heads(const __grid_constant__ Heads x) {
  const i64 all = x.batch * x.tokens * x.heads * x.channels;
  for (i64 i = blockIdx.x * 256ll + threadIdx.x; i < all; i += gridDim.x * 256ll) {
    const i64 c = i % x.channels, h = i / x.channels % x.heads, t = i / x.channels / x.heads % x.tokens,
              b = i / x.channels / x.heads / x.tokens;
    float sum = 0;
    for (i64 g = 0; g < x.group; g++) sum += rows_of<float>(x.from, b, t, h * x.group + g)[c];
    rows_of<ELEM>(x.to, b, t, h)[c] = narrow<ELEM>(sum);
  }
}

struct Parts {
  const float* from;  // a row of `stride` floats a chunk and head
  View to;            // head, channel
  i64 chunks, heads, stride, offset, channels;
};

// The gradient of a parameter: its parts by chunk.
extern "C" __global__ void __launch_bounds__(128) sum_parts(const __grid_constant__ Parts x) {
  const i64 i = blockIdx.x * 128ll + threadIdx.x;
  if (i >= x.heads * x.channels) return;
  const i64 head = i / x.channels, c = i % x.channels;
  double sum = 0;
  for (i64 k = 0; k < x.chunks; k++) sum += x.from[(k * x.heads + head) * x.stride + x.offset + c];
  rows_of<ELEM>(x.to, 0, 0, head)[c] = narrow<ELEM>((float)sum);
}
