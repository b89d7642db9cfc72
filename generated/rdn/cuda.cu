// forward, prepare; 128 threads, 27264 bytes of shared memory
extern "C" __global__ void __launch_bounds__(128, 7) rla_c_db0f4a7fe25c0a6125a02633a7674d92_forward_prepare(const __grid_constant__ Args x) {
  extern __shared__ __align__(128) char shared[];
  const int head = blockIdx.x % (u32)x.heads;
  const Chunk ch = chunk_of(x.sequences, blockIdx.x / (u32)x.heads, head, x.group, CHUNK);
  const i64 number = blockIdx.x;
  char* const record = (char*)__builtin_assume_aligned(x.record, 128) + number * 16768;
  if (!ch.valid) return;
  let_next_start();
  float* const w7 = (float*)(record + 0);
  float* const w13 = (float*)(record + 128);
  float* const w18 = (float*)(record + 256);
  float* const w29 = (float*)(record + 384);
  float* const w32 = (float*)(record + 512);
  float* const w34 = (float*)(record + 528);
  float* const w39 = (float*)(record + 656);
  float* const w53 = (float*)(record + 784);
  float* const w59 = (float*)(record + 912);
  float* const w65 = (float*)(record + 1040);
  float* const w70 = (float*)(record + 1168);
  float* const w72 = (float*)(record + 1184);
  bf16* const w21 = (bf16*)(record + 1312);
  bf16* const w23 = (bf16*)(record + 3872);
  bf16* const w42 = (bf16*)(record + 6432);
  bf16* const w44 = (bf16*)(record + 8992);
  bf16* const w55 = (bf16*)(record + 11552);
  bf16* const w61 = (bf16*)(record + 14112);
  auto in3 = [&](int t, int n) { return widen(rows_of<const float>(x.inputs[3], ch.batch, ch.first, ch.head)[ch.token(t) * x.inputs[3].s1 + n]); };
  auto in4 = [&](int t, int n) { return widen(rows_of<const float>(x.inputs[4], ch.batch, ch.first, ch.head)[ch.token(t) * x.inputs[4].s1 + n]); };
  auto in5 = [&](int t, int n) { return widen(rows_of<const float>(x.inputs[5], ch.batch, ch.first, ch.head)[ch.token(t) * x.inputs[5].s1 + n]); };
  const float const0 = (float)x.constants[0];
  bf16* const v4 = (bf16*)(shared + 0);
  float* const v10 = (float*)(shared + 8704);
  float* const v11 = (float*)(shared + 18048);
  float* const v12 = (float*)(shared + 22656);
  float* const v16 = (float*)(shared + 8832);
  float* const v18 = (float*)(shared + 8960);
  bf16* const v21 = (bf16*)(shared + 0);
  bf16* const v23 = (bf16*)(shared + 2560);
  float* const v38 = (float*)(shared + 9088);
  float* const v39 = (float*)(shared + 9216);
  bf16* const v42 = (bf16*)(shared + 5120);
  bf16* const v44 = (bf16*)(shared + 9344);
  bf16* const v49 = (bf16*)(shared + 9344);
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  copy_rows<bf16, 32, 128, 136>(v4, x.inputs[1], ch, ch.key_head, 128, false);
  copies_end();
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  fill<1, 1>(0, [&](auto width, int r, int c, int n) { return (-const0); }, [&](int r, int c, auto y) { put(&w32[0], y); });
  // output o = a * S[t-1] * q + gamma * R[t] * q
  copy_rows<bf16, 32, 128, 136>(v49, x.inputs[0], ch, ch.key_head, 128, false);
  copies_end();
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  {
      constexpr int N = 1;
      sweep<32, 1, N, 0, 1>([&](int r, int c, auto& sum) {
          const Width<N> width;
          Some<N> e7, e10, e16, e18, e29, e34, e38, e39;
          #pragma unroll
          for (int n = 0; n < N; n++) {
              e7.x[n] = f_keep((r < ch.valid ? 1.f : 0.f), in4(r, 0));
              e10.x[n] = f_exp(f_keep((r < ch.valid ? 1.f : 0.f), in3(r, 0)));
              e16.x[n] = f_exp(in3(r, 0));
              e18.x[n] = f_keep((r < ch.valid ? 1.f : 0.f), (in4(r, 0) * e16.x[n]));
              e29.x[n] = in5(r, 0);
              e34.x[n] = f_keep((r < ch.valid ? 1.f : 0.f), e29.x[n]);
              e38.x[n] = (e29.x[n] * e16.x[n]);
              e39.x[n] = f_keep((r < ch.valid ? 1.f : 0.f), e38.x[n]);
          }
          put(&w7[r], e7);
          put(&v10[r], e10);
          put(&v16[r], e16);
          put(&v18[r], e18);
          put(&w29[r], e29);
          put(&w34[r], e34);
          put(&v38[r], e38);
          put(&v39[r], e39);
      }, [&](int r, const auto& sum) {
      });
  }
  copies_wait<0>();
  __syncthreads();
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  segments<32>(1, [&](int r) { return v10[r]; }, [&](int r, int c, float x) { const Some<1> y = {x}; put(&v11[(r) * 36 + (c)], y); });
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  scan<32, 1, true, false>(2, [&](int r, int c) { return v10[r]; }, [&](int r, int c, float x) { const Some<1> y = {x}; put(&w13[r], y); });
  store_block<128>(3, w18, v18);
  store_block<128>(4, w39, v39);
  // output o = a * S[t-1] * q + gamma * R[t] * q
  sums<32, 128>([&](auto width, int i, int c, int n) { return (pick(width, &v4[(i) * 136 + (c)], n) * pick(width, &v49[(i) * 136 + (c)], n)); }, [&](int i, float x) { w65[i] = x; });
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  totals<32, 1>(5, [&](int r, int c) { return v10[r]; }, [&](int r, int c, float x) { const Some<1> y = {x}; put(&w70[0], y); });
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  scan<32, 1, true, true>(6, [&](int r, int c) { return v10[r]; }, [&](int r, int c, float x) { const Some<1> y = {x}; put(&w72[r], y); });
  __syncthreads();
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  tiles<32, 32>(28, [&](auto& acc, int m, int n) {
      if (m + 16 > n) {
          mac<bf16, 128, false>(acc, Mat<bf16, 136, false, true>{v4}, Mat<bf16, 136, true, true>{v4}, m, n);
      }
  }, [&](auto width, int r, int c, int n, float acc) { return ((acc) * pick(width, &v11[(r) * 36 + (c)], n)); }, [&](int r, int c, auto y) {
      put(&v12[(r) * 36 + (c)], y);
  });
  // output o = a * S[t-1] * q + gamma * R[t] * q
  fill<32, 1>(8, [&](auto width, int r, int c, int n) { return (v16[r] * w13[r]); }, [&](int r, int c, auto y) { put(&w53[r], y); });
  // output o = a * S[t-1] * q + gamma * R[t] * q
  fill<32, 1>(9, [&](auto width, int r, int c, int n) { return (v38[r] * w13[r]); }, [&](int r, int c, auto y) { put(&w59[r], y); });
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  {
      each_tile<32, 32, 1, 2>(40, [&](int m, int n) {
          constexpr int H = 1, W = 2;
          float a50_[H * W][4] = {};
          if (m + 16 * H > n) {
              mac<bf16, 128, false>(a50_, Mat<bf16, 136, false, true>{v49}, Mat<bf16, 136, true, true>{v4}, m, n);
          }
          float a55_[H * W][4] = {};
          in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) { const float acc = a55_[w][e]; a55_[w][e] = (v16[r] * (a50_[w][e] * pick(width, &v11[(r) * 36 + (c)], n))); });
          float a61_[H * W][4] = {};
          in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) { const float acc = a61_[w][e]; a61_[w][e] = (v38[r] * (a50_[w][e] * pick(width, &v11[(r) * 36 + (c)], n))); });
          put_tile<H, W>(m, n, a55_, [&](int r, int c, auto y) { put(&w55[(r) * 40 + (c)], y); });
          put_tile<H, W>(m, n, a61_, [&](int r, int c, auto y) { put(&w61[(r) * 40 + (c)], y); });
      });
  }
  __syncthreads();
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  systems<32, 36, 2, 11>([&](int i, auto solve) {
      solve(v12, i == 0 ? v18 : v39, -1.f, i == 0 ? To<bf16, 40>{v23} : To<bf16, 40>{v44}, i == 0 ? To<bf16, 40>{v21} : To<bf16, 40>{v42}, Unwanted());
  });
  __syncthreads();
  store_block<2560>(13, w23, v23);
  store_block<2560>(14, w21, v21);
  store_block<2560>(15, w44, v44);
  store_block<2560>(16, w42, v42);
}

// forward, chain; 256 threads, 147072 bytes of shared memory
extern "C" __global__ void __launch_bounds__(256, 1) CLUSTER_OF(2) rla_c_db0f4a7fe25c0a6125a02633a7674d92_forward_chain(const __grid_constant__ Args x) {
  extern __shared__ __align__(128) char shared[];
  wait_for_end();
  constexpr int SLICES = 8, GROUPS = 1, ROLES = 3, COPIERS = 5, LAG = 2, AHEAD = 1;
  const int warp = threadIdx.x / 32, role = warp / GROUPS;
  const int slice = blockIdx.x % SLICES, head = blockIdx.x / SLICES % x.heads;
  const int sequence = blockIdx.x / SLICES / x.heads;
  // the warp's first channel, of the block's and of all
  const int own = 16 * (warp % GROUPS), column = slice * 16 * GROUPS, channel = column + own;
  const float const0 = (float)x.constants[0];
  const int tokens = x.sequences.length(sequence), start = x.sequences.start(sequence);
  const int chunks = (u32)(tokens + CHUNK - 1) / CHUNK;
  const int first = x.sequences.slot(sequence, CHUNK), batch = x.sequences.batch(sequence);
  const int key_head = head / (int)x.group;
  auto chunk_of_step = [&](int i) {
      const int k = i;
      const int left = tokens - k * CHUNK;
      return Chunk{batch, start + k * CHUNK, first + k, head, key_head, left < CHUNK ? left : CHUNK, sequence, k, left};
  };
  constexpr int CLUSTER = BULK ? 2 : 1;
  set_up_barriers<AHEAD, CLUSTER, 5>(shared + 146944);
  if (role >= ROLES) {
      const int member = warp - GROUPS * ROLES, lane = threadIdx.x & 31;
      const int last = (int)(tokens - (i64)(chunks - 1) * CHUNK);  // tokens of the last chunk
      const Chunk ch = chunk_of_step(0);
      if (member == 0) {
          const char* record0 = (char*)__builtin_assume_aligned(x.record, 128) + (ch.slot * x.heads + head) * 16768;
          const i64 record0_step = x.heads * 16768;
          int place4_0 = 0;
          copy_steps<AHEAD, CLUSTER, true, true, false>(lane, shared + 146944, chunks + LAG, [&](Crew& crew, int step) {
              if (const int i = step - 0; i >= 0 && i < chunks) {
                  fetch<16672, CLUSTER>(crew, shared + 0 + place4_0 * 16768, record0 + 0, 0);
                  record0 += record0_step;
                  place4_0 = place4_0 == 3 ? 0 : place4_0 + 1;
              }
          });
      }
      if (member == 1) {
          int place3_0 = 0;
          Rows<bf16, bf16, CHUNK, 128, 136, 2, CLUSTER, true> rows1(x.inputs[1], ch, ch.key_head, 0, 128, false, false, 1);
          copy_steps<AHEAD, CLUSTER, false, true, false>(lane, shared + 146944, chunks + LAG, [&](Crew& crew, int step) {
              if (const int i = step - 0; i >= 0 && i < chunks) {
                  const int valid = i == chunks - 1 ? last : CHUNK;
                  rows1.fetch(crew, (bf16*)(shared + 67072 + place3_0 * 8704), valid);
                  place3_0 = place3_0 == 2 ? 0 : place3_0 + 1;
              }
          });
      }
      if (member == 2 || member == 3) {
          const int part = member == 3;
          int place2_2 = 0;
          Rows<bf16, bf16, CHUNK, 128, 136, 2, CLUSTER, true> rows2(x.inputs[0], ch, ch.key_head, 0, 128, false, false, part);
          copy_steps<AHEAD, CLUSTER, false, true, false>(lane, shared + 146944, chunks + LAG, [&](Crew& crew, int step) {
              if (const int i = step - 2; i >= 0 && i < chunks) {
                  const int valid = i == chunks - 1 ? last : CHUNK;
                  rows2.fetch(crew, (bf16*)(shared + 93184 + place2_2 * 8704), valid);
                  place2_2 = place2_2 == 1 ? 0 : place2_2 + 1;
              }
          });
      }
      if (member == 4) {
          int place3_0 = 0;
          Rows<bf16, bf16, CHUNK, 128, 136, 2, CLUSTER, true> rows1(x.inputs[1], ch, ch.key_head, 0, 128, false, false, 0);
          Rows<bf16, bf16, CHUNK, 16, 24, 1, 1, false> rows3(x.inputs[2], ch, ch.head, column, 128, false, false, 0);
          copy_steps<AHEAD, CLUSTER, false, true, false>(lane, shared + 146944, chunks + LAG, [&](Crew& crew, int step) {
              if (const int i = step - 0; i >= 0 && i < chunks) {
                  const int valid = i == chunks - 1 ? last : CHUNK;
                  rows1.fetch(crew, (bf16*)(shared + 67072 + place3_0 * 8704), valid);
                  rows3.fetch(crew, (bf16*)(shared + 110592 + place3_0 * 1536), valid);
                  place3_0 = place3_0 == 2 ? 0 : place3_0 + 1;
              }
          });
      }
  }
  char* const exchange = shared + 115200 + warp % GROUPS * 31744;
  if (role == 0) {
      // carries S
      Tile<16> state0;
      every(state0, [&](float& y, int, int, int r, int c) {
          y = x.states_in[0].ptr && channel + r < 128 && c < 128 ? rows_of<float>(x.states_in[0], sequence, head, 0)[(i64)(channel + r) * x.states_in[0].s2 + (i64)(c) * x.states_in[0].s3] : 0.f;
      });
      int place2 = 0;
      int place3 = 0;
      int place4 = 0;
      for (int step = 0; step < chunks + LAG; step++) {
          meet();
          const int i = step - 0;
          if (i < 0 || i >= chunks) continue;
          const Chunk ch = chunk_of_step(i);
          const i64 number = ch.slot * x.heads + head;
          char* const record = (char*)__builtin_assume_aligned(x.record, 128) + number * 16768;
          const float* const v7 = (const float*)(shared + 0 + place4 * 16768);
          const float* const v13 = (const float*)(shared + 128 + place4 * 16768);
          const float* const v18 = (const float*)(shared + 256 + place4 * 16768);
          const float* const v70 = (const float*)(shared + 1168 + place4 * 16768);
          const float* const v72 = (const float*)(shared + 1184 + place4 * 16768);
          const bf16* const v21 = (const bf16*)(shared + 1312 + place4 * 16768);
          const bf16* const v23 = (const bf16*)(shared + 3872 + place4 * 16768);
          const bf16* const v4 = (const bf16*)(shared + 67072 + place3 * 8704);
          const bf16* const slab6 = (const bf16*)(shared + 110592 + place3 * 1536);
          char* const from0 = exchange + 0 + place3 * 4096;
          char* const at25 = exchange + 20480 + place2 * 2048;
          char* const at27 = exchange + 24576 + place3 * 1024;
          // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
          Tile<4> t6;
          take<bf16, 24>(t6, slab6 + own);
          // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
          Tile<4> t8;
          every(t8, [&](float& x, int n, int e, int r, int c) { x = (per_token(v7, n, e) * t6.x[n][e]); });
          // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
          Tile<4> t25;
          every(t25, [&](float& x, int n, int e, int r, int c) { x = 0.f; });
          multiply<bf16, 40, false, UPPER, false, 1>(t25, t8, v23);
          // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
          Tile<4> t14;
          every(t14, [&](float& x, int n, int e, int r, int c) { x = 0.f; });
          multiply<bf16, 136, false, WHOLE, false, 1>(t14, state0, v4);
          leave<bf16>(from0, state0);
          // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
          every(state0, [&](float& x, int n, int e, int r, int c) { x = (v70[0] * state0.x[n][e]); });
          // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
          Tile<4> t15;
          every(t15, [&](float& x, int n, int e, int r, int c) { x = (per_token(v13, n, e) * t14.x[n][e]); });
          multiply<bf16, 40, false, UPPER, false, 1>(t25, t15, v21);
          // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
          Tile<4> t27;
          every(t27, [&](float& x, int n, int e, int r, int c) { x = (t8.x[n][e] - (per_token(v18, n, e) * t25.x[n][e])); });
          // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
          Tile<4> t73;
          every(t73, [&](float& x, int n, int e, int r, int c) { x = (per_token(v72, n, e) * t27.x[n][e]); });
          multiply<bf16, 136, true, WHOLE, false, 1>(state0, t73, v4);
          leave(at25, t25);
          leave<bf16>(at27, t27);
          place2 = place2 == 1 ? 0 : place2 + 1;
          place3 = place3 == 2 ? 0 : place3 + 1;
          place4 = place4 == 3 ? 0 : place4 + 1;
      }
      if (x.states_out[0].ptr) every(state0, [&](float& y, int, int, int r, int c) {
          if (channel + r < 128 && c < 128) rows_of<float>(x.states_out[0], sequence, head, 0)[(i64)(channel + r) * x.states_out[0].s2 + (i64)(c) * x.states_out[0].s3] = y;
      });
  }
  if (role == 1) {
      // carries R
      Tile<16> state1;
      every(state1, [&](float& y, int, int, int r, int c) {
          y = x.states_in[1].ptr && channel + r < 128 && c < 128 ? rows_of<float>(x.states_in[1], sequence, head, 0)[(i64)(channel + r) * x.states_in[1].s2 + (i64)(c) * x.states_in[1].s3] : 0.f;
      });
      int place2 = 0;
      int place3 = 0;
      int place4 = 0;
      for (int step = 0; step < chunks + LAG; step++) {
          meet();
          const int i = step - 1;
          if (i < 0 || i >= chunks) continue;
          const Chunk ch = chunk_of_step(i);
          const i64 number = ch.slot * x.heads + head;
          char* const record = (char*)__builtin_assume_aligned(x.record, 128) + number * 16768;
          const float* const v13 = (const float*)(shared + 128 + place4 * 16768);
          const float* const v32 = (const float*)(shared + 512 + place4 * 16768);
          const float* const v34 = (const float*)(shared + 528 + place4 * 16768);
          const float* const v39 = (const float*)(shared + 656 + place4 * 16768);
          const float* const v70 = (const float*)(shared + 1168 + place4 * 16768);
          const float* const v72 = (const float*)(shared + 1184 + place4 * 16768);
          const bf16* const v42 = (const bf16*)(shared + 6432 + place4 * 16768);
          const bf16* const v44 = (const bf16*)(shared + 8992 + place4 * 16768);
          const bf16* const v4 = (const bf16*)(shared + 67072 + place3 * 8704);
          const bf16* const slab6 = (const bf16*)(shared + 110592 + place3 * 1536);
          char* const from1 = exchange + 12288 + place2 * 4096;
          char* const at25 = exchange + 20480 + place2 * 2048;
          char* const at48 = exchange + 27648 + place2 * 2048;
          Tile<4> t25;
          found(t25, at25);
          // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
          Tile<4> t6;
          take<bf16, 24>(t6, slab6 + own);
          // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
          Tile<4> t35;
          every(t35, [&](float& x, int n, int e, int r, int c) { x = (per_token(v34, n, e) * f_clamp((t6.x[n][e] - t25.x[n][e]), v32[0], const0)); });
          // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
          Tile<4> t36;
          every(t36, [&](float& x, int n, int e, int r, int c) { x = 0.f; });
          multiply<bf16, 136, false, WHOLE, false, 1>(t36, state1, v4);
          leave<bf16>(from1, state1);
          // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
          every(state1, [&](float& x, int n, int e, int r, int c) { x = (v70[0] * state1.x[n][e]); });
          // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
          Tile<4> t37;
          every(t37, [&](float& x, int n, int e, int r, int c) { x = (per_token(v13, n, e) * t36.x[n][e]); });
          // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
          Tile<4> t46;
          every(t46, [&](float& x, int n, int e, int r, int c) { x = 0.f; });
          multiply<bf16, 40, false, UPPER, false, 1>(t46, t37, v42);
          multiply<bf16, 40, false, UPPER, false, 1>(t46, t35, v44);
          // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
          Tile<4> t48;
          every(t48, [&](float& x, int n, int e, int r, int c) { x = (t35.x[n][e] - (per_token(v39, n, e) * t46.x[n][e])); });
          // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
          Tile<4> t77;
          every(t77, [&](float& x, int n, int e, int r, int c) { x = (per_token(v72, n, e) * t48.x[n][e]); });
          multiply<bf16, 136, true, WHOLE, false, 1>(state1, t77, v4);
          leave(at48, t48);
          place2 = place2 == 1 ? 0 : place2 + 1;
          place3 = place3 == 2 ? 0 : place3 + 1;
          place4 = place4 == 3 ? 0 : place4 + 1;
      }
      if (x.states_out[1].ptr) every(state1, [&](float& y, int, int, int r, int c) {
          if (channel + r < 128 && c < 128) rows_of<float>(x.states_out[1], sequence, head, 0)[(i64)(channel + r) * x.states_out[1].s2 + (i64)(c) * x.states_out[1].s3] = y;
      });
  }
  if (role == 2) {
      int place2 = 0;
      int place3 = 0;
      int place4 = 0;
      const i64 out0_step = x.outputs[0].s1;
      bf16* out0 = rows_of<bf16>(x.outputs[0], batch, start, head);
      for (int step = 0; step < chunks + LAG; step++) {
          meet();
          const int i = step - 2;
          if (i < 0 || i >= chunks) continue;
          const Chunk ch = chunk_of_step(i);
          const i64 number = ch.slot * x.heads + head;
          char* const record = (char*)__builtin_assume_aligned(x.record, 128) + number * 16768;
          const float* const v29 = (const float*)(shared + 384 + place4 * 16768);
          const float* const v53 = (const float*)(shared + 784 + place4 * 16768);
          const float* const v59 = (const float*)(shared + 912 + place4 * 16768);
          const float* const v65 = (const float*)(shared + 1040 + place4 * 16768);
          const bf16* const v55 = (const bf16*)(shared + 11552 + place4 * 16768);
          const bf16* const v61 = (const bf16*)(shared + 14112 + place4 * 16768);
          const bf16* const v49 = (const bf16*)(shared + 93184 + place2 * 8704);
          char* const from0 = exchange + 0 + place3 * 4096;
          char* const from1 = exchange + 12288 + place2 * 4096;
          char* const at27 = exchange + 24576 + place3 * 1024;
          char* const at48 = exchange + 27648 + place2 * 2048;
          Tile<4> t48;
          found(t48, at48);
          // output o = a * S[t-1] * q + gamma * R[t] * q
          Tile<4> t52;
          every(t52, [&](float& x, int n, int e, int r, int c) { x = 0.f; });
          multiply_left<bf16, 136, false, WHOLE, false, 16>(t52, from0, v49);
          // output o = a * S[t-1] * q + gamma * R[t] * q
          Tile<4> t58;
          every(t58, [&](float& x, int n, int e, int r, int c) { x = 0.f; });
          multiply_left<bf16, 136, false, WHOLE, false, 16>(t58, from1, v49);
          // output o = a * S[t-1] * q + gamma * R[t] * q
          Tile<4> t69;
          every(t69, [&](float& x, int n, int e, int r, int c) { x = (per_token(v53, n, e) * t52.x[n][e]) + (per_token(v59, n, e) * t58.x[n][e]) + (per_token(v65, n, e) * (per_token(v29, n, e) * t48.x[n][e])); });
          multiply_left<bf16, 40, false, UPPER, false, 4>(t69, at27, v55);
          multiply<bf16, 40, false, UPPER, false, 1>(t69, t48, v61);
          // output 0
          write_rows<bf16>(t69, out0 + channel, out0_step, ch.valid, 16);
          place2 = place2 == 1 ? 0 : place2 + 1;
          place3 = place3 == 2 ? 0 : place3 + 1;
          place4 = place4 == 3 ? 0 : place4 + 1;
          out0 += CHUNK * out0_step;
      }
  }
  if (CLUSTER > 1) meet_cluster();  // no block leaves while copies into it are under way
}

// forward_save, prepare; 128 threads, 27392 bytes of shared memory
extern "C" __global__ void __launch_bounds__(128, 7) rla_c_db0f4a7fe25c0a6125a02633a7674d92_forward_save_prepare(const __grid_constant__ Args x) {
  extern __shared__ __align__(128) char shared[];
  const int head = blockIdx.x % (u32)x.heads;
  const Chunk ch = chunk_of(x.sequences, blockIdx.x / (u32)x.heads, head, x.group, CHUNK);
  const i64 number = blockIdx.x;
  char* const record = (char*)__builtin_assume_aligned(x.record, 128) + number * 9088;
  char* const kept = (char*)__builtin_assume_aligned(x.kept, 128) + number * 96000;
  if (!ch.valid) return;
  let_next_start();
  float* const w7 = (float*)(record + 0);
  float* const w13 = (float*)(record + 128);
  float* const w18 = (float*)(record + 256);
  float* const w29 = (float*)(record + 384);
  float* const w32 = (float*)(record + 512);
  float* const w34 = (float*)(record + 528);
  float* const w39 = (float*)(record + 656);
  float* const w53 = (float*)(record + 784);
  float* const w59 = (float*)(record + 912);
  float* const w65 = (float*)(record + 1040);
  float* const w70 = (float*)(record + 1168);
  float* const w72 = (float*)(record + 1184);
  bf16* const w21 = (bf16*)(record + 1312);
  bf16* const w42 = (bf16*)(record + 3872);
  bf16* const w44 = (bf16*)(record + 6432);
  bf16* const w55 = (bf16*)(kept + 83104);
  bf16* const w61 = (bf16*)(kept + 85664);
  bf16* const w82 = (bf16*)(kept + 88224);
  bf16* const w85 = (bf16*)(kept + 90784);
  bf16* const w23 = (bf16*)(kept + 93344);
  float* const k13 = (float*)(kept + 81920);
  float* const k18 = (float*)(kept + 82048);
  float* const k29 = (float*)(kept + 82176);
  float* const k32 = (float*)(kept + 82304);
  float* const k34 = (float*)(kept + 82320);
  float* const k39 = (float*)(kept + 82448);
  float* const k65 = (float*)(kept + 82576);
  float* const k70 = (float*)(kept + 82704);
  float* const k72 = (float*)(kept + 82720);
  float* const k59 = (float*)(kept + 82848);
  float* const k53 = (float*)(kept + 82976);
  auto in3 = [&](int t, int n) { return widen(rows_of<const float>(x.inputs[3], ch.batch, ch.first, ch.head)[ch.token(t) * x.inputs[3].s1 + n]); };
  auto in4 = [&](int t, int n) { return widen(rows_of<const float>(x.inputs[4], ch.batch, ch.first, ch.head)[ch.token(t) * x.inputs[4].s1 + n]); };
  auto in5 = [&](int t, int n) { return widen(rows_of<const float>(x.inputs[5], ch.batch, ch.first, ch.head)[ch.token(t) * x.inputs[5].s1 + n]); };
  const float const0 = (float)x.constants[0];
  bf16* const v4 = (bf16*)(shared + 0);
  float* const v10 = (float*)(shared + 8704);
  float* const v11 = (float*)(shared + 18048);
  float* const v12 = (float*)(shared + 22784);
  float* const v16 = (float*)(shared + 8832);
  float* const v18 = (float*)(shared + 8960);
  bf16* const v21 = (bf16*)(shared + 0);
  bf16* const v23 = (bf16*)(shared + 2560);
  float* const v38 = (float*)(shared + 9088);
  float* const v39 = (float*)(shared + 9216);
  bf16* const v42 = (bf16*)(shared + 5120);
  bf16* const v44 = (bf16*)(shared + 9344);
  bf16* const v49 = (bf16*)(shared + 9344);
  float* const v65 = (float*)(shared + 22656);
  bf16* const v82 = (bf16*)(shared + 11904);
  bf16* const v85 = (bf16*)(shared + 14464);
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  copy_rows<bf16, 32, 128, 136>(v4, x.inputs[1], ch, ch.key_head, 128, false);
  copies_end();
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  fill<1, 1>(0, [&](auto width, int r, int c, int n) { return (-const0); }, [&](int r, int c, auto y) { put(&w32[0], y); put(&k32[0], y); });
  // output o = a * S[t-1] * q + gamma * R[t] * q
  copy_rows<bf16, 32, 128, 136>(v49, x.inputs[0], ch, ch.key_head, 128, false);
  copies_end();
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  {
      constexpr int N = 1;
      sweep<32, 1, N, 0, 1>([&](int r, int c, auto& sum) {
          const Width<N> width;
          Some<N> e7, e10, e16, e18, e29, e34, e38, e39;
          #pragma unroll
          for (int n = 0; n < N; n++) {
              e7.x[n] = f_keep((r < ch.valid ? 1.f : 0.f), in4(r, 0));
              e10.x[n] = f_exp(f_keep((r < ch.valid ? 1.f : 0.f), in3(r, 0)));
              e16.x[n] = f_exp(in3(r, 0));
              e18.x[n] = f_keep((r < ch.valid ? 1.f : 0.f), (in4(r, 0) * e16.x[n]));
              e29.x[n] = in5(r, 0);
              e34.x[n] = f_keep((r < ch.valid ? 1.f : 0.f), e29.x[n]);
              e38.x[n] = (e29.x[n] * e16.x[n]);
              e39.x[n] = f_keep((r < ch.valid ? 1.f : 0.f), e38.x[n]);
          }
          put(&w7[r], e7);
          put(&v10[r], e10);
          put(&v16[r], e16);
          put(&v18[r], e18);
          put(&w29[r], e29); put(&k29[r], e29);
          put(&w34[r], e34); put(&k34[r], e34);
          put(&v38[r], e38);
          put(&v39[r], e39);
      }, [&](int r, const auto& sum) {
      });
  }
  copies_wait<0>();
  __syncthreads();
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  segments<32>(1, [&](int r) { return v10[r]; }, [&](int r, int c, float x) { const Some<1> y = {x}; put(&v11[(r) * 36 + (c)], y); });
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  scan<32, 1, true, false>(2, [&](int r, int c) { return v10[r]; }, [&](int r, int c, float x) { const Some<1> y = {x}; put(&w13[r], y); put(&k13[r], y); });
  store_block<128>(3, w18, v18);
  store_block<128>(4, k18, v18);
  store_block<128>(5, w39, v39);
  store_block<128>(6, k39, v39);
  // output o = a * S[t-1] * q + gamma * R[t] * q
  sums<32, 128>([&](auto width, int i, int c, int n) { return (pick(width, &v4[(i) * 136 + (c)], n) * pick(width, &v49[(i) * 136 + (c)], n)); }, [&](int i, float x) { v65[i] = x; });
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  totals<32, 1>(7, [&](int r, int c) { return v10[r]; }, [&](int r, int c, float x) { const Some<1> y = {x}; put(&w70[0], y); put(&k70[0], y); });
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  scan<32, 1, true, true>(8, [&](int r, int c) { return v10[r]; }, [&](int r, int c, float x) { const Some<1> y = {x}; put(&w72[r], y); put(&k72[r], y); });
  __syncthreads();
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  tiles<32, 32>(36, [&](auto& acc, int m, int n) {
      if (m + 16 > n) {
          mac<bf16, 128, false>(acc, Mat<bf16, 136, false, true>{v4}, Mat<bf16, 136, true, true>{v4}, m, n);
      }
  }, [&](auto width, int r, int c, int n, float acc) { return ((acc) * pick(width, &v11[(r) * 36 + (c)], n)); }, [&](int r, int c, auto y) {
      put(&v12[(r) * 36 + (c)], y);
  });
  // output o = a * S[t-1] * q + gamma * R[t] * q
  fill<32, 1>(10, [&](auto width, int r, int c, int n) { return (v16[r] * w13[r]); }, [&](int r, int c, auto y) { put(&w53[r], y); put(&k53[r], y); });
  // output o = a * S[t-1] * q + gamma * R[t] * q
  fill<32, 1>(11, [&](auto width, int r, int c, int n) { return (v38[r] * w13[r]); }, [&](int r, int c, auto y) { put(&w59[r], y); put(&k59[r], y); });
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  {
      each_tile<32, 32, 1, 2>(48, [&](int m, int n) {
          constexpr int H = 1, W = 2;
          float a50_[H * W][4] = {};
          if (m + 16 * H > n) {
              mac<bf16, 128, false>(a50_, Mat<bf16, 136, false, true>{v49}, Mat<bf16, 136, true, true>{v4}, m, n);
          }
          float a55_[H * W][4] = {};
          in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) { const float acc = a55_[w][e]; a55_[w][e] = (v16[r] * (a50_[w][e] * pick(width, &v11[(r) * 36 + (c)], n))); });
          float a61_[H * W][4] = {};
          in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) { const float acc = a61_[w][e]; a61_[w][e] = (v38[r] * (a50_[w][e] * pick(width, &v11[(r) * 36 + (c)], n))); });
          put_tile<H, W>(m, n, a55_, [&](int r, int c, auto y) { put(&w55[(r) * 40 + (c)], y); });
          put_tile<H, W>(m, n, a61_, [&](int r, int c, auto y) { put(&w61[(r) * 40 + (c)], y); });
      });
  }
  store_block<128>(13, w65, v65);
  store_block<128>(14, k65, v65);
  __syncthreads();
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  systems<32, 36, 2, 15>([&](int i, auto solve) {
      solve(v12, i == 0 ? v18 : v39, -1.f, i == 0 ? To<bf16, 40>{v23} : To<bf16, 40>{v44}, i == 0 ? To<bf16, 40>{v21} : To<bf16, 40>{v42}, i == 0 ? To<bf16, 40>{v85} : To<bf16, 40>{v82});
  });
  __syncthreads();
  store_block<2560>(17, w85, v85);
  store_block<2560>(18, w23, v23);
  store_block<2560>(19, w21, v21);
  store_block<2560>(20, w82, v82);
  store_block<2560>(21, w44, v44);
  store_block<2560>(22, w42, v42);
}

// forward_save, chain; 256 threads, 131712 bytes of shared memory
extern "C" __global__ void __launch_bounds__(256, 1) CLUSTER_OF(2) rla_c_db0f4a7fe25c0a6125a02633a7674d92_forward_save_chain(const __grid_constant__ Args x) {
  extern __shared__ __align__(128) char shared[];
  wait_for_end();
  constexpr int SLICES = 8, GROUPS = 1, ROLES = 3, COPIERS = 5, LAG = 2, AHEAD = 1;
  const int warp = threadIdx.x / 32, role = warp / GROUPS;
  const int slice = blockIdx.x % SLICES, head = blockIdx.x / SLICES % x.heads;
  const int sequence = blockIdx.x / SLICES / x.heads;
  // the warp's first channel, of the block's and of all
  const int own = 16 * (warp % GROUPS), column = slice * 16 * GROUPS, channel = column + own;
  const float const0 = (float)x.constants[0];
  const int tokens = x.sequences.length(sequence), start = x.sequences.start(sequence);
  const int chunks = (u32)(tokens + CHUNK - 1) / CHUNK;
  const int first = x.sequences.slot(sequence, CHUNK), batch = x.sequences.batch(sequence);
  const int key_head = head / (int)x.group;
  auto chunk_of_step = [&](int i) {
      const int k = i;
      const int left = tokens - k * CHUNK;
      return Chunk{batch, start + k * CHUNK, first + k, head, key_head, left < CHUNK ? left : CHUNK, sequence, k, left};
  };
  constexpr int CLUSTER = BULK ? 2 : 1;
  set_up_barriers<AHEAD, CLUSTER, 5>(shared + 131584);
  if (role >= ROLES) {
      const int member = warp - GROUPS * ROLES, lane = threadIdx.x & 31;
      const int last = (int)(tokens - (i64)(chunks - 1) * CHUNK);  // tokens of the last chunk
      const Chunk ch = chunk_of_step(0);
      if (member == 0) {
          const char* record0 = (char*)__builtin_assume_aligned(x.record, 128) + (ch.slot * x.heads + head) * 9088;
          const i64 record0_step = x.heads * 9088;
          const char* kept0 = (char*)__builtin_assume_aligned(x.kept, 128) + (ch.slot * x.heads + head) * 96000;
          const i64 kept0_step = x.heads * 96000;
          int place2_0 = 0;
          int place4_0 = 0;
          const char* kept2 = (char*)__builtin_assume_aligned(x.kept, 128) + (ch.slot * x.heads + head) * 96000;
          const i64 kept2_step = x.heads * 96000;
          int place2_2 = 0;
          copy_steps<AHEAD, CLUSTER, true, true, false>(lane, shared + 131584, chunks + LAG, [&](Crew& crew, int step) {
              if (const int i = step - 0; i >= 0 && i < chunks) {
                  fetch<2560, CLUSTER>(crew, shared + 10240 + place2_0 * 2560, kept0 + 93344, 1);
                  fetch<8992, CLUSTER>(crew, shared + 15360 + place4_0 * 9088, record0 + 0, 2);
                  kept0 += kept0_step;
                  record0 += record0_step;
                  place2_0 = place2_0 == 1 ? 0 : place2_0 + 1;
                  place4_0 = place4_0 == 3 ? 0 : place4_0 + 1;
              }
              if (const int i = step - 2; i >= 0 && i < chunks) {
                  fetch<5120, CLUSTER>(crew, shared + 0 + place2_2 * 5120, kept2 + 83104, 0);
                  kept2 += kept2_step;
                  place2_2 = place2_2 == 1 ? 0 : place2_2 + 1;
              }
          });
      }
      if (member == 1) {
          int place3_0 = 0;
          Rows<bf16, bf16, CHUNK, 128, 136, 2, CLUSTER, true> rows3(x.inputs[1], ch, ch.key_head, 0, 128, false, false, 1);
          copy_steps<AHEAD, CLUSTER, false, true, false>(lane, shared + 131584, chunks + LAG, [&](Crew& crew, int step) {
              if (const int i = step - 0; i >= 0 && i < chunks) {
                  const int valid = i == chunks - 1 ? last : CHUNK;
                  rows3.fetch(crew, (bf16*)(shared + 51712 + place3_0 * 8704), valid);
                  place3_0 = place3_0 == 2 ? 0 : place3_0 + 1;
              }
          });
      }
      if (member == 2 || member == 3) {
          const int part = member == 3;
          int place2_2 = 0;
          Rows<bf16, bf16, CHUNK, 128, 136, 2, CLUSTER, true> rows4(x.inputs[0], ch, ch.key_head, 0, 128, false, false, part);
          copy_steps<AHEAD, CLUSTER, false, true, false>(lane, shared + 131584, chunks + LAG, [&](Crew& crew, int step) {
              if (const int i = step - 2; i >= 0 && i < chunks) {
                  const int valid = i == chunks - 1 ? last : CHUNK;
                  rows4.fetch(crew, (bf16*)(shared + 77824 + place2_2 * 8704), valid);
                  place2_2 = place2_2 == 1 ? 0 : place2_2 + 1;
              }
          });
      }
      if (member == 4) {
          int place3_0 = 0;
          Rows<bf16, bf16, CHUNK, 128, 136, 2, CLUSTER, true> rows3(x.inputs[1], ch, ch.key_head, 0, 128, false, false, 0);
          Rows<bf16, bf16, CHUNK, 16, 24, 1, 1, false> rows5(x.inputs[2], ch, ch.head, column, 128, false, false, 0);
          copy_steps<AHEAD, CLUSTER, false, true, false>(lane, shared + 131584, chunks + LAG, [&](Crew& crew, int step) {
              if (const int i = step - 0; i >= 0 && i < chunks) {
                  const int valid = i == chunks - 1 ? last : CHUNK;
                  rows3.fetch(crew, (bf16*)(shared + 51712 + place3_0 * 8704), valid);
                  rows5.fetch(crew, (bf16*)(shared + 95232 + place3_0 * 1536), valid);
                  place3_0 = place3_0 == 2 ? 0 : place3_0 + 1;
              }
          });
      }
  }
  char* const exchange = shared + 99840 + warp % GROUPS * 31744;
  if (role == 0) {
      // carries S
      Tile<16> state0;
      every(state0, [&](float& y, int, int, int r, int c) {
          y = x.states_in[0].ptr && channel + r < 128 && c < 128 ? rows_of<float>(x.states_in[0], sequence, head, 0)[(i64)(channel + r) * x.states_in[0].s2 + (i64)(c) * x.states_in[0].s3] : 0.f;
      });
      int place2 = 0;
      int place3 = 0;
      int place4 = 0;
      for (int step = 0; step < chunks + LAG; step++) {
          meet();
          const int i = step - 0;
          if (i < 0 || i >= chunks) continue;
          const Chunk ch = chunk_of_step(i);
          const i64 number = ch.slot * x.heads + head;
          char* const record = (char*)__builtin_assume_aligned(x.record, 128) + number * 9088;
          char* const kept = (char*)__builtin_assume_aligned(x.kept, 128) + number * 96000;
          const bf16* const v23 = (const bf16*)(shared + 10240 + place2 * 2560);
          const float* const v7 = (const float*)(shared + 15360 + place4 * 9088);
          const float* const v13 = (const float*)(shared + 15488 + place4 * 9088);
          const float* const v18 = (const float*)(shared + 15616 + place4 * 9088);
          const float* const v70 = (const float*)(shared + 16528 + place4 * 9088);
          const float* const v72 = (const float*)(shared + 16544 + place4 * 9088);
          const bf16* const v21 = (const bf16*)(shared + 16672 + place4 * 9088);
          const bf16* const v4 = (const bf16*)(shared + 51712 + place3 * 8704);
          const bf16* const slab6 = (const bf16*)(shared + 95232 + place3 * 1536);
          char* const from0 = exchange + 0 + place3 * 4096;
          char* const at25 = exchange + 20480 + place2 * 2048;
          char* const at27 = exchange + 24576 + place3 * 1024;
          // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
          Tile<4> t6;
          take<bf16, 24>(t6, slab6 + own);
          // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
          Tile<4> t8;
          every(t8, [&](float& x, int n, int e, int r, int c) { x = (per_token(v7, n, e) * t6.x[n][e]); });
          // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
          Tile<4> t25;
          every(t25, [&](float& x, int n, int e, int r, int c) { x = 0.f; });
          multiply<bf16, 40, false, UPPER, false, 1>(t25, t8, v23);
          // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
          Tile<4> t14;
          every(t14, [&](float& x, int n, int e, int r, int c) { x = 0.f; });
          multiply<bf16, 136, false, WHOLE, false, 1>(t14, state0, v4);
          leave<bf16>(from0, state0);
          // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
          every(state0, [&](float& x, int n, int e, int r, int c) { x = (v70[0] * state0.x[n][e]); });
          // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
          Tile<4> t15;
          every(t15, [&](float& x, int n, int e, int r, int c) { x = (per_token(v13, n, e) * t14.x[n][e]); });
          multiply<bf16, 40, false, UPPER, false, 1>(t25, t15, v21);
          // kept for backward
          keep_rows<bf16, 128>((bf16*)(kept + 65536) + channel, t25);
          // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
          Tile<4> t27;
          every(t27, [&](float& x, int n, int e, int r, int c) { x = (t8.x[n][e] - (per_token(v18, n, e) * t25.x[n][e])); });
          // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
          Tile<4> t73;
          every(t73, [&](float& x, int n, int e, int r, int c) { x = (per_token(v72, n, e) * t27.x[n][e]); });
          multiply<bf16, 136, true, WHOLE, false, 1>(state0, t73, v4);
          leave(at25, t25);
          leave<bf16>(at27, t27);
          place2 = place2 == 1 ? 0 : place2 + 1;
          place3 = place3 == 2 ? 0 : place3 + 1;
          place4 = place4 == 3 ? 0 : place4 + 1;
      }
      if (x.states_out[0].ptr) every(state0, [&](float& y, int, int, int r, int c) {
          if (channel + r < 128 && c < 128) rows_of<float>(x.states_out[0], sequence, head, 0)[(i64)(channel + r) * x.states_out[0].s2 + (i64)(c) * x.states_out[0].s3] = y;
      });
  }
  if (role == 1) {
      const int own = 16 * (thread_again() / 32 % GROUPS), channel = column + own;
      // carries R
      Tile<16> state1;
      every(state1, [&](float& y, int, int, int r, int c) {
          y = x.states_in[1].ptr && channel + r < 128 && c < 128 ? rows_of<float>(x.states_in[1], sequence, head, 0)[(i64)(channel + r) * x.states_in[1].s2 + (i64)(c) * x.states_in[1].s3] : 0.f;
      });
      int place2 = 0;
      int place3 = 0;
      int place4 = 0;
      for (int step = 0; step < chunks + LAG; step++) {
          meet();
          const int i = step - 1;
          if (i < 0 || i >= chunks) continue;
          const Chunk ch = chunk_of_step(i);
          const i64 number = ch.slot * x.heads + head;
          char* const record = (char*)__builtin_assume_aligned(x.record, 128) + number * 9088;
          char* const kept = (char*)__builtin_assume_aligned(x.kept, 128) + number * 96000;
          const float* const v13 = (const float*)(shared + 15488 + place4 * 9088);
          const float* const v32 = (const float*)(shared + 15872 + place4 * 9088);
          const float* const v34 = (const float*)(shared + 15888 + place4 * 9088);
          const float* const v39 = (const float*)(shared + 16016 + place4 * 9088);
          const float* const v70 = (const float*)(shared + 16528 + place4 * 9088);
          const float* const v72 = (const float*)(shared + 16544 + place4 * 9088);
          const bf16* const v42 = (const bf16*)(shared + 19232 + place4 * 9088);
          const bf16* const v44 = (const bf16*)(shared + 21792 + place4 * 9088);
          const bf16* const v4 = (const bf16*)(shared + 51712 + place3 * 8704);
          const bf16* const slab6 = (const bf16*)(shared + 95232 + place3 * 1536);
          char* const from1 = exchange + 12288 + place2 * 4096;
          char* const at25 = exchange + 20480 + place2 * 2048;
          char* const at48 = exchange + 27648 + place2 * 2048;
          Tile<4> t25;
          found(t25, at25);
          // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
          Tile<4> t6;
          take<bf16, 24>(t6, slab6 + own);
          // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
          Tile<4> t35;
          every(t35, [&](float& x, int n, int e, int r, int c) { x = (per_token(v34, n, e) * f_clamp((t6.x[n][e] - t25.x[n][e]), v32[0], const0)); });
          // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
          Tile<4> t36;
          every(t36, [&](float& x, int n, int e, int r, int c) { x = 0.f; });
          multiply<bf16, 136, false, WHOLE, false, 1>(t36, state1, v4);
          leave<bf16>(from1, state1);
          // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
          every(state1, [&](float& x, int n, int e, int r, int c) { x = (v70[0] * state1.x[n][e]); });
          // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
          Tile<4> t37;
          every(t37, [&](float& x, int n, int e, int r, int c) { x = (per_token(v13, n, e) * t36.x[n][e]); });
          // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
          Tile<4> t46;
          every(t46, [&](float& x, int n, int e, int r, int c) { x = 0.f; });
          multiply<bf16, 40, false, UPPER, false, 1>(t46, t37, v42);
          multiply<bf16, 40, false, UPPER, false, 1>(t46, t35, v44);
          // kept for backward
          keep_rows<bf16, 128>((bf16*)(kept + 73728) + channel, t46);
          // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
          Tile<4> t48;
          every(t48, [&](float& x, int n, int e, int r, int c) { x = (t35.x[n][e] - (per_token(v39, n, e) * t46.x[n][e])); });
          // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
          Tile<4> t77;
          every(t77, [&](float& x, int n, int e, int r, int c) { x = (per_token(v72, n, e) * t48.x[n][e]); });
          multiply<bf16, 136, true, WHOLE, false, 1>(state1, t77, v4);
          leave(at48, t48);
          place2 = place2 == 1 ? 0 : place2 + 1;
          place3 = place3 == 2 ? 0 : place3 + 1;
          place4 = place4 == 3 ? 0 : place4 + 1;
      }
      if (x.states_out[1].ptr) every(state1, [&](float& y, int, int, int r, int c) {
          if (channel + r < 128 && c < 128) rows_of<float>(x.states_out[1], sequence, head, 0)[(i64)(channel + r) * x.states_out[1].s2 + (i64)(c) * x.states_out[1].s3] = y;
      });
  }
  if (role == 2) {
      const int own = 16 * (thread_again() / 32 % GROUPS), channel = column + own;
      int place2 = 0;
      int place3 = 0;
      int place4 = 0;
      const i64 out0_step = x.outputs[0].s1;
      bf16* out0 = rows_of<bf16>(x.outputs[0], batch, start, head) + by_itself(channel);
      for (int step = 0; step < chunks + LAG; step++) {
          meet();
          const int i = step - 2;
          if (i < 0 || i >= chunks) continue;
          const Chunk ch = chunk_of_step(i);
          const i64 number = ch.slot * x.heads + head;
          char* const record = (char*)__builtin_assume_aligned(x.record, 128) + number * 9088;
          char* const kept = (char*)__builtin_assume_aligned(x.kept, 128) + number * 96000;
          const bf16* const v55 = (const bf16*)(shared + 0 + place2 * 5120);
          const bf16* const v61 = (const bf16*)(shared + 2560 + place2 * 5120);
          const float* const v29 = (const float*)(shared + 15744 + place4 * 9088);
          const float* const v53 = (const float*)(shared + 16144 + place4 * 9088);
          const float* const v59 = (const float*)(shared + 16272 + place4 * 9088);
          const float* const v65 = (const float*)(shared + 16400 + place4 * 9088);
          const bf16* const v49 = (const bf16*)(shared + 77824 + place2 * 8704);
          char* const from0 = exchange + 0 + place3 * 4096;
          char* const from1 = exchange + 12288 + place2 * 4096;
          char* const at27 = exchange + 24576 + place3 * 1024;
          char* const at48 = exchange + 27648 + place2 * 2048;
          keep<bf16, 16, 128>((bf16*)(kept + 0) + channel * 128, from0);
          keep<bf16, 16, 128>((bf16*)(kept + 32768) + channel * 128, from1);
          Tile<4> t48;
          found(t48, at48);
          // output o = a * S[t-1] * q + gamma * R[t] * q
          Tile<4> t52;
          every(t52, [&](float& x, int n, int e, int r, int c) { x = 0.f; });
          multiply_left<bf16, 136, false, WHOLE, false, 16>(t52, from0, v49);
          // output o = a * S[t-1] * q + gamma * R[t] * q
          Tile<4> t58;
          every(t58, [&](float& x, int n, int e, int r, int c) { x = 0.f; });
          multiply_left<bf16, 136, false, WHOLE, false, 16>(t58, from1, v49);
          // output o = a * S[t-1] * q + gamma * R[t] * q
          Tile<4> t69;
          every(t69, [&](float& x, int n, int e, int r, int c) { x = (per_token(v53, n, e) * t52.x[n][e]) + (per_token(v59, n, e) * t58.x[n][e]) + (per_token(v65, n, e) * (per_token(v29, n, e) * t48.x[n][e])); });
          multiply_left<bf16, 40, false, UPPER, false, 4>(t69, at27, v55);
          multiply<bf16, 40, false, UPPER, false, 1>(t69, t48, v61);
          // output 0
          write_rows<bf16>(t69, out0, out0_step, ch.valid, 16);
          place2 = place2 == 1 ? 0 : place2 + 1;
          place3 = place3 == 2 ? 0 : place3 + 1;
          place4 = place4 == 3 ? 0 : place4 + 1;
          out0 += CHUNK * out0_step;
      }
  }
  if (CLUSTER > 1) meet_cluster();  // no block leaves while copies into it are under way
}

// backward, chain; 256 threads, 166016 bytes of shared memory
extern "C" __global__ void __launch_bounds__(256, 1) CLUSTER_OF(2) rla_c_db0f4a7fe25c0a6125a02633a7674d92_backward_chain(const __grid_constant__ Args x) {
  extern __shared__ __align__(128) char shared[];
  let_next_start();
  constexpr int SLICES = 8, GROUPS = 1, ROLES = 3, COPIERS = 5, LAG = 2, AHEAD = 2;
  const int warp = threadIdx.x / 32, role = warp / GROUPS;
  const int slice = blockIdx.x % SLICES, head = blockIdx.x / SLICES % x.heads;
  const int sequence = blockIdx.x / SLICES / x.heads;
  // the warp's first channel, of the block's and of all
  const int own = 16 * (warp % GROUPS), column = slice * 16 * GROUPS, channel = column + own;
  const float const0 = (float)x.constants[0];
  const int tokens = x.sequences.length(sequence), start = x.sequences.start(sequence);
  const int chunks = (u32)(tokens + CHUNK - 1) / CHUNK;
  const int first = x.sequences.slot(sequence, CHUNK), batch = x.sequences.batch(sequence);
  const int key_head = head / (int)x.group;
  auto chunk_of_step = [&](int i) {
      const int k = chunks - 1 - i;
      const int left = tokens - k * CHUNK;
      return Chunk{batch, start + k * CHUNK, first + k, head, key_head, left < CHUNK ? left : CHUNK, sequence, k, left};
  };
  constexpr int CLUSTER = BULK ? 2 : 1;
  set_up_barriers<AHEAD, CLUSTER, 5>(shared + 165888);
  if (role >= ROLES) {
      const int member = warp - GROUPS * ROLES, lane = threadIdx.x & 31;
      const int last = (int)(tokens - (i64)(chunks - 1) * CHUNK);  // tokens of the last chunk
      const Chunk ch = chunk_of_step(0);
      if (member == 0) {
          const char* record0 = (char*)__builtin_assume_aligned((x.kept + 81920), 128) + (ch.slot * x.heads + head) * 96000;
          const i64 record0_step = -x.heads * 96000;
          int place4_0 = 0;
          copy_steps<AHEAD, CLUSTER, true, true, false>(lane, shared + 165888, chunks + LAG, [&](Crew& crew, int step) {
              if (const int i = step - 0; i >= 0 && i < chunks) {
                  fetch<13984, CLUSTER>(crew, shared + 0 + place4_0 * 14080, record0 + 0, 0);
                  record0 += record0_step;
                  place4_0 = place4_0 == 3 ? 0 : place4_0 + 1;
              }
          });
      }
      if (member == 1) {
          int place4_0 = 0;
          Rows<bf16, bf16, CHUNK, 128, 136, 2, CLUSTER, true> rows1(x.inputs[1], ch, ch.key_head, 0, 128, false, true, 1);
          Rows<bf16, bf16, CHUNK, 16, 24, 1, 1, false> rows4(x.output_grads[0], ch, ch.head, column, 128, true, true, 0);
          copy_steps<AHEAD, CLUSTER, false, true, false>(lane, shared + 165888, chunks + LAG, [&](Crew& crew, int step) {
              if (const int i = step - 0; i >= 0 && i < chunks) {
                  const int valid = i == 0 ? last : CHUNK;
                  rows1.fetch(crew, (bf16*)(shared + 56320 + place4_0 * 8704), valid);
                  rows4.fetch(crew, (bf16*)(shared + 130560 + place4_0 * 1536), valid);
                  place4_0 = place4_0 == 3 ? 0 : place4_0 + 1;
              }
          });
      }
      if (member == 2) {
          int place4_0 = 0;
          const char* kept1 = (char*)__builtin_assume_aligned(x.kept, 128) + (ch.slot * x.heads + head) * 96000;
          const i64 kept1_step = -x.heads * 96000;
          int place3_1 = 0;
          Rows<bf16, bf16, CHUNK, 128, 136, 2, CLUSTER, true> rows2(x.inputs[0], ch, ch.key_head, 0, 128, false, true, 0);
          copy_steps<AHEAD, CLUSTER, false, true, false>(lane, shared + 165888, chunks + LAG, [&](Crew& crew, int step) {
              if (const int i = step - 0; i >= 0 && i < chunks) {
                  const int valid = i == 0 ? last : CHUNK;
                  rows2.fetch(crew, (bf16*)(shared + 91136 + place4_0 * 8704), valid);
                  place4_0 = place4_0 == 3 ? 0 : place4_0 + 1;
              }
              if (const int i = step - 1; i >= 0 && i < chunks) {
                  fetch_part<CHUNK, 32, 256, 48, 1>(crew, shared + 136704 + place3_1 * 1536, kept1 + 65536 + column * 2, 0);
                  kept1 += kept1_step;
                  place3_1 = place3_1 == 2 ? 0 : place3_1 + 1;
              }
          });
      }
      if (member == 3) {
          int place4_0 = 0;
          Rows<bf16, bf16, CHUNK, 128, 136, 2, CLUSTER, true> rows2(x.inputs[0], ch, ch.key_head, 0, 128, false, true, 1);
          copy_steps<AHEAD, CLUSTER, false, true, false>(lane, shared + 165888, chunks + LAG, [&](Crew& crew, int step) {
              if (const int i = step - 0; i >= 0 && i < chunks) {
                  const int valid = i == 0 ? last : CHUNK;
                  rows2.fetch(crew, (bf16*)(shared + 91136 + place4_0 * 8704), valid);
                  place4_0 = place4_0 == 3 ? 0 : place4_0 + 1;
              }
          });
      }
      if (member == 4) {
          int place4_0 = 0;
          int place3_1 = 0;
          Rows<bf16, bf16, CHUNK, 128, 136, 2, CLUSTER, true> rows1(x.inputs[1], ch, ch.key_head, 0, 128, false, true, 0);
          Rows<bf16, bf16, CHUNK, 16, 24, 1, 1, false> rows3(x.inputs[2], ch, ch.head, column, 128, false, true, 0);
          copy_steps<AHEAD, CLUSTER, false, true, false>(lane, shared + 165888, chunks + LAG, [&](Crew& crew, int step) {
              if (const int i = step - 0; i >= 0 && i < chunks) {
                  const int valid = i == 0 ? last : CHUNK;
                  rows1.fetch(crew, (bf16*)(shared + 56320 + place4_0 * 8704), valid);
                  place4_0 = place4_0 == 3 ? 0 : place4_0 + 1;
              }
              if (const int i = step - 1; i >= 0 && i < chunks) {
                  const int valid = i == 0 ? last : CHUNK;
                  rows3.fetch(crew, (bf16*)(shared + 125952 + place3_1 * 1536), valid);
                  place3_1 = place3_1 == 2 ? 0 : place3_1 + 1;
              }
          });
      }
  }
  char* const exchange = shared + 141312 + warp % GROUPS * 24576;
  if (role == 0) {
      // carries R
      Tile<16> state1;
      every(state1, [&](float& y, int, int, int r, int c) {
          y = x.state_grads_in[1].ptr && channel + r < 128 && c < 128 ? rows_of<float>(x.state_grads_in[1], sequence, head, 0)[(i64)(channel + r) * x.state_grads_in[1].s2 + (i64)(c) * x.state_grads_in[1].s3] : 0.f;
      });
      int place2 = 0;
      int place3 = 0;
      int place4 = 0;
      for (int step = 0; step < chunks + LAG; step++) {
          meet();
          const int i = step - 0;
          if (i < 0 || i >= chunks) continue;
          const Chunk ch = chunk_of_step(i);
          const i64 number = ch.slot * x.heads + head;
          char* const record = (char*)__builtin_assume_aligned((x.kept + 81920), 128) + number * 96000;
          char* const passed = (char*)__builtin_assume_aligned(x.passed, 128) + number * 81920;
          char* const kept = (char*)__builtin_assume_aligned(x.kept, 128) + number * 96000;
          const float* const v13 = (const float*)(shared + 0 + place4 * 14080);
          const float* const v21 = (const float*)(shared + 256 + place4 * 14080);
          const float* const v29 = (const float*)(shared + 528 + place4 * 14080);
          const float* const v40 = (const float*)(shared + 656 + place4 * 14080);
          const float* const v42 = (const float*)(shared + 784 + place4 * 14080);
          const float* const v43 = (const float*)(shared + 800 + place4 * 14080);
          const float* const v92 = (const float*)(shared + 928 + place4 * 14080);
          const bf16* const v38 = (const bf16*)(shared + 3744 + place4 * 14080);
          const bf16* const v130 = (const bf16*)(shared + 6304 + place4 * 14080);
          const bf16* const v4 = (const bf16*)(shared + 56320 + place4 * 8704);
          const bf16* const v33 = (const bf16*)(shared + 91136 + place4 * 8704);
          const bf16* const slab44 = (const bf16*)(shared + 130560 + place4 * 1536);
          char* const from1 = exchange + 8192 + place3 * 4096;
          char* const at131 = exchange + 20480 + place2 * 2048;
          // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
          Tile<4> t44;
          take<bf16, 24>(t44, slab44 + own);
          // output o = a * S[t-1] * q + gamma * R[t] * q
          Tile<4> t93;
          every(t93, [&](float& x, int n, int e, int r, int c) { x = (per_token(v92, n, e) * t44.x[n][e]); });
          // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
          Tile<4> t47;
          every(t47, [&](float& x, int n, int e, int r, int c) { x = 0.f; });
          multiply<bf16, 136, false, WHOLE, false, 1>(t47, state1, v4);
          leave<bf16>(from1, state1);
          // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
          every(state1, [&](float& x, int n, int e, int r, int c) { x = (state1.x[n][e] * v42[0]); });
          // output o = a * S[t-1] * q + gamma * R[t] * q
          Tile<4> t87;
          every(t87, [&](float& x, int n, int e, int r, int c) { x = (per_token(v43, n, e) * t47.x[n][e]) + ((t44.x[n][e] * per_token(v40, n, e)) * per_token(v21, n, e)); });
          multiply<bf16, 40, true, LOWER, false, 1>(t87, t44, v38);
          // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
          Tile<4> t131;
          every(t131, [&](float& x, int n, int e, int r, int c) { x = 0.f; });
          multiply<bf16, 40, true, LOWER, false, 2>(t131, t87, v130);
          // for finish
          keep_rows<bf16, 128>((bf16*)(passed + 65536) + channel, t131);
          // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
          Tile<4> t146;
          every(t146, [&](float& x, int n, int e, int r, int c) { x = (-((per_token(v29, n, e) * t131.x[n][e]) * per_token(v13, n, e))); });
          multiply<bf16, 136, true, WHOLE, false, 1>(state1, t93, v33);
          multiply<bf16, 136, true, WHOLE, false, 1>(state1, t146, v4);
          leave(at131, t131);
          place2 = place2 == 1 ? 0 : place2 + 1;
          place3 = place3 == 2 ? 0 : place3 + 1;
          place4 = place4 == 3 ? 0 : place4 + 1;
      }
      if (x.state_grads_out[1].ptr) every(state1, [&](float& y, int, int, int r, int c) {
          if (channel + r < 128 && c < 128) rows_of<float>(x.state_grads_out[1], sequence, head, 0)[(i64)(channel + r) * x.state_grads_out[1].s2 + (i64)(c) * x.state_grads_out[1].s3] = y;
      });
  }
  if (role == 1) {
      // carries S
      Tile<16> state0;
      every(state0, [&](float& y, int, int, int r, int c) {
          y = x.state_grads_in[0].ptr && channel + r < 128 && c < 128 ? rows_of<float>(x.state_grads_in[0], sequence, head, 0)[(i64)(channel + r) * x.state_grads_in[0].s2 + (i64)(c) * x.state_grads_in[0].s3] : 0.f;
      });
      int place2 = 0;
      int place3 = 0;
      int place4 = 0;
      for (int step = 0; step < chunks + LAG; step++) {
          meet();
          const int i = step - 1;
          if (i < 0 || i >= chunks) continue;
          const Chunk ch = chunk_of_step(i);
          const i64 number = ch.slot * x.heads + head;
          char* const record = (char*)__builtin_assume_aligned((x.kept + 81920), 128) + number * 96000;
          char* const passed = (char*)__builtin_assume_aligned(x.passed, 128) + number * 81920;
          char* const kept = (char*)__builtin_assume_aligned(x.kept, 128) + number * 96000;
          const float* const v13 = (const float*)(shared + 0 + place4 * 14080);
          const float* const v16 = (const float*)(shared + 128 + place4 * 14080);
          const float* const v24 = (const float*)(shared + 384 + place4 * 14080);
          const float* const v26 = (const float*)(shared + 400 + place4 * 14080);
          const float* const v42 = (const float*)(shared + 784 + place4 * 14080);
          const float* const v43 = (const float*)(shared + 800 + place4 * 14080);
          const float* const v109 = (const float*)(shared + 1056 + place4 * 14080);
          const bf16* const v37 = (const bf16*)(shared + 1184 + place4 * 14080);
          const bf16* const v158 = (const bf16*)(shared + 8864 + place4 * 14080);
          const bf16* const v160 = (const bf16*)(shared + 11424 + place4 * 14080);
          const bf16* const v4 = (const bf16*)(shared + 56320 + place4 * 8704);
          const bf16* const v33 = (const bf16*)(shared + 91136 + place4 * 8704);
          const bf16* const slab6 = (const bf16*)(shared + 125952 + place3 * 1536);
          const bf16* const slab44 = (const bf16*)(shared + 130560 + place4 * 1536);
          const bf16* const v17 = (const bf16*)(shared + 136704 + place3 * 1536);
          char* const from0 = exchange + 0 + place2 * 4096;
          char* const at131 = exchange + 20480 + place2 * 2048;
          Tile<4> t131;
          found(t131, at131);
          // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
          Tile<4> t6;
          take<bf16, 24>(t6, slab6 + own);
          // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
          Tile<4> t44;
          take<bf16, 24>(t44, slab44 + own);
          // output o = a * S[t-1] * q + gamma * R[t] * q
          Tile<4> t110;
          every(t110, [&](float& x, int n, int e, int r, int c) { x = (per_token(v109, n, e) * t44.x[n][e]); });
          // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
          Tile<4> t54;
          every(t54, [&](float& x, int n, int e, int r, int c) { x = 0.f; });
          multiply<bf16, 136, false, WHOLE, false, 1>(t54, state0, v4);
          leave<bf16>(from0, state0);
          // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
          every(state0, [&](float& x, int n, int e, int r, int c) { x = (state0.x[n][e] * v42[0]); });
          // output o = a * S[t-1] * q + gamma * R[t] * q
          Tile<4> t103;
          every(t103, [&](float& x, int n, int e, int r, int c) { x = (per_token(v43, n, e) * t54.x[n][e]); });
          multiply<bf16, 40, true, LOWER, false, 1>(t103, t44, v37);
          // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
          Tile<4> t154;
          every(t154, [&](float& x, int n, int e, int r, int c) { x = f_inside((t6.x[n][e] - widen(v17[(c) * 24 + (own + r)])), v24[0], const0, (t131.x[n][e] * per_token(v26, n, e))); });
          // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
          Tile<4> t155;
          every(t155, [&](float& x, int n, int e, int r, int c) { x = (-t154.x[n][e]); });
          // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
          Tile<4> t162;
          every(t162, [&](float& x, int n, int e, int r, int c) { x = 0.f; });
          multiply<bf16, 40, true, LOWER, false, 2>(t162, t103, v158);
          multiply<bf16, 40, true, LOWER, false, 1>(t162, t155, v160);
          // for finish
          keep_rows<bf16, 128>((bf16*)(passed + 73728) + channel, t162);
          // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
          Tile<4> t177;
          every(t177, [&](float& x, int n, int e, int r, int c) { x = (per_token(v13, n, e) * ((-(per_token(v16, n, e) * t162.x[n][e])) - t154.x[n][e])); });
          multiply<bf16, 136, true, WHOLE, false, 1>(state0, t110, v33);
          multiply<bf16, 136, true, WHOLE, false, 1>(state0, t177, v4);
          place2 = place2 == 1 ? 0 : place2 + 1;
          place3 = place3 == 2 ? 0 : place3 + 1;
          place4 = place4 == 3 ? 0 : place4 + 1;
      }
      if (x.state_grads_out[0].ptr) every(state0, [&](float& y, int, int, int r, int c) {
          if (channel + r < 128 && c < 128) rows_of<float>(x.state_grads_out[0], sequence, head, 0)[(i64)(channel + r) * x.state_grads_out[0].s2 + (i64)(c) * x.state_grads_out[0].s3] = y;
      });
  }
  if (role == 2) {
      int place2 = 0;
      int place3 = 0;
      for (int step = 0; step < chunks + LAG; step++) {
          meet();
          const int i = step - 2;
          if (i < 0 || i >= chunks) continue;
          const Chunk ch = chunk_of_step(i);
          const i64 number = ch.slot * x.heads + head;
          char* const record = (char*)__builtin_assume_aligned((x.kept + 81920), 128) + number * 96000;
          char* const passed = (char*)__builtin_assume_aligned(x.passed, 128) + number * 81920;
          char* const kept = (char*)__builtin_assume_aligned(x.kept, 128) + number * 96000;
          char* const from0 = exchange + 0 + place2 * 4096;
          char* const from1 = exchange + 8192 + place3 * 4096;
          keep<bf16, 16, 128>((bf16*)(passed + 0) + channel * 128, from0);
          keep<bf16, 16, 128>((bf16*)(passed + 32768) + channel * 128, from1);
          place2 = place2 == 1 ? 0 : place2 + 1;
          place3 = place3 == 2 ? 0 : place3 + 1;
      }
  }
  if (CLUSTER > 1) meet_cluster();  // no block leaves while copies into it are under way
}

// backward, finish; 256 threads, 111360 bytes of shared memory
extern "C" __global__ void __launch_bounds__(256, 2) rla_c_db0f4a7fe25c0a6125a02633a7674d92_backward_finish(const __grid_constant__ Args x) {
  extern __shared__ __align__(128) char shared[];
  wait_for_end();
  const int head = blockIdx.x % (u32)x.heads;
  const Chunk ch = chunk_of(x.sequences, blockIdx.x / (u32)x.heads, head, x.group, CHUNK);
  const i64 number = ch.slot * x.heads + head;
  char* const record = (char*)__builtin_assume_aligned((x.kept + 81920), 128) + number * 96000;
  char* const passed = (char*)__builtin_assume_aligned(x.passed, 128) + number * 81920;
  char* const kept = (char*)__builtin_assume_aligned(x.kept, 128) + number * 96000;
  if (!ch.valid) return;
  float* const v13 = (float*)(record + 0);
  float* const v40 = (float*)(record + 656);
  float* const v42 = (float*)(record + 784);
  float* const v43 = (float*)(record + 800);
  bf16* const v45 = (bf16*)(passed + 0);
  bf16* const v46 = (bf16*)(passed + 32768);
  bf16* const v131 = (bf16*)(passed + 65536);
  bf16* const v162 = (bf16*)(passed + 73728);
  bf16* const v0 = (bf16*)(kept + 0);
  bf16* const v17 = (bf16*)(kept + 65536);
  bf16* const v20 = (bf16*)(kept + 32768);
  bf16* const v30 = (bf16*)(kept + 73728);
  const float* const in3_rows = rows_of<const float>(x.inputs[3], ch.batch, ch.first, ch.head);
  auto in3 = [&](int t, int n) { return widen(in3_rows[ch.token(t) * x.inputs[3].s1 + n]); };
  const float* const in4_rows = rows_of<const float>(x.inputs[4], ch.batch, ch.first, ch.head);
  auto in4 = [&](int t, int n) { return widen(in4_rows[ch.token(t) * x.inputs[4].s1 + n]); };
  const float* const in5_rows = rows_of<const float>(x.inputs[5], ch.batch, ch.first, ch.head);
  auto in5 = [&](int t, int n) { return widen(in5_rows[ch.token(t) * x.inputs[5].s1 + n]); };
  const float const0 = (float)x.constants[0];
  const Ahead<3, 2> ahead0 = {shared + 86784};
  u32 next46[2][4];
  bf16* const v4 = (bf16*)(shared + 0);
  bf16* const v6 = (bf16*)(shared + 8704);
  float* const v7 = (float*)(shared + 17408);
  float* const v10 = (float*)(shared + 17536);
  float* const v11 = (float*)(shared + 71168);
  float* const h13 = (float*)(shared + 17664);
  float* const v14 = (float*)(shared + 17792);
  float* const v16 = (float*)(shared + 17920);
  bf16* const h17 = (bf16*)(shared + 18048);
  bf16* const v19 = (bf16*)(shared + 8704);
  float* const v21 = (float*)(shared + 26752);
  float* const v24 = (float*)(shared + 26880);
  float* const v26 = (float*)(shared + 27008);
  float* const v28 = (float*)(shared + 27136);
  float* const v29 = (float*)(shared + 27264);
  bf16* const h30 = (bf16*)(shared + 27392);
  bf16* const v33 = (bf16*)(shared + 36096);
  float* const h40 = (float*)(shared + 44800);
  float* const h43 = (float*)(shared + 44928);
  bf16* const v44 = (bf16*)(shared + 45056);
  float* const v52 = (float*)(shared + 68608);
  float* const v53 = (float*)(shared + 0);
  float* const v60 = (float*)(shared + 69120);
  float* const v62 = (float*)(shared + 128);
  float* const v65 = (float*)(shared + 70144);
  float* const v66 = (float*)(shared + 256);
  float* const v73 = (float*)(shared + 75776);
  float* const v76 = (float*)(shared + 75904);
  float* const v90 = (float*)(shared + 62464);
  float* const v98 = (float*)(shared + 81664);
  float* const v106 = (float*)(shared + 62976);
  float* const v115 = (float*)(shared + 82688);
  float* const v126 = (float*)(shared + 83712);
  bf16* const h131 = (bf16*)(shared + 53760);
  bf16* const v133 = (bf16*)(shared + 27392);
  float* const v137 = (float*)(shared + 76032);
  float* const v151 = (float*)(shared + 76160);
  bf16* const h162 = (bf16*)(shared + 62464);
  bf16* const v165 = (bf16*)(shared + 53760);
  float* const v170 = (float*)(shared + 76288);
  float* const v183 = (float*)(shared + 84736);
  float* const v187 = (float*)(shared + 384);
  float* const v192 = (float*)(shared + 71168);
  float* const v193 = (float*)(shared + 85760);
  float* const v201 = (float*)(shared + 76416);
  bf16* const h32 = (bf16*)(shared + 18048);
  bf16* const h118 = (bf16*)(shared + 63488);
  bf16* const h189 = (bf16*)(shared + 76544);
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  copy_rows<bf16, 32, 128, 136>(v4, x.inputs[1], ch, ch.key_head, 128, false);
  copies_end();
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  copy_rows<bf16, 32, 128, 136>(v6, x.inputs[2], ch, ch.head, 128, false);
  copies_end();
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  fill<1, 1>(0, [&](auto width, int r, int c, int n) { return (-const0); }, [&](int r, int c, auto y) { put(&v24[0], y); });
  // output o = a * S[t-1] * q + gamma * R[t] * q
  copy_rows<bf16, 32, 128, 136>(v33, x.inputs[0], ch, ch.key_head, 128, false);
  copies_end();
  copy_block<128>(h43, v43);
  copies_end();
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  copy_rows<bf16, 32, 128, 136>(v44, x.output_grads[0], ch, ch.head, 128, true);
  copies_end();
  copy_block<128>(h13, v13);
  copies_end();
  copy_apart<bf16, 32, 128, 136>(h17, v17);
  copies_end();
  copy_apart<bf16, 32, 128, 136>(h30, v30);
  copies_end();
  copy_block<128>(h40, v40);
  copies_end();
  copy_apart<bf16, 32, 128, 136>(h131, v131);
  copies_end();
  copy_apart<bf16, 32, 128, 136>(h162, v162);
  copies_end();
  // states on their way to the products that follow
  each_tile<32, 128, 2, 2>(0, [&](int m, int n) {
      #pragma unroll
      for (int k = 0; k < 32; k += 16) {
          ahead0.copy(k / 16, 0, Fragments<bf16, 128, false>{v0}.lane(k, n));
          ahead0.copy(k / 16, 1, Fragments<bf16, 128, false>{v20}.lane(k, n));
          ahead0.copy(k / 16, 2, Fragments<bf16, 128, false>{v45}.lane(k, n));
          load_early(next46[k / 16 % 2], Fragments<bf16, 128, false>{v46}.lane(k, n));
          copies_end();
      }
  });
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  {
      constexpr int N = 1;
      sweep<32, 1, N, 0, 1>([&](int r, int c, auto& sum) {
          const Width<N> width;
          Some<N> e7, e10, e14, e16, e21, e26, e28, e29;
          #pragma unroll
          for (int n = 0; n < N; n++) {
              e7.x[n] = f_keep((r < ch.valid ? 1.f : 0.f), in4(r, 0));
              e10.x[n] = f_exp(f_keep((r < ch.valid ? 1.f : 0.f), in3(r, 0)));
              e14.x[n] = f_exp(in3(r, 0));
              e16.x[n] = f_keep((r < ch.valid ? 1.f : 0.f), (in4(r, 0) * e14.x[n]));
              e21.x[n] = in5(r, 0);
              e26.x[n] = f_keep((r < ch.valid ? 1.f : 0.f), e21.x[n]);
              e28.x[n] = (e21.x[n] * e14.x[n]);
              e29.x[n] = f_keep((r < ch.valid ? 1.f : 0.f), e28.x[n]);
          }
          put(&v7[r], e7);
          put(&v10[r], e10);
          put(&v14[r], e14);
          put(&v16[r], e16);
          put(&v21[r], e21);
          put(&v26[r], e26);
          put(&v28[r], e28);
          put(&v29[r], e29);
      }, [&](int r, const auto& sum) {
      });
  }
  copies_wait<2>();
  __syncthreads();
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  segments<32>(1, [&](int r) { return v10[r]; }, [&](int r, int c, float x) { const Some<1> y = {x}; put(&v11[(r) * 36 + (c)], y); });
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  // gradient of v
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  {
      const RowsTo<bf16, 128> grad2(x.input_grads[2], ch, ch.head);
      constexpr int N = sweep_width<32, 128>(8);
      sweep<32, 128, N, 6, 1>([&](int r, int c, auto& sum) {
          const Width<N> width;
          Some<N> e19, o2, e32, e133, e165;
          #pragma unroll
          for (int n = 0; n < N; n++) {
              e19.x[n] = ((v7[r] * pick(width, &v6[(r) * 136 + (c)], n)) - (v16[r] * pick(width, &h17[(r) * 136 + (c)], n)));
              o2.x[n] = (f_inside((pick(width, &v6[(r) * 136 + (c)], n) - pick(width, &h17[(r) * 136 + (c)], n)), v24[0], const0, (pick(width, &h131[(r) * 136 + (c)], n) * v26[r])) + (pick(width, &h162[(r) * 136 + (c)], n) * v7[r]));
              e32.x[n] = ((v26[r] * f_clamp((pick(width, &v6[(r) * 136 + (c)], n) - pick(width, &h17[(r) * 136 + (c)], n)), v24[0], const0)) - (v29[r] * pick(width, &h30[(r) * 136 + (c)], n)));
              sum[0] += (pick(width, &v44[(r) * 136 + (c)], n) * (v21[r] * e32.x[n]));
              sum[1] += ((pick(width, &v44[(r) * 136 + (c)], n) * h40[r]) * e32.x[n]);
              e133.x[n] = (-(v29[r] * pick(width, &h131[(r) * 136 + (c)], n)));
              sum[2] += (pick(width, &h131[(r) * 136 + (c)], n) * pick(width, &h30[(r) * 136 + (c)], n));
              sum[3] += (pick(width, &h131[(r) * 136 + (c)], n) * f_clamp((pick(width, &v6[(r) * 136 + (c)], n) - pick(width, &h17[(r) * 136 + (c)], n)), v24[0], const0));
              e165.x[n] = ((-(v16[r] * pick(width, &h162[(r) * 136 + (c)], n))) - f_inside((pick(width, &v6[(r) * 136 + (c)], n) - pick(width, &h17[(r) * 136 + (c)], n)), v24[0], const0, (pick(width, &h131[(r) * 136 + (c)], n) * v26[r])));
              sum[4] += (pick(width, &h162[(r) * 136 + (c)], n) * pick(width, &h17[(r) * 136 + (c)], n));
              sum[5] += (pick(width, &h162[(r) * 136 + (c)], n) * pick(width, &v6[(r) * 136 + (c)], n));
          }
          put(&v19[(r) * 136 + (c)], e19);
          if (x.input_grads[2].ptr) { if (r < 32 && c < 128) grad2.put(r, c, o2); }
          put(&h32[(r) * 136 + (c)], e32);
          put(&v133[(r) * 136 + (c)], e133);
          put(&v165[(r) * 136 + (c)], e165);
      }, [&](int r, const auto& sum) {
          v73[r] = sum[0];
          v76[r] = sum[1];
          v137[r] = sum[2];
          v151[r] = sum[3];
          v170[r] = sum[4];
          v201[r] = sum[5];
      });
  }
  __syncthreads();
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  {
      each_tile<32, 32, 1, 1>(8, [&](int m, int n) {
          constexpr int H = 1, W = 1;
          float a35_[H * W][4] = {};
          float a84_[H * W][4] = {};
          float a100_[H * W][4] = {};
          float a134_[H * W][4] = {};
          float a166_[H * W][4] = {};
          float a192_[H * W][4] = {};
          if (m + 16 * H > n) {
              #pragma unroll 2
              for (int k = 0; k < 128; k += 32) {
                  u32 b0[4];
                  Mat<bf16, 136, true, true>{v4}.column(b0, k, n, bf16());
                  u32 b1[4];
                  Mat<bf16, 136, true, true>{h32}.column(b1, k, n, bf16());
                  u32 b2[4];
                  Mat<bf16, 136, true, true>{v19}.column(b2, k, n, bf16());
                  u32 a0_0[4];
                  Mat<bf16, 136, false, true>{v33}.left(a0_0, m, k, bf16());
                  u32 a0_1[4];
                  Mat<bf16, 136, false, true>{v44}.left(a0_1, m, k, bf16());
                  u32 a0_2[4];
                  Mat<bf16, 136, false, true>{v133}.left(a0_2, m, k, bf16());
                  u32 a0_3[4];
                  Mat<bf16, 136, false, true>{v165}.left(a0_3, m, k, bf16());
                  u32 a0_4[4];
                  Mat<bf16, 136, false, true>{v4}.left(a0_4, m, k, bf16());
                  mma(a35_[0], a0_0, b0[0], b0[1], bf16());
                  mma(a84_[0], a0_1, b1[0], b1[1], bf16());
                  mma(a100_[0], a0_1, b2[0], b2[1], bf16());
                  mma(a134_[0], a0_2, b1[0], b1[1], bf16());
                  mma(a166_[0], a0_3, b2[0], b2[1], bf16());
                  mma(a192_[0], a0_4, b0[0], b0[1], bf16());
                  u32 a1_0[4];
                  Mat<bf16, 136, false, true>{v33}.left(a1_0, m, k + 16, bf16());
                  u32 a1_1[4];
                  Mat<bf16, 136, false, true>{v44}.left(a1_1, m, k + 16, bf16());
                  u32 a1_2[4];
                  Mat<bf16, 136, false, true>{v133}.left(a1_2, m, k + 16, bf16());
                  u32 a1_3[4];
                  Mat<bf16, 136, false, true>{v165}.left(a1_3, m, k + 16, bf16());
                  u32 a1_4[4];
                  Mat<bf16, 136, false, true>{v4}.left(a1_4, m, k + 16, bf16());
                  mma(a35_[0], a1_0, b0[2], b0[3], bf16());
                  mma(a84_[0], a1_1, b1[2], b1[3], bf16());
                  mma(a100_[0], a1_1, b2[2], b2[3], bf16());
                  mma(a134_[0], a1_2, b1[2], b1[3], bf16());
                  mma(a166_[0], a1_3, b2[2], b2[3], bf16());
                  mma(a192_[0], a1_4, b0[2], b0[3], bf16());
              }
          }
          float s90[2 * H] = {};
          in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) {
              s90[w / W * 2 + (e >> 1)] += ((r > c + n ? a84_[w][e] : 0.f) * (a35_[w][e] * pick(width, &v11[(r) * 36 + (c)], n)));
          });
          put_row_parts<4, H>(s90, v90, m, n / (8 * W));
          float a118_[H * W][4] = {};
          in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) { const float acc = a118_[w][e]; a118_[w][e] = ((((r > c + n ? a84_[w][e] : 0.f) * v28[r]) + ((r > c + n ? a100_[w][e] : 0.f) * v14[r])) * pick(width, &v11[(r) * 36 + (c)], n)); });
          float s106[2 * H] = {};
          in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) {
              s106[w / W * 2 + (e >> 1)] += ((r > c + n ? a100_[w][e] : 0.f) * (a35_[w][e] * pick(width, &v11[(r) * 36 + (c)], n)));
          });
          put_row_parts<4, H>(s106, v106, m, n / (8 * W));
          float a189_[H * W][4] = {};
          in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) { const float acc = a189_[w][e]; a189_[w][e] = (((r > c + n ? a134_[w][e] : 0.f) + (r > c + n ? a166_[w][e] : 0.f)) * pick(width, &v11[(r) * 36 + (c)], n)); });
          in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) { const float acc = a192_[w][e]; a192_[w][e] = ((((((r > c + n ? a84_[w][e] : 0.f) * v28[r]) + ((r > c + n ? a100_[w][e] : 0.f) * v14[r])) * a35_[w][e]) + (((r > c + n ? a134_[w][e] : 0.f) + (r > c + n ? a166_[w][e] : 0.f)) * (acc))) * pick(width, &v11[(r) * 36 + (c)], n)); });
          put_tile<H, W>(m, n, a118_, [&](int r, int c, auto y) { put_twice<1280>(&h118[(r) * 40 + (c)], y); });
          put_tile<H, W>(m, n, a189_, [&](int r, int c, auto y) { put_twice<1280>(&h189[(r) * 40 + (c)], y); });
          put_tile<H, W>(m, n, a192_, [&](int r, int c, auto y) { put(&v192[(r) * 36 + (c)], y); });
      });
  }
  // gradient of beta
  if (x.input_grads[4].ptr) {
      const RowsTo<float, 1> grad4(x.input_grads[4], ch, ch.head);
      fill<32, 1>(3, [&](auto width, int r, int c, int n) { return (f_keep((r < ch.valid ? 1.f : 0.f), v201[r]) - (f_keep((r < ch.valid ? 1.f : 0.f), v170[r]) * v14[r])); }, [&](int r, int c, auto y) { grad4.put(r, c, y); });
  }
  __syncthreads();
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // gradient of q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  // gradient of k
  {
      float sum52[4] = {};
      float sum65[4] = {};
      each_tile<32, 128, (THREADS < 512 ? 2 : 1), 2>(0, [&](int m, int n) {
          constexpr int H = (THREADS < 512 ? 2 : 1), W = 2;
          float a57_[H * W][4] = {};
          float a91_[H * W][4] = {};
          float a108_[H * W][4] = {};
          float a179_[H * W][4] = {};
          #pragma unroll 4
          for (int k = 0; k < 128; k += 16) {
              constexpr int w = 0;
              copies_wait<1>();
              u32 b0[4];
              ahead0.take(b0, k / 16, 0);
              u32 b20[4];
              ahead0.take(b20, k / 16, 1);
              u32 b45[4];
              ahead0.take(b45, k / 16, 2);
              const u32(&b46)[4] = next46[k / 16 % 2];
              if (k < 96) {
                  ahead0.copy((k + 32) / 16, 0, Fragments<bf16, 128, false>{v0}.lane((k + 32), n));
                  ahead0.copy((k + 32) / 16, 1, Fragments<bf16, 128, false>{v20}.lane((k + 32), n));
                  ahead0.copy((k + 32) / 16, 2, Fragments<bf16, 128, false>{v45}.lane((k + 32), n));
              }
              copies_end();
              #pragma unroll
              for (int h = 0; h < H; h++) {
                  u32 a0[4];
                  Mat<bf16, 136, false, true>{h32}.left(a0, m + 16 * h, k, bf16());
                  u32 a1[4];
                  Mat<bf16, 136, false, true>{v19}.left(a1, m + 16 * h, k, bf16());
                  u32 a2[4];
                  Mat<bf16, 136, false, true>{v44}.left(a2, m + 16 * h, k, bf16());
                  u32 a3[4];
                  Mat<bf16, 136, false, true>{v133}.left(a3, m + 16 * h, k, bf16());
                  u32 a4[4];
                  Mat<bf16, 136, false, true>{v165}.left(a4, m + 16 * h, k, bf16());
                  mma(a57_[h * W + 0], a0, b46[0], b46[1], bf16());
                  mma(a57_[h * W + 1], a0, b46[2], b46[3], bf16());
                  mma(a57_[h * W + 0], a1, b45[0], b45[1], bf16());
                  mma(a57_[h * W + 1], a1, b45[2], b45[3], bf16());
                  mma(a91_[h * W + 0], a2, b20[0], b20[1], bf16());
                  mma(a91_[h * W + 1], a2, b20[2], b20[3], bf16());
                  mma(a108_[h * W + 0], a2, b0[0], b0[1], bf16());
                  mma(a108_[h * W + 1], a2, b0[2], b0[3], bf16());
                  mma(a179_[h * W + 0], a3, b20[0], b20[1], bf16());
                  mma(a179_[h * W + 1], a3, b20[2], b20[3], bf16());
                  mma(a179_[h * W + 0], a4, b0[0], b0[1], bf16());
                  mma(a179_[h * W + 1], a4, b0[2], b0[3], bf16());
              }
              if (m == 0 % (32 / (16 * H)) * 16 * H) add_products(sum52, b46, b20, bf16());
              if (m == 1 % (32 / (16 * H)) * 16 * H) add_products(sum65, b45, b0, bf16());
              if (k < 96) {
                  load_early(next46[(k + 32) / 16 % 2], Fragments<bf16, 128, false>{v46}.lane((k + 32), n));
              }
          }
          in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) { const float acc = a57_[w][e]; a57_[w][e] = (acc); });
          in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) { const float acc = a179_[w][e]; a179_[w][e] = (acc); });
          float s60[2 * H] = {};
          float s98[2 * H] = {};
          float s115[2 * H] = {};
          float s126[2 * H] = {};
          float s183[2 * H] = {};
          in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) {
              s60[w / W * 2 + (e >> 1)] += (a57_[w][e] * pick(width, &v4[(r) * 136 + (c)], n));
              s98[w / W * 2 + (e >> 1)] += (a91_[w][e] * (h13[r] * pick(width, &v33[(r) * 136 + (c)], n)));
              s115[w / W * 2 + (e >> 1)] += (a108_[w][e] * (h13[r] * pick(width, &v33[(r) * 136 + (c)], n)));
              s126[w / W * 2 + (e >> 1)] += (((a91_[w][e] * v28[r]) + (a108_[w][e] * v14[r])) * pick(width, &v33[(r) * 136 + (c)], n));
              s183[w / W * 2 + (e >> 1)] += (a179_[w][e] * pick(width, &v4[(r) * 136 + (c)], n));
          });
          put_row_parts<8, H>(s60, v60, m, n / (8 * W));
          put_row_parts<8, H>(s98, v98, m, n / (8 * W));
          put_row_parts<8, H>(s115, v115, m, n / (8 * W));
          put_row_parts<8, H>(s126, v126, m, n / (8 * W));
          put_row_parts<8, H>(s183, v183, m, n / (8 * W));
          if (x.input_grads[0].ptr) {
              const RowsTo<bf16, 128> grad0(x.input_grads[0], ch, x.group > 1 ? ch.head : ch.key_head);
              float o0[H * W][4] = {};
              mac_twice<bf16, 32, false, H, LOWER>(o0, Twice<bf16, 40, false, true, 1280>{h118}, Mat<bf16, 136, false, true>{v4}, m, n);
              in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) { const float acc = o0[w][e]; o0[w][e] = (acc + (v73[r] * pick(width, &v4[(r) * 136 + (c)], n)) + (((a91_[w][e] * v28[r]) + (a108_[w][e] * v14[r])) * h13[r])); });
              put_tile_rows<bf16, H, W>(m, n, o0, [&](int r, int c, auto y) { if (r < 32 && c < 128) grad0.put(r, c, y); });
          }
          if (x.input_grads[1].ptr) {
              const RowsTo<bf16, 128> grad1(x.input_grads[1], ch, x.group > 1 ? ch.head : ch.key_head);
              float o1[H * W][4] = {};
              mac_twice<bf16, 32, false, H, UPPER>(o1, Twice<bf16, 40, true, true, 1280>{h118}, Mat<bf16, 136, false, true>{v33}, m, n);
              mac_twice<bf16, 32, false, H, LOWER>(o1, Twice<bf16, 40, false, true, 1280>{h189}, Mat<bf16, 136, false, true>{v4}, m, n);
              mac_twice<bf16, 32, false, H, UPPER>(o1, Twice<bf16, 40, true, true, 1280>{h189}, Mat<bf16, 136, false, true>{v4}, m, n);
              in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) { const float acc = o1[w][e]; o1[w][e] = (acc + (a57_[w][e] * h43[r]) + (v73[r] * pick(width, &v33[(r) * 136 + (c)], n)) + (a179_[w][e] * h13[r])); });
              put_tile_rows<bf16, H, W>(m, n, o1, [&](int r, int c, auto y) { if (r < 32 && c < 128) grad1.put(r, c, y); });
          }
      });
      put_parts<128>(diagonal(sum52), v52);
      put_parts<128>(diagonal(sum65), v65);
  }
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  rectangles<32, 8>(4, [&](int r, int c) { return v192[(r) * 36 + (c)]; }, [&](int r, int part, float x) { v193[(r) * 8 + part] = x; });
  __syncthreads();
  // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
  sums<1, 128>([&](auto width, int i, int c, int n) { return v52[c + n]; }, [&](int i, float x) { v53[0] = x; });
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  scan<32, 1, false, false>(5, [&](int r, int c) { return (total<8>(v60, r) * h43[r]); }, [&](int r, int c, float x) { const Some<1> y = {x}; put(&v62[r], y); });
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  sums<1, 128>([&](auto width, int i, int c, int n) { return v65[c + n]; }, [&](int i, float x) { v66[0] = x; });
  // gradient of gamma
  if (x.input_grads[5].ptr) {
      const RowsTo<float, 1> grad5(x.input_grads[5], ch, ch.head);
      fill<32, 1>(6, [&](auto width, int r, int c, int n) { return ((v76[r] + (((total<4>(v90, r) + total<8>(v98, r)) - f_keep((r < ch.valid ? 1.f : 0.f), v137[r])) * v14[r])) + f_keep((r < ch.valid ? 1.f : 0.f), v151[r])); }, [&](int r, int c, auto y) { grad5.put(r, c, y); });
  }
  // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
  scan<32, 1, false, true>(7, [&](int r, int c) { return ((total<8>(v126, r) + total<8>(v183, r)) * h13[r]); }, [&](int r, int c, float x) { const Some<1> y = {x}; put(&v187[r], y); });
  __syncthreads();
  // gradient of g
  if (x.input_grads[3].ptr) {
      const RowsTo<float, 1> grad3(x.input_grads[3], ch, ch.head);
      fill<32, 1>(8, [&](auto width, int r, int c, int n) { return (((((total<4>(v106, r) + total<8>(v115, r)) + (((total<4>(v90, r) + total<8>(v98, r)) - f_keep((r < ch.valid ? 1.f : 0.f), v137[r])) * v21[r])) - (f_keep((r < ch.valid ? 1.f : 0.f), v170[r]) * in4(r, 0))) * v14[r]) + f_keep((r < ch.valid ? 1.f : 0.f), (((v62[r] + f_keep((r < ch.valid ? 1.f : 0.f), ((v53[0] + v66[0]) * v42[0]))) + v187[r]) + total<8>(v193, r)))); }, [&](int r, int c, auto y) { grad3.put(r, c, y); });
  }
}

// decode, rows of the states contiguous; 32 threads, 0 bytes of shared memory
extern "C" __global__ void __launch_bounds__(32) rla_c_db0f4a7fe25c0a6125a02633a7674d92_decode_rows(const __grid_constant__ Args x) {
  const int lane = threadIdx.x % LANES;
  const i64 number = blockIdx.x / 32;
  const i64 sequence = number / (int)x.heads;
  const int head = number % (int)x.heads, key_head = head / (int)x.group;
  wait_for_launch_before();
  const i64 slot = x.slots ? x.slots[sequence] : sequence;
  if (slot < 0) return;
  const float const0 = (float)x.constants[0];  // clip
  float* const state0 = rows_of<float>(x.states[0], slot, head, 0);  // S
  float* const state1 = rows_of<float>(x.states[1], slot, head, 0);  // R
  const int top = 0;
  const int row = top + (int)(blockIdx.x % 32) * 4 + (int)(threadIdx.x / LANES) * ROWS;
  float x0[ROWS][part(128)];
  part_of_state<false, false, 128, 128>(x0, state0, x.states[0].s2, x.states[0].s3, row, lane);
  float x1[ROWS][part(128)];
  part_of_state<false, false, 128, 128>(x1, state1, x.states[1].s2, x.states[1].s3, row, lane);
  for (i64 t = 0; t < x.tokens; t++) {
      const float* const in0 = rows_of<const float>(x.inputs[3], sequence, t, head);  // g
      const float raw0 = *in0;
      const bf16* const in2 = rows_of<const bf16>(x.inputs[0], sequence, t, key_head);  // q
      Pack<bf16, 4> raw2[part(128) / 4];
      part_of_row<128>(raw2, in2, lane);
      const float* const in5 = rows_of<const float>(x.inputs[5], sequence, t, head);  // gamma
      const float raw5 = *in5;
      const bf16* const in9 = rows_of<const bf16>(x.inputs[1], sequence, t, key_head);  // k
      Pack<bf16, 4> raw9[part(128) / 4];
      part_of_row<128>(raw9, in9, lane);
      const bf16* const in12 = rows_of<const bf16>(x.inputs[2], sequence, t, head);  // v
      bf16 raw12[ROWS];
      rows_of_vector<128>(raw12, in12, 1, row);
      const float* const in26 = rows_of<const float>(x.inputs[4], sequence, t, head);  // beta
      const float raw26 = *in26;
      const float e0 = widen(raw0);
      // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
      const float e1 = f_exp(e0);
      float e2[part(128)];
      widen_row(e2, raw2);
      const float e5 = widen(raw5);
      // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
      const float e6 = (e5 * e1);
      float e9[part(128)];
      widen_row(e9, raw9);
      // output o = a * S[t-1] * q + gamma * R[t] * q
      float e10[part(128)];
      EACH_COLUMN(part(128)) e10[c] = (e9[c] * e2[c]);
      const float e11 = sum_row(e10);
      const float e15 = const0;
      // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
      const float e16 = (-e15);
      const float e26 = widen(raw26);
      // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
      const float e28 = (e26 * e1);
      float reads[4 * ROWS];
      read_rows(reads + 0 * ROWS, x0, e2);  // S[t-1]
      read_rows(reads + 1 * ROWS, x1, e2);  // R[t-1]
      read_rows(reads + 2 * ROWS, x0, e9);  // S[t-1]
      read_rows(reads + 3 * ROWS, x1, e9);  // R[t-1]
      sum_lanes(reads);
      float e3[ROWS];
      EACH_ROW e3[r] = reads[0 * ROWS + r];
      // output o = a * S[t-1] * q + gamma * R[t] * q
      float e4[ROWS];
      EACH_ROW e4[r] = (e1 * e3[r]);
      float e7[ROWS];
      EACH_ROW e7[r] = reads[1 * ROWS + r];
      float e8[ROWS];
      EACH_ROW e8[r] = (e6 * e7[r]);
      float e12[ROWS];
      EACH_ROW e12[r] = widen(raw12[r]);
      float e13[ROWS];
      EACH_ROW e13[r] = reads[2 * ROWS + r];
      // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
      float e14[ROWS];
      EACH_ROW e14[r] = (e12[r] - e13[r]);
      float e17[ROWS];
      EACH_ROW e17[r] = f_clamp(e14[r], e16, e15);
      float e18[ROWS];
      EACH_ROW e18[r] = (e5 * e17[r]);
      float e19[ROWS];
      EACH_ROW e19[r] = reads[3 * ROWS + r];
      float e20[ROWS];
      EACH_ROW e20[r] = (e6 * e19[r]);
      float e21[ROWS];
      EACH_ROW e21[r] = (e18[r] - e20[r]);
      // output o = a * S[t-1] * q + gamma * R[t] * q
      float e22[ROWS];
      EACH_ROW e22[r] = (e5 * e21[r]);
      float e23[ROWS];
      EACH_ROW e23[r] = (e11 * e22[r]);
      float e24[ROWS];
      EACH_ROW e24[r] = (e8[r] + e23[r]);
      float e25[ROWS];
      EACH_ROW e25[r] = (e4[r] + e24[r]);
      // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
      float e27[ROWS];
      EACH_ROW e27[r] = (e26 * e12[r]);
      float e29[ROWS];
      EACH_ROW e29[r] = (e28 * e13[r]);
      float e30[ROWS];
      EACH_ROW e30[r] = (e27[r] - e29[r]);
      store_rows<128>(rows_of<bf16>(x.outputs[0], sequence, t, head), 1, e25, row, lane);
      EACH_ROW EACH_COLUMN(part(128)) x0[r][c] = x0[r][c] * e1 + e30[r] * e9[c];  // S[t]
      EACH_ROW EACH_COLUMN(part(128)) x1[r][c] = x1[r][c] * e1 + e21[r] * e9[c];  // R[t]
  }
  part_of_state<true, false, 128, 128>(x0, state0, x.states[0].s2, x.states[0].s3, row, lane);
  part_of_state<true, false, 128, 128>(x1, state1, x.states[1].s2, x.states[1].s3, row, lane);
}

// decode, columns of the states contiguous; 64 threads, 0 bytes of shared memory
extern "C" __global__ void __launch_bounds__(64) rla_c_db0f4a7fe25c0a6125a02633a7674d92_decode_columns(const __grid_constant__ Args x) {
  const int lane = threadIdx.x % LANES;
  const i64 number = blockIdx.x / 4;
  const i64 sequence = number / (int)x.heads;
  const int head = number % (int)x.heads, key_head = head / (int)x.group;
  wait_for_launch_before();
  const i64 slot = x.slots ? x.slots[sequence] : sequence;
  if (slot < 0) return;
  const float const0 = (float)x.constants[0];  // clip
  float* const state0 = rows_of<float>(x.states[0], slot, head, 0);  // S
  float* const state1 = rows_of<float>(x.states[1], slot, head, 0);  // R
  const int top = 0;
  const int row = top + (int)(blockIdx.x % 4) * 32 + (int)(threadIdx.x / LANES) * ROWS;
  float x0[ROWS][part(128)];
  part_of_state<false, true, 128, 128>(x0, state0, x.states[0].s2, x.states[0].s3, row, lane);
  float x1[ROWS][part(128)];
  part_of_state<false, true, 128, 128>(x1, state1, x.states[1].s2, x.states[1].s3, row, lane);
  for (i64 t = 0; t < x.tokens; t++) {
      const float* const in0 = rows_of<const float>(x.inputs[3], sequence, t, head);  // g
      const float raw0 = *in0;
      const bf16* const in2 = rows_of<const bf16>(x.inputs[0], sequence, t, key_head);  // q
      Pack<bf16, 4> raw2[part(128) / 4];
      part_of_row<128>(raw2, in2, lane);
      const float* const in5 = rows_of<const float>(x.inputs[5], sequence, t, head);  // gamma
      const float raw5 = *in5;
      const bf16* const in9 = rows_of<const bf16>(x.inputs[1], sequence, t, key_head);  // k
      Pack<bf16, 4> raw9[part(128) / 4];
      part_of_row<128>(raw9, in9, lane);
      const bf16* const in12 = rows_of<const bf16>(x.inputs[2], sequence, t, head);  // v
      bf16 raw12[ROWS];
      rows_of_vector<128>(raw12, in12, 1, row);
      const float* const in26 = rows_of<const float>(x.inputs[4], sequence, t, head);  // beta
      const float raw26 = *in26;
      const float e0 = widen(raw0);
      // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
      const float e1 = f_exp(e0);
      float e2[part(128)];
      widen_row(e2, raw2);
      const float e5 = widen(raw5);
      // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
      const float e6 = (e5 * e1);
      float e9[part(128)];
      widen_row(e9, raw9);
      // output o = a * S[t-1] * q + gamma * R[t] * q
      float e10[part(128)];
      EACH_COLUMN(part(128)) e10[c] = (e9[c] * e2[c]);
      const float e11 = sum_row(e10);
      const float e15 = const0;
      // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
      const float e16 = (-e15);
      const float e26 = widen(raw26);
      // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
      const float e28 = (e26 * e1);
      float reads[4 * ROWS];
      read_rows(reads + 0 * ROWS, x0, e2);  // S[t-1]
      read_rows(reads + 1 * ROWS, x1, e2);  // R[t-1]
      read_rows(reads + 2 * ROWS, x0, e9);  // S[t-1]
      read_rows(reads + 3 * ROWS, x1, e9);  // R[t-1]
      sum_lanes(reads);
      float e3[ROWS];
      EACH_ROW e3[r] = reads[0 * ROWS + r];
      // output o = a * S[t-1] * q + gamma * R[t] * q
      float e4[ROWS];
      EACH_ROW e4[r] = (e1 * e3[r]);
      float e7[ROWS];
      EACH_ROW e7[r] = reads[1 * ROWS + r];
      float e8[ROWS];
      EACH_ROW e8[r] = (e6 * e7[r]);
      float e12[ROWS];
      EACH_ROW e12[r] = widen(raw12[r]);
      float e13[ROWS];
      EACH_ROW e13[r] = reads[2 * ROWS + r];
      // R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T
      float e14[ROWS];
      EACH_ROW e14[r] = (e12[r] - e13[r]);
      float e17[ROWS];
      EACH_ROW e17[r] = f_clamp(e14[r], e16, e15);
      float e18[ROWS];
      EACH_ROW e18[r] = (e5 * e17[r]);
      float e19[ROWS];
      EACH_ROW e19[r] = reads[3 * ROWS + r];
      float e20[ROWS];
      EACH_ROW e20[r] = (e6 * e19[r]);
      float e21[ROWS];
      EACH_ROW e21[r] = (e18[r] - e20[r]);
      // output o = a * S[t-1] * q + gamma * R[t] * q
      float e22[ROWS];
      EACH_ROW e22[r] = (e5 * e21[r]);
      float e23[ROWS];
      EACH_ROW e23[r] = (e11 * e22[r]);
      float e24[ROWS];
      EACH_ROW e24[r] = (e8[r] + e23[r]);
      float e25[ROWS];
      EACH_ROW e25[r] = (e4[r] + e24[r]);
      // S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T
      float e27[ROWS];
      EACH_ROW e27[r] = (e26 * e12[r]);
      float e29[ROWS];
      EACH_ROW e29[r] = (e28 * e13[r]);
      float e30[ROWS];
      EACH_ROW e30[r] = (e27[r] - e29[r]);
      store_rows<128>(rows_of<bf16>(x.outputs[0], sequence, t, head), 1, e25, row, lane);
      EACH_ROW EACH_COLUMN(part(128)) x0[r][c] = x0[r][c] * e1 + e30[r] * e9[c];  // S[t]
      EACH_ROW EACH_COLUMN(part(128)) x1[r][c] = x1[r][c] * e1 + e21[r] * e9[c];  // R[t]
  }
  part_of_state<true, true, 128, 128>(x0, state0, x.states[0].s2, x.states[0].s3, row, lane);
  part_of_state<true, true, 128, 128>(x1, state1, x.states[1].s2, x.states[1].s3, row, lane);
}

