/* The programs' kernels. Each moves the board's beat as it goes, and works on state of its own whose end
 * depends on every step. */
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#define ARGUMENT(index, type) (*(type *)arguments[index])
#define KERNEL(name, sizes)                                                                                 \
  __attribute__((visibility("default"))) extern const char fake_arguments_##name[];                         \
  const char fake_arguments_##name[] = sizes;                                                               \
  __attribute__((visibility("default"))) void fake_kernel_##name(void **arguments, const uint32_t grid[3]); \
  void fake_kernel_##name(void **arguments, const uint32_t grid[3])

static uint64_t mix(uint64_t x) {
  return x * 6364136223846793005u + 1442695040888963407u;
}

/* (beat, state, words, rounds) */
KERNEL(step, "8844") {
  _Atomic uint64_t *beat = ARGUMENT(0, _Atomic uint64_t *);
  uint64_t *state = ARGUMENT(1, uint64_t *);
  uint32_t words = ARGUMENT(2, uint32_t), rounds = ARGUMENT(3, uint32_t);
  (void)grid;
  for (uint32_t round = 0; round < rounds; round++) {
    for (uint32_t i = 0; i < words; i++) state[i] = mix(state[i] + state[(i + 1) % words]);
    atomic_fetch_add(beat, 1);
  }
}

/* (beat, go): until the program is told to end it, with pauses so that it leaves the processors to others */
KERNEL(persist, "88") {
  _Atomic uint64_t *beat = ARGUMENT(0, _Atomic uint64_t *);
  _Atomic uint32_t *go = ARGUMENT(1, _Atomic uint32_t *);
  const struct timespec pause = {.tv_nsec = 2000};
  (void)grid;
  while (atomic_load(go) == 0) {
    atomic_fetch_add(beat, 1);
    nanosleep(&pause, NULL);
  }
}
