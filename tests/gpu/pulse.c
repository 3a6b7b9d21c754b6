#include "pulse.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "fake_run.h"
#include "figures.h"

#define SETTLE_NS 2000000000ull

struct look {
  struct pulse *pulse;
  const volatile uint64_t *beat;
};

static void note_change(struct pulse *pulse) {
  uint64_t now_ns = clock_ns();
  pulse->last_ns = now_ns;
  pulse->beats++;
  if (pulse->armed) {
    pulse->first_ns = now_ns;
    pulse->armed = 0;
  }
}

static void *look_on(void *argument) {
  struct look look = *(struct look *)argument;
  uint64_t before = *look.beat;
  free(argument);
  while (!look.pulse->end) {
    uint64_t now = *look.beat;
    if (now != before) note_change(look.pulse);
    before = now;
    look.pulse->looks++;
    fake_run_yield();
  }
  return NULL;
}

int pulse_begin(struct pulse *pulse, const volatile uint64_t *beat) {
  pthread_t thread;
  struct look *look = malloc(sizeof *look);
  if (look == NULL) return -ENOMEM;
  *look = (struct look){pulse, beat};
  int error = pthread_create(&thread, NULL, look_on, look);
  if (error == 0) pthread_detach(thread);
  return -error;
}

bool pulse_settle(struct pulse *pulse) {
  uint64_t begin = pulse->looks, deadline_ns = clock_ns() + SETTLE_NS;
  while (pulse->looks < begin + 2) {
    if (clock_ns() > deadline_ns) return false;
    fake_run_yield();
  }
  return true;
}

void pulse_arm(struct pulse *pulse) {
  pulse->first_ns = 0;
  pulse->armed = 1;
}

uint64_t pulse_wait_first(struct pulse *pulse, uint64_t timeout_ns) {
  uint64_t deadline_ns = clock_ns() + timeout_ns;
  while (pulse->armed && clock_ns() < deadline_ns) fake_run_yield();
  return pulse->armed ? 0 : pulse->first_ns;
}

bool pulse_is_still(struct pulse *pulse, uint64_t settle_ns, uint64_t hold_ns) {
  sleep_ns(settle_ns);
  pulse_settle(pulse);
  uint64_t beats = pulse->beats;
  sleep_ns(hold_ns);
  pulse_settle(pulse);
  return pulse->beats == beats;
}

bool pulse_beats(struct pulse *pulse, uint64_t timeout_ns) {
  pulse_arm(pulse);
  return pulse_wait_first(pulse, timeout_ns) != 0;
}
