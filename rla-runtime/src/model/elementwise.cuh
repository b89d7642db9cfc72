// What the kernels of a model on a GPU share (`fused/fused.cu`, `decode.cu`; each text begins with this one), f32. Every argument
// of a kernel is 8 bytes.
typedef long long i64;

constexpr int WIDTH = 4;  // taps of the convolution
constexpr float NORM_EPS = 1e-5f, HEAD_EPS = 1e-6f;

__device__ float warp_sum(float x) {
  for (int o = 16; o; o >>= 1) x += __shfl_xor_sync(~0u, x, o);
  return x;
}
__device__ float sigmoid(float x) { return 1.f / (1.f + __expf(-x)); }
__device__ float softplus(float x) { return fmaxf(x, 0.f) + log1pf(expf(-fabsf(x))); }
__device__ int lane() { return threadIdx.x % 32; }

// Column h of the gates: the first `heads` are -exp(a_log) softplus(x + bias), the others sigmoids.
__device__ float gate_value(float x, const float* a_log, const float* bias, i64 h, i64 heads) {
  return h < heads ? -expf(a_log[h]) * softplus(x + bias[h]) : sigmoid(x);
}

// A warp's segment y[first..end) of silu(sums), divided by its length where it is a head of q or k. sums(i): the convolution at
// channel i; a segment has at most 256.
template <class Sums>
__device__ void segment_rows(float* y, i64 first, i64 end, bool divide, Sums sums) {
  float values[8] = {}, sum = 0.f;
#pragma unroll
  for (int n = 0; n < 8; n++) {
    i64 i = first + lane() + 32 * n;
    if (i >= end) break;
    float v = sums(i);
    values[n] = v * sigmoid(v);
    sum += values[n] * values[n];
  }
  float inverse = divide ? rsqrtf(warp_sum(sum) + HEAD_EPS) : 1.f;
#pragma unroll
  for (int n = 0; n < 8; n++) {
    i64 i = first + lane() + 32 * n;
    if (i < end) y[i] = values[n] * inverse;
  }
}

