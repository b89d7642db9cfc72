// forward, prepare; 128 threads, 22400 bytes of shared memory
extern "C" __global__ void __launch_bounds__(128, 8) rla_c_a8a464fa868726bb53755f1357c740df_forward_prepare(const __grid_constant__ Args x) {
  extern __shared__ __align__(128) char shared[];
  const int head = blockIdx.x % (u32)x.heads;
  const Chunk ch = chunk_of(x.sequences, blockIdx.x / (u32)x.heads, head, x.group, CHUNK);
  const i64 number = blockIdx.x;
  char* const record = (char*)__builtin_assume_aligned(x.record, 128) + number * 8832;
  if (!ch.valid) return;
  let_next_start();
  float* const w7 = (float*)(record + 0);
  float* const w10 = (float*)(record + 128);
  float* const w12 = (float*)(record + 256);
  float* const w22 = (float*)(record + 384);
  float* const w24 = (float*)(record + 400);
  float* const w31 = (float*)(record + 528);
  float* const w38 = (float*)(record + 656);
  float* const w44 = (float*)(record + 784);
  float* const w49 = (float*)(record + 912);
  float* const w51 = (float*)(record + 928);
  bf16* const w17 = (bf16*)(record + 1056);
  bf16* const w33 = (bf16*)(record + 3616);
  bf16* const w40 = (bf16*)(record + 6176);
  auto in3 = [&](int t, int n) { return widen(rows_of<const float>(x.inputs[3], ch.batch, ch.first, ch.head)[ch.token(t) * x.inputs[3].s1 + n]); };
  auto in4 = [&](int t, int n) { return widen(rows_of<const float>(x.inputs[4], ch.batch, ch.first, ch.head)[ch.token(t) * x.inputs[4].s1 + n]); };
  auto in5 = [&](int t, int n) { return widen(rows_of<const float>(x.inputs[5], ch.batch, ch.first, ch.head)[ch.token(t) * x.inputs[5].s1 + n]); };
  const float const0 = (float)x.constants[0];
  bf16* const v4 = (bf16*)(shared + 0);
  float* const v11 = (float*)(shared + 8704);
  float* const v16 = (float*)(shared + 17792);
  float* const v26 = (float*)(shared + 8832);
  bf16* const v27 = (bf16*)(shared + 8960);
  float* const v36 = (float*)(shared + 17664);
  // S[t] = a * S[t-1] + beta * v * k^T
  copy_rows<bf16, 32, 128, 136>(v4, x.inputs[1], ch, ch.key_head, 128, false);
  copies_end();
  // R[t] = a * R[t-1] + gamma * r * k^T
  fill<1, 1>(0, [&](auto width, int r, int c, int n) { return (-const0); }, [&](int r, int c, auto y) { put(&w22[0], y); });
  // output o = a * S[t-1] * q + gamma * R[t] * q
  copy_rows<bf16, 32, 128, 136>(v27, x.inputs[0], ch, ch.key_head, 128, false);
  copies_end();
  // S[t] = a * S[t-1] + beta * v * k^T
  // R[t] = a * R[t-1] + gamma * r * k^T
  // R[t] = a * R[t-1] + gamma * r * k^T
  // R[t] = a * R[t-1] + gamma * r * k^T
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  {
      constexpr int N = 1;
      sweep<32, 1, N, 0, 1>([&](int r, int c, auto& sum) {
          const Width<N> width;
          Some<N> e7, e10, e11, e24, e26, e36;
          #pragma unroll
          for (int n = 0; n < N; n++) {
              e7.x[n] = f_keep((r < ch.valid ? 1.f : 0.f), in4(r, 0));
              e10.x[n] = in5(r, 0);
              e11.x[n] = f_exp(f_keep((r < ch.valid ? 1.f : 0.f), in3(r, 0)));
              e24.x[n] = f_keep((r < ch.valid ? 1.f : 0.f), e10.x[n]);
              e26.x[n] = f_exp(in3(r, 0));
              e36.x[n] = (e10.x[n] * e26.x[n]);
          }
          put(&w7[r], e7);
          put(&w10[r], e10);
          put(&v11[r], e11);
          put(&w24[r], e24);
          put(&v26[r], e26);
          put(&v36[r], e36);
      }, [&](int r, const auto& sum) {
      });
  }
  copies_wait<0>();
  __syncthreads();
  // R[t] = a * R[t-1] + gamma * r * k^T
  scan<32, 1, true, false>(1, [&](int r, int c) { return v11[r]; }, [&](int r, int c, float x) { const Some<1> y = {x}; put(&w12[r], y); });
  // R[t] = a * R[t-1] + gamma * r * k^T
  segments<32>(2, [&](int r) { return v11[r]; }, [&](int r, int c, float x) { const Some<1> y = {x}; put(&v16[(r) * 36 + (c)], y); });
  // output o = a * S[t-1] * q + gamma * R[t] * q
  sums<32, 128>([&](auto width, int i, int c, int n) { return (pick(width, &v4[(i) * 136 + (c)], n) * pick(width, &v27[(i) * 136 + (c)], n)); }, [&](int i, float x) { w44[i] = x; });
  // S[t] = a * S[t-1] + beta * v * k^T
  totals<32, 1>(3, [&](int r, int c) { return v11[r]; }, [&](int r, int c, float x) { const Some<1> y = {x}; put(&w49[0], y); });
  // S[t] = a * S[t-1] + beta * v * k^T
  scan<32, 1, true, true>(4, [&](int r, int c) { return v11[r]; }, [&](int r, int c, float x) { const Some<1> y = {x}; put(&w51[r], y); });
  __syncthreads();
  // R[t] = a * R[t-1] + gamma * r * k^T
  tiles<32, 32>(20, [&](auto& acc, int m, int n) {
      if (m + 16 > n) {
          mac<bf16, 128, false>(acc, Mat<bf16, 136, false, true>{v4}, Mat<bf16, 136, true, true>{v4}, m, n);
      }
  }, [&](auto width, int r, int c, int n, float acc) { return ((acc) * pick(width, &v16[(r) * 36 + (c)], n)); }, [&](int r, int c, auto y) {
      put(&w17[(r) * 40 + (c)], y);
  });
  // output o = a * S[t-1] * q + gamma * R[t] * q
  fill<32, 1>(6, [&](auto width, int r, int c, int n) { return (v26[r] * w12[r]); }, [&](int r, int c, auto y) { put(&w31[r], y); });
  // output o = a * S[t-1] * q + gamma * R[t] * q
  fill<32, 1>(7, [&](auto width, int r, int c, int n) { return (v36[r] * w12[r]); }, [&](int r, int c, auto y) { put(&w38[r], y); });
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  {
      each_tile<32, 32, 1, 2>(32, [&](int m, int n) {
          constexpr int H = 1, W = 2;
          float a28_[H * W][4] = {};
          if (m + 16 * H > n) {
              mac<bf16, 128, false>(a28_, Mat<bf16, 136, false, true>{v27}, Mat<bf16, 136, true, true>{v4}, m, n);
          }
          float a33_[H * W][4] = {};
          in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) { const float acc = a33_[w][e]; a33_[w][e] = (v26[r] * (a28_[w][e] * pick(width, &v16[(r) * 36 + (c)], n))); });
          float a40_[H * W][4] = {};
          in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) { const float acc = a40_[w][e]; a40_[w][e] = (v36[r] * (a28_[w][e] * pick(width, &v16[(r) * 36 + (c)], n))); });
          put_tile<H, W>(m, n, a33_, [&](int r, int c, auto y) { put(&w33[(r) * 40 + (c)], y); });
          put_tile<H, W>(m, n, a40_, [&](int r, int c, auto y) { put(&w40[(r) * 40 + (c)], y); });
      });
  }
}

// forward, chain; 256 threads, 165248 bytes of shared memory
extern "C" __global__ void __launch_bounds__(256, 1) CLUSTER_OF(2) rla_c_a8a464fa868726bb53755f1357c740df_forward_chain(const __grid_constant__ Args x) {
  extern __shared__ __align__(128) char shared[];
  wait_for_end();
  constexpr int SLICES = 8, GROUPS = 1, ROLES = 3, COPIERS = 5, LAG = 2, AHEAD = 3;
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
  set_up_barriers<AHEAD, CLUSTER, 5>(shared + 165120);
  if (role >= ROLES) {
      const int member = warp - GROUPS * ROLES, lane = threadIdx.x & 31;
      const int last = (int)(tokens - (i64)(chunks - 1) * CHUNK);  // tokens of the last chunk
      const Chunk ch = chunk_of_step(0);
      if (member == 0) {
          const char* record0 = (char*)__builtin_assume_aligned(x.record, 128) + (ch.slot * x.heads + head) * 8832;
          const i64 record0_step = x.heads * 8832;
          int place6_0 = 0;
          copy_steps<AHEAD, CLUSTER, true, true, false>(lane, shared + 165120, chunks + LAG, [&](Crew& crew, int step) {
              if (const int i = step - 0; i >= 0 && i < chunks) {
                  fetch<8736, CLUSTER>(crew, shared + 0 + place6_0 * 8832, record0 + 0, 0);
                  record0 += record0_step;
                  place6_0 = place6_0 == 5 ? 0 : place6_0 + 1;
              }
          });
      }
      if (member == 1) {
          int place5_0 = 0;
          Rows<bf16, bf16, CHUNK, 128, 136, 2, CLUSTER, true> rows1(x.inputs[1], ch, ch.key_head, 0, 128, false, false, 1);
          copy_steps<AHEAD, CLUSTER, false, true, false>(lane, shared + 165120, chunks + LAG, [&](Crew& crew, int step) {
              if (const int i = step - 0; i >= 0 && i < chunks) {
                  const int valid = i == chunks - 1 ? last : CHUNK;
                  rows1.fetch(crew, (bf16*)(shared + 52992 + place5_0 * 8704), valid);
                  place5_0 = place5_0 == 4 ? 0 : place5_0 + 1;
              }
          });
      }
      if (member == 2 || member == 3) {
          const int part = member == 3;
          int place4_2 = 0;
          Rows<bf16, bf16, CHUNK, 128, 136, 2, CLUSTER, true> rows2(x.inputs[0], ch, ch.key_head, 0, 128, false, false, part);
          copy_steps<AHEAD, CLUSTER, false, true, false>(lane, shared + 165120, chunks + LAG, [&](Crew& crew, int step) {
              if (const int i = step - 2; i >= 0 && i < chunks) {
                  const int valid = i == chunks - 1 ? last : CHUNK;
                  rows2.fetch(crew, (bf16*)(shared + 96512 + place4_2 * 8704), valid);
                  place4_2 = place4_2 == 3 ? 0 : place4_2 + 1;
              }
          });
      }
      if (member == 4) {
          int place5_0 = 0;
          int place6_0 = 0;
          Rows<bf16, bf16, CHUNK, 128, 136, 2, CLUSTER, true> rows1(x.inputs[1], ch, ch.key_head, 0, 128, false, false, 0);
          Rows<bf16, bf16, CHUNK, 16, 24, 1, 1, false> rows3(x.inputs[2], ch, ch.head, column, 128, false, false, 0);
          copy_steps<AHEAD, CLUSTER, false, true, false>(lane, shared + 165120, chunks + LAG, [&](Crew& crew, int step) {
              if (const int i = step - 0; i >= 0 && i < chunks) {
                  const int valid = i == chunks - 1 ? last : CHUNK;
                  rows1.fetch(crew, (bf16*)(shared + 52992 + place5_0 * 8704), valid);
                  rows3.fetch(crew, (bf16*)(shared + 131328 + place6_0 * 1536), valid);
                  place5_0 = place5_0 == 4 ? 0 : place5_0 + 1;
                  place6_0 = place6_0 == 5 ? 0 : place6_0 + 1;
              }
          });
      }
  }
  char* const exchange = shared + 140544 + warp % GROUPS * 24576;
  if (role == 0) {
      // carries S
      Tile<16> state0;
      every(state0, [&](float& y, int, int, int r, int c) {
          y = x.states_in[0].ptr && channel + r < 128 && c < 128 ? rows_of<float>(x.states_in[0], sequence, head, 0)[(i64)(channel + r) * x.states_in[0].s2 + (i64)(c) * x.states_in[0].s3] : 0.f;
      });
      int place3 = 0;
      int place5 = 0;
      int place6 = 0;
      for (int step = 0; step < chunks + LAG; step++) {
          meet();
          const int i = step - 0;
          if (i < 0 || i >= chunks) continue;
          const Chunk ch = chunk_of_step(i);
          const i64 number = ch.slot * x.heads + head;
          char* const record = (char*)__builtin_assume_aligned(x.record, 128) + number * 8832;
          const float* const v7 = (const float*)(shared + 0 + place6 * 8832);
          const float* const v49 = (const float*)(shared + 912 + place6 * 8832);
          const float* const v51 = (const float*)(shared + 928 + place6 * 8832);
          const bf16* const v4 = (const bf16*)(shared + 52992 + place5 * 8704);
          const bf16* const slab6 = (const bf16*)(shared + 131328 + place6 * 1536);
          char* const from0 = exchange + 0 + place3 * 4096;
          // S[t] = a * S[t-1] + beta * v * k^T
          Tile<4> t6;
          take<bf16, 24>(t6, slab6 + own);
          // S[t] = a * S[t-1] + beta * v * k^T
          Tile<4> t8;
          every(t8, [&](float& x, int n, int e, int r, int c) { x = (per_token(v7, n, e) * t6.x[n][e]); });
          // S[t] = a * S[t-1] + beta * v * k^T
          Tile<4> t52;
          every(t52, [&](float& x, int n, int e, int r, int c) { x = (per_token(v51, n, e) * t8.x[n][e]); });
          leave<bf16>(from0, state0);
          // S[t] = a * S[t-1] + beta * v * k^T
          every(state0, [&](float& x, int n, int e, int r, int c) { x = (v49[0] * state0.x[n][e]); });
          multiply<bf16, 136, true, WHOLE, false, 1>(state0, t52, v4);
          place3 = place3 == 2 ? 0 : place3 + 1;
          place5 = place5 == 4 ? 0 : place5 + 1;
          place6 = place6 == 5 ? 0 : place6 + 1;
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
      int place5 = 0;
      int place6 = 0;
      for (int step = 0; step < chunks + LAG; step++) {
          meet();
          const int i = step - 1;
          if (i < 0 || i >= chunks) continue;
          const Chunk ch = chunk_of_step(i);
          const i64 number = ch.slot * x.heads + head;
          char* const record = (char*)__builtin_assume_aligned(x.record, 128) + number * 8832;
          const float* const v7 = (const float*)(shared + 0 + place6 * 8832);
          const float* const v12 = (const float*)(shared + 256 + place6 * 8832);
          const float* const v22 = (const float*)(shared + 384 + place6 * 8832);
          const float* const v24 = (const float*)(shared + 400 + place6 * 8832);
          const float* const v49 = (const float*)(shared + 912 + place6 * 8832);
          const float* const v51 = (const float*)(shared + 928 + place6 * 8832);
          const bf16* const v17 = (const bf16*)(shared + 1056 + place6 * 8832);
          const bf16* const v4 = (const bf16*)(shared + 52992 + place5 * 8704);
          const bf16* const slab6 = (const bf16*)(shared + 131328 + place6 * 1536);
          char* const from0 = exchange + 0 + place3 * 4096;
          char* const from1 = exchange + 12288 + place2 * 4096;
          char* const at25 = exchange + 20480 + place2 * 2048;
          // S[t] = a * S[t-1] + beta * v * k^T
          Tile<4> t6;
          take<bf16, 24>(t6, slab6 + own);
          // S[t] = a * S[t-1] + beta * v * k^T
          Tile<4> t8;
          every(t8, [&](float& x, int n, int e, int r, int c) { x = (per_token(v7, n, e) * t6.x[n][e]); });
          // R[t] = a * R[t-1] + gamma * r * k^T
          Tile<4> t13;
          every(t13, [&](float& x, int n, int e, int r, int c) { x = 0.f; });
          multiply_left<bf16, 136, false, WHOLE, false, 16>(t13, from0, v4);
          leave<bf16>(from1, state1);
          // R[t] = a * R[t-1] + gamma * r * k^T
          every(state1, [&](float& x, int n, int e, int r, int c) { x = (v49[0] * state1.x[n][e]); });
          // R[t] = a * R[t-1] + gamma * r * k^T
          Tile<4> t20;
          every(t20, [&](float& x, int n, int e, int r, int c) { x = t6.x[n][e] - (per_token(v12, n, e) * t13.x[n][e]); });
          multiply<bf16, 40, false, UPPER, true, 1>(t20, t8, v17);
          // R[t] = a * R[t-1] + gamma * r * k^T
          Tile<4> t25;
          every(t25, [&](float& x, int n, int e, int r, int c) { x = (per_token(v24, n, e) * f_clamp(t20.x[n][e], v22[0], const0)); });
          // R[t] = a * R[t-1] + gamma * r * k^T
          Tile<4> t56;
          every(t56, [&](float& x, int n, int e, int r, int c) { x = (per_token(v51, n, e) * t25.x[n][e]); });
          multiply<bf16, 136, true, WHOLE, false, 1>(state1, t56, v4);
          leave(at25, t25);
          place2 = place2 == 1 ? 0 : place2 + 1;
          place3 = place3 == 2 ? 0 : place3 + 1;
          place5 = place5 == 4 ? 0 : place5 + 1;
          place6 = place6 == 5 ? 0 : place6 + 1;
      }
      if (x.states_out[1].ptr) every(state1, [&](float& y, int, int, int r, int c) {
          if (channel + r < 128 && c < 128) rows_of<float>(x.states_out[1], sequence, head, 0)[(i64)(channel + r) * x.states_out[1].s2 + (i64)(c) * x.states_out[1].s3] = y;
      });
  }
  if (role == 2) {
      int place2 = 0;
      int place3 = 0;
      int place4 = 0;
      int place6 = 0;
      const i64 out0_step = x.outputs[0].s1;
      bf16* out0 = rows_of<bf16>(x.outputs[0], batch, start, head);
      for (int step = 0; step < chunks + LAG; step++) {
          meet();
          const int i = step - 2;
          if (i < 0 || i >= chunks) continue;
          const Chunk ch = chunk_of_step(i);
          const i64 number = ch.slot * x.heads + head;
          char* const record = (char*)__builtin_assume_aligned(x.record, 128) + number * 8832;
          const float* const v7 = (const float*)(shared + 0 + place6 * 8832);
          const float* const v10 = (const float*)(shared + 128 + place6 * 8832);
          const float* const v31 = (const float*)(shared + 528 + place6 * 8832);
          const float* const v38 = (const float*)(shared + 656 + place6 * 8832);
          const float* const v44 = (const float*)(shared + 784 + place6 * 8832);
          const bf16* const v33 = (const bf16*)(shared + 3616 + place6 * 8832);
          const bf16* const v40 = (const bf16*)(shared + 6176 + place6 * 8832);
          const bf16* const v27 = (const bf16*)(shared + 96512 + place4 * 8704);
          const bf16* const slab6 = (const bf16*)(shared + 131328 + place6 * 1536);
          char* const from0 = exchange + 0 + place3 * 4096;
          char* const from1 = exchange + 12288 + place2 * 4096;
          char* const at25 = exchange + 20480 + place2 * 2048;
          Tile<4> t25;
          found(t25, at25);
          // S[t] = a * S[t-1] + beta * v * k^T
          Tile<4> t6;
          take<bf16, 24>(t6, slab6 + own);
          // S[t] = a * S[t-1] + beta * v * k^T
          Tile<4> t8;
          every(t8, [&](float& x, int n, int e, int r, int c) { x = (per_token(v7, n, e) * t6.x[n][e]); });
          // output o = a * S[t-1] * q + gamma * R[t] * q
          Tile<4> t30;
          every(t30, [&](float& x, int n, int e, int r, int c) { x = 0.f; });
          multiply_left<bf16, 136, false, WHOLE, false, 16>(t30, from0, v27);
          // output o = a * S[t-1] * q + gamma * R[t] * q
          Tile<4> t37;
          every(t37, [&](float& x, int n, int e, int r, int c) { x = 0.f; });
          multiply_left<bf16, 136, false, WHOLE, false, 16>(t37, from1, v27);
          // output o = a * S[t-1] * q + gamma * R[t] * q
          Tile<4> t48;
          every(t48, [&](float& x, int n, int e, int r, int c) { x = (per_token(v31, n, e) * t30.x[n][e]) + (per_token(v38, n, e) * t37.x[n][e]) + (per_token(v44, n, e) * (per_token(v10, n, e) * t25.x[n][e])); });
          multiply<bf16, 40, false, UPPER, false, 1>(t48, t8, v33);
          multiply<bf16, 40, false, UPPER, false, 1>(t48, t25, v40);
          // output 0
          write_rows<bf16>(t48, out0 + channel, out0_step, ch.valid, 16);
          place2 = place2 == 1 ? 0 : place2 + 1;
          place3 = place3 == 2 ? 0 : place3 + 1;
          place4 = place4 == 3 ? 0 : place4 + 1;
          place6 = place6 == 5 ? 0 : place6 + 1;
          out0 += CHUNK * out0_step;
      }
  }
  if (CLUSTER > 1) meet_cluster();  // no block leaves while copies into it are under way
}

// forward_save, prepare; 128 threads, 22528 bytes of shared memory
extern "C" __global__ void __launch_bounds__(128, 8) rla_c_a8a464fa868726bb53755f1357c740df_forward_save_prepare(const __grid_constant__ Args x) {
  extern __shared__ __align__(128) char shared[];
  const int head = blockIdx.x % (u32)x.heads;
  const Chunk ch = chunk_of(x.sequences, blockIdx.x / (u32)x.heads, head, x.group, CHUNK);
  const i64 number = blockIdx.x;
  char* const record = (char*)__builtin_assume_aligned(x.record, 128) + number * 6272;
  char* const kept = (char*)__builtin_assume_aligned(x.kept, 128) + number * 77312;
  if (!ch.valid) return;
  let_next_start();
  float* const w7 = (float*)(record + 0);
  float* const w10 = (float*)(record + 128);
  float* const w12 = (float*)(record + 256);
  float* const w22 = (float*)(record + 384);
  float* const w24 = (float*)(record + 400);
  float* const w31 = (float*)(record + 528);
  float* const w38 = (float*)(record + 656);
  float* const w44 = (float*)(record + 784);
  float* const w49 = (float*)(record + 912);
  float* const w51 = (float*)(record + 928);
  bf16* const w17 = (bf16*)(record + 1056);
  bf16* const w33 = (bf16*)(record + 3616);
  bf16* const w40 = (bf16*)(kept + 74656);
  float* const k10 = (float*)(kept + 73728);
  float* const k12 = (float*)(kept + 73856);
  float* const k22 = (float*)(kept + 73984);
  float* const k24 = (float*)(kept + 74000);
  float* const k44 = (float*)(kept + 74128);
  float* const k49 = (float*)(kept + 74256);
  float* const k51 = (float*)(kept + 74272);
  float* const k38 = (float*)(kept + 74400);
  float* const k31 = (float*)(kept + 74528);
  auto in3 = [&](int t, int n) { return widen(rows_of<const float>(x.inputs[3], ch.batch, ch.first, ch.head)[ch.token(t) * x.inputs[3].s1 + n]); };
  auto in4 = [&](int t, int n) { return widen(rows_of<const float>(x.inputs[4], ch.batch, ch.first, ch.head)[ch.token(t) * x.inputs[4].s1 + n]); };
  auto in5 = [&](int t, int n) { return widen(rows_of<const float>(x.inputs[5], ch.batch, ch.first, ch.head)[ch.token(t) * x.inputs[5].s1 + n]); };
  const float const0 = (float)x.constants[0];
  bf16* const v4 = (bf16*)(shared + 0);
  float* const v11 = (float*)(shared + 8704);
  float* const v16 = (float*)(shared + 17792);
  float* const v26 = (float*)(shared + 8832);
  bf16* const v27 = (bf16*)(shared + 8960);
  float* const v36 = (float*)(shared + 17664);
  float* const v44 = (float*)(shared + 22400);
  // S[t] = a * S[t-1] + beta * v * k^T
  copy_rows<bf16, 32, 128, 136>(v4, x.inputs[1], ch, ch.key_head, 128, false);
  copies_end();
  // R[t] = a * R[t-1] + gamma * r * k^T
  fill<1, 1>(0, [&](auto width, int r, int c, int n) { return (-const0); }, [&](int r, int c, auto y) { put(&w22[0], y); put(&k22[0], y); });
  // output o = a * S[t-1] * q + gamma * R[t] * q
  copy_rows<bf16, 32, 128, 136>(v27, x.inputs[0], ch, ch.key_head, 128, false);
  copies_end();
  // S[t] = a * S[t-1] + beta * v * k^T
  // R[t] = a * R[t-1] + gamma * r * k^T
  // R[t] = a * R[t-1] + gamma * r * k^T
  // R[t] = a * R[t-1] + gamma * r * k^T
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  {
      constexpr int N = 1;
      sweep<32, 1, N, 0, 1>([&](int r, int c, auto& sum) {
          const Width<N> width;
          Some<N> e7, e10, e11, e24, e26, e36;
          #pragma unroll
          for (int n = 0; n < N; n++) {
              e7.x[n] = f_keep((r < ch.valid ? 1.f : 0.f), in4(r, 0));
              e10.x[n] = in5(r, 0);
              e11.x[n] = f_exp(f_keep((r < ch.valid ? 1.f : 0.f), in3(r, 0)));
              e24.x[n] = f_keep((r < ch.valid ? 1.f : 0.f), e10.x[n]);
              e26.x[n] = f_exp(in3(r, 0));
              e36.x[n] = (e10.x[n] * e26.x[n]);
          }
          put(&w7[r], e7);
          put(&w10[r], e10); put(&k10[r], e10);
          put(&v11[r], e11);
          put(&w24[r], e24); put(&k24[r], e24);
          put(&v26[r], e26);
          put(&v36[r], e36);
      }, [&](int r, const auto& sum) {
      });
  }
  copies_wait<0>();
  __syncthreads();
  // R[t] = a * R[t-1] + gamma * r * k^T
  scan<32, 1, true, false>(1, [&](int r, int c) { return v11[r]; }, [&](int r, int c, float x) { const Some<1> y = {x}; put(&w12[r], y); put(&k12[r], y); });
  // R[t] = a * R[t-1] + gamma * r * k^T
  segments<32>(2, [&](int r) { return v11[r]; }, [&](int r, int c, float x) { const Some<1> y = {x}; put(&v16[(r) * 36 + (c)], y); });
  // output o = a * S[t-1] * q + gamma * R[t] * q
  sums<32, 128>([&](auto width, int i, int c, int n) { return (pick(width, &v4[(i) * 136 + (c)], n) * pick(width, &v27[(i) * 136 + (c)], n)); }, [&](int i, float x) { v44[i] = x; });
  // S[t] = a * S[t-1] + beta * v * k^T
  totals<32, 1>(3, [&](int r, int c) { return v11[r]; }, [&](int r, int c, float x) { const Some<1> y = {x}; put(&w49[0], y); put(&k49[0], y); });
  // S[t] = a * S[t-1] + beta * v * k^T
  scan<32, 1, true, true>(4, [&](int r, int c) { return v11[r]; }, [&](int r, int c, float x) { const Some<1> y = {x}; put(&w51[r], y); put(&k51[r], y); });
  __syncthreads();
  // R[t] = a * R[t-1] + gamma * r * k^T
  tiles<32, 32>(20, [&](auto& acc, int m, int n) {
      if (m + 16 > n) {
          mac<bf16, 128, false>(acc, Mat<bf16, 136, false, true>{v4}, Mat<bf16, 136, true, true>{v4}, m, n);
      }
  }, [&](auto width, int r, int c, int n, float acc) { return ((acc) * pick(width, &v16[(r) * 36 + (c)], n)); }, [&](int r, int c, auto y) {
      put(&w17[(r) * 40 + (c)], y);
  });
  // output o = a * S[t-1] * q + gamma * R[t] * q
  fill<32, 1>(6, [&](auto width, int r, int c, int n) { return (v26[r] * w12[r]); }, [&](int r, int c, auto y) { put(&w31[r], y); put(&k31[r], y); });
  // output o = a * S[t-1] * q + gamma * R[t] * q
  fill<32, 1>(7, [&](auto width, int r, int c, int n) { return (v36[r] * w12[r]); }, [&](int r, int c, auto y) { put(&w38[r], y); put(&k38[r], y); });
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  {
      each_tile<32, 32, 1, 2>(32, [&](int m, int n) {
          constexpr int H = 1, W = 2;
          float a28_[H * W][4] = {};
          if (m + 16 * H > n) {
              mac<bf16, 128, false>(a28_, Mat<bf16, 136, false, true>{v27}, Mat<bf16, 136, true, true>{v4}, m, n);
          }
          float a33_[H * W][4] = {};
          in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) { const float acc = a33_[w][e]; a33_[w][e] = (v26[r] * (a28_[w][e] * pick(width, &v16[(r) * 36 + (c)], n))); });
          float a40_[H * W][4] = {};
          in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) { const float acc = a40_[w][e]; a40_[w][e] = (v36[r] * (a28_[w][e] * pick(width, &v16[(r) * 36 + (c)], n))); });
          put_tile<H, W>(m, n, a33_, [&](int r, int c, auto y) { put(&w33[(r) * 40 + (c)], y); });
          put_tile<H, W>(m, n, a40_, [&](int r, int c, auto y) { put(&w40[(r) * 40 + (c)], y); });
      });
  }
  store_block<128>(9, w44, v44);
  store_block<128>(10, k44, v44);
}

// forward_save, chain; 256 threads, 160128 bytes of shared memory
extern "C" __global__ void __launch_bounds__(256, 1) CLUSTER_OF(2) rla_c_a8a464fa868726bb53755f1357c740df_forward_save_chain(const __grid_constant__ Args x) {
  extern __shared__ __align__(128) char shared[];
  wait_for_end();
  constexpr int SLICES = 8, GROUPS = 1, ROLES = 3, COPIERS = 5, LAG = 2, AHEAD = 3;
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
  set_up_barriers<AHEAD, CLUSTER, 5>(shared + 160000);
  if (role >= ROLES) {
      const int member = warp - GROUPS * ROLES, lane = threadIdx.x & 31;
      const int last = (int)(tokens - (i64)(chunks - 1) * CHUNK);  // tokens of the last chunk
      const Chunk ch = chunk_of_step(0);
      if (member == 0) {
          const char* record0 = (char*)__builtin_assume_aligned(x.record, 128) + (ch.slot * x.heads + head) * 6272;
          const i64 record0_step = x.heads * 6272;
          int place6_0 = 0;
          const char* kept2 = (char*)__builtin_assume_aligned(x.kept, 128) + (ch.slot * x.heads + head) * 77312;
          const i64 kept2_step = x.heads * 77312;
          int place4_2 = 0;
          copy_steps<AHEAD, CLUSTER, true, true, false>(lane, shared + 160000, chunks + LAG, [&](Crew& crew, int step) {
              if (const int i = step - 0; i >= 0 && i < chunks) {
                  fetch<6176, CLUSTER>(crew, shared + 10240 + place6_0 * 6272, record0 + 0, 1);
                  record0 += record0_step;
                  place6_0 = place6_0 == 5 ? 0 : place6_0 + 1;
              }
              if (const int i = step - 2; i >= 0 && i < chunks) {
                  fetch<2560, CLUSTER>(crew, shared + 0 + place4_2 * 2560, kept2 + 74656, 0);
                  kept2 += kept2_step;
                  place4_2 = place4_2 == 3 ? 0 : place4_2 + 1;
              }
          });
      }
      if (member == 1) {
          int place5_0 = 0;
          Rows<bf16, bf16, CHUNK, 128, 136, 2, CLUSTER, true> rows2(x.inputs[1], ch, ch.key_head, 0, 128, false, false, 1);
          copy_steps<AHEAD, CLUSTER, false, true, false>(lane, shared + 160000, chunks + LAG, [&](Crew& crew, int step) {
              if (const int i = step - 0; i >= 0 && i < chunks) {
                  const int valid = i == chunks - 1 ? last : CHUNK;
                  rows2.fetch(crew, (bf16*)(shared + 47872 + place5_0 * 8704), valid);
                  place5_0 = place5_0 == 4 ? 0 : place5_0 + 1;
              }
          });
      }
      if (member == 2 || member == 3) {
          const int part = member == 3;
          int place4_2 = 0;
          Rows<bf16, bf16, CHUNK, 128, 136, 2, CLUSTER, true> rows3(x.inputs[0], ch, ch.key_head, 0, 128, false, false, part);
          copy_steps<AHEAD, CLUSTER, false, true, false>(lane, shared + 160000, chunks + LAG, [&](Crew& crew, int step) {
              if (const int i = step - 2; i >= 0 && i < chunks) {
                  const int valid = i == chunks - 1 ? last : CHUNK;
                  rows3.fetch(crew, (bf16*)(shared + 91392 + place4_2 * 8704), valid);
                  place4_2 = place4_2 == 3 ? 0 : place4_2 + 1;
              }
          });
      }
      if (member == 4) {
          int place5_0 = 0;
          int place6_0 = 0;
          Rows<bf16, bf16, CHUNK, 128, 136, 2, CLUSTER, true> rows2(x.inputs[1], ch, ch.key_head, 0, 128, false, false, 0);
          Rows<bf16, bf16, CHUNK, 16, 24, 1, 1, false> rows4(x.inputs[2], ch, ch.head, column, 128, false, false, 0);
          copy_steps<AHEAD, CLUSTER, false, true, false>(lane, shared + 160000, chunks + LAG, [&](Crew& crew, int step) {
              if (const int i = step - 0; i >= 0 && i < chunks) {
                  const int valid = i == chunks - 1 ? last : CHUNK;
                  rows2.fetch(crew, (bf16*)(shared + 47872 + place5_0 * 8704), valid);
                  rows4.fetch(crew, (bf16*)(shared + 126208 + place6_0 * 1536), valid);
                  place5_0 = place5_0 == 4 ? 0 : place5_0 + 1;
                  place6_0 = place6_0 == 5 ? 0 : place6_0 + 1;
              }
          });
      }
  }
  char* const exchange = shared + 135424 + warp % GROUPS * 24576;
  if (role == 0) {
      // carries S
      Tile<16> state0;
      every(state0, [&](float& y, int, int, int r, int c) {
          y = x.states_in[0].ptr && channel + r < 128 && c < 128 ? rows_of<float>(x.states_in[0], sequence, head, 0)[(i64)(channel + r) * x.states_in[0].s2 + (i64)(c) * x.states_in[0].s3] : 0.f;
      });
      int place3 = 0;
      int place5 = 0;
      int place6 = 0;
      for (int step = 0; step < chunks + LAG; step++) {
          meet();
          const int i = step - 0;
          if (i < 0 || i >= chunks) continue;
          const Chunk ch = chunk_of_step(i);
          const i64 number = ch.slot * x.heads + head;
          char* const record = (char*)__builtin_assume_aligned(x.record, 128) + number * 6272;
          char* const kept = (char*)__builtin_assume_aligned(x.kept, 128) + number * 77312;
          const float* const v7 = (const float*)(shared + 10240 + place6 * 6272);
          const float* const v49 = (const float*)(shared + 11152 + place6 * 6272);
          const float* const v51 = (const float*)(shared + 11168 + place6 * 6272);
          const bf16* const v4 = (const bf16*)(shared + 47872 + place5 * 8704);
          const bf16* const slab6 = (const bf16*)(shared + 126208 + place6 * 1536);
          char* const from0 = exchange + 0 + place3 * 4096;
          // S[t] = a * S[t-1] + beta * v * k^T
          Tile<4> t6;
          take<bf16, 24>(t6, slab6 + own);
          // S[t] = a * S[t-1] + beta * v * k^T
          Tile<4> t8;
          every(t8, [&](float& x, int n, int e, int r, int c) { x = (per_token(v7, n, e) * t6.x[n][e]); });
          // S[t] = a * S[t-1] + beta * v * k^T
          Tile<4> t52;
          every(t52, [&](float& x, int n, int e, int r, int c) { x = (per_token(v51, n, e) * t8.x[n][e]); });
          leave<bf16>(from0, state0);
          // S[t] = a * S[t-1] + beta * v * k^T
          every(state0, [&](float& x, int n, int e, int r, int c) { x = (v49[0] * state0.x[n][e]); });
          multiply<bf16, 136, true, WHOLE, false, 1>(state0, t52, v4);
          place3 = place3 == 2 ? 0 : place3 + 1;
          place5 = place5 == 4 ? 0 : place5 + 1;
          place6 = place6 == 5 ? 0 : place6 + 1;
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
      int place5 = 0;
      int place6 = 0;
      for (int step = 0; step < chunks + LAG; step++) {
          meet();
          const int i = step - 1;
          if (i < 0 || i >= chunks) continue;
          const Chunk ch = chunk_of_step(i);
          const i64 number = ch.slot * x.heads + head;
          char* const record = (char*)__builtin_assume_aligned(x.record, 128) + number * 6272;
          char* const kept = (char*)__builtin_assume_aligned(x.kept, 128) + number * 77312;
          const float* const v7 = (const float*)(shared + 10240 + place6 * 6272);
          const float* const v12 = (const float*)(shared + 10496 + place6 * 6272);
          const float* const v22 = (const float*)(shared + 10624 + place6 * 6272);
          const float* const v24 = (const float*)(shared + 10640 + place6 * 6272);
          const float* const v49 = (const float*)(shared + 11152 + place6 * 6272);
          const float* const v51 = (const float*)(shared + 11168 + place6 * 6272);
          const bf16* const v17 = (const bf16*)(shared + 11296 + place6 * 6272);
          const bf16* const v4 = (const bf16*)(shared + 47872 + place5 * 8704);
          const bf16* const slab6 = (const bf16*)(shared + 126208 + place6 * 1536);
          char* const from0 = exchange + 0 + place3 * 4096;
          char* const from1 = exchange + 12288 + place2 * 4096;
          char* const at25 = exchange + 20480 + place2 * 2048;
          // S[t] = a * S[t-1] + beta * v * k^T
          Tile<4> t6;
          take<bf16, 24>(t6, slab6 + own);
          // S[t] = a * S[t-1] + beta * v * k^T
          Tile<4> t8;
          every(t8, [&](float& x, int n, int e, int r, int c) { x = (per_token(v7, n, e) * t6.x[n][e]); });
          // R[t] = a * R[t-1] + gamma * r * k^T
          Tile<4> t13;
          every(t13, [&](float& x, int n, int e, int r, int c) { x = 0.f; });
          multiply_left<bf16, 136, false, WHOLE, false, 16>(t13, from0, v4);
          leave<bf16>(from1, state1);
          // R[t] = a * R[t-1] + gamma * r * k^T
          every(state1, [&](float& x, int n, int e, int r, int c) { x = (v49[0] * state1.x[n][e]); });
          // R[t] = a * R[t-1] + gamma * r * k^T
          Tile<4> t20;
          every(t20, [&](float& x, int n, int e, int r, int c) { x = t6.x[n][e] - (per_token(v12, n, e) * t13.x[n][e]); });
          multiply<bf16, 40, false, UPPER, true, 1>(t20, t8, v17);
          // kept for backward
          keep_rows<bf16, 128>((bf16*)(kept + 65536) + channel, t20);
          // R[t] = a * R[t-1] + gamma * r * k^T
          Tile<4> t25;
          every(t25, [&](float& x, int n, int e, int r, int c) { x = (per_token(v24, n, e) * f_clamp(t20.x[n][e], v22[0], const0)); });
          // R[t] = a * R[t-1] + gamma * r * k^T
          Tile<4> t56;
          every(t56, [&](float& x, int n, int e, int r, int c) { x = (per_token(v51, n, e) * t25.x[n][e]); });
          multiply<bf16, 136, true, WHOLE, false, 1>(state1, t56, v4);
          leave(at25, t25);
          place2 = place2 == 1 ? 0 : place2 + 1;
          place3 = place3 == 2 ? 0 : place3 + 1;
          place5 = place5 == 4 ? 0 : place5 + 1;
          place6 = place6 == 5 ? 0 : place6 + 1;
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
      int place6 = 0;
      const i64 out0_step = x.outputs[0].s1;
      bf16* out0 = rows_of<bf16>(x.outputs[0], batch, start, head) + by_itself(channel);
      for (int step = 0; step < chunks + LAG; step++) {
          meet();
          const int i = step - 2;
          if (i < 0 || i >= chunks) continue;
          const Chunk ch = chunk_of_step(i);
          const i64 number = ch.slot * x.heads + head;
          char* const record = (char*)__builtin_assume_aligned(x.record, 128) + number * 6272;
          char* const kept = (char*)__builtin_assume_aligned(x.kept, 128) + number * 77312;
          const bf16* const v40 = (const bf16*)(shared + 0 + place4 * 2560);
          const float* const v7 = (const float*)(shared + 10240 + place6 * 6272);
          const float* const v10 = (const float*)(shared + 10368 + place6 * 6272);
          const float* const v31 = (const float*)(shared + 10768 + place6 * 6272);
          const float* const v38 = (const float*)(shared + 10896 + place6 * 6272);
          const float* const v44 = (const float*)(shared + 11024 + place6 * 6272);
          const bf16* const v33 = (const bf16*)(shared + 13856 + place6 * 6272);
          const bf16* const v27 = (const bf16*)(shared + 91392 + place4 * 8704);
          const bf16* const slab6 = (const bf16*)(shared + 126208 + place6 * 1536);
          char* const from0 = exchange + 0 + place3 * 4096;
          char* const from1 = exchange + 12288 + place2 * 4096;
          char* const at25 = exchange + 20480 + place2 * 2048;
          keep<bf16, 16, 128>((bf16*)(kept + 0) + channel * 128, from0);
          keep<bf16, 16, 128>((bf16*)(kept + 32768) + channel * 128, from1);
          Tile<4> t25;
          found(t25, at25);
          // S[t] = a * S[t-1] + beta * v * k^T
          Tile<4> t6;
          take<bf16, 24>(t6, slab6 + own);
          // S[t] = a * S[t-1] + beta * v * k^T
          Tile<4> t8;
          every(t8, [&](float& x, int n, int e, int r, int c) { x = (per_token(v7, n, e) * t6.x[n][e]); });
          // output o = a * S[t-1] * q + gamma * R[t] * q
          Tile<4> t30;
          every(t30, [&](float& x, int n, int e, int r, int c) { x = 0.f; });
          multiply_left<bf16, 136, false, WHOLE, false, 16>(t30, from0, v27);
          // output o = a * S[t-1] * q + gamma * R[t] * q
          Tile<4> t37;
          every(t37, [&](float& x, int n, int e, int r, int c) { x = 0.f; });
          multiply_left<bf16, 136, false, WHOLE, false, 16>(t37, from1, v27);
          // output o = a * S[t-1] * q + gamma * R[t] * q
          Tile<4> t48;
          every(t48, [&](float& x, int n, int e, int r, int c) { x = (per_token(v31, n, e) * t30.x[n][e]) + (per_token(v38, n, e) * t37.x[n][e]) + (per_token(v44, n, e) * (per_token(v10, n, e) * t25.x[n][e])); });
          multiply<bf16, 40, false, UPPER, false, 1>(t48, t8, v33);
          multiply<bf16, 40, false, UPPER, false, 1>(t48, t25, v40);
          // output 0
          write_rows<bf16>(t48, out0, out0_step, ch.valid, 16);
          place2 = place2 == 1 ? 0 : place2 + 1;
          place3 = place3 == 2 ? 0 : place3 + 1;
          place4 = place4 == 3 ? 0 : place4 + 1;
          place6 = place6 == 5 ? 0 : place6 + 1;
          out0 += CHUNK * out0_step;
      }
  }
  if (CLUSTER > 1) meet_cluster();  // no block leaves while copies into it are under way
}

// backward, chain; 256 threads, 154752 bytes of shared memory
extern "C" __global__ void __launch_bounds__(256, 1) CLUSTER_OF(2) rla_c_a8a464fa868726bb53755f1357c740df_backward_chain(const __grid_constant__ Args x) {
  extern __shared__ __align__(128) char shared[];
  let_next_start();
  constexpr int SLICES = 8, GROUPS = 1, ROLES = 3, COPIERS = 5, LAG = 2, AHEAD = 4;
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
  set_up_barriers<AHEAD, CLUSTER, 5>(shared + 154624);
  if (role >= ROLES) {
      const int member = warp - GROUPS * ROLES, lane = threadIdx.x & 31;
      const int last = (int)(tokens - (i64)(chunks - 1) * CHUNK);  // tokens of the last chunk
      const Chunk ch = chunk_of_step(0);
      if (member == 0) {
          const char* record0 = (char*)__builtin_assume_aligned((x.kept + 73728), 128) + (ch.slot * x.heads + head) * 77312;
          const i64 record0_step = -x.heads * 77312;
          int place6_0 = 0;
          copy_steps<AHEAD, CLUSTER, true, true, false>(lane, shared + 154624, chunks + LAG, [&](Crew& crew, int step) {
              if (const int i = step - 0; i >= 0 && i < chunks) {
                  fetch<3488, CLUSTER>(crew, shared + 0 + place6_0 * 3584, record0 + 0, 0);
                  record0 += record0_step;
                  place6_0 = place6_0 == 5 ? 0 : place6_0 + 1;
              }
          });
      }
      if (member == 1) {
          const char* kept1 = (char*)__builtin_assume_aligned(x.kept, 128) + (ch.slot * x.heads + head) * 77312;
          const i64 kept1_step = -x.heads * 77312;
          int place5_1 = 0;
          Rows<bf16, bf16, CHUNK, 128, 136, 2, CLUSTER, true> rows1(x.inputs[1], ch, ch.key_head, 0, 128, false, true, 1);
          copy_steps<AHEAD, CLUSTER, false, true, false>(lane, shared + 154624, chunks + LAG, [&](Crew& crew, int step) {
              if (const int i = step - 1; i >= 0 && i < chunks) {
                  const int valid = i == 0 ? last : CHUNK;
                  rows1.fetch(crew, (bf16*)(shared + 21504 + place5_1 * 8704), valid);
                  fetch_part<CHUNK, 32, 256, 48, 1>(crew, shared + 126464 + place5_1 * 1536, kept1 + 65536 + column * 2, 0);
                  kept1 += kept1_step;
                  place5_1 = place5_1 == 4 ? 0 : place5_1 + 1;
              }
          });
      }
      if (member == 2 || member == 3) {
          const int part = member == 3;
          int place6_0 = 0;
          Rows<bf16, bf16, CHUNK, 128, 136, 2, CLUSTER, true> rows2(x.inputs[0], ch, ch.key_head, 0, 128, false, true, part);
          copy_steps<AHEAD, CLUSTER, false, true, false>(lane, shared + 154624, chunks + LAG, [&](Crew& crew, int step) {
              if (const int i = step - 0; i >= 0 && i < chunks) {
                  const int valid = i == 0 ? last : CHUNK;
                  rows2.fetch(crew, (bf16*)(shared + 65024 + place6_0 * 8704), valid);
                  place6_0 = place6_0 == 5 ? 0 : place6_0 + 1;
              }
          });
      }
      if (member == 4) {
          int place6_0 = 0;
          int place5_1 = 0;
          Rows<bf16, bf16, CHUNK, 128, 136, 2, CLUSTER, true> rows1(x.inputs[1], ch, ch.key_head, 0, 128, false, true, 0);
          Rows<bf16, bf16, CHUNK, 16, 24, 1, 1, false> rows3(x.output_grads[0], ch, ch.head, column, 128, true, true, 0);
          copy_steps<AHEAD, CLUSTER, false, true, false>(lane, shared + 154624, chunks + LAG, [&](Crew& crew, int step) {
              if (const int i = step - 0; i >= 0 && i < chunks) {
                  const int valid = i == 0 ? last : CHUNK;
                  rows3.fetch(crew, (bf16*)(shared + 117248 + place6_0 * 1536), valid);
                  place6_0 = place6_0 == 5 ? 0 : place6_0 + 1;
              }
              if (const int i = step - 1; i >= 0 && i < chunks) {
                  const int valid = i == 0 ? last : CHUNK;
                  rows1.fetch(crew, (bf16*)(shared + 21504 + place5_1 * 8704), valid);
                  place5_1 = place5_1 == 4 ? 0 : place5_1 + 1;
              }
          });
      }
  }
  char* const exchange = shared + 134144 + warp % GROUPS * 20480;
  if (role == 0) {
      // carries R
      Tile<16> state1;
      every(state1, [&](float& y, int, int, int r, int c) {
          y = x.state_grads_in[1].ptr && channel + r < 128 && c < 128 ? rows_of<float>(x.state_grads_in[1], sequence, head, 0)[(i64)(channel + r) * x.state_grads_in[1].s2 + (i64)(c) * x.state_grads_in[1].s3] : 0.f;
      });
      int place3 = 0;
      int place6 = 0;
      for (int step = 0; step < chunks + LAG; step++) {
          meet();
          const int i = step - 0;
          if (i < 0 || i >= chunks) continue;
          const Chunk ch = chunk_of_step(i);
          const i64 number = ch.slot * x.heads + head;
          char* const record = (char*)__builtin_assume_aligned((x.kept + 73728), 128) + number * 77312;
          char* const passed = (char*)__builtin_assume_aligned(x.passed, 128) + number * 73728;
          char* const kept = (char*)__builtin_assume_aligned(x.kept, 128) + number * 77312;
          const float* const v33 = (const float*)(shared + 528 + place6 * 3584);
          const float* const v85 = (const float*)(shared + 672 + place6 * 3584);
          const bf16* const v23 = (const bf16*)(shared + 65024 + place6 * 8704);
          const bf16* const slab35 = (const bf16*)(shared + 117248 + place6 * 1536);
          char* const from1 = exchange + 8192 + place3 * 4096;
          // R[t] = a * R[t-1] + gamma * r * k^T
          Tile<4> t35;
          take<bf16, 24>(t35, slab35 + own);
          // output o = a * S[t-1] * q + gamma * R[t] * q
          Tile<4> t86;
          every(t86, [&](float& x, int n, int e, int r, int c) { x = (per_token(v85, n, e) * t35.x[n][e]); });
          leave<bf16>(from1, state1);
          // output o = a * S[t-1] * q + gamma * R[t] * q
          every(state1, [&](float& x, int n, int e, int r, int c) { x = (state1.x[n][e] * v33[0]); });
          multiply<bf16, 136, true, WHOLE, false, 1>(state1, t86, v23);
          place3 = place3 == 2 ? 0 : place3 + 1;
          place6 = place6 == 5 ? 0 : place6 + 1;
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
      int place5 = 0;
      int place6 = 0;
      for (int step = 0; step < chunks + LAG; step++) {
          meet();
          const int i = step - 1;
          if (i < 0 || i >= chunks) continue;
          const Chunk ch = chunk_of_step(i);
          const i64 number = ch.slot * x.heads + head;
          char* const record = (char*)__builtin_assume_aligned((x.kept + 73728), 128) + number * 77312;
          char* const passed = (char*)__builtin_assume_aligned(x.passed, 128) + number * 73728;
          char* const kept = (char*)__builtin_assume_aligned(x.kept, 128) + number * 77312;
          const float* const v10 = (const float*)(shared + 0 + place6 * 3584);
          const float* const v12 = (const float*)(shared + 128 + place6 * 3584);
          const float* const v18 = (const float*)(shared + 256 + place6 * 3584);
          const float* const v20 = (const float*)(shared + 272 + place6 * 3584);
          const float* const v31 = (const float*)(shared + 400 + place6 * 3584);
          const float* const v33 = (const float*)(shared + 528 + place6 * 3584);
          const float* const v34 = (const float*)(shared + 544 + place6 * 3584);
          const float* const v106 = (const float*)(shared + 800 + place6 * 3584);
          const bf16* const v29 = (const bf16*)(shared + 928 + place6 * 3584);
          const bf16* const v4 = (const bf16*)(shared + 21504 + place5 * 8704);
          const bf16* const v23 = (const bf16*)(shared + 65024 + place6 * 8704);
          const bf16* const slab35 = (const bf16*)(shared + 117248 + place6 * 1536);
          const bf16* const v16 = (const bf16*)(shared + 126464 + place5 * 1536);
          char* const from0 = exchange + 0 + place2 * 4096;
          char* const from1 = exchange + 8192 + place3 * 4096;
          // R[t] = a * R[t-1] + gamma * r * k^T
          Tile<4> t35;
          take<bf16, 24>(t35, slab35 + own);
          // output o = a * S[t-1] * q + gamma * R[t] * q
          Tile<4> t107;
          every(t107, [&](float& x, int n, int e, int r, int c) { x = (per_token(v106, n, e) * t35.x[n][e]); });
          // R[t] = a * R[t-1] + gamma * r * k^T
          Tile<4> t38;
          every(t38, [&](float& x, int n, int e, int r, int c) { x = 0.f; });
          multiply_left<bf16, 136, false, WHOLE, false, 16>(t38, from1, v4);
          leave<bf16>(from0, state0);
          // R[t] = a * R[t-1] + gamma * r * k^T
          every(state0, [&](float& x, int n, int e, int r, int c) { x = (state0.x[n][e] * v33[0]); });
          // output o = a * S[t-1] * q + gamma * R[t] * q
          Tile<4> t80;
          every(t80, [&](float& x, int n, int e, int r, int c) { x = (per_token(v34, n, e) * t38.x[n][e]) + ((t35.x[n][e] * per_token(v31, n, e)) * per_token(v10, n, e)); });
          multiply<bf16, 40, true, LOWER, false, 1>(t80, t35, v29);
          // for finish
          keep_rows<bf16, 128>((bf16*)(passed + 65536) + channel, t80);
          // R[t] = a * R[t-1] + gamma * r * k^T
          Tile<4> t149;
          every(t149, [&](float& x, int n, int e, int r, int c) { x = (-(f_inside(widen(v16[(c) * 24 + (own + r)]), v18[0], const0, (t80.x[n][e] * per_token(v20, n, e))) * per_token(v12, n, e))); });
          multiply<bf16, 136, true, WHOLE, false, 1>(state0, t107, v23);
          multiply<bf16, 136, true, WHOLE, false, 1>(state0, t149, v4);
          place2 = place2 == 1 ? 0 : place2 + 1;
          place3 = place3 == 2 ? 0 : place3 + 1;
          place5 = place5 == 4 ? 0 : place5 + 1;
          place6 = place6 == 5 ? 0 : place6 + 1;
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
          char* const record = (char*)__builtin_assume_aligned((x.kept + 73728), 128) + number * 77312;
          char* const passed = (char*)__builtin_assume_aligned(x.passed, 128) + number * 73728;
          char* const kept = (char*)__builtin_assume_aligned(x.kept, 128) + number * 77312;
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

// backward, finish; 256 threads, 114816 bytes of shared memory
extern "C" __global__ void __launch_bounds__(256, 2) rla_c_a8a464fa868726bb53755f1357c740df_backward_finish(const __grid_constant__ Args x) {
  extern __shared__ __align__(128) char shared[];
  wait_for_end();
  const int head = blockIdx.x % (u32)x.heads;
  const Chunk ch = chunk_of(x.sequences, blockIdx.x / (u32)x.heads, head, x.group, CHUNK);
  const i64 number = ch.slot * x.heads + head;
  char* const record = (char*)__builtin_assume_aligned((x.kept + 73728), 128) + number * 77312;
  char* const passed = (char*)__builtin_assume_aligned(x.passed, 128) + number * 73728;
  char* const kept = (char*)__builtin_assume_aligned(x.kept, 128) + number * 77312;
  if (!ch.valid) return;
  float* const v12 = (float*)(record + 128);
  float* const v31 = (float*)(record + 400);
  float* const v33 = (float*)(record + 528);
  float* const v34 = (float*)(record + 544);
  bf16* const v36 = (bf16*)(passed + 0);
  bf16* const v37 = (bf16*)(passed + 32768);
  bf16* const v80 = (bf16*)(passed + 65536);
  bf16* const v0 = (bf16*)(kept + 0);
  bf16* const v9 = (bf16*)(kept + 32768);
  bf16* const v16 = (bf16*)(kept + 65536);
  const float* const in3_rows = rows_of<const float>(x.inputs[3], ch.batch, ch.first, ch.head);
  auto in3 = [&](int t, int n) { return widen(in3_rows[ch.token(t) * x.inputs[3].s1 + n]); };
  const float* const in4_rows = rows_of<const float>(x.inputs[4], ch.batch, ch.first, ch.head);
  auto in4 = [&](int t, int n) { return widen(in4_rows[ch.token(t) * x.inputs[4].s1 + n]); };
  const float* const in5_rows = rows_of<const float>(x.inputs[5], ch.batch, ch.first, ch.head);
  auto in5 = [&](int t, int n) { return widen(in5_rows[ch.token(t) * x.inputs[5].s1 + n]); };
  const float const0 = (float)x.constants[0];
  bf16* const v4 = (bf16*)(shared + 0);
  bf16* const v6 = (bf16*)(shared + 8704);
  float* const v7 = (float*)(shared + 17408);
  bf16* const v8 = (bf16*)(shared + 53504);
  float* const v10 = (float*)(shared + 17536);
  float* const v11 = (float*)(shared + 17664);
  float* const h12 = (float*)(shared + 17792);
  float* const v14 = (float*)(shared + 62208);
  bf16* const h16 = (bf16*)(shared + 17920);
  float* const v18 = (float*)(shared + 26624);
  float* const v20 = (float*)(shared + 26752);
  float* const v22 = (float*)(shared + 26880);
  bf16* const v23 = (bf16*)(shared + 27008);
  float* const v28 = (float*)(shared + 35712);
  float* const h31 = (float*)(shared + 35840);
  float* const h34 = (float*)(shared + 35968);
  bf16* const v35 = (bf16*)(shared + 36096);
  float* const v44 = (float*)(shared + 53504);
  float* const v45 = (float*)(shared + 0);
  float* const v53 = (float*)(shared + 54016);
  float* const v55 = (float*)(shared + 128);
  float* const v58 = (float*)(shared + 55040);
  float* const v59 = (float*)(shared + 256);
  float* const v66 = (float*)(shared + 66816);
  float* const v69 = (float*)(shared + 66944);
  bf16* const h80 = (bf16*)(shared + 44800);
  float* const v83 = (float*)(shared + 93312);
  float* const v91 = (float*)(shared + 55552);
  float* const v102 = (float*)(shared + 93824);
  float* const v112 = (float*)(shared + 56576);
  float* const v123 = (float*)(shared + 57600);
  float* const v128 = (float*)(shared + 67072);
  bf16* const v132 = (bf16*)(shared + 67200);
  float* const v140 = (float*)(shared + 62208);
  float* const v141 = (float*)(shared + 58624);
  float* const v154 = (float*)(shared + 59648);
  float* const v158 = (float*)(shared + 384);
  float* const v162 = (float*)(shared + 60672);
  bf16* const h15 = (bf16*)(shared + 94336);
  bf16* const h19 = (bf16*)(shared + 75904);
  bf16* const h21 = (bf16*)(shared + 84608);
  bf16* const h27 = (bf16*)(shared + 99456);
  bf16* const h115 = (bf16*)(shared + 104576);
  bf16* const h137 = (bf16*)(shared + 109696);
  // S[t] = a * S[t-1] + beta * v * k^T
  copy_rows<bf16, 32, 128, 136>(v4, x.inputs[1], ch, ch.key_head, 128, false);
  copies_end();
  // S[t] = a * S[t-1] + beta * v * k^T
  copy_rows<bf16, 32, 128, 136>(v6, x.inputs[2], ch, ch.head, 128, false);
  copies_end();
  // R[t] = a * R[t-1] + gamma * r * k^T
  fill<1, 1>(0, [&](auto width, int r, int c, int n) { return (-const0); }, [&](int r, int c, auto y) { put(&v18[0], y); });
  // output o = a * S[t-1] * q + gamma * R[t] * q
  copy_rows<bf16, 32, 128, 136>(v23, x.inputs[0], ch, ch.key_head, 128, false);
  copies_end();
  copy_apart<bf16, 32, 128, 136>(h16, v16);
  copies_end();
  copy_block<128>(h31, v31);
  copies_end();
  copy_apart<bf16, 32, 128, 136>(h80, v80);
  copies_end();
  // R[t] = a * R[t-1] + gamma * r * k^T
  copy_rows<bf16, 32, 128, 136>(v35, x.output_grads[0], ch, ch.head, 128, true);
  copies_end();
  copy_block<128>(h34, v34);
  copies_end();
  copy_block<128>(h12, v12);
  copies_end();
  // S[t] = a * S[t-1] + beta * v * k^T
  // R[t] = a * R[t-1] + gamma * r * k^T
  // R[t] = a * R[t-1] + gamma * r * k^T
  // R[t] = a * R[t-1] + gamma * r * k^T
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  {
      constexpr int N = 1;
      sweep<32, 1, N, 0, 1>([&](int r, int c, auto& sum) {
          const Width<N> width;
          Some<N> e7, e10, e11, e20, e22, e28;
          #pragma unroll
          for (int n = 0; n < N; n++) {
              e7.x[n] = f_keep((r < ch.valid ? 1.f : 0.f), in4(r, 0));
              e10.x[n] = in5(r, 0);
              e11.x[n] = f_exp(f_keep((r < ch.valid ? 1.f : 0.f), in3(r, 0)));
              e20.x[n] = f_keep((r < ch.valid ? 1.f : 0.f), e10.x[n]);
              e22.x[n] = f_exp(in3(r, 0));
              e28.x[n] = (e10.x[n] * e22.x[n]);
          }
          put(&v7[r], e7);
          put(&v10[r], e10);
          put(&v11[r], e11);
          put(&v20[r], e20);
          put(&v22[r], e22);
          put(&v28[r], e28);
      }, [&](int r, const auto& sum) {
      });
  }
  copies_wait<2>();
  __syncthreads();
  // R[t] = a * R[t-1] + gamma * r * k^T
  segments<32>(1, [&](int r) { return v11[r]; }, [&](int r, int c, float x) { const Some<1> y = {x}; put(&v14[(r) * 36 + (c)], y); });
  // S[t] = a * S[t-1] + beta * v * k^T
  // R[t] = a * R[t-1] + gamma * r * k^T
  // R[t] = a * R[t-1] + gamma * r * k^T
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // R[t] = a * R[t-1] + gamma * r * k^T
  // R[t] = a * R[t-1] + gamma * r * k^T
  {
      constexpr int N = sweep_width<32, 128>(8);
      sweep<32, 128, N, 3, 1>([&](int r, int c, auto& sum) {
          const Width<N> width;
          Some<N> e8, e19, e21, e132;
          #pragma unroll
          for (int n = 0; n < N; n++) {
              e8.x[n] = (v7[r] * pick(width, &v6[(r) * 136 + (c)], n));
              e19.x[n] = f_clamp(pick(width, &h16[(r) * 136 + (c)], n), v18[0], const0);
              e21.x[n] = (v20[r] * e19.x[n]);
              sum[0] += (pick(width, &v35[(r) * 136 + (c)], n) * (v10[r] * e21.x[n]));
              sum[1] += ((pick(width, &v35[(r) * 136 + (c)], n) * h31[r]) * e21.x[n]);
              sum[2] += (pick(width, &h80[(r) * 136 + (c)], n) * e19.x[n]);
              e132.x[n] = (-f_inside(pick(width, &h16[(r) * 136 + (c)], n), v18[0], const0, (pick(width, &h80[(r) * 136 + (c)], n) * v20[r])));
          }
          put(&v8[(r) * 136 + (c)], e8);
          put(&h19[(r) * 136 + (c)], e19);
          put(&h21[(r) * 136 + (c)], e21);
          put(&v132[(r) * 136 + (c)], e132);
      }, [&](int r, const auto& sum) {
          v66[r] = sum[0];
          v69[r] = sum[1];
          v128[r] = sum[2];
      });
  }
  __syncthreads();
  // R[t] = a * R[t-1] + gamma * r * k^T
  // R[t] = a * R[t-1] + gamma * r * k^T
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // R[t] = a * R[t-1] + gamma * r * k^T
  // R[t] = a * R[t-1] + gamma * r * k^T
  // R[t] = a * R[t-1] + gamma * r * k^T
  {
      each_tile<32, 32, 1, 1>(8, [&](int m, int n) {
          constexpr int H = 1, W = 1;
          float a13_[H * W][4] = {};
          float a25_[H * W][4] = {};
          float a77_[H * W][4] = {};
          float a96_[H * W][4] = {};
          float a133_[H * W][4] = {};
          if (m + 16 * H > n) {
              #pragma unroll 2
              for (int k = 0; k < 128; k += 32) {
                  u32 b0[4];
                  Mat<bf16, 136, true, true>{v4}.column(b0, k, n, bf16());
                  u32 b1[4];
                  Mat<bf16, 136, true, true>{h21}.column(b1, k, n, bf16());
                  u32 b2[4];
                  Mat<bf16, 136, true, true>{v8}.column(b2, k, n, bf16());
                  u32 a0_0[4];
                  Mat<bf16, 136, false, true>{v4}.left(a0_0, m, k, bf16());
                  u32 a0_1[4];
                  Mat<bf16, 136, false, true>{v23}.left(a0_1, m, k, bf16());
                  u32 a0_2[4];
                  Mat<bf16, 136, false, true>{v35}.left(a0_2, m, k, bf16());
                  u32 a0_3[4];
                  Mat<bf16, 136, false, true>{v132}.left(a0_3, m, k, bf16());
                  mma(a13_[0], a0_0, b0[0], b0[1], bf16());
                  mma(a25_[0], a0_1, b0[0], b0[1], bf16());
                  mma(a77_[0], a0_2, b1[0], b1[1], bf16());
                  mma(a96_[0], a0_2, b2[0], b2[1], bf16());
                  mma(a133_[0], a0_3, b2[0], b2[1], bf16());
                  u32 a1_0[4];
                  Mat<bf16, 136, false, true>{v4}.left(a1_0, m, k + 16, bf16());
                  u32 a1_1[4];
                  Mat<bf16, 136, false, true>{v23}.left(a1_1, m, k + 16, bf16());
                  u32 a1_2[4];
                  Mat<bf16, 136, false, true>{v35}.left(a1_2, m, k + 16, bf16());
                  u32 a1_3[4];
                  Mat<bf16, 136, false, true>{v132}.left(a1_3, m, k + 16, bf16());
                  mma(a13_[0], a1_0, b0[2], b0[3], bf16());
                  mma(a25_[0], a1_1, b0[2], b0[3], bf16());
                  mma(a77_[0], a1_2, b1[2], b1[3], bf16());
                  mma(a96_[0], a1_2, b2[2], b2[3], bf16());
                  mma(a133_[0], a1_3, b2[2], b2[3], bf16());
              }
          }
          float a15_[H * W][4] = {};
          in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) { const float acc = a15_[w][e]; a15_[w][e] = (a13_[w][e] * pick(width, &v14[(r) * 36 + (c)], n)); });
          float a27_[H * W][4] = {};
          in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) { const float acc = a27_[w][e]; a27_[w][e] = (v22[r] * (a25_[w][e] * pick(width, &v14[(r) * 36 + (c)], n))); });
          float s83[2 * H] = {};
          in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) {
              s83[w / W * 2 + (e >> 1)] += ((r > c + n ? a77_[w][e] : 0.f) * (a25_[w][e] * pick(width, &v14[(r) * 36 + (c)], n)));
          });
          put_row_parts<4, H>(s83, v83, m, n / (8 * W));
          float a115_[H * W][4] = {};
          in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) { const float acc = a115_[w][e]; a115_[w][e] = ((((r > c + n ? a77_[w][e] : 0.f) * v28[r]) + ((r > c + n ? a96_[w][e] : 0.f) * v22[r])) * pick(width, &v14[(r) * 36 + (c)], n)); });
          float s102[2 * H] = {};
          in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) {
              s102[w / W * 2 + (e >> 1)] += ((r > c + n ? a96_[w][e] : 0.f) * (a25_[w][e] * pick(width, &v14[(r) * 36 + (c)], n)));
          });
          put_row_parts<4, H>(s102, v102, m, n / (8 * W));
          float a137_[H * W][4] = {};
          in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) { const float acc = a137_[w][e]; a137_[w][e] = ((r > c + n ? a133_[w][e] : 0.f) * pick(width, &v14[(r) * 36 + (c)], n)); });
          float a140_[H * W][4] = {};
          in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) { const float acc = a140_[w][e]; a140_[w][e] = ((((((r > c + n ? a77_[w][e] : 0.f) * v28[r]) + ((r > c + n ? a96_[w][e] : 0.f) * v22[r])) * a25_[w][e]) + ((r > c + n ? a133_[w][e] : 0.f) * a13_[w][e])) * pick(width, &v14[(r) * 36 + (c)], n)); });
          put_tile<H, W>(m, n, a15_, [&](int r, int c, auto y) { put_twice<1280>(&h15[(r) * 40 + (c)], y); });
          put_tile<H, W>(m, n, a27_, [&](int r, int c, auto y) { put_twice<1280>(&h27[(r) * 40 + (c)], y); });
          put_tile<H, W>(m, n, a115_, [&](int r, int c, auto y) { put_twice<1280>(&h115[(r) * 40 + (c)], y); });
          put_tile<H, W>(m, n, a137_, [&](int r, int c, auto y) { put_twice<1280>(&h137[(r) * 40 + (c)], y); });
          put_tile<H, W>(m, n, a140_, [&](int r, int c, auto y) { put(&v140[(r) * 36 + (c)], y); });
      });
  }
  copies_wait<0>();
  __syncthreads();
  // R[t] = a * R[t-1] + gamma * r * k^T
  rectangles<32, 8>(3, [&](int r, int c) { return v140[(r) * 36 + (c)]; }, [&](int r, int part, float x) { v141[(r) * 8 + part] = x; });
  // R[t] = a * R[t-1] + gamma * r * k^T
  // R[t] = a * R[t-1] + gamma * r * k^T
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // S[t] = a * S[t-1] + beta * v * k^T
  // S[t] = a * S[t-1] + beta * v * k^T
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // R[t] = a * R[t-1] + gamma * r * k^T
  // S[t] = a * S[t-1] + beta * v * k^T
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // gradient of q
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // gradient of k
  // R[t] = a * R[t-1] + gamma * r * k^T
  {
      float sum44[4] = {};
      float sum58[4] = {};
      each_tile<32, 128, (THREADS < 512 ? 2 : 1), 2>(0, [&](int m, int n) {
          constexpr int H = (THREADS < 512 ? 2 : 1), W = 2;
          float a40_[H * W][4] = {};
          float a84_[H * W][4] = {};
          #pragma unroll 4
          for (int k = 0; k < 128; k += 16) {
              constexpr int w = 0;
              u32 b9[4];
              Fragments<bf16, 128, false>{v9}.right(b9, k, n + 8 * w, bf16());
              u32 b37[4];
              Fragments<bf16, 128, false>{v37}.right(b37, k, n + 8 * w, bf16());
              #pragma unroll
              for (int h = 0; h < H; h++) {
                  u32 a0[4];
                  Mat<bf16, 136, false, true>{h19}.left(a0, m + 16 * h, k, bf16());
                  u32 a1[4];
                  Mat<bf16, 136, false, true>{v35}.left(a1, m + 16 * h, k, bf16());
                  mma(a40_[h * W + 0], a0, b37[0], b37[1], bf16());
                  mma(a40_[h * W + 1], a0, b37[2], b37[3], bf16());
                  mma(a84_[h * W + 0], a1, b9[0], b9[1], bf16());
                  mma(a84_[h * W + 1], a1, b9[2], b9[3], bf16());
              }
              if (m == 0 % (32 / (16 * H)) * 16 * H) add_products(sum44, b37, b9, bf16());
          }
          float s91[2 * H] = {};
          in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) {
              s91[w / W * 2 + (e >> 1)] += (a84_[w][e] * (h12[r] * pick(width, &v23[(r) * 136 + (c)], n)));
          });
          put_row_parts<8, H>(s91, v91, m, n / (8 * W));
          float a48_[H * W][4] = {};
          float a105_[H * W][4] = {};
          float a147_[H * W][4] = {};
          #pragma unroll 1
          for (int k = 0; k < 128; k += 16) {
              constexpr int w = 0;
              u32 b0[4];
              Fragments<bf16, 128, false>{v0}.right(b0, k, n + 8 * w, bf16());
              u32 b36[4];
              Fragments<bf16, 128, false>{v36}.right(b36, k, n + 8 * w, bf16());
              #pragma unroll
              for (int h = 0; h < H; h++) {
                  u32 a0[4];
                  Mat<bf16, 136, false, true>{v6}.left(a0, m + 16 * h, k, bf16());
                  u32 a1[4];
                  Mat<bf16, 136, false, true>{v35}.left(a1, m + 16 * h, k, bf16());
                  u32 a2[4];
                  Mat<bf16, 136, false, true>{v132}.left(a2, m + 16 * h, k, bf16());
                  mma(a48_[h * W + 0], a0, b36[0], b36[1], bf16());
                  mma(a48_[h * W + 1], a0, b36[2], b36[3], bf16());
                  mma(a105_[h * W + 0], a1, b0[0], b0[1], bf16());
                  mma(a105_[h * W + 1], a1, b0[2], b0[3], bf16());
                  mma(a147_[h * W + 0], a2, b0[0], b0[1], bf16());
                  mma(a147_[h * W + 1], a2, b0[2], b0[3], bf16());
              }
              if (m == 0 % (32 / (16 * H)) * 16 * H) add_products(sum58, b36, b0, bf16());
          }
          float s53[2 * H] = {};
          float s112[2 * H] = {};
          float s123[2 * H] = {};
          float s154[2 * H] = {};
          in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) {
              s53[w / W * 2 + (e >> 1)] += (((v20[r] * a40_[w][e]) + (v7[r] * a48_[w][e])) * pick(width, &v4[(r) * 136 + (c)], n));
              s112[w / W * 2 + (e >> 1)] += (a105_[w][e] * (h12[r] * pick(width, &v23[(r) * 136 + (c)], n)));
              s123[w / W * 2 + (e >> 1)] += (((a84_[w][e] * v28[r]) + (a105_[w][e] * v22[r])) * pick(width, &v23[(r) * 136 + (c)], n));
              s154[w / W * 2 + (e >> 1)] += (a147_[w][e] * pick(width, &v4[(r) * 136 + (c)], n));
          });
          put_row_parts<8, H>(s53, v53, m, n / (8 * W));
          put_row_parts<8, H>(s112, v112, m, n / (8 * W));
          put_row_parts<8, H>(s123, v123, m, n / (8 * W));
          put_row_parts<8, H>(s154, v154, m, n / (8 * W));
          if (x.input_grads[0].ptr) {
              const RowsTo<bf16, 128> grad0(x.input_grads[0], ch, x.group > 1 ? ch.head : ch.key_head);
              float o0[H * W][4] = {};
              mac_twice<bf16, 32, false, H, LOWER>(o0, Twice<bf16, 40, false, true, 1280>{h115}, Mat<bf16, 136, false, true>{v4}, m, n);
              in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) { const float acc = o0[w][e]; o0[w][e] = (acc + (v66[r] * pick(width, &v4[(r) * 136 + (c)], n)) + (((a84_[w][e] * v28[r]) + (a105_[w][e] * v22[r])) * h12[r])); });
              put_tile_rows<bf16, H, W>(m, n, o0, [&](int r, int c, auto y) { if (r < 32 && c < 128) grad0.put(r, c, y); });
          }
          if (x.input_grads[1].ptr) {
              const RowsTo<bf16, 128> grad1(x.input_grads[1], ch, x.group > 1 ? ch.head : ch.key_head);
              float o1[H * W][4] = {};
              mac_twice<bf16, 32, false, H, UPPER>(o1, Twice<bf16, 40, true, true, 1280>{h115}, Mat<bf16, 136, false, true>{v23}, m, n);
              mac_twice<bf16, 32, false, H, LOWER>(o1, Twice<bf16, 40, false, true, 1280>{h137}, Mat<bf16, 136, false, true>{v4}, m, n);
              mac_twice<bf16, 32, false, H, UPPER>(o1, Twice<bf16, 40, true, true, 1280>{h137}, Mat<bf16, 136, false, true>{v4}, m, n);
              in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) { const float acc = o1[w][e]; o1[w][e] = (acc + (((v20[r] * a40_[w][e]) + (v7[r] * a48_[w][e])) * h34[r]) + (v66[r] * pick(width, &v23[(r) * 136 + (c)], n)) + (a147_[w][e] * h12[r])); });
              put_tile_rows<bf16, H, W>(m, n, o1, [&](int r, int c, auto y) { if (r < 32 && c < 128) grad1.put(r, c, y); });
          }
      });
      put_parts<128>(diagonal(sum44), v44);
      put_parts<128>(diagonal(sum58), v58);
  }
  // S[t] = a * S[t-1] + beta * v * k^T
  // output o = a * S[t-1] * q + gamma * R[t] * q
  // R[t] = a * R[t-1] + gamma * r * k^T
  // gradient of v
  // S[t] = a * S[t-1] + beta * v * k^T
  {
      each_tile<32, 128, (THREADS < 512 ? 2 : 1), 2>(0, [&](int m, int n) {
          constexpr int H = (THREADS < 512 ? 2 : 1), W = 2;
          float a46_[H * W][4] = {};
          mac<bf16, 128, false, H>(a46_, Mat<bf16, 136, false, true>{v4}, Fragments<bf16, 128, true>{v36}, m, n);
          float a97_[H * W][4] = {};
          mac_twice<bf16, 32, false, H, UPPER>(a97_, Twice<bf16, 40, true, true, 1280>{h27}, Mat<bf16, 136, false, true>{v35}, m, n);
          float a134_[H * W][4] = {};
          mac_twice<bf16, 32, false, H, UPPER>(a134_, Twice<bf16, 40, true, true, 1280>{h15}, Mat<bf16, 136, false, true>{v132}, m, n);
          float s162[2 * H] = {};
          in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) {
              s162[w / W * 2 + (e >> 1)] += ((((h34[r] * a46_[w][e]) + a97_[w][e]) + a134_[w][e]) * pick(width, &v6[(r) * 136 + (c)], n));
          });
          put_row_parts<8, H>(s162, v162, m, n / (8 * W));
          if (x.input_grads[2].ptr) {
              const RowsTo<bf16, 128> grad2(x.input_grads[2], ch, ch.head);
              float o2[H * W][4] = {};
              in_tile<H, W>(m, n, [&](auto width, int r, int c, int n, int w, int e) { const float acc = o2[w][e]; o2[w][e] = (f_inside(pick(width, &h16[(r) * 136 + (c)], n), v18[0], const0, (pick(width, &h80[(r) * 136 + (c)], n) * v20[r])) + ((((h34[r] * a46_[w][e]) + a97_[w][e]) + a134_[w][e]) * v7[r])); });
              put_tile_rows<bf16, H, W>(m, n, o2, [&](int r, int c, auto y) { if (r < 32 && c < 128) grad2.put(r, c, y); });
          }
      });
  }
  __syncthreads();
  // R[t] = a * R[t-1] + gamma * r * k^T
  sums<1, 128>([&](auto width, int i, int c, int n) { return v44[c + n]; }, [&](int i, float x) { v45[0] = x; });
  // gradient of gamma
  if (x.input_grads[5].ptr) {
      const RowsTo<float, 1> grad5(x.input_grads[5], ch, ch.head);
      fill<32, 1>(4, [&](auto width, int r, int c, int n) { return ((v69[r] + ((total<4>(v83, r) + total<8>(v91, r)) * v22[r])) + f_keep((r < ch.valid ? 1.f : 0.f), v128[r])); }, [&](int r, int c, auto y) { grad5.put(r, c, y); });
  }
  // S[t] = a * S[t-1] + beta * v * k^T
  scan<32, 1, false, false>(5, [&](int r, int c) { return (total<8>(v53, r) * h34[r]); }, [&](int r, int c, float x) { const Some<1> y = {x}; put(&v55[r], y); });
  // S[t] = a * S[t-1] + beta * v * k^T
  sums<1, 128>([&](auto width, int i, int c, int n) { return v58[c + n]; }, [&](int i, float x) { v59[0] = x; });
  // R[t] = a * R[t-1] + gamma * r * k^T
  scan<32, 1, false, true>(6, [&](int r, int c) { return ((total<8>(v123, r) + total<8>(v154, r)) * h12[r]); }, [&](int r, int c, float x) { const Some<1> y = {x}; put(&v158[r], y); });
  // gradient of beta
  if (x.input_grads[4].ptr) {
      const RowsTo<float, 1> grad4(x.input_grads[4], ch, ch.head);
      fill<32, 1>(7, [&](auto width, int r, int c, int n) { return f_keep((r < ch.valid ? 1.f : 0.f), total<8>(v162, r)); }, [&](int r, int c, auto y) { grad4.put(r, c, y); });
  }
  __syncthreads();
  // gradient of g
  if (x.input_grads[3].ptr) {
      const RowsTo<float, 1> grad3(x.input_grads[3], ch, ch.head);
      fill<32, 1>(8, [&](auto width, int r, int c, int n) { return ((((((total<4>(v83, r) + total<8>(v91, r)) * v10[r]) + total<4>(v102, r)) + total<8>(v112, r)) * v22[r]) + f_keep((r < ch.valid ? 1.f : 0.f), (((v55[r] + f_keep((r < ch.valid ? 1.f : 0.f), ((v45[0] + v59[0]) * v33[0]))) + total<8>(v141, r)) + v158[r]))); }, [&](int r, int c, auto y) { grad3.put(r, c, y); });
  }
}

// decode, rows of the states contiguous; 32 threads, 0 bytes of shared memory
extern "C" __global__ void __launch_bounds__(32) rla_c_a8a464fa868726bb53755f1357c740df_decode_rows(const __grid_constant__ Args x) {
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
      const float* const in23 = rows_of<const float>(x.inputs[4], sequence, t, head);  // beta
      const float raw23 = *in23;
      const float e0 = widen(raw0);
      // output o = a * S[t-1] * q + gamma * R[t] * q
      const float e1 = f_exp(e0);
      float e2[part(128)];
      widen_row(e2, raw2);
      const float e5 = widen(raw5);
      const float e6 = (e5 * e1);
      float e9[part(128)];
      widen_row(e9, raw9);
      float e10[part(128)];
      EACH_COLUMN(part(128)) e10[c] = (e9[c] * e2[c]);
      const float e11 = sum_row(e10);
      const float e15 = const0;
      // R[t] = a * R[t-1] + gamma * r * k^T
      const float e16 = (-e15);
      const float e23 = widen(raw23);
      float reads[3 * ROWS];
      read_rows(reads + 0 * ROWS, x0, e2);  // S[t-1]
      read_rows(reads + 1 * ROWS, x1, e2);  // R[t-1]
      read_rows(reads + 2 * ROWS, x0, e9);  // S[t-1]
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
      // R[t] = a * R[t-1] + gamma * r * k^T
      float e14[ROWS];
      EACH_ROW e14[r] = (e12[r] - e13[r]);
      float e17[ROWS];
      EACH_ROW e17[r] = f_clamp(e14[r], e16, e15);
      float e18[ROWS];
      EACH_ROW e18[r] = (e5 * e17[r]);
      // output o = a * S[t-1] * q + gamma * R[t] * q
      float e19[ROWS];
      EACH_ROW e19[r] = (e5 * e18[r]);
      float e20[ROWS];
      EACH_ROW e20[r] = (e11 * e19[r]);
      float e21[ROWS];
      EACH_ROW e21[r] = (e8[r] + e20[r]);
      float e22[ROWS];
      EACH_ROW e22[r] = (e4[r] + e21[r]);
      // S[t] = a * S[t-1] + beta * v * k^T
      float e24[ROWS];
      EACH_ROW e24[r] = (e23 * e12[r]);
      store_rows<128>(rows_of<bf16>(x.outputs[0], sequence, t, head), 1, e22, row, lane);
      EACH_ROW EACH_COLUMN(part(128)) x0[r][c] = x0[r][c] * e1 + e24[r] * e9[c];  // S[t]
      EACH_ROW EACH_COLUMN(part(128)) x1[r][c] = x1[r][c] * e1 + e18[r] * e9[c];  // R[t]
  }
  part_of_state<true, false, 128, 128>(x0, state0, x.states[0].s2, x.states[0].s3, row, lane);
  part_of_state<true, false, 128, 128>(x1, state1, x.states[1].s2, x.states[1].s3, row, lane);
}

// decode, columns of the states contiguous; 64 threads, 0 bytes of shared memory
extern "C" __global__ void __launch_bounds__(64) rla_c_a8a464fa868726bb53755f1357c740df_decode_columns(const __grid_constant__ Args x) {
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
      const float* const in23 = rows_of<const float>(x.inputs[4], sequence, t, head);  // beta
      const float raw23 = *in23;
      const float e0 = widen(raw0);
      // output o = a * S[t-1] * q + gamma * R[t] * q
      const float e1 = f_exp(e0);
      float e2[part(128)];
      widen_row(e2, raw2);
      const float e5 = widen(raw5);
      const float e6 = (e5 * e1);
      float e9[part(128)];
      widen_row(e9, raw9);
      float e10[part(128)];
      EACH_COLUMN(part(128)) e10[c] = (e9[c] * e2[c]);
      const float e11 = sum_row(e10);
      const float e15 = const0;
      // R[t] = a * R[t-1] + gamma * r * k^T
      const float e16 = (-e15);
      const float e23 = widen(raw23);
      float reads[3 * ROWS];
      read_rows(reads + 0 * ROWS, x0, e2);  // S[t-1]
      read_rows(reads + 1 * ROWS, x1, e2);  // R[t-1]
      read_rows(reads + 2 * ROWS, x0, e9);  // S[t-1]
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
      // R[t] = a * R[t-1] + gamma * r * k^T
      float e14[ROWS];
      EACH_ROW e14[r] = (e12[r] - e13[r]);
      float e17[ROWS];
      EACH_ROW e17[r] = f_clamp(e14[r], e16, e15);
      float e18[ROWS];
      EACH_ROW e18[r] = (e5 * e17[r]);
      // output o = a * S[t-1] * q + gamma * R[t] * q
      float e19[ROWS];
      EACH_ROW e19[r] = (e5 * e18[r]);
      float e20[ROWS];
      EACH_ROW e20[r] = (e11 * e19[r]);
      float e21[ROWS];
      EACH_ROW e21[r] = (e8[r] + e20[r]);
      float e22[ROWS];
      EACH_ROW e22[r] = (e4[r] + e21[r]);
      // S[t] = a * S[t-1] + beta * v * k^T
      float e24[ROWS];
      EACH_ROW e24[r] = (e23 * e12[r]);
      store_rows<128>(rows_of<bf16>(x.outputs[0], sequence, t, head), 1, e22, row, lane);
      EACH_ROW EACH_COLUMN(part(128)) x0[r][c] = x0[r][c] * e1 + e24[r] * e9[c];  // S[t]
      EACH_ROW EACH_COLUMN(part(128)) x1[r][c] = x1[r][c] * e1 + e18[r] * e9[c];  // R[t]
  }
  part_of_state<true, true, 128, 128>(x0, state0, x.states[0].s2, x.states[0].s3, row, lane);
  part_of_state<true, true, 128, 128>(x1, state1, x.states[1].s2, x.states[1].s3, row, lane);
}

