#include "workloads.h"

#include <string.h>

#include "fake_run.h"
#include "figures.h"

#define SHORT_US 25.0
#define LONG_US 9000.0
#define FAKE_LONG_US 2000
#define BATCH 16
#define COPY_BYTES (1ull << 20)
#define COPY_SEGMENTS 8u

/* ---- keeping two batches in flight ---- */

struct queue {
  cu_object events[2];
  uint64_t batches;
};

static void queue_create(struct queue *queue) {
  queue->batches = 0;
  for (int i = 0; i < 2; i++) CU(EventCreate(&queue->events[i], CU_EVENT_BLOCKING_SYNC | CU_EVENT_NO_TIMING));
}

/* After a batch has been submitted: waits for the one before it. */
static void queue_wait(struct queue *queue, cu_object stream) {
  CU(EventRecord(queue->events[queue->batches % 2], stream));
  if (queue->batches++ > 0) CU(EventSynchronize(queue->events[queue->batches % 2]));
}

/* ---- kernels ---- */

static void prepare_kernel(struct workload_state *state, double us) {
  uint64_t rounds = rounds_for(us, state->round_us);
  state->kernel_us = (double)rounds * state->round_us;
  state->beat = state->beacon.beat;
}

static void prepare_short(struct workload_state *state) {
  prepare_kernel(state, SHORT_US);
}

static void prepare_long(struct workload_state *state) {
  prepare_kernel(state, fake_run() ? FAKE_LONG_US : LONG_US);
}

static void prepare_beacon(struct workload_state *state) {
  state->beat = state->beacon.beat;
}

static void launch_batch(struct workload_state *state, int count) {
  uint64_t rounds = rounds_for(state->kernel_us, state->round_us);
  for (int i = 0; i < count; i++) launch_beat(&state->kernels, &state->beacon, rounds, state->stream);
}

static void run_batches(struct workload_state *state, int count) {
  struct queue queue;
  queue_create(&queue);
  while (!state->end) {
    launch_batch(state, count);
    queue_wait(&queue, state->stream);
  }
}

static void run_short(struct workload_state *state) {
  run_batches(state, BATCH);
}

static void run_long(struct workload_state *state) {
  run_batches(state, 1);
}

static void run_persistent(struct workload_state *state) {
  launch_beat(&state->kernels, &state->beacon, UINT64_MAX, state->stream);
  CU(StreamSynchronize(state->stream));
}

static cu_object capture(struct workload_state *state) {
  cu_object graph = NULL, executable = NULL;
  CU(StreamBeginCapture(state->stream, CU_CAPTURE_RELAXED));
  launch_batch(state, BATCH);
  CU(StreamEndCapture(state->stream, &graph));
  CU(GraphInstantiate(&executable, graph, 0));
  return executable;
}

static void run_graph(struct workload_state *state) {
  struct queue queue;
  queue_create(&queue);
  cu_object graph = capture(state);
  while (!state->end) {
    CU(GraphLaunch(graph, state->stream));
    queue_wait(&queue, state->stream);
  }
}

/* ---- copies: the last word of each segment differs from its neighbours' and is the heartbeat ---- */

static char *pinned(uint64_t size) {
  void *host = NULL;
  CU(MemHostAlloc(&host, size, CU_HOST_PORTABLE));
  memset(host, 0, size);
  return host;
}

static volatile uint64_t *last_word(char *segment) {
  return (volatile uint64_t *)(segment + COPY_BYTES - sizeof(uint64_t));
}

static char *numbered_segments(void) {
  char *host = pinned(COPY_SEGMENTS * COPY_BYTES);
  for (uint64_t i = 0; i < COPY_SEGMENTS; i++) *last_word(host + i * COPY_BYTES) = i + 1;
  return host;
}

static struct {
  char *segments, *landing;
  cu_pointer device;
} copies;

static void prepare_dtoh(struct workload_state *state) {
  char *segments = numbered_segments();
  CU(MemAlloc(&copies.device, COPY_SEGMENTS * COPY_BYTES));
  CU(MemcpyHtoD(copies.device, segments, COPY_SEGMENTS * COPY_BYTES));
  copies.landing = pinned(COPY_BYTES);
  state->beat = last_word(copies.landing);
}

static void run_dtoh(struct workload_state *state) {
  struct queue queue;
  queue_create(&queue);
  while (!state->end) {
    for (uint64_t i = 0; i < COPY_SEGMENTS; i++)
      CU(MemcpyDtoHAsync(copies.landing, copies.device + i * COPY_BYTES, COPY_BYTES, state->stream));
    queue_wait(&queue, state->stream);
  }
}

/* Each copy in is followed by one of its last word out again, by which it is seen. */
static void prepare_htod(struct workload_state *state) {
  copies.segments = numbered_segments();
  copies.landing = pinned(4096);
  CU(MemAlloc(&copies.device, COPY_BYTES));
  state->beat = (volatile uint64_t *)copies.landing;
}

static void run_htod(struct workload_state *state) {
  struct queue queue;
  cu_pointer word = copies.device + COPY_BYTES - sizeof(uint64_t);
  queue_create(&queue);
  while (!state->end) {
    for (uint64_t i = 0; i < COPY_SEGMENTS; i++) {
      CU(MemcpyHtoDAsync(copies.device, copies.segments + i * COPY_BYTES, COPY_BYTES, state->stream));
      CU(MemcpyDtoHAsync(copies.landing, word, sizeof(uint64_t), state->stream));
    }
    queue_wait(&queue, state->stream);
  }
}

static void run_idle(struct workload_state *state) {
  while (!state->end) sleep_ns(1000000);
}

const struct workload *workload_find(const char *name) {
  static const struct workload all[] = {
      {"short", prepare_short, run_short}, {"long", prepare_long, run_long},
      {"graph", prepare_short, run_graph}, {"persistent", prepare_beacon, run_persistent},
      {"htod", prepare_htod, run_htod},    {"dtoh", prepare_dtoh, run_dtoh},
      {"idle", prepare_beacon, run_idle},
  };
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
    if (strcmp(all[i].name, name) == 0) return &all[i];
  return NULL;
}
