/* correct.c - part (c): what the GPU computes under random preemptions is bit for bit what it computes
 * undisturbed.
 *
 * A chain of layers as a transformer's feed-forward has them (two matrix products, an activation, a residual
 * sum, a normalisation by row) runs in one thread while another takes the channels off and puts them back at
 * random.
 */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fake_run.h"
#include "isolate.h"
#include "kernels.h"
#include "kit.h"
#include "own_channels.h"
#include "report.h"
#include "rescue.h"

#define LIMIT_S 60
#define LAYERS 4

struct chain {
  struct device device;
  struct kernels kernels;
  cu_object stream;
  unsigned size; /* of every matrix's side */
  cu_pointer input, first, second, hidden, state;
  float *host;
  uint64_t expected;
  _Atomic bool end;
  _Atomic uint64_t runs, wrong;
};

static uint64_t bytes_of(const struct chain *chain) {
  return (uint64_t)chain->size * chain->size * sizeof(float);
}

static cu_pointer random_matrix(struct chain *chain, uint64_t seed) {
  cu_pointer matrix;
  for (uint64_t i = 0; i < bytes_of(chain) / sizeof(float); i++)
    chain->host[i] = (float)random_between(&seed, 0, 2000) / 1000.0f - 1.0f;
  CU(MemAlloc(&matrix, bytes_of(chain)));
  CU(MemcpyHtoD(matrix, chain->host, bytes_of(chain)));
  return matrix;
}

static void layer(struct chain *chain) {
  launch_multiply(&chain->kernels, chain->state, chain->first, chain->hidden, chain->size, chain->stream);
  launch_activate(&chain->kernels, chain->hidden, chain->size, chain->stream);
  launch_multiply(&chain->kernels, chain->hidden, chain->second, chain->state, chain->size, chain->stream);
  launch_normalise(&chain->kernels, chain->state, chain->hidden, chain->size, chain->stream);
}

static uint64_t hash(const float *values, uint64_t bytes) {
  const uint64_t *words = (const uint64_t *)(const void *)values;
  uint64_t sum = 0xcbf29ce484222325ull;
  for (uint64_t i = 0; i < bytes / sizeof *words; i++) sum = (sum ^ words[i]) * 0x100000001b3ull;
  return sum;
}

/* Copies too are preempted: the input goes in and the output comes out each time. */
static uint64_t run(struct chain *chain, const float *input) {
  CU(MemcpyHtoDAsync(chain->state, input, bytes_of(chain), chain->stream));
  for (int i = 0; i < LAYERS; i++) layer(chain);
  CU(MemcpyDtoHAsync(chain->host, chain->state, bytes_of(chain), chain->stream));
  CU(StreamSynchronize(chain->stream));
  return hash(chain->host, bytes_of(chain));
}

static float *pinned(uint64_t bytes) {
  void *host = NULL;
  CU(MemHostAlloc(&host, bytes, CU_HOST_PORTABLE));
  return host;
}

static float *prepare(struct chain *chain) {
  kernels_load(&chain->kernels, &chain->device);
  CU(StreamCreateWithPriority(&chain->stream, CU_STREAM_NON_BLOCKING, 0));
  chain->size = (unsigned)fake_run_choose(1024, 32);
  chain->host = pinned(bytes_of(chain));
  chain->first = random_matrix(chain, 11);
  chain->second = random_matrix(chain, 12);
  chain->hidden = random_matrix(chain, 13);
  chain->state = random_matrix(chain, 14);
  float *input = pinned(bytes_of(chain));
  memcpy(input, chain->host, bytes_of(chain));
  return input;
}

/* Bits that are equal prove nothing where they are all alike, or not numbers. */
static bool is_meaningful(const struct chain *chain) {
  float low = chain->host[0], high = low;
  for (uint64_t i = 0; i < bytes_of(chain) / sizeof(float); i++) {
    if (!isfinite(chain->host[i])) return false;
    low = fminf(low, chain->host[i]);
    high = fmaxf(high, chain->host[i]);
  }
  return high - low > 0.01f;
}

struct work {
  struct chain *chain;
  const float *input;
};

static void *work_on(void *argument) {
  struct work *work = argument;
  CU(CtxSetCurrent(work->chain->device.context));
  while (!work->chain->end) {
    if (run(work->chain, work->input) != work->chain->expected) work->chain->wrong++;
    work->chain->runs++;
  }
  return NULL;
}

struct preemptions {
  uint64_t done, errors;
  struct figures stop_us;
};

/* From stops too short to be noticed to such that last for several kernels. */
static void preempt(struct preemptions *preemptions, uint64_t *seed) {
  sleep_ns(random_between(seed, 1000, 2000000));
  rescue_arm();
  uint64_t begin_ns = clock_ns();
  int error = channels_stop(&own_channels);
  figures_add(&preemptions->stop_us, (double)(clock_ns() - begin_ns) / 1e3);
  sleep_ns(random_between(seed, 1000, 1500000));
  error |= channels_resume(&own_channels);
  rescue_disarm();
  preemptions->done++;
  if (error != 0) preemptions->errors++;
}

static void preempt_for_a_while(struct chain *chain, struct preemptions *preemptions) {
  uint64_t seed = 4711, deadline_ns = clock_ns() + fake_run_choose(20000000000ull, 1000000000ull);
  uint64_t enough = fake_run_choose(5000, 60);
  while (clock_ns() < deadline_ns && preemptions->done < enough && preemptions->errors < 5)
    preempt(preemptions, &seed);
  chain->end = true;
}

static void tell(const char *name, const struct chain *chain, struct preemptions *preemptions) {
  struct record record;
  record_begin(&record, name);
  record_number(&record, "preemptions", (double)preemptions->done);
  record_number(&record, "runs", (double)chain->runs);
  record_number(&record, "wrong", (double)chain->wrong);
  record_number(&record, "errors", (double)preemptions->errors);
  record_number(&record, "rescues", rescue_count());
  record_figures(&record, "stop_us", &preemptions->stop_us);
  bool good = chain->wrong == 0 && preemptions->errors == 0 && chain->runs > 0;
  record_end(&record, good ? "ok" : chain->wrong != 0 ? "wrong" : "refused");
}

static int compute(const void *argument) {
  static struct chain chain;
  static struct channel channels[KIT_CHANNELS_MAX];
  static struct preemptions preemptions;
  pthread_t worker;
  if (driver_begin(&chain.device) != 0) return 3;
  struct work work = {&chain, prepare(&chain)};
  chain.expected = run(&chain, work.input);
  if (run(&chain, work.input) != chain.expected) chain.wrong++; /* not even deterministic by itself */
  if (!is_meaningful(&chain)) return 3;
  if (rescue_begin(channels, own_channels_copy(channels)) != 0) return 1;
  if (pthread_create(&worker, NULL, work_on, &work) != 0) return 1;
  preempt_for_a_while(&chain, &preemptions);
  pthread_join(worker, NULL);
  tell(argument, &chain, &preemptions);
  return chain.wrong == 0 ? 0 : 1;
}

int correct_main(void) {
  static const char name[] = "chain of layers under random preemption";
  return isolate(name, compute, name, LIMIT_S);
}
