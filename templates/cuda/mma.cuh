// The tensor-core instruction per element type, and how a pair of numbers becomes an operand register.
// m16n8k16 for bf16 and f16; f32 as three products of tf32 parts (m16n8k8): x = hi + lo, hi hi + hi lo + lo hi.

__device__ __forceinline__ u32 pair(float lo, float hi, bf16) {
  u32 r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
  return r;
}
__device__ __forceinline__ u32 pair(float lo, float hi, f16) {
  u32 r;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
  return r;
}
__device__ __forceinline__ float2 unpair(u32 x, bf16) {
  return make_float2(__uint_as_float(x << 16), __uint_as_float(x & 0xffff0000u));
}
__device__ __forceinline__ float2 unpair(u32 x, f16) {
  return make_float2(widen(f16{(unsigned short)x}), widen(f16{(unsigned short)(x >> 16)}));
}
__device__ __forceinline__ void mma(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1, bf16) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ __forceinline__ void mma(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1, f16) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ __forceinline__ u32 tf32(float x) {
  u32 r;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x));
  return r;
}
__device__ __forceinline__ void mma_tf32(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
// A non-finite number has no low part: inf - inf would make a NaN of it.
__device__ __forceinline__ void split(float x, u32& hi, u32& lo) {
  hi = tf32(x);
  float rest = x - __uint_as_float(hi);
  lo = tf32(fabsf(x) <= 3.0e38f ? rest : 0.f);
}
struct Parts {
  u32 hi[4], lo[4];
};
// The tensor core cuts off what it adds to its accumulator; so the sum over blocks of 8 is an addition of its own, which rounds.
__device__ __forceinline__ void mma3(float (&d)[4], const Parts& a, float b0, float b1) {
  u32 hi[2], lo[2];
  split(b0, hi[0], lo[0]);
  split(b1, hi[1], lo[1]);
  float x[4] = {};
  mma_tf32(x, a.lo, hi);
  mma_tf32(x, a.hi, lo);
  mma_tf32(x, a.hi, hi);
#pragma unroll
  for (int i = 0; i < 4; i++) d[i] += x[i];
}

// Four 8 x 8 blocks of 16-bit elements from shared memory, lane 8i + r giving the address of row r of block i; `t`: each
// transposed.
__device__ __forceinline__ void load4(u32 (&r)[4], const void* p) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"((u32)__cvta_generic_to_shared(p)));
}
__device__ __forceinline__ void load4t(u32 (&r)[4], const void* p) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"((u32)__cvta_generic_to_shared(p)));
}
// The reverse of load4: lane 8i + r has the address of row r of block i, that is `at` + 16 (8i + r) in shared memory.
__device__ __forceinline__ void store4(u32 at, const u32 (&r)[4]) {
  const u32 l = threadIdx.x & 31;
#if __CUDA_ARCH__ >= 900
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(at + l * 16), "r"(r[0]), "r"(r[1]), "r"(r[2]),
               "r"(r[3])
               : "memory");
#else
#pragma unroll
  for (int i = 0; i < 4; i++) asm volatile("st.shared.b32 [%0], %1;" ::"r"(at + l * 4 + i * 128), "r"(r[i]) : "memory");
#endif
}
// The transpose of an 8 x 8 block that a warp holds.
__device__ __forceinline__ u32 turn(u32 x) {
  u32 r;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(r) : "r"(x));
  return r;
}

// Waits until a barrier in shared memory has passed the phase of this parity.
__device__ __forceinline__ void arrived(u32 barrier, u32 parity) {
  u32 done = 0;
  while (!done)
#if __CUDA_ARCH__ >= 900
    asm volatile("{.reg .pred p; mbarrier.try_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p;}"
#else
    asm volatile("{.reg .pred p; mbarrier.test_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p;}"
#endif
                 : "=r"(done)
                 : "r"(barrier), "r"(parity)
                 : "memory");
}

// A load that stays where it is written: the compiler would move one that a later turn of a loop reads to that turn's start.
__device__ __forceinline__ void load_early(u32 (&x)[4], const void* from) {
  asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3]) : "l"(from));
}

// Copies from global to shared memory that run on while the block works.
__device__ __forceinline__ void copy16(void* to, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"((u32)__cvta_generic_to_shared(to)), "l"(from) : "memory");
}
__device__ __forceinline__ void copies_end() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int PENDING> __device__ __forceinline__ void copies_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}
__device__ __forceinline__ void copies_all() { asm volatile("cp.async.wait_all;" ::: "memory"); }
