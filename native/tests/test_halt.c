/* Two may want the channels off, the gate and the pool: they are off as long as one of them does. */
#include "halt.h"
#include "node_scratch.h"

static struct registry *registry;
static struct channels channels;
static struct ladder ladder = {.channels = &channels, .launch = &launch_gate};
static struct halt halt;
static int submissions;

static void begin(void) {
  CHECK(registry_create(&registry) == 0);
  channels_create(&channels, registry);
  halt_create(&halt, &ladder);
  submissions = 0;
}

static void end(void) {
  registry_destroy(registry);
}

static void gate_closes(void) {
  CHECK(halt_mechanism()->stop(&halt) == 0);
  CHECK(halt_mechanism()->confirm(&halt) == VLV_LEVEL_COMPUTE_HALTED);
}

static void gate_opens(void) {
  CHECK(halt_mechanism()->resume(&halt) == 0);
}

static void pool_stops(bool of_its_own) {
  bool own;
  CHECK(halt_acquire(&halt, &own) == VLV_LEVEL_COMPUTE_HALTED && own == of_its_own);
  CHECK(registry_is_closed(registry));
}

static void submit(void *context) {
  (*(int *)context)++;
}

static void the_pool_stops_for_itself_when_the_gate_is_open(void) {
  begin();
  CHECK(halt_is_off(&halt) && halt_if_running(&halt, submit, &submissions) && submissions == 1);
  pool_stops(true);
  CHECK(!halt_is_off(&halt) && !halt_if_running(&halt, submit, &submissions) && submissions == 1);
  halt_release(&halt);
  CHECK(!registry_is_closed(registry) && halt_is_off(&halt));
  end();
}

static void a_closed_gate_stays_closed_after_the_pool(void) {
  begin();
  gate_closes();
  pool_stops(false);
  halt_release(&halt);
  CHECK(registry_is_closed(registry) && !halt_is_off(&halt));
  gate_opens();
  CHECK(!registry_is_closed(registry));
  end();
}

static void what_the_gate_lets_go_the_pool_still_holds(void) {
  begin();
  gate_closes();
  pool_stops(false);
  gate_opens();
  CHECK(registry_is_closed(registry));
  halt_release(&halt);
  CHECK(!registry_is_closed(registry));
  end();
}

static void a_gate_that_closes_meanwhile_is_obeyed(void) {
  begin();
  pool_stops(true);
  gate_closes();
  halt_release(&halt);
  CHECK(registry_is_closed(registry));
  gate_opens();
  CHECK(!registry_is_closed(registry));
  end();
}

int main(void) {
  RUN(the_pool_stops_for_itself_when_the_gate_is_open);
  RUN(a_closed_gate_stays_closed_after_the_pool);
  RUN(what_the_gate_lets_go_the_pool_still_holds);
  RUN(a_gate_that_closes_meanwhile_is_obeyed);
  return 0;
}
