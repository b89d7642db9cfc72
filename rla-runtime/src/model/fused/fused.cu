// The elementwise parts of a layer on a GPU, f32: the formulas of the Rust files beside this one.
//
// Sums over rows are taken over parts of a fixed number of rows and then in order, so that a result does not depend on the card or
// on when a block runs.
typedef unsigned char u8;

#define INFINITY __int_as_float(0x7f800000)

__device__ float silu_slope(float x, float s) { return s * (1.f + x * (1.f - s)); }
__device__ i64 warp_index() { return (i64)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; }

// out[c] = the sum over parts of parts[p, c].
extern "C" __global__ void sum_parts(const float* parts, float* out, i64 count, i64 width) {
  i64 c = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= width) return;
  float sum = 0.f;
  for (i64 p = 0; p < count; p++) sum += parts[p * width + c];
  out[c] = sum;
}

// y = x / rms(x) * w, times silu(gate) where there is a gate. A warp a row.
extern "C" __global__ void norm_rows(const float* x, const float* w, const float* gate, float* y, i64 rows, i64 width) {
  i64 row = warp_index();
  if (row >= rows) return;
  x += row * width, y += row * width;
  float sum = 0.f;
  for (int i = lane(); i < width; i += 32) sum += x[i] * x[i];
  float inverse = rsqrtf(warp_sum(sum) / width + NORM_EPS);
  for (int i = lane(); i < width; i += 32) {
    float v = x[i] * inverse * w[i];
    if (gate) {
      float g = gate[row * width + i];
      v *= g * sigmoid(g);
    }
    y[i] = v;
  }
}

// dx, and dgate where there is a gate; inner[row, i] is what the weight's gradient sums.
extern "C" __global__ void norm_backward(const float* x, const float* w, const float* gate, const float* dy, float* dx,
                                         float* dgate, float* inner, i64 rows, i64 width) {
  i64 row = warp_index();
  if (row >= rows) return;
  i64 at = row * width;
  float sum = 0.f, along = 0.f;
  for (int i = lane(); i < width; i += 32) {
    float v = x[at + i], grad = dy[at + i];
    if (gate) {
      float g = gate[at + i];
      grad *= g * sigmoid(g);
    }
    sum += v * v, along += v * grad * w[i];
  }
  float inverse = rsqrtf(warp_sum(sum) / width + NORM_EPS);
  along = warp_sum(along) * inverse * inverse * inverse / width;
  for (int i = lane(); i < width; i += 32) {
    float v = x[at + i], grad = dy[at + i];
    if (gate) {
      float g = gate[at + i], s = sigmoid(g);
      dgate[at + i] = grad * v * inverse * w[i] * silu_slope(g, s);
      grad *= g * s;
    }
    dx[at + i] = grad * w[i] * inverse - v * along;
    inner[at + i] = grad * v * inverse;
  }
}

// parts[p, c] = the sum of x[row, c] over the rows of part p. Blocks of 32 x 8 threads: columns, rows.
extern "C" __global__ void sum_rows(const float* x, float* parts, i64 rows, i64 width, i64 part) {
  __shared__ float sums[8][33];
  i64 blocks = (width + 31) / 32, p = blockIdx.x / blocks, c = blockIdx.x % blocks * 32 + lane();
  int group = threadIdx.x / 32;
  i64 end = min((p + 1) * part, rows);
  float sum = 0.f;
  if (c < width)
    for (i64 row = p * part + group; row < end; row += 8) sum += x[row * width + c];
  sums[group][lane()] = sum;
  __syncthreads();
  if (group || c >= width) return;
  for (int g = 1; g < 8; g++) sum += sums[g][lane()];
  parts[p * width + c] = sum;
}

// The row of the convolution's input at tap j of token t: from x, from the rows before it, or none.
__device__ const float* tap(const float* x, const float* tail, i64 b, i64 t, int j, i64 tokens, i64 c) {
  i64 at = t + j - (WIDTH - 1);
  if (at >= 0) return x + (b * tokens + at) * c;
  return tail ? tail + (b * (WIDTH - 1) + at + WIDTH - 1) * c : nullptr;
}
__device__ float convolve(const float* x, const float* w, const float* tail, i64 b, i64 t, i64 tokens, i64 c, i64 i) {
  float sum = 0.f;
  for (int j = 0; j < WIDTH; j++) {
    const float* row = tap(x, tail, b, t, j, tokens, c);
    if (row) sum += w[j * c + i] * row[i];
  }
  return sum;
}

// y = silu(conv(x)), the first `heads` segments of `size` channels divided by their length. A warp a segment of a token.
extern "C" __global__ void conv(const float* x, const float* w, const float* tail, float* y, i64 batch, i64 tokens, i64 c,
                                i64 heads, i64 size) {
  i64 segments = (c + size - 1) / size, index = warp_index();
  if (index >= batch * tokens * segments) return;
  i64 segment = index % segments, t = index / segments % tokens, b = index / segments / tokens;
  i64 first = segment * size, end = min(first + size, c);
  y += (b * tokens + t) * c;
  segment_rows(y, first, end, segment < heads, [&](i64 i) { return convolve(x, w, tail, b, t, tokens, c, i); });
}

// The gradient of the convolution's sums, before SiLU.
extern "C" __global__ void conv_backward(const float* x, const float* w, const float* tail, const float* dy, float* grad,
                                         i64 batch, i64 tokens, i64 c, i64 heads, i64 size) {
  i64 segments = (c + size - 1) / size, index = warp_index();
  if (index >= batch * tokens * segments) return;
  i64 segment = index % segments, t = index / segments % tokens, b = index / segments / tokens;
  i64 first = segment * size, end = min(first + size, c), at = (b * tokens + t) * c;
  float values[8] = {}, slopes[8] = {}, sum = 0.f, along = 0.f;
#pragma unroll
  for (int n = 0; n < 8; n++) {
    i64 i = first + lane() + 32 * n;
    if (i >= end) break;
    float v = convolve(x, w, tail, b, t, tokens, c, i), s = sigmoid(v);
    values[n] = v * s, slopes[n] = silu_slope(v, s);
    sum += values[n] * values[n], along += values[n] * dy[at + i];
  }
  float inverse = 1.f;
  if (segment < heads) {
    inverse = rsqrtf(warp_sum(sum) + HEAD_EPS);
    along = warp_sum(along) * inverse * inverse * inverse;
  } else {
    along = 0.f;
  }
#pragma unroll
  for (int n = 0; n < 8; n++) {
    i64 i = first + lane() + 32 * n;
    if (i < end) grad[at + i] = (dy[at + i] * inverse - values[n] * along) * slopes[n];
  }
}

extern "C" __global__ void conv_inputs(const float* grad, const float* w, float* dx, i64 batch, i64 tokens, i64 c) {
  i64 index = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (index >= batch * tokens * c) return;
  i64 i = index % c, t = index / c % tokens;
  float sum = 0.f;
  for (int j = 0; j < WIDTH; j++) {
    i64 ahead = WIDTH - 1 - j;
    if (t + ahead < tokens) sum += w[j * c + i] * grad[index + ahead * c];
  }
  dx[index] = sum;
}

// parts[p, j, c]: the weight's gradient of `part` tokens of one sequence. A thread a channel.
extern "C" __global__ void conv_weights(const float* x, const float* tail, const float* grad, float* parts, i64 tokens, i64 c,
                                        i64 part) {
  i64 blocks = (c + blockDim.x - 1) / blockDim.x, p = blockIdx.x / blocks;
  i64 i = blockIdx.x % blocks * blockDim.x + threadIdx.x;
  if (i >= c) return;
  i64 of = (tokens + part - 1) / part, b = p / of, start = p % of * part, end = min(start + part, tokens);
  float sums[WIDTH] = {};
  for (i64 t = start; t < end; t++) {
    float g = grad[(b * tokens + t) * c + i];
    for (int j = 0; j < WIDTH; j++) {
      const float* row = tap(x, tail, b, t, j, tokens, c);
      if (row) sums[j] += row[i] * g;
    }
  }
  for (int j = 0; j < WIDTH; j++) parts[(p * WIDTH + j) * c + i] = sums[j];
}

extern "C" __global__ void gates(const float* x, const float* a_log, const float* bias, float* y, i64 rows, i64 width,
                                 i64 heads) {
  i64 index = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (index >= rows * width) return;
  i64 h = index % width;
  y[index] = gate_value(x[index], a_log, bias, h, heads);
}

// dx, and parts[row, 0..2 heads): what the gradients of a_log and of the bias sum.
extern "C" __global__ void gates_backward(const float* x, const float* a_log, const float* bias, const float* y,
                                          const float* dy, float* dx, float* terms, i64 rows, i64 width, i64 heads) {
  i64 index = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (index >= rows * width) return;
  i64 h = index % width, row = index / width;
  if (h >= heads) {
    dx[index] = dy[index] * y[index] * (1.f - y[index]);
    return;
  }
  float d = -dy[index] * expf(a_log[h]) * sigmoid(x[index] + bias[h]);
  dx[index] = d;
  terms[row * 2 * heads + h] = dy[index] * y[index];
  terms[row * 2 * heads + heads + h] = d;
}

extern "C" __global__ void swiglu(const float* x, float* y, i64 rows, i64 width) {
  i64 index = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (index >= rows * width) return;
  const float* row = x + index / width * 2 * width;
  float a = row[index % width];
  y[index] = a * sigmoid(a) * row[width + index % width];
}

extern "C" __global__ void swiglu_backward(const float* x, const float* dy, float* dx, i64 rows, i64 width) {
  i64 index = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (index >= rows * width) return;
  i64 at = index / width * 2 * width + index % width;
  float a = x[at], b = x[at + width], s = sigmoid(a);
  dx[at] = dy[index] * b * silu_slope(a, s);
  dx[at + width] = dy[index] * a * s;
}

__device__ float2 normaliser(const float* x, i64 width) {
  float top = -INFINITY, sum = 0.f;
  for (int i = lane(); i < width; i += 32) top = fmaxf(top, x[i]);
  for (int o = 16; o; o >>= 1) top = fmaxf(top, __shfl_xor_sync(~0u, top, o));
  for (int i = lane(); i < width; i += 32) sum += expf(x[i] - top);
  return make_float2(top, warp_sum(sum));
}

extern "C" __global__ void entropy(const float* x, const u8* targets, float* losses, i64 rows, i64 width) {
  i64 row = warp_index();
  if (row >= rows) return;
  float2 n = normaliser(x + row * width, width);
  if (lane() == 0) losses[row] = n.x + logf(n.y) - x[row * width + targets[row]];
}

// The mean of x, summed in f64 by one block of 256 threads.
extern "C" __global__ void mean(const float* x, float* out, i64 count) {
  __shared__ double sums[256];
  double sum = 0.;
  for (i64 i = threadIdx.x; i < count; i += 256) sum += x[i];
  sums[threadIdx.x] = sum;
  for (int half = 128; half; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  if (threadIdx.x == 0) out[0] = (float)(sums[0] / count);
}

extern "C" __global__ void entropy_backward(const float* x, const u8* targets, const float* dy, float* dx, i64 rows,
                                            i64 width) {
  i64 row = warp_index();
  if (row >= rows) return;
  x += row * width, dx += row * width;
  float2 n = normaliser(x, width);
  float scale = dy[0] / rows, factor = scale / n.y;
  for (int i = lane(); i < width; i += 32) dx[i] = expf(x[i] - n.x) * factor - (i == targets[row] ? scale : 0.f);
}

extern "C" __global__ void embed(const float* table, const u8* ids, float* y, i64 rows, i64 width) {
  i64 index = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (index < rows * width) y[index] = table[ids[index / width] * width + index % width];
}

// A block of 128 threads an entry of the table and 128 of its columns: the rows that read it, in order.
extern "C" __global__ void embed_backward(const u8* ids, const float* dy, float* dtable, i64 rows, i64 width) {
  __shared__ u8 seen[4096];
  i64 blocks = (width + 127) / 128, entry = blockIdx.x / blocks, c = blockIdx.x % blocks * 128 + threadIdx.x;
  float sum = 0.f;
  for (i64 start = 0; start < rows; start += 4096) {
    i64 count = min((i64)4096, rows - start);
    __syncthreads();
    for (int i = threadIdx.x; i < count; i += 128) seen[i] = ids[start + i];
    __syncthreads();
    for (int i = 0; i < count; i++)
      if (seen[i] == entry && c < width) sum += dy[(start + i) * width + c];
  }
  if (c < width) dtable[entry * width + c] = sum;
}

// parts[block] = the sum of squares of 16384 elements, in f64. 256 threads.
extern "C" __global__ void squares(const float* x, double* parts, i64 count) {
  __shared__ double sums[256];
  i64 start = (i64)blockIdx.x * 16384, end = min(start + 16384, count);
  double sum = 0.;
  for (i64 i = start + threadIdx.x; i < end; i += 256) sum += (double)x[i] * x[i];
  sums[threadIdx.x] = sum;
  for (int half = 128; half; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  if (threadIdx.x == 0) parts[blockIdx.x] = sums[0];
}

// out[0] = the root of the sum of the parts. One block of 256 threads.
extern "C" __global__ void root(const double* parts, double* out, i64 count) {
  __shared__ double sums[256];
  double sum = 0.;
  for (i64 i = threadIdx.x; i < count; i += 256) sum += parts[i];
  sums[threadIdx.x] = sum;
  for (int half = 128; half; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  if (threadIdx.x == 0) out[0] = sqrt(sums[0]);
}

// One parameter's step of AdamW; nothing where the norm is not finite.
extern "C" __global__ void adamw(float* p, const float* g, float* m, float* v, const double* norm, i64 count, double clip,
                                 double beta1, double beta2, double rate, double root, double eps, double keep) {
  i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  double size = norm[0];
  if (i >= count || !isfinite(size)) return;
  float grad = g[i] * (size > clip ? (float)(clip / size) : 1.f);
  float b1 = (float)beta1, b2 = (float)beta2;
  m[i] = b1 * m[i] + (1.f - b1) * grad;
  v[i] = b2 * v[i] + (1.f - b2) * grad * grad;
  p[i] = p[i] * (float)keep - (float)rate * m[i] / (sqrtf(v[i]) * (float)root + (float)eps);
}
