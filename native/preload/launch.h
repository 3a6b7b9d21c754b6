/* launch.h - the `launch` mechanism: holds further work back at the call that submits it.
 *
 * The application's own threads wait in cuLaunchKernel and its kin; nothing is queued or replayed. What has
 * been submitted runs on, so the number of submissions in flight is bounded while this mechanism is the
 * active one (window.h). A submission into a stream that is being captured is held like any other: it is
 * late, no more. A copy that waits within its call counts as inside until it returns, and delays the
 * acknowledgement by that.
 */
#ifndef VALVE_PRELOAD_LAUNCH_H
#define VALVE_PRELOAD_LAUNCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct launch {
  _Atomic uint32_t active; /* the mechanism is in use, so that submissions are counted by stream */
  _Atomic uint32_t closed; /* futex word */
  _Atomic uint32_t inside; /* submissions between launch_enter() and launch_leave() */
  _Atomic uint64_t held;   /* submissions that had to wait */
};

extern struct launch launch_gate; /* this process's */

/* Around every submission. */
void launch_enter(struct launch *launch);
void launch_leave(struct launch *launch);
static inline bool launch_is_idle(struct launch *launch) {
  return atomic_load_explicit(&launch->active, memory_order_relaxed) == 0;
}

void launch_activate(struct launch *launch);
void launch_stop(struct launch *launch);
/* True when nothing is being submitted: every later submission waits. */
bool launch_is_stopped(struct launch *launch);
void launch_resume(struct launch *launch);
void launch_reset_after_fork(struct launch *launch);

#endif
