// One token of a model on a GPU, f32: products of few rows, with what stands before and after them.
constexpr int COLUMNS = 8;            // columns of a matrix a block: one 32-byte sector of each row
constexpr int THREADS = 1024;         // of a block that multiplies
constexpr int GROUPS = THREADS / COLUMNS;

__device__ int warp() { return threadIdx.x / 32; }

// h = x / rms(x) * w in shared memory, by all threads of a block.
__device__ void norm_row(const float* x, const float* w, float* h, int width) {
  __shared__ float sums[32];
  float sum = 0.f;
  for (int i = threadIdx.x; i < width; i += blockDim.x) {
    h[i] = x[i];
    sum += h[i] * h[i];
  }
  sum = warp_sum(sum);
  if (lane() == 0) sums[warp()] = sum;
  __syncthreads();
  sum = warp_sum(lane() < blockDim.x / 32 ? sums[lane()] : 0.f);
  float inverse = rsqrtf(sum / width + NORM_EPS);
  for (int i = threadIdx.x; i < width; i += blockDim.x) h[i] *= inverse * w[i];
  __syncthreads();
}

// The sum over k of h[k] m[k, column] of this thread's column, in the first group of threads; m has `stride` columns.
__device__ float product(const float* h, const float* m, int depth, i64 stride, i64 column, bool there) {
  __shared__ float sums[GROUPS][COLUMNS + 1];
  int group = threadIdx.x / COLUMNS, c = threadIdx.x % COLUMNS;
  float sum = 0.f;
  if (there) {
#pragma unroll 8
    for (int k = group; k < depth; k += GROUPS) sum += h[k] * m[k * stride + column];
  }
  __syncthreads();
  sums[group][c] = sum;
  for (int half = GROUPS / 2; half; half /= 2) {
    __syncthreads();
    if (group < half) sums[group][c] += sums[group + half][c];
  }
  return group ? 0.f : sums[0][c];
}

// y_m = norm(x) w_m for three matrices with n_m columns. Blocks: columns of all three, then rows.
extern "C" __global__ void __launch_bounds__(THREADS, 1) project(const float* x, const float* norm, i64 width, const float* w0,
                                                              float* y0, i64 n0, const float* w1, float* y1, i64 n1,
                                                              const float* w2, float* y2, i64 n2) {
  extern __shared__ float h[];
  i64 blocks0 = (n0 + COLUMNS - 1) / COLUMNS, blocks1 = (n1 + COLUMNS - 1) / COLUMNS,
      blocks2 = (n2 + COLUMNS - 1) / COLUMNS, all = blocks0 + blocks1 + blocks2;
  i64 b = blockIdx.x / all, block = blockIdx.x % all;
  norm_row(x + b * width, norm, h, width);
  if (block >= blocks0 + blocks1)
    block -= blocks0 + blocks1, w0 = w2, y0 = y2, n0 = n2;
  else if (block >= blocks0)
    block -= blocks0, w0 = w1, y0 = y1, n0 = n1;
  i64 column = block * COLUMNS + threadIdx.x % COLUMNS;
  float sum = product(h, w0, width, n0, column, column < n0);
  if (threadIdx.x < COLUMNS && column < n0) y0[b * n0 + column] = sum;
}

// y = silu(a) * b of [a | b] = norm(x) w.
extern "C" __global__ void __launch_bounds__(THREADS, 1) project_swiglu(const float* x, const float* norm, i64 width,
                                                                     const float* w, float* y, i64 n) {
  extern __shared__ float h[];
  i64 blocks = (n + COLUMNS - 1) / COLUMNS, b = blockIdx.x / blocks;
  i64 column = blockIdx.x % blocks * COLUMNS + threadIdx.x % COLUMNS;
  norm_row(x + b * width, norm, h, width);
  float first = product(h, w, width, 2 * n, column, column < n);
  float second = product(h, w, width, 2 * n, column + n, column < n);
  if (threadIdx.x < COLUMNS && column < n) y[b * n + column] = first * sigmoid(first) * second;
}

// x += h w; with a gate, h is first normalised in heads of `size`, scaled by `norm` and multiplied with silu(gate).
extern "C" __global__ void __launch_bounds__(THREADS, 1) add_product(const float* from, const float* norm, const float* gate,
                                                                  i64 size, const float* w, float* x, i64 depth, i64 width) {
  extern __shared__ float h[];
  i64 blocks = (width + COLUMNS - 1) / COLUMNS, b = blockIdx.x / blocks;
  i64 column = blockIdx.x % blocks * COLUMNS + threadIdx.x % COLUMNS;
  from += b * depth;
  if (gate) {
    gate += b * depth;
    for (i64 head = warp(); head < depth / size; head += THREADS / 32) {
      float sum = 0.f;
      for (i64 i = lane(); i < size; i += 32) sum += from[head * size + i] * from[head * size + i];
      float inverse = rsqrtf(warp_sum(sum) / size + NORM_EPS);
      for (i64 i = lane(); i < size; i += 32) {
        float g = gate[head * size + i];
        h[head * size + i] = from[head * size + i] * inverse * norm[i] * g * sigmoid(g);
      }
    }
  } else {
    for (i64 i = threadIdx.x; i < depth; i += THREADS) h[i] = from[i];
  }
  __syncthreads();
  float sum = product(h, w, depth, width, column, column < width);
  if (threadIdx.x < COLUMNS && column < width) x[b * width + column] += sum;
}

// The convolution at one token with its tail, which takes note of it, and the gates. Warps: segments of all rows, then rows.
extern "C" __global__ void mix(const float* x, const float* w, float* tail, float* y, i64 batch, i64 c, i64 heads, i64 size,
                               const float* g, const float* a_log, const float* bias, float* gates, i64 gate_width,
                               i64 gate_heads) {
  i64 segments = (c + size - 1) / size, index = (i64)blockIdx.x * (blockDim.x / 32) + warp();
  if (index >= batch * segments) {
    i64 b = index - batch * segments;
    if (b >= batch) return;
    for (i64 h = lane(); h < gate_width; h += 32) {
      gates[b * gate_width + h] = gate_value(g[b * gate_width + h], a_log, bias, h, gate_heads);
    }
    return;
  }
  i64 segment = index % segments, b = index / segments, first = segment * size, end = min(first + size, c);
  x += b * c, y += b * c, tail += b * (WIDTH - 1) * c;
  segment_rows(y, first, end, segment < heads, [&](i64 i) {
    float rows[WIDTH] = {tail[i], tail[c + i], tail[2 * c + i], x[i]}, v = 0.f;
    for (int j = 0; j < WIDTH; j++) v += w[j * c + i] * rows[j];
    tail[i] = rows[1], tail[c + i] = rows[2], tail[2 * c + i] = rows[3];
    return v;
  });
}

// logits[b, v] = norm(x) . head[v, :]. 8 warps a block, a warp an entry of the vocabulary.
extern "C" __global__ void logits(const float* x, const float* norm, const float* head, float* y, i64 width, i64 entries) {
  extern __shared__ float h[];
  i64 blocks = (entries + 7) / 8, b = blockIdx.x / blocks, v = blockIdx.x % blocks * 8 + warp();
  norm_row(x + b * width, norm, h, width);
  if (v >= entries) return;
  float sum = 0.f;
#pragma unroll 4
  for (i64 i = lane(); i < width; i += 32) sum += h[i] * head[v * width + i];
  sum = warp_sum(sum);
  if (lane() == 0) y[b * entries + v] = sum;
}
