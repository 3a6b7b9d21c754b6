/* Rule: a submission first counts itself inside, then looks at `closed`; the stop first sets `closed`, then
 * looks at `inside`. With all of these sequentially consistent, one of the two sees the other.
 */
#include "launch.h"

#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct launch launch_gate;

static void wait_while_closed(struct launch *launch) {
  syscall(SYS_futex, &launch->closed, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
}

static void wake_all(struct launch *launch) {
  syscall(SYS_futex, &launch->closed, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static bool try_to_enter(struct launch *launch) {
  atomic_fetch_add(&launch->inside, 1);
  if (atomic_load(&launch->closed) == 0) return true;
  atomic_fetch_sub(&launch->inside, 1);
  return false;
}

void launch_enter(struct launch *launch) {
  if (try_to_enter(launch)) return;
  atomic_fetch_add(&launch->held, 1);
  do wait_while_closed(launch);
  while (!try_to_enter(launch));
}

void launch_leave(struct launch *launch) {
  atomic_fetch_sub(&launch->inside, 1);
}

void launch_activate(struct launch *launch) {
  atomic_store(&launch->active, 1);
}

void launch_stop(struct launch *launch) {
  atomic_store(&launch->closed, 1);
}

bool launch_is_stopped(struct launch *launch) {
  return atomic_load(&launch->closed) == 1 && atomic_load(&launch->inside) == 0;
}

void launch_resume(struct launch *launch) {
  if (atomic_exchange(&launch->closed, 0) == 1) wake_all(launch);
}

void launch_reset_after_fork(struct launch *launch) {
  memset(launch, 0, sizeof *launch);
}
