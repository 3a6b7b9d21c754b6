/* fake_kernels.c - the CPU twins of ptx.h, for the fake driver: the same results, one block after the other.
 */
#include <math.h>
#include <stdint.h>

#include "figures.h"

/* What the fake driver looks up in the program: the kernel, and the sizes of its arguments. */
#define FAKE_KERNEL(name) \
  __attribute__((visibility("default"))) void fake_kernel_##name(void **arguments, const uint32_t grid[3])
#define FAKE_ARGUMENTS(name, sizes)                                                 \
  __attribute__((visibility("default"))) extern const char fake_arguments_##name[]; \
  const char fake_arguments_##name[] = sizes;

#define ROUND_NS 20000ull /* slept, not burnt: two processors run all of this */
#define ARGUMENT(index, type) (*(type *)arguments[index])
#define POINTER(index, type) ((type *)(uintptr_t)ARGUMENT(index, uint64_t))

FAKE_KERNEL(beat);
FAKE_KERNEL(walk);
FAKE_KERNEL(multiply);
FAKE_KERNEL(activate);
FAKE_KERNEL(normalise);
FAKE_ARGUMENTS(beat, "8888")
FAKE_ARGUMENTS(walk, "8888")
FAKE_ARGUMENTS(multiply, "8884")
FAKE_ARGUMENTS(activate, "8")
FAKE_ARGUMENTS(normalise, "884")

FAKE_KERNEL(beat) {
  volatile uint64_t *beat = POINTER(0, volatile uint64_t);
  const volatile uint32_t *stop = POINTER(1, const volatile uint32_t);
  uint64_t rounds = ARGUMENT(2, uint64_t), salt = ARGUMENT(3, uint64_t);
  (void)grid;
  for (uint64_t round = 0; round < rounds && *stop == 0; round++) {
    sleep_ns(ROUND_NS);
    *beat = (round << 16) + salt;
  }
}

FAKE_KERNEL(walk) {
  volatile uint64_t *beat = POINTER(0, volatile uint64_t), *range = POINTER(2, volatile uint64_t);
  const volatile uint32_t *stop = POINTER(1, const volatile uint32_t);
  (void)grid;
  for (uint64_t pass = 1; *stop == 0; pass++) {
    for (uint64_t word = 0; word < ARGUMENT(3, uint64_t); word++) range[word]++;
    *beat = pass << 16;
  }
}

/* The order of the sums is the GPU's: one product after the other. */
static float product(const float *row, const float *column, uint32_t size) {
  float sum = 0;
  for (uint32_t k = 0; k < size; k++) sum = fmaf(row[k], column[(uint64_t)k * size], sum);
  return sum;
}

FAKE_KERNEL(multiply) {
  const float *a = POINTER(0, const float), *b = POINTER(1, const float);
  float *c = POINTER(2, float);
  uint32_t size = ARGUMENT(3, uint32_t);
  (void)grid;
  for (uint32_t row = 0; row < size; row++)
    for (uint32_t column = 0; column < size; column++)
      c[(uint64_t)row * size + column] = product(a + (uint64_t)row * size, b + column, size);
}

FAKE_KERNEL(activate) {
  float *x = POINTER(0, float);
  for (uint64_t i = 0; i < (uint64_t)grid[0] * 256; i++) x[i] = x[i] / (1 + expf(-x[i]));
}

static void normalise_row(float *x, const float *residual, uint32_t size) {
  float squares = 0;
  for (uint32_t i = 0; i < size; i++) {
    x[i] += residual[i];
    squares += x[i] * x[i];
  }
  float scale = sqrtf(squares / (float)size + 1e-6f);
  for (uint32_t i = 0; i < size; i++) x[i] /= scale;
}

FAKE_KERNEL(normalise) {
  float *x = POINTER(0, float);
  const float *residual = POINTER(1, const float);
  uint32_t size = ARGUMENT(2, uint32_t);
  for (uint64_t row = 0; row < grid[0]; row++) normalise_row(x + row * size, residual + row * size, size);
}
