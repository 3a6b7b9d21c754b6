#include "halt.h"

#include <errno.h>
#include <time.h>

#define PATIENCE_NS 1000000000ull
#define PAUSE_NS 20000

void halt_create(struct halt *halt, struct ladder *ladder) {
  *halt = (struct halt){.ladder = ladder};
  pthread_mutex_init(&halt->lock, NULL);
}

/* ---- under the lock ---- */

static int stop(struct halt *halt) {
  int error = ladder_mechanism()->stop(halt->ladder);
  halt->asked = error == 0;
  return error;
}

static int resume(struct halt *halt) {
  int error = ladder_mechanism()->resume(halt->ladder);
  if (error == 0) halt->asked = false;
  return error;
}

static int confirm(struct halt *halt) {
  return halt->asked ? ladder_mechanism()->confirm(halt->ladder) : 0;
}

/* ---- the gate ---- */

static int gate_stop(void *context) {
  struct halt *halt = context;
  pthread_mutex_lock(&halt->lock);
  halt->by_gate = true;
  int error = stop(halt);
  pthread_mutex_unlock(&halt->lock);
  return error;
}

static int gate_confirm(void *context) {
  struct halt *halt = context;
  pthread_mutex_lock(&halt->lock);
  int level = ladder_mechanism()->confirm(halt->ladder);
  pthread_mutex_unlock(&halt->lock);
  return level;
}

/* What the pool still holds it resumes itself, within the milliseconds of a remap. */
static int gate_resume(void *context) {
  struct halt *halt = context;
  pthread_mutex_lock(&halt->lock);
  halt->by_gate = false;
  int error = halt->by_pool ? 0 : resume(halt);
  pthread_mutex_unlock(&halt->lock);
  return error;
}

static int gate_guard(void *context) {
  struct halt *halt = context;
  pthread_mutex_lock(&halt->lock);
  int found = ladder_mechanism()->guard(halt->ladder);
  if (found < 0) halt->asked = false;
  pthread_mutex_unlock(&halt->lock);
  return found;
}

static uint32_t gate_id(void *context) {
  const struct halt *halt = context;
  return ladder_mechanism()->id(halt->ladder);
}

const struct vlv_mechanism *halt_mechanism(void) {
  static const struct vlv_mechanism mechanism = {
      .stop = gate_stop, .confirm = gate_confirm, .resume = gate_resume, .guard = gate_guard, .id = gate_id};
  return &mechanism;
}

/* ---- the pool ---- */

static void pause_briefly(void) {
  const struct timespec pause = {.tv_nsec = PAUSE_NS};
  nanosleep(&pause, NULL);
}

/* A channel that came meanwhile may run: it is stopped with all the others, once more. */
static int look(struct halt *halt) {
  pthread_mutex_lock(&halt->lock);
  if (halt->asked && ladder_mechanism()->guard(halt->ladder) < 0) halt->asked = false;
  int level = halt->asked || stop(halt) == 0 ? confirm(halt) : 0;
  pthread_mutex_unlock(&halt->lock);
  return level;
}

static bool claim(struct halt *halt) {
  pthread_mutex_lock(&halt->lock);
  bool own = !halt->by_gate;
  halt->by_pool = true;
  pthread_mutex_unlock(&halt->lock);
  return own;
}

int halt_acquire(struct halt *halt, bool *own) {
  uint64_t end_ns = vlv_now_ns() + PATIENCE_NS;
  *own = claim(halt);
  for (int level; vlv_now_ns() < end_ns; pause_briefly())
    if ((level = look(halt)) > 0) return level;
  halt_release(halt);
  return -ETIMEDOUT;
}

/* A resume that fails is tried until it succeeds, or the gate closes and the agent takes it over. */
static bool try_to_release(struct halt *halt) {
  pthread_mutex_lock(&halt->lock);
  halt->by_pool = false;
  bool done = halt->by_gate || resume(halt) == 0;
  pthread_mutex_unlock(&halt->lock);
  return done;
}

void halt_release(struct halt *halt) {
  while (!try_to_release(halt)) pause_briefly();
}

bool halt_if_running(struct halt *halt, void (*submit)(void *context), void *context) {
  pthread_mutex_lock(&halt->lock);
  bool runs = !halt->by_gate && !halt->by_pool;
  if (runs) submit(context);
  pthread_mutex_unlock(&halt->lock);
  return runs;
}

static void submit_nothing(void *context) {
  (void)context;
}

bool halt_is_off(struct halt *halt) {
  return halt_if_running(halt, submit_nothing, NULL);
}
