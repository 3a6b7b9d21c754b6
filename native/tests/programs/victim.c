/* A GPU program that a test stops and lets go: victim BOARD KIND ROUNDS. Kinds: the table at the end. Its
 * result depends on all of its work.
 */
#include <string.h>

#include "board.h"
#include "cuda.h"

#define WORDS 256u
#define STREAMS 2

static struct board *board;
static CUfunction step, persist;
static CUstream streams[STREAMS];
static CUdeviceptr states[STREAMS];

static CUfunction load(const char *name) {
  CUmodule module;
  CUfunction function;
  CHECK_CUDA(CUDA(cuModuleLoadData, )(&module, "an image"));
  CHECK_CUDA(CUDA(cuModuleGetFunction, )(&function, module, name));
  return function;
}

static CUdeviceptr make_state(uint64_t seed) {
  uint64_t words[WORDS];
  CUdeviceptr state;
  for (uint32_t i = 0; i < WORDS; i++) words[i] = seed + i;
  CHECK_CUDA(CUDA(cuMemAlloc, _v2)(&state, sizeof words));
  CHECK_CUDA(CUDA(cuMemcpyHtoD, _v2)(state, words, sizeof words));
  return state;
}

static void set_up(void) {
  CUcontext context;
  CHECK_CUDA(CUDA(cuInit, )(0));
  CHECK_CUDA(CUDA(cuDevicePrimaryCtxRetain, )(&context, 0));
  CHECK_CUDA(CUDA(cuCtxSetCurrent, )(context));
  step = load("step");
  persist = load("persist");
  for (int i = 0; i < STREAMS; i++) {
    CHECK_CUDA(CUDA(cuStreamCreate, )(&streams[i], CU_STREAM_NON_BLOCKING));
    states[i] = make_state((uint64_t)i * 1000);
  }
}

static void launch(CUstream stream, CUdeviceptr state, uint32_t rounds) {
  void *beat = &board->beat;
  uint32_t words = WORDS;
  void *arguments[] = {&beat, &state, &words, &rounds};
  CHECK_CUDA(CUDA(cuLaunchKernel, )(step, 1, 1, 1, 1, 1, 1, 0, stream, arguments, NULL));
}

static void synchronise(void) {
  for (int i = 0; i < STREAMS; i++) CHECK_CUDA(CUDA(cuStreamSynchronize, )(streams[i]));
}

/* ---- kinds of work ---- */

static void short_kernels(uint32_t rounds) {
  for (uint32_t round = 0; round < rounds; round++) {
    for (int i = 0; i < STREAMS; i++) launch(streams[i], states[i], 1);
    if (round % 16 == 15) synchronise();
  }
}

static void long_kernels(uint32_t rounds) {
  for (uint32_t round = 0; round < rounds; round += 1000)
    for (int i = 0; i < STREAMS; i++) launch(streams[i], states[i], 1000);
}

static void default_stream(uint32_t rounds) {
  for (uint32_t round = 0; round < rounds; round++) launch(NULL, states[round % STREAMS], 1);
}

static CUgraphExec capture(void) {
  CUgraph graph;
  CUgraphExec executable;
  CHECK_CUDA(CUDA(cuStreamBeginCapture, _v2)(streams[0], CU_STREAM_CAPTURE_MODE_GLOBAL));
  for (int i = 0; i < 40; i++) launch(streams[0], states[0], 1); /* more than a window of the shim's */
  CHECK_CUDA(CUDA(cuMemcpyDtoDAsync, _v2)(states[1], states[0], WORDS * 8, streams[0]));
  launch(streams[0], states[1], 1);
  CHECK_CUDA(CUDA(cuStreamEndCapture, )(streams[0], &graph));
  CHECK_CUDA(CUDA(cuGraphInstantiateWithFlags, )(&executable, graph, 0));
  CHECK_CUDA(CUDA(cuGraphDestroy, )(graph));
  return executable;
}

/* Captured anew now and then, while the gate moves. */
static void graphs(uint32_t rounds) {
  for (uint32_t round = 0; round < rounds; round += 100) {
    CUgraphExec executable = capture();
    for (int i = 0; i < 10; i++) CHECK_CUDA(CUDA(cuGraphLaunch, )(executable, streams[0]));
    CHECK_CUDA(CUDA(cuStreamSynchronize, )(streams[0]));
    CHECK_CUDA(CUDA(cuGraphExecDestroy, )(executable));
  }
}

/* Nothing but the copy engine moves the beat: each copy takes the next number there. */
static void copies(uint32_t rounds) {
  CUdeviceptr numbers;
  CHECK_CUDA(CUDA(cuMemAlloc, _v2)(&numbers, (size_t)rounds * 8));
  for (uint64_t i = 0; i < rounds; i++) ((uint64_t *)(uintptr_t)numbers)[i] = i + 1;
  for (uint32_t i = 0; i < rounds; i++)
    CHECK_CUDA(CUDA(cuMemcpyDtoHAsync, _v2)(&board->beat, numbers + i * 8ull, 8, streams[0]));
}

/* One kernel that ends when it is told to. */
static void persistent(uint32_t rounds) {
  void *beat = &board->beat, *go = &board->go, *arguments[] = {&beat, &go};
  (void)rounds;
  CHECK_CUDA(CUDA(cuLaunchKernel, )(persist, 1, 1, 1, 1, 1, 1, 0, streams[0], arguments, NULL));
}

/* A second context, made when the test says so: its channels come late. */
static void late(uint32_t rounds) {
  CUcontext context;
  while (board->go == 0) usleep(100);
  CHECK_CUDA(CUDA(cuCtxCreate, _v2)(&context, 0, 0));
  board->told[0] = 1;
  CHECK_CUDA(CUDA(cuStreamCreate, )(&streams[0], CU_STREAM_NON_BLOCKING));
  for (uint32_t i = 0; i < rounds; i++) launch(streams[0], states[0], 1);
}

static const struct {
  const char *name;
  void (*work)(uint32_t rounds);
} kinds[] = {{"short", short_kernels},
             {"long", long_kernels},
             {"default", default_stream},
             {"graphs", graphs},
             {"copies", copies},
             {"persistent", persistent},
             {"late", late}};

static uint64_t sum_up(void) {
  uint64_t words[WORDS], sum = board->beat == 0;
  for (int i = 0; i < STREAMS; i++) {
    CHECK_CUDA(CUDA(cuMemcpyDtoH, _v2)(words, states[i], sizeof words));
    for (uint32_t word = 0; word < WORDS; word++) sum = sum * 31 + words[word];
  }
  return sum;
}

static int work(const char *kind, uint32_t rounds) {
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    if (strcmp(kinds[i].name, kind) != 0) continue;
    kinds[i].work(rounds);
    CHECK_CUDA(CUDA(cuCtxSynchronize, )());
    return 0;
  }
  return 2;
}

int main(int count, char **arguments) {
  board = count == 4 ? board_open(arguments[1]) : NULL;
  if (board == NULL) return 2;
  set_up();
  board->ready = 1;
  int rc = work(arguments[2], (uint32_t)atoi(arguments[3]));
  board->result = sum_up();
  board->done = rc == 0;
  return rc;
}
