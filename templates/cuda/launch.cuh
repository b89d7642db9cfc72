// Waits until all slices of the sequential kernel, which may still run, have handed on so many chunks.
__device__ __forceinline__ void handed_on(const int* progress, int slices, int chunks) {
  if (threadIdx.x < slices)
    for (;;) {
      int seen;
      asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(seen) : "l"(progress + threadIdx.x) : "memory");
      if (seen >= chunks) break;
      __nanosleep(500);
    }
  __syncthreads();
}
// A number that addresses what another kernel writes: nothing is read with it before this.
__device__ __forceinline__ int from_now(int number) {
  asm volatile("" : "+r"(number)::"memory");
  return number;
}
// Waits until the kernel before has ended.
__device__ __forceinline__ void wait_for_end() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// The kernel behind this one may start on what room is left, once all blocks of this one have.
__device__ __forceinline__ void let_next_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
