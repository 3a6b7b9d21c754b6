/* The launch gate: no submission while it is stopped, none lost when it opens. */
#include <pthread.h>

#include "launch.h"
#include "node_scratch.h"

#define THREADS 4
#define CYCLES 300

static struct launch launch;
static _Atomic uint64_t submitted;
static _Atomic bool over;

static void submit(void) {
  launch_enter(&launch);
  submitted++;
  launch_leave(&launch);
}

static void *submit_once(void *ignored) {
  submit();
  return ignored;
}

static void *submit_on_and_on(void *ignored) {
  while (!over) submit();
  return ignored;
}

static void begin(void) {
  memset(&launch, 0, sizeof launch);
  submitted = 0;
  over = false;
}

/* Seen stopped once, it is: one that only tries to enter shows for a moment. */
static void wait_until_stopped(void) {
  while (!launch_is_stopped(&launch)) nap_ms(1);
}

static void an_open_gate_holds_nobody(void) {
  begin();
  submit();
  CHECK(submitted == 1 && launch.held == 0 && launch.inside == 0 && !launch_is_stopped(&launch));
}

static void a_closed_gate_holds_until_it_opens(void) {
  pthread_t thread;
  begin();
  launch_stop(&launch);
  CHECK(launch_is_stopped(&launch));
  pthread_create(&thread, NULL, submit_once, NULL);
  EVENTUALLY(launch.held == 1);
  wait_until_stopped();
  CHECK(submitted == 0);
  launch_resume(&launch);
  pthread_join(thread, NULL);
  CHECK(submitted == 1 && launch.held == 1 && !launch_is_stopped(&launch));
}

static void one_that_is_inside_is_waited_for(void) {
  begin();
  launch_enter(&launch);
  launch_stop(&launch);
  CHECK(!launch_is_stopped(&launch));
  launch_leave(&launch);
  CHECK(launch_is_stopped(&launch));
  launch_resume(&launch);
}

static void it_is_idle_until_activated(void) {
  begin();
  CHECK(launch_is_idle(&launch));
  launch_activate(&launch);
  CHECK(!launch_is_idle(&launch));
}

static void a_forked_child_begins_open(void) {
  begin();
  launch_enter(&launch); /* of a thread that the child has not */
  launch_stop(&launch);
  launch_reset_after_fork(&launch);
  submit();
  CHECK(submitted == 1 && launch.inside == 0);
}

static void check_that_nothing_moves(void) {
  wait_until_stopped();
  uint64_t before = submitted;
  sched_yield();
  CHECK(submitted == before);
}

static void nothing_is_submitted_while_stopped(void) {
  pthread_t threads[THREADS];
  begin();
  for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, submit_on_and_on, NULL);
  for (int cycle = 0; cycle < CYCLES; cycle++) {
    launch_stop(&launch);
    check_that_nothing_moves();
    uint64_t before = submitted;
    launch_resume(&launch);
    EVENTUALLY(submitted > before);
  }
  over = true;
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  CHECK(launch.inside == 0);
}

int main(void) {
  RUN(an_open_gate_holds_nobody);
  RUN(a_closed_gate_holds_until_it_opens);
  RUN(one_that_is_inside_is_waited_for);
  RUN(it_is_idle_until_activated);
  RUN(a_forked_child_begins_open);
  RUN(nothing_is_submitted_while_stopped);
  return 0;
}
