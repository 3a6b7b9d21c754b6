/* halt.h - the process's channels stand still while the gate says so, or while its pool remaps.
 *
 * The ladder, used by two: the agent, for the gate, and the pool's thread. It stops for the first of them and
 * resumes for the last.
 */
#ifndef VALVE_PRELOAD_HALT_H
#define VALVE_PRELOAD_HALT_H

#include <pthread.h>

#include "ladder.h"

struct halt {
  pthread_mutex_t lock; /* over everything below, and over each call of the ladder */
  struct ladder *ladder;
  bool by_gate, by_pool;
  bool asked; /* the ladder's stop has succeeded since its last resume */
};

void halt_create(struct halt *halt, struct ladder *ladder);

/* The mechanism for the agent; context: the struct halt. */
const struct vlv_mechanism *halt_mechanism(void);

/* For the pool. Once it returns > 0 (the enum vlv_level reached) nothing is submitted any more until
 * halt_release(); at COMPUTE_HALTED nothing runs either. *own: the gate was open. -ETIMEDOUT: it could not be
 * stopped in time; then nothing is held. */
int halt_acquire(struct halt *halt, bool *own);
void halt_release(struct halt *halt);
/* Whether nothing is stopped now. */
bool halt_is_off(struct halt *halt);
/* Calls `submit` if nothing is stopped, with no stop between the look and the call. false: it was not called.
 */
bool halt_if_running(struct halt *halt, void (*submit)(void *context), void *context);

#endif
