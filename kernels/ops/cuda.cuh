// What only CUDA knows: conversions, copies to shared memory that do not pass registers, products of tensor cores.

typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned short u16;

#define FULL 0xffffffffu
#define KERNEL extern "C" __global__ void
#define DEVICE __device__ __forceinline__

template <class R> DEVICE R shuffle(R x, int k) { return __shfl_xor_sync(FULL, x, k); }

DEVICE float from_f16(u16 x) { float y; asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x)); return y; }
DEVICE u16 to_f16(float x) { u16 y; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x)); return y; }
DEVICE float from_bf16(u16 x) { return __uint_as_float(u32(x) << 16); }
DEVICE u16 to_bf16(float x) { u16 y; asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x)); return y; }

// Copies the first `n` bytes of BYTES (4, 8, 16) to shared memory and fills up with zeros. They are there after `copied`. Before sm_80 a copy waits.
template <int BYTES> DEVICE void copy(void* to, const void* from, u32 n) {
#if __CUDA_ARCH__ >= 800
  const u32 at = u32(__cvta_generic_to_shared(to));
  if constexpr (BYTES == 16) asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(n) : "memory");
  else asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(at), "l"(from), "n"(BYTES), "r"(n) : "memory");
#else
#pragma unroll
  for (int k = 0; k < BYTES / 4; k++) ((u32*)to)[k] = 4 * k < n ? ((const u32*)from)[k] : 0;
#endif
}
// Closes a group of copies.
DEVICE void close_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Waits for all groups of this thread but the last LATER ones.
template <int LATER> DEVICE void copied() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(LATER) : "memory");
#endif
}

// Numbers for tensor cores, rounded to nearest: one in TF32, two in bf16.
DEVICE u32 to_tf32(float x) { u32 y; asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x)); return y; }
DEVICE u32 to_bf16s(float x, float y) { u32 z; asm("cvt.rn.bf16x2.f32 %0, %2, %1;" : "=r"(z) : "f"(x), "f"(y)); return z; }

// `c += a b`, 16 × 8 sums of a warp, in f32: of 8 products in TF32 and of 16 in bf16.
DEVICE void multiply_tf32(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
DEVICE void multiply_bf16(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
