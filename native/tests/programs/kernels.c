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

/* Where in a page a program leaves its marks. */
#define PAGE (2ull << 20)
static const uint64_t marks[] = {0, 65536, PAGE / 2, PAGE - 8};
enum { MARKS = sizeof marks / sizeof marks[0] };

/* A GPU's accesses: the stop that keeps them apart from a remap is a signal, which is no order to TSan. */
#define OF_GPU __attribute__((no_sanitize("thread")))

OF_GPU static uint64_t look(const uint64_t *page, uint64_t expected) {
  for (int i = 0; i < MARKS; i++)
    if (page[marks[i] / 8] != expected) return page[marks[i] / 8];
  return expected;
}

OF_GPU static void leave_marks(uint64_t *page, uint64_t value) {
  for (int i = 0; i < MARKS; i++) page[marks[i] / 8] = value;
}

/* (base, pages, count, expected, value, found): of each page the first mark that is not what was expected, of
 * many rounds the last; then it is marked anew. */
KERNEL(hammer, "884888") {
  char *base = ARGUMENT(0, char *);
  const uint32_t *pages = ARGUMENT(1, const uint32_t *);
  uint32_t count = ARGUMENT(2, uint32_t);
  uint64_t *expected = ARGUMENT(3, uint64_t *), value = ARGUMENT(4, uint64_t);
  uint64_t *found = ARGUMENT(5, uint64_t *);
  (void)grid;
  for (uint32_t i = 0; i < count; i++) {
    uint64_t *page = (uint64_t *)(void *)(base + pages[i] * PAGE);
    uint64_t seen = look(page, expected[pages[i]]);
    if (seen != expected[pages[i]]) found[pages[i]] = seen;
    leave_marks(page, value);
  }
}
