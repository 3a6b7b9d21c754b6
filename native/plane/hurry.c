#include "hurry.h"

#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "urgent.h"

#define SLICE_NS 100000 /* the least that the kernel takes */

/* sched_setattr(2); glibc does not have it yet. */
struct attributes {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
};

/* Since Linux 6.12 a thread that asks for short slices preempts one with longer slices when it wakes, unless
 * it has had its share of the core. */
static void ask_for_short_slices(void) {
  struct attributes attributes = {.size = sizeof attributes, .policy = SCHED_OTHER, .runtime = SLICE_NS};
  syscall(SYS_sched_setattr, 0, &attributes, 0);
}

void hurry(void) {
  ask_for_short_slices();
  be_urgent();
}
