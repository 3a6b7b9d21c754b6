#include "cycles.h"

#include <string.h>

#define SETTLE_NS 100000ull
#define BACK_NS 2000000000ull
#define TROUBLES_MAX 5u

static double us_between(uint64_t begin_ns, uint64_t end_ns) {
  return end_ns > begin_ns ? (double)(end_ns - begin_ns) / 1e3 : 0;
}

static bool note_error(struct cycle_figures *out, int error) {
  if (error == 0) return false;
  out->errors++;
  out->last_error = error;
  return true;
}

/* Closed for a while: the last change is looked up at its end, when all that will come has come. */
static void hold(struct pulse *pulse, uint64_t called_ns, uint64_t hold_ns, struct cycle_figures *out) {
  if (!pulse_is_still(pulse, SETTLE_NS, hold_ns)) out->leaks++;
  figures_add(&out->stopped, us_between(called_ns, pulse->last_ns));
}

static void reopen(const struct cycle_gate *gate, struct pulse *pulse, struct cycle_figures *out) {
  pulse_arm(pulse);
  uint64_t called_ns = clock_ns();
  int error = gate->open(gate->context);
  figures_add(&out->open_call, us_between(called_ns, clock_ns()));
  if (note_error(out, error)) return;
  uint64_t first_ns = pulse_wait_first(pulse, BACK_NS);
  if (first_ns == 0) {
    out->stuck++;
  } else {
    figures_add(&out->resumed, us_between(called_ns, first_ns));
  }
}

static void cycle(const struct cycle_plan *plan, const struct cycle_gate *gate, struct pulse *pulse,
                  uint64_t *seed, struct cycle_figures *out) {
  sleep_ns(1000 * random_between(seed, plan->run_us_min, plan->run_us_max));
  uint64_t hold_ns = 1000 * random_between(seed, plan->hold_us_min, plan->hold_us_max);
  uint64_t called_ns = clock_ns();
  int error = gate->close(gate->context);
  uint64_t returned_ns = clock_ns();
  if (!note_error(out, error)) {
    figures_add(&out->closed_call, us_between(called_ns, returned_ns));
    hold(pulse, called_ns, hold_ns, out);
  }
  reopen(gate, pulse, out);
}

void cycles_run(const struct cycle_plan *plan, const struct cycle_gate *gate, struct pulse *pulse,
                struct cycle_figures *out) {
  uint64_t seed = plan->seed | 1;
  memset(out, 0, sizeof *out);
  for (uint32_t i = 0; i < plan->count && out->errors + out->stuck < TROUBLES_MAX; i++)
    cycle(plan, gate, pulse, &seed, out);
}
