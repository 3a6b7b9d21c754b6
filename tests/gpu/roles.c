/* roles.c - the subcommand "role": the two engines of the arms, reduced to what they ask of a GPU.
 *
 * online: requests arrive at random times, open loop. Each is a prefill (a few matrix products) and then
 * decode steps of a few short kernels, each step waited for. Served in order, one at a time. offline: matrix
 * products, as many as possible.
 */
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "fake_run.h"
#include "gatekeeper.h"
#include "kernels.h"
#include "kit.h"
#include "stage.h"

#define PREFILL_PRODUCTS 2
#define DECODE_STEPS 32
#define STEP_KERNELS 6
#define STEP_KERNEL_US 100.0
#define COOLDOWN_MIN_NS 2000000ull
#define COOLDOWN_MAX_NS 50000000ull

struct engine {
  struct stage *stage;
  struct device device;
  struct kernels kernels;
  struct beacon beacon;
  cu_object stream;
  unsigned size;
  cu_pointer a, b, c;
  uint64_t step_rounds;
  pthread_t neighbour;
};

/* The online engine's stand-in for a sidecar: the drain policy and its cool-down, in one process. */
struct drain {
  struct gatekeeper keeper;
  bool in_use, closed;
  uint64_t open_at_ns, largest_gap_ns, closed_ns;
};

static void make_matrices(struct engine *engine) {
  uint64_t bytes = (uint64_t)engine->size * engine->size * sizeof(float);
  CU(MemAlloc(&engine->a, bytes));
  CU(MemAlloc(&engine->b, bytes));
  CU(MemAlloc(&engine->c, bytes));
}

static int prepare(struct engine *engine, int priority) {
  if (driver_begin(&engine->device) != 0) return -1;
  kernels_load(&engine->kernels, &engine->device);
  beacon_create(&engine->beacon);
  CU(StreamCreateWithPriority(&engine->stream, CU_STREAM_NON_BLOCKING, priority));
  engine->size = (unsigned)fake_run_choose(2048, 32);
  make_matrices(engine);
  engine->step_rounds = rounds_for(STEP_KERNEL_US, beat_round_us(&engine->kernels, &engine->beacon));
  memcpy(engine->stage->uuid, engine->device.uuid, sizeof engine->device.uuid);
  return 0;
}

static void multiply(struct engine *engine, cu_object stream) {
  launch_multiply(&engine->kernels, engine->a, engine->b, engine->c, engine->size, stream);
}

/* ---- offline ---- */

/* Two products in flight, so that the GPU never waits for us. */
static void multiply_until_end(struct engine *engine, cu_object stream, const _Atomic uint32_t *end) {
  cu_object events[2];
  for (int i = 0; i < 2; i++) CU(EventCreate(&events[i], CU_EVENT_BLOCKING_SYNC | CU_EVENT_NO_TIMING));
  for (uint64_t n = 0; !*end; n++) {
    multiply(engine, stream);
    CU(EventRecord(events[n % 2], stream));
    if (n == 0) continue;
    CU(EventSynchronize(events[(n + 1) % 2]));
    engine->stage->work++;
  }
}

static int offline(struct engine *engine) {
  if (prepare(engine, 0) != 0) return 3;
  engine->stage->ready = 1;
  multiply_until_end(engine, engine->stream, &engine->stage->end);
  CU(StreamSynchronize(engine->stream));
  return 0;
}

/* ---- online ---- */

static void drain_begin(struct drain *drain, struct engine *engine) {
  drain->in_use = engine->stage->plan.gated && gatekeeper_join(&drain->keeper, engine->device.uuid) == 0;
}

static void drain_arrive(struct drain *drain, struct stage *stage) {
  if (!drain->in_use || drain->closed) return;
  vlv_gate_close(drain->keeper.holder);
  drain->closed = true;
  drain->closed_ns = clock_ns();
  stage->closes++;
}

static uint64_t bounded(uint64_t value, uint64_t low, uint64_t high) {
  return value < low ? low : value > high ? high : value;
}

static void drain_finish(struct drain *drain) {
  uint64_t cooldown_ns = bounded(2 * drain->largest_gap_ns, COOLDOWN_MIN_NS, COOLDOWN_MAX_NS);
  drain->open_at_ns = clock_ns() + cooldown_ns;
  drain->largest_gap_ns = 0;
}

static void drain_open(struct drain *drain) {
  if (!drain->closed) return;
  vlv_gate_open(drain->keeper.holder);
  drain->closed = false;
}

static void sleep_until(uint64_t moment_ns) {
  uint64_t now_ns = clock_ns();
  if (moment_ns > now_ns) sleep_ns(moment_ns - now_ns);
}

static void wait_arrival(struct drain *drain, uint64_t arrival_ns) {
  if (drain->closed && drain->open_at_ns < arrival_ns) {
    sleep_until(drain->open_at_ns);
    drain_open(drain);
  }
  sleep_until(arrival_ns);
}

static void decode_step(struct engine *engine) {
  for (int i = 0; i < STEP_KERNELS; i++)
    launch_beat(&engine->kernels, &engine->beacon, engine->step_rounds, engine->stream);
  CU(StreamSynchronize(engine->stream));
}

static void prefill(struct engine *engine) {
  for (int i = 0; i < PREFILL_PRODUCTS; i++) multiply(engine, engine->stream);
  decode_step(engine);
}

static void serve(struct engine *engine, struct drain *drain, uint64_t arrival_ns) {
  prefill(engine);
  uint64_t before_ns = clock_ns();
  figures_add(&engine->stage->first_us, (double)(before_ns - arrival_ns) / 1e3);
  for (int i = 0; i < DECODE_STEPS; i++) {
    decode_step(engine);
    uint64_t now_ns = clock_ns(), gap_ns = now_ns - before_ns;
    figures_add(&engine->stage->step_us, (double)gap_ns / 1e3);
    if (gap_ns > drain->largest_gap_ns) drain->largest_gap_ns = gap_ns;
    before_ns = now_ns;
  }
  engine->stage->requests++;
}

/* Exponential gaps. */
static uint64_t next_gap_ns(uint64_t *seed, double per_s) {
  double uniform = (double)random_between(seed, 1, 1000000) / 1e6;
  return (uint64_t)(-log(uniform) / per_s * 1e9);
}

static void serve_arrivals(struct engine *engine, struct drain *drain) {
  const struct role_plan *plan = &engine->stage->plan;
  uint64_t seed = plan->seed | 1, begin_ns = clock_ns(), busy_ns = 0;
  uint64_t arrival_ns = begin_ns + next_gap_ns(&seed, plan->arrivals_per_s);
  for (; arrival_ns < begin_ns + plan->duration_ns; arrival_ns += next_gap_ns(&seed, plan->arrivals_per_s)) {
    wait_arrival(drain, arrival_ns);
    drain_arrive(drain, engine->stage);
    uint64_t served_ns = clock_ns();
    serve(engine, drain, arrival_ns);
    busy_ns += clock_ns() - served_ns;
    drain_finish(drain);
  }
  wait_arrival(drain, begin_ns + plan->duration_ns);
  engine->stage->busy_share = (double)busy_ns / (double)(clock_ns() - begin_ns);
}

static void *be_neighbour(void *argument) {
  struct engine *engine = argument;
  cu_object stream = NULL;
  int least = 0, greatest = 0;
  CU(CtxSetCurrent(engine->device.context));
  CU(StreamPriorityRange(&least, &greatest));
  CU(StreamCreateWithPriority(&stream, CU_STREAM_NON_BLOCKING, least));
  multiply_until_end(engine, stream, &engine->stage->end);
  return NULL;
}

static int online_priority(void) {
  return -100; /* clamped to the greatest there is */
}

static int online(struct engine *engine) {
  static struct drain drain;
  if (prepare(engine, engine->stage->plan.neighbour ? online_priority() : 0) != 0) return 3;
  if (engine->stage->plan.neighbour && pthread_create(&engine->neighbour, NULL, be_neighbour, engine) != 0)
    return 3;
  drain_begin(&drain, engine);
  decode_step(engine);
  engine->stage->ready = 1;
  while (!engine->stage->go) sleep_ns(100000);
  engine->stage->work = 0;
  serve_arrivals(engine, &drain);
  drain_open(&drain);
  engine->stage->end = 1;
  if (engine->stage->plan.neighbour) pthread_join(engine->neighbour, NULL);
  return 0;
}

int role_main(const char *role) {
  static struct engine engine;
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  engine.stage = mmap(NULL, sizeof(struct stage), PROT_READ | PROT_WRITE, MAP_SHARED, STAGE_FD, 0);
  if ((void *)engine.stage == MAP_FAILED) return 3;
  return strcmp(role, "online") == 0 ? online(&engine) : offline(&engine);
}
