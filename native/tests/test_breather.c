/* The breather: its account of time, and what the agent's state machine makes of it. Time is made up here:
 * every turn is taken at a moment of the test's choice. */
#include "node_scratch.h"
#include "turn.h"

#define S 1000000000ull
#define MAX_STOPPED_NS (240 * S)
#define BEGIN_NS (1000 * S)
#define NEVER UINT64_MAX

/* ---- the account ---- */

static void without_a_limit_nothing_is_ever_owed(void) {
  struct breather account;
  breather_begin(&account, BEGIN_NS);
  breather_stopped(&account, BEGIN_NS);
  CHECK(breather_due_ns(&account, 0) == NEVER);
  CHECK(breather_due_ns(&account, NEVER - 1) == NEVER);
}

static void a_slice_is_owed_from_the_last_whole_one_on(void) {
  struct breather account;
  breather_begin(&account, BEGIN_NS);
  breather_stopped(&account, BEGIN_NS + 100 * S);
  CHECK(breather_due_ns(&account, MAX_STOPPED_NS) == BEGIN_NS + 100 * S + MAX_STOPPED_NS);
  CHECK(breather_left_ns(&account) == VLV_BREATHER_NS);
}

static void a_short_run_does_not_defer_it_but_counts(void) {
  struct breather account;
  breather_begin(&account, BEGIN_NS);
  breather_stopped(&account, BEGIN_NS + 1);
  for (uint64_t i = 1; i <= 3; i++) {
    breather_resumed(&account, BEGIN_NS + i * 10 * S);
    breather_stopped(&account, BEGIN_NS + i * 10 * S + S / 2);
  }
  CHECK(breather_due_ns(&account, MAX_STOPPED_NS) == BEGIN_NS + MAX_STOPPED_NS);
  CHECK(breather_left_ns(&account) == VLV_BREATHER_NS - 3 * S / 2 - 1);
  breather_resumed(&account, BEGIN_NS + 50 * S);
  breather_resumed(&account, BEGIN_NS + 51 * S); /* it runs already */
  breather_stopped(&account, BEGIN_NS + 52 * S);
  breather_stopped(&account, BEGIN_NS + 53 * S); /* it has stopped already */
  CHECK(breather_due_ns(&account, MAX_STOPPED_NS) == BEGIN_NS + 52 * S + MAX_STOPPED_NS);
  CHECK(breather_left_ns(&account) == VLV_BREATHER_NS);
}

/* ---- the state machine ---- */

static struct script {
  int stops, resumes, resume_errors;
  bool halted;
} script;

static int do_stop(void *context) {
  struct script *s = context;
  s->stops++;
  return 0;
}
static int do_confirm(void *context) {
  ((struct script *)context)->halted = true;
  return VLV_LEVEL_COMPUTE_HALTED;
}
static int do_resume(void *context) {
  struct script *s = context;
  s->resumes++;
  if (s->resume_errors > 0) return s->resume_errors--, -EIO;
  s->halted = false;
  return 0;
}
static int do_guard(void *context) {
  return context == NULL;
}
static uint32_t do_id(void *context) {
  (void)context;
  return VLV_MECHANISM_FREEZER_SIGNAL;
}

static const struct vlv_mechanism scripted = {
    .stop = do_stop, .confirm = do_confirm, .resume = do_resume, .guard = do_guard, .id = do_id};

static struct vlv_node *holders, *tenants;
static struct vlv_holder *holder;
static struct vlv_tenant *tenant;
static struct vlv_tenant_row *row;
static struct turn turn;
static uint64_t now_ns;

/* Claims that never lapse. */
static void close_gate(void) {
  vlv_gate_close(holder);
  holder_row(holders, 0)->lease_expiry_ns = NEVER - 1;
}

static void take_turn(uint64_t after_ns) {
  now_ns += after_ns;
  turn_take(&turn, now_ns);
}

/* Closed, stopped, and as long ago as it may be. */
static void begin_stopped(void) {
  memset(&script, 0, sizeof script);
  holders = open_side(VLV_SIDE_HOLDER);
  tenants = open_side(VLV_SIDE_TENANT);
  holder = register_holder(holders);
  tenant = register_tenant(tenants);
  row = tenant_row(tenants, 0);
  vlv_tenant_set_max_stopped(tenant, MAX_STOPPED_NS);
  turn_init(&turn, tenant, &scripted, &script);
  now_ns = vlv_now_ns();
  take_turn(0);
  close_gate();
  take_turn(100 * S);
  CHECK(script.halted && row->state == VLV_TENANT_STOPPED && row->stops == 1);
}

static void end(void) {
  vlv_tenant_release(tenant);
  vlv_holder_release(holder);
  vlv_node_close(tenants);
  vlv_node_close(holders);
}

static bool breathes(void) {
  return !script.halted && row->state == VLV_TENANT_BREATHING && row->ack_level == VLV_LEVEL_RUNNING;
}

static int kinds(uint16_t *out) {
  struct vlv_ack acks[VLV_ACK_RING];
  uint64_t next;
  int count = vlv_tenant_acks(holders, 0, 0, acks, VLV_ACK_RING, &next);
  for (int i = 0; i < count; i++) out[i] = acks[i].kind;
  return count;
}

static bool ring_is(int count, const uint16_t *expected) {
  uint16_t found[VLV_ACK_RING];
  return kinds(found) == count && memcmp(found, expected, (size_t)count * sizeof *found) == 0;
}
#define RING_IS(...) \
  ring_is((int)(sizeof((uint16_t[]){__VA_ARGS__}) / sizeof(uint16_t)), (uint16_t[]){__VA_ARGS__})

static void it_breathes_when_due_and_not_before(void) {
  begin_stopped();
  take_turn(MAX_STOPPED_NS - 1);
  CHECK(script.halted && row->breathers == 0);
  take_turn(1);
  CHECK(breathes() && row->breathers == 1 && row->breathes_until_ns == now_ns + VLV_BREATHER_NS);
  CHECK(row->ack_generation == generation(holders));
  take_turn(VLV_BREATHER_NS - 1);
  CHECK(breathes() && script.stops == 1);
  take_turn(1);
  CHECK(script.halted && row->state == VLV_TENANT_STOPPED && row->ack_level == VLV_LEVEL_COMPUTE_HALTED);
  CHECK(row->breathes_until_ns == 0 && row->stops == 2 && row->breathers == 1);
  CHECK(RING_IS(VLV_ACK_STOPPED, VLV_ACK_BREATHER, VLV_ACK_STOPPED));
  take_turn(MAX_STOPPED_NS - 1);
  CHECK(script.halted);
  take_turn(1);
  CHECK(breathes() && row->breathers == 2);
  end();
}

static void without_a_limit_it_stays_stopped(void) {
  begin_stopped();
  vlv_tenant_set_max_stopped(tenant, 0);
  take_turn(1000 * MAX_STOPPED_NS);
  CHECK(script.halted && row->breathers == 0);
  end();
}

static void the_gate_may_open_meanwhile_and_the_rest_is_owed(void) {
  begin_stopped();
  take_turn(MAX_STOPPED_NS);
  vlv_gate_open(holder);
  take_turn(S / 2);
  CHECK(!script.halted && row->state == VLV_TENANT_RUNNING && row->breathes_until_ns == 0);
  CHECK(RING_IS(VLV_ACK_STOPPED, VLV_ACK_BREATHER, VLV_ACK_RESUMED));
  close_gate();
  take_turn(S / 2);
  CHECK(script.halted && row->state == VLV_TENANT_STOPPED); /* a close is obeyed and told first */
  take_turn(VLV_GUARD_NS);
  CHECK(breathes() && row->breathes_until_ns == now_ns + VLV_BREATHER_NS - S);
  CHECK(RING_IS(VLV_ACK_STOPPED, VLV_ACK_BREATHER, VLV_ACK_RESUMED, VLV_ACK_STOPPED, VLV_ACK_BREATHER));
  end();
}

static void a_claim_that_comes_meanwhile_is_answered_by_the_next_stop(void) {
  begin_stopped();
  struct vlv_holder *other = register_holder(holders);
  take_turn(MAX_STOPPED_NS);
  uint32_t closed = vlv_gate_close(other);
  take_turn(1);
  CHECK(breathes() && row->ack_generation == closed); /* it says that it has seen it, and that it runs */
  take_turn(VLV_BREATHER_NS);
  struct vlv_ack acks[VLV_ACK_RING];
  uint64_t next;
  CHECK(vlv_tenant_acks(holders, 0, 0, acks, VLV_ACK_RING, &next) == 3);
  CHECK(acks[2].kind == VLV_ACK_STOPPED && acks[2].generation == closed);
  vlv_holder_release(other);
  end();
}

static void a_resume_that_fails_leaves_it_stopped_and_is_tried_again(void) {
  begin_stopped();
  script.resume_errors = 1;
  take_turn(MAX_STOPPED_NS);
  CHECK(script.halted && row->errors == 1 && row->breathers == 0 && row->breathes_until_ns == 0);
  CHECK(row->ack_level == VLV_LEVEL_RUNNING); /* a part of it may run */
  take_turn(S);
  CHECK(row->state == VLV_TENANT_STOPPED && row->stops == 1);
  take_turn(S);
  CHECK(breathes() && row->breathers == 1);
  end();
}

static void a_rank_breathes_with_its_runner(void) {
  begin_stopped();
  struct vlv_tenant *runner = register_tenant(tenants);
  struct vlv_tenant_row *told = tenant_row(tenants, vlv_tenant_row_index(runner));
  told->owner_pid = 77;
  row->runner_pid = 77;
  take_turn(MAX_STOPPED_NS);
  CHECK(script.halted); /* not by its own account */
  told->breathes_until_ns = now_ns + S;
  take_turn(VLV_GUARD_NS);
  CHECK(breathes() && row->breathes_until_ns == told->breathes_until_ns);
  told->breathes_until_ns = 0;
  take_turn(VLV_GUARD_NS);
  CHECK(script.halted && row->state == VLV_TENANT_STOPPED);
  vlv_tenant_release(runner);
  end();
}

static void a_rank_without_its_runner_does_not_breathe(void) {
  begin_stopped();
  row->runner_pid = 77;
  take_turn(10 * MAX_STOPPED_NS);
  CHECK(script.halted && row->breathers == 0);
  end();
}

static void leaving_ends_a_breather(void) {
  begin_stopped();
  take_turn(MAX_STOPPED_NS);
  CHECK(breathes() && turn_is_settled(&turn));
  CHECK(turn_leave(&turn) && row->state == VLV_TENANT_RUNNING && row->breathes_until_ns == 0);
  end();
}

/* An account of its own, from what the mechanism was told: when the tenant last had run for a whole slice. */
struct witness {
  uint64_t ran_ns, whole_ns;
};

static void look(struct witness *witness, uint64_t passed_ns) {
  if (!script.halted) witness->ran_ns += passed_ns;
  if (witness->ran_ns < VLV_BREATHER_NS) return;
  if (script.halted) witness->ran_ns = 0;
  witness->whole_ns = now_ns;
}

static uint32_t random_below(uint32_t *state, uint32_t bound) {
  *state = *state * 1664525u + 1013904223u;
  return (*state >> 8) % bound;
}

/* However the gate moves, two seconds are never further apart than they may be (the gate may cut a slice into
 * pieces, each of which costs a look), and it runs with its gate closed only as often as it says. */
static void it_always_gets_its_slice_in_time(void) {
  begin_stopped();
  struct witness witness = {.whole_ns = now_ns};
  uint32_t seed = 7, closed_for = 1, cuts = 0;
  for (int i = 0; i < 200000; i++) {
    bool closed = holder_row(holders, 0)->closed != 0;
    if (--closed_for == 0) {
      closed ? (void)vlv_gate_open(holder) : close_gate();
      closed_for = 1 + (closed ? random_below(&seed, 20) : random_below(&seed, 20000));
      cuts++;
    }
    take_turn(VLV_GUARD_NS);
    uint64_t whole_ns = witness.whole_ns;
    look(&witness, VLV_GUARD_NS);
    if (witness.whole_ns != whole_ns) cuts = 0;
    CHECK(now_ns - witness.whole_ns <= MAX_STOPPED_NS + VLV_BREATHER_NS + (cuts + 2) * 2 * VLV_GUARD_NS);
    CHECK(script.halted || holder_row(holders, 0)->closed == 0 || row->state == VLV_TENANT_BREATHING);
  }
  CHECK(row->breathers > 10 && row->stops > row->breathers);
  end();
}

int main(void) {
  RUN(without_a_limit_nothing_is_ever_owed);
  RUN(a_slice_is_owed_from_the_last_whole_one_on);
  RUN(a_short_run_does_not_defer_it_but_counts);
  RUN(it_breathes_when_due_and_not_before);
  RUN(without_a_limit_it_stays_stopped);
  RUN(the_gate_may_open_meanwhile_and_the_rest_is_owed);
  RUN(a_claim_that_comes_meanwhile_is_answered_by_the_next_stop);
  RUN(a_resume_that_fails_leaves_it_stopped_and_is_tried_again);
  RUN(a_rank_breathes_with_its_runner);
  RUN(a_rank_without_its_runner_does_not_breathe);
  RUN(leaving_ends_a_breather);
  RUN(it_always_gets_its_slice_in_time);
  return 0;
}
