/* gate.c - part (b): how long after the call a victim stands still, and how long until it runs again.
 *
 * Three ways: in process (the shim's channels_stop()), direct (another process, through passed descriptors),
 * and the whole stack (a holder closes its claim in the node segment; the shim's agent in the victim stops it
 * and acknowledges).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "controls.h"
#include "fake_run.h"
#include "isolate.h"
#include "kit.h"
#include "report.h"
#include "rescue.h"
#include "subject.h"

#define LIMIT_S 35
#define CYCLES 1000
#define FAKE_CYCLES 8
#define RANK_NS 10000000000ull

enum way { WAY_INSIDE, WAY_DIRECT, WAY_STACK };

struct run {
  const char *kind;
  enum way way;
  char name[64];
};

struct direct {
  struct channel channels[KIT_CHANNELS_MAX];
  uint32_t count;
};

static struct cycle_plan plan_of(enum way way) {
  return (struct cycle_plan){.count = (uint32_t)fake_run_choose(CYCLES, FAKE_CYCLES),
                             .hold_us_min = 300,
                             .hold_us_max = 1500,
                             .run_us_min = 300,
                             .run_us_max = 1500,
                             .seed = 20260101u + (uint64_t)way};
}

static int close_direct(void *context) {
  struct direct *direct = context;
  rescue_arm();
  return controls_apply(CONTROL_DISABLE, false, direct->channels, direct->count);
}

static int open_direct(void *context) {
  struct direct *direct = context;
  int result = controls_apply(CONTROL_DISABLE, true, direct->channels, direct->count);
  rescue_disarm();
  return result;
}

static int run_inside(struct subject *subject) {
  struct order order = {.verb = ORDER_CYCLES, .plan = plan_of(WAY_INSIDE)};
  struct answer answer = {0};
  int error = subject_order(subject, &order, &answer);
  return error != 0 ? error : answer.result;
}

static int run_direct(struct subject *subject) {
  static struct direct direct;
  const struct cycle_gate gate = {close_direct, open_direct, &direct};
  const struct cycle_plan plan = plan_of(WAY_DIRECT);
  int count = subject_channels(subject, false, direct.channels);
  if (count < 0) return count;
  direct.count = (uint32_t)count;
  int error = rescue_begin(direct.channels, direct.count);
  if (error == 0) cycles_run(&plan, &gate, &subject->stage->pulse, &subject->stage->cycles);
  return error;
}

static int run_stack(struct subject *subject, struct gatekeeper *keeper) {
  const struct cycle_gate gate = {gatekeeper_close, gatekeeper_open, keeper};
  const struct cycle_plan plan = plan_of(WAY_STACK);
  int error = gatekeeper_find_rank(keeper, subject->pid, RANK_NS);
  if (error != 0) {
    strcpy(subject->stage->message, "the shim did not register a rank");
    return error;
  }
  cycles_run(&plan, &gate, &subject->stage->pulse, &subject->stage->cycles);
  return 0;
}

static const char *verdict(const struct cycle_figures *cycles) {
  if (cycles->stuck != 0) return "stuck";
  if (cycles->errors != 0) return "refused";
  return cycles->leaks != 0 ? "leaks" : "ok";
}

static void add_figures(struct record *record, struct cycle_figures *cycles) {
  record_figures(record, "stopped_us", &cycles->stopped);
  record_figures(record, "resumed_us", &cycles->resumed);
  record_figures(record, "close_call_us", &cycles->closed_call);
  record_figures(record, "open_call_us", &cycles->open_call);
  record_number(record, "leaks", cycles->leaks);
  record_number(record, "stuck", cycles->stuck);
  record_number(record, "errors", cycles->errors);
  if (cycles->errors != 0) record_number(record, "last_error", cycles->last_error);
}

static void tell(const struct run *run, struct subject *subject, const struct gatekeeper *keeper) {
  struct record record;
  record_begin(&record, run->name);
  add_figures(&record, &subject->stage->cycles);
  record_number(&record, "kernel_us", subject->stage->kernel_us);
  if (keeper != NULL) record_text(&record, "mechanism", gatekeeper_mechanism(keeper));
  record_end(&record, verdict(&subject->stage->cycles));
}

static int tell_failure(const struct run *run, const struct subject *subject, int error) {
  struct record record;
  record_begin(&record, run->name);
  record_text(&record, "reason", *subject->stage->message ? subject->stage->message : strerror(-error));
  record_end(&record, "failed");
  return 1;
}

static int measure(const struct run *run, struct subject *subject, struct gatekeeper *keeper) {
  int error = subject_start(subject, run->kind, keeper);
  if (error == 0 && run->way == WAY_INSIDE) error = run_inside(subject);
  if (error == 0 && run->way == WAY_DIRECT) error = run_direct(subject);
  if (error == 0 && run->way == WAY_STACK) error = run_stack(subject, keeper);
  if (error == 0) tell(run, subject, keeper);
  subject_end(subject);
  return error == 0 ? 0 : tell_failure(run, subject, error);
}

/* The stack's holder must name the device: an idle victim tells which it is. */
static int begin_keeper(struct gatekeeper *keeper, struct subject *subject) {
  int error = subject_start(subject, "idle", NULL);
  subject_end(subject);
  return error == 0 ? gatekeeper_begin(keeper, subject->stage->uuid) : error;
}

static int measure_one(const void *argument) {
  static struct gatekeeper keeper;
  static struct subject subject;
  const struct run *run = argument;
  if (run->way != WAY_STACK) return measure(run, &subject, NULL);
  int error = begin_keeper(&keeper, &subject);
  if (error != 0) return tell_failure(run, &subject, error);
  int status = measure(run, &subject, &keeper);
  gatekeeper_end(&keeper);
  return status;
}

int gate_main(void) {
  static const char *const kinds[] = {"short", "long", "persistent", "graph", "htod", "dtoh"};
  static const char *const ways[] = {"in process", "direct", "whole stack"};
  int failed = 0;
  for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
    for (int way = WAY_INSIDE; way <= WAY_STACK; way++) {
      struct run run = {.kind = kinds[kind], .way = (enum way)way};
      snprintf(run.name, sizeof run.name, "%s, %s", kinds[kind], ways[way]);
      failed |= isolate(run.name, measure_one, &run, LIMIT_S);
    }
  }
  return failed;
}
