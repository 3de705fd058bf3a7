// Programmatic dependent launch. Every kernel calls wait_for_dependency() in every block, before it
// reads or writes anything that another kernel writes or reads; weights and tables that no kernel
// writes may be read before. Nothing of these two exists below sm_90, where launches are in order.
#pragma once

__device__ __forceinline__ void wait_for_dependency() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// The next kernel's blocks may start as soon as every block of this one has called it.
__device__ __forceinline__ void launch_dependents() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}
