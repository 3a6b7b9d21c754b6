/* Two seconds of real processes with real futexes: holders that open and close as fast as they can, one of
 * them killed now and then, tenants that obey. After each round everything comes to rest, and then every
 * tenant must be stopped exactly if a living holder says closed, with the last generation acknowledged. */
#include "node_scratch.h"
#include "valve/agent.h"

enum { HOLDERS = 3, TENANTS = 3, CHANGES_PER_ROUND = 200, KILL_EVERY = 5 };
#define STRESS_NS 2000000000ull

static struct control {
  _Atomic uint32_t round;
  _Atomic uint32_t done[HOLDERS];
  _Atomic bool halted[TENANTS];
} *control;

static struct vlv_node *observer;
static int number; /* of this process; set before it is forked */

/* ---- tenants ---- */

static int halt(void *context) {
  atomic_store((_Atomic bool *)context, true);
  return 0;
}

static int run_again(void *context) {
  atomic_store((_Atomic bool *)context, false);
  return 0;
}

static int confirm_halted(void *context) {
  return atomic_load((_Atomic bool *)context) ? VLV_LEVEL_COMPUTE_HALTED : 0;
}

static int find_nothing(void *context) {
  (void)context;
  return 0;
}

static uint32_t tell_id(void *context) {
  (void)context;
  return VLV_MECHANISM_LAUNCH;
}

static const struct vlv_mechanism flag = {
    .stop = halt, .confirm = confirm_halted, .resume = run_again, .guard = find_nothing, .id = tell_id};

static void be_tenant(void) {
  struct vlv_agent *agent;
  struct vlv_tenant *tenant = register_tenant(open_side(VLV_SIDE_TENANT));
  CHECK(vlv_tenant_row_index(tenant) == (uint32_t)number);
  CHECK(vlv_agent_start(tenant, &flag, &control->halted[vlv_tenant_row_index(tenant)], &agent) == 0);
  for (;;) pause();
}

/* ---- holders ---- */

static uint32_t next_random(uint32_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 17;
  *state ^= *state << 5;
  return *state;
}

/* Now and then a pause, so that agents also fall asleep in between. */
static void change(struct vlv_holder *holder, uint32_t *random) {
  uint32_t choice = next_random(random);
  if (choice & 1) {
    vlv_gate_close(holder);
  } else {
    vlv_gate_open(holder);
  }
  struct timespec pause = {.tv_nsec = choice % 50000};
  if ((choice & 0x700) == 0) nanosleep(&pause, NULL);
}

/* Keeps its lease until the next round. */
static void rest(struct vlv_holder *holder, uint32_t round) {
  while (atomic_load(&control->round) == round) {
    vlv_holder_renew(holder);
    nap_ms(1);
  }
}

static void be_holder(void) {
  uint32_t random = 0x9e3779b9u ^ (uint32_t)getpid();
  struct vlv_holder *holder = register_holder(open_side(VLV_SIDE_HOLDER));
  for (uint32_t round = atomic_load(&control->round);; round++) {
    for (int i = 0; i < CHANGES_PER_ROUND; i++) change(holder, &random);
    vlv_holder_renew(holder);
    atomic_store(&control->done[number], round);
    rest(holder, round);
  }
}

/* ---- the judge ---- */

static pid_t start(void (*body)(void), int its_number) {
  number = its_number;
  return spawn(body);
}

static bool all_done(uint32_t round) {
  for (int i = 0; i < HOLDERS; i++)
    if (atomic_load(&control->done[i]) != round) return false;
  return true;
}

static bool rule_says_closed(void) {
  for (uint32_t i = 0; i < VLV_HOLDERS_MAX; i++) {
    const struct vlv_holder_row *row = &vlv_node_holders(observer)->rows[i];
    bool live =
        row->owner_pid != 0 && row->lease_expiry_ns > vlv_now_ns() && vlv_holder_alive(observer, i) == 1;
    if (live && row->closed != 0) return true;
  }
  return false;
}

static bool obeys(uint32_t tenant, bool closed) {
  const struct vlv_tenant_row *row = &vlv_node_tenants(observer)->rows[tenant];
  bool acknowledged = row->ack_generation == generation(observer);
  bool says = row->state == (closed ? VLV_TENANT_STOPPED : VLV_TENANT_RUNNING);
  return acknowledged && says && atomic_load(&control->halted[tenant]) == closed;
}

static bool all_obey(void) {
  bool closed = rule_says_closed();
  for (uint32_t i = 0; i < TENANTS; i++)
    if (!obeys(i, closed)) return false;
  return true;
}

static void kill_one_and_start_another(pid_t *holders, uint32_t round) {
  uint32_t victim = round / KILL_EVERY % HOLDERS;
  nap_ms(1); /* somewhere in the middle of its changes */
  kill_and_wait(holders[victim]);
  holders[victim] = start(be_holder, (int)victim);
}

static uint32_t run_rounds(pid_t *holders) {
  uint64_t end_ns = vlv_now_ns() + STRESS_NS;
  while (vlv_now_ns() < end_ns) {
    uint32_t round = atomic_fetch_add(&control->round, 1) + 1;
    if (round % KILL_EVERY == 0) kill_one_and_start_another(holders, round);
    EVENTUALLY(all_done(round));
    EVENTUALLY(all_obey());
  }
  return atomic_load(&control->round);
}

static void every_round_ends_as_the_rule_says(void) {
  pid_t holders[HOLDERS], tenants[TENANTS];
  control = share(sizeof *control);
  vlv_node_close(open_side(VLV_SIDE_HOLDER));
  observer = open_side(VLV_SIDE_OBSERVER);
  for (int i = 0; i < TENANTS; i++) {
    tenants[i] = start(be_tenant, i);
    EVENTUALLY(vlv_node_tenants(observer)->rows[i].owner_pid != 0);
  }
  for (int i = 0; i < HOLDERS; i++) holders[i] = start(be_holder, i);
  for (int i = 0; i < HOLDERS; i++) EVENTUALLY(vlv_holder_alive(observer, (uint32_t)i) == 1);
  uint32_t rounds = run_rounds(holders);
  for (int i = 0; i < HOLDERS; i++) kill_and_wait(holders[i]);
  EVENTUALLY(all_obey() && !atomic_load(&control->halted[0]));
  printf("  %u rounds, generation %u, %llu stops by the first tenant\n", rounds, generation(observer),
         (unsigned long long)vlv_node_tenants(observer)->rows[0].stops);
  CHECK(vlv_node_tenants(observer)->rows[0].stops > 0);
  for (int i = 0; i < TENANTS; i++) kill_and_wait(tenants[i]);
  vlv_node_close(observer);
}

int main(void) {
  RUN(every_round_ends_as_the_rule_says);
  return 0;
}
