/* The agent: makes a mechanism obey the gate and acknowledges it. The mechanism here is a script; the
 * holder's memory is mapped read-only into the agent's node, as in real life. */
#include <pthread.h>

#include "node_scratch.h"
#include "valve/agent.h"

#define HOUR_NS 3600000000000ull

/* What the mechanism is told to do, and what was asked of it. */
static struct script {
  _Atomic int confirms_needed; /* confirm() says "not yet" so often after each stop(); -1: for ever */
  _Atomic int confirms_left;
  _Atomic int stop_errors, confirm_errors, resume_errors, guard_errors; /* how many fail from now on */
  _Atomic int foreign;                                                  /* what the next guard() finds */
  _Atomic uint32_t id;
  _Atomic bool stopped;
  _Atomic int stops, confirms, resumes, guards;
} script;

static int fails(_Atomic int *errors) {
  if (atomic_load(errors) <= 0) return 0;
  atomic_fetch_sub(errors, 1);
  return 1;
}

static int do_stop(void *context) {
  struct script *s = context;
  atomic_fetch_add(&s->stops, 1);
  if (fails(&s->stop_errors)) return -EIO;
  atomic_store(&s->confirms_left, atomic_load(&s->confirms_needed));
  return 0;
}

static int do_confirm(void *context) {
  struct script *s = context;
  atomic_fetch_add(&s->confirms, 1);
  if (fails(&s->confirm_errors)) return -EIO;
  int left = atomic_load(&s->confirms_left);
  if (left > 0) atomic_store(&s->confirms_left, left - 1);
  if (left != 0) return 0;
  atomic_store(&s->stopped, true);
  return VLV_LEVEL_COMPUTE_HALTED;
}

static int do_resume(void *context) {
  struct script *s = context;
  atomic_fetch_add(&s->resumes, 1);
  if (fails(&s->resume_errors)) return -EIO;
  atomic_store(&s->stopped, false);
  return 0;
}

static int do_guard(void *context) {
  struct script *s = context;
  atomic_fetch_add(&s->guards, 1);
  if (fails(&s->guard_errors)) return -EIO;
  return atomic_exchange(&s->foreign, 0);
}

static uint32_t do_id(void *context) {
  return atomic_load(&((struct script *)context)->id);
}
static uint32_t do_processes(void *context) {
  return context != NULL ? 5 : 0;
}
static uint32_t do_unstopped(void *context) {
  return (uint32_t)(context != NULL ? 3 : 0);
}

static const struct vlv_mechanism scripted = {
    .stop = do_stop,
    .confirm = do_confirm,
    .resume = do_resume,
    .guard = do_guard,
    .id = do_id,
    .processes = do_processes,
    .unstopped_threads = do_unstopped,
};

static struct vlv_node *holders, *tenants;
static struct vlv_holder *holder;
static struct vlv_tenant *tenant;
static struct vlv_agent *agent;
static struct vlv_tenant_row *row;

static void begin(void) {
  memset(&script, 0, sizeof script);
  script.id = VLV_MECHANISM_FREEZER_SIGNAL;
  holders = open_side(VLV_SIDE_HOLDER);
  tenants = open_side(VLV_SIDE_TENANT);
  holder = register_holder(holders);
  tenant = register_tenant(tenants);
  row = tenant_row(tenants, 0);
}

static void start(void) {
  CHECK(vlv_agent_start(tenant, &scripted, &script, &agent) == 0);
}

static void start_ready(void) {
  start();
  CHECK(vlv_agent_wait_ready(agent, HOUR_NS) == 0);
}

static void end(void) {
  vlv_agent_stop(agent);
  CHECK(!script.stopped);
  vlv_tenant_release(tenant);
  vlv_holder_release(holder);
  vlv_node_close(tenants);
  vlv_node_close(holders);
}

/* However slow the machine is, these leases do not run out by themselves. */
static uint32_t close_for_long(void) {
  uint32_t closed = vlv_gate_close(holder);
  holder_row(holders, 0)->lease_expiry_ns = vlv_now_ns() + HOUR_NS;
  return closed;
}

static bool acknowledged(uint32_t generation_wanted, uint32_t state) {
  return row->ack_generation == generation_wanted && row->state == state;
}

static struct vlv_ack last_ack(void) {
  struct vlv_ack acks[VLV_ACK_RING];
  uint64_t next;
  int count = vlv_tenant_acks(holders, 0, 0, acks, VLV_ACK_RING, &next);
  CHECK(count > 0);
  return acks[count - 1];
}

static void it_stops_and_resumes_with_the_gate(void) {
  begin();
  start_ready();
  uint64_t before_ns = vlv_now_ns();
  uint32_t closed = close_for_long();
  EVENTUALLY(acknowledged(closed, VLV_TENANT_STOPPED));
  CHECK(script.stopped && row->ack_level == VLV_LEVEL_COMPUTE_HALTED && row->stops == 1 &&
        row->processes == 5);
  struct vlv_ack ack = last_ack();
  CHECK(ack.kind == VLV_ACK_STOPPED && ack.level == VLV_LEVEL_COMPUTE_HALTED && ack.generation == closed);
  CHECK(before_ns <= ack.woken_ns && ack.woken_ns <= ack.done_ns && ack.done_ns <= vlv_now_ns());
  uint32_t opened = vlv_gate_open(holder);
  EVENTUALLY(acknowledged(opened, VLV_TENANT_RUNNING));
  CHECK(!script.stopped && row->ack_level == VLV_LEVEL_RUNNING && script.stops == 1 && script.resumes == 1);
  ack = last_ack();
  CHECK(ack.kind == VLV_ACK_RESUMED && ack.generation == opened && row->ack_head == 2);
  end();
}

static void one_that_joins_a_closed_gate_starts_stopped(void) {
  begin();
  close_for_long();
  start_ready();
  CHECK(script.stopped && row->state == VLV_TENANT_STOPPED);
  end();
}

static void waiting_for_ready_has_an_end(void) {
  begin();
  script.confirms_needed = -1;
  close_for_long();
  start();
  CHECK(vlv_agent_wait_ready(agent, 1000000) == -ETIMEDOUT);
  EVENTUALLY(row->state == VLV_TENANT_STOPPING && row->unstopped_threads == 3 && row->slow_stops == 1);
  CHECK(row->ack_level == VLV_LEVEL_RUNNING && row->ack_head == 0 && row->stops == 0);
  script.confirms_left = 0;
  CHECK(vlv_agent_wait_ready(agent, HOUR_NS) == 0);
  CHECK(row->slow_stops == 1);
  end();
}

static void a_gate_that_opens_meanwhile_ends_the_stopping(void) {
  begin();
  start_ready();
  script.confirms_needed = -1;
  close_for_long();
  EVENTUALLY(row->state == VLV_TENANT_STOPPING && script.confirms > 3);
  uint32_t opened = vlv_gate_open(holder);
  EVENTUALLY(acknowledged(opened, VLV_TENANT_RUNNING));
  CHECK(script.stops == 1 && script.resumes == 1 && row->stops == 0 && row->unstopped_threads == 0);
  CHECK(last_ack().kind == VLV_ACK_RESUMED && last_ack().generation == opened);
  end();
}

static void a_second_close_is_acknowledged_without_a_second_stop(void) {
  begin();
  start_ready();
  struct vlv_holder *other = register_holder(holders);
  close_for_long();
  EVENTUALLY(row->state == VLV_TENANT_STOPPED);
  uint32_t closed = vlv_gate_close(other);
  EVENTUALLY(acknowledged(closed, VLV_TENANT_STOPPED));
  CHECK(script.stops == 1 && row->stops == 1 && row->ack_head == 1);
  vlv_holder_release(other);
  CHECK(script.stopped);
  end();
}

static void errors_of_the_mechanism_are_counted_and_tried_again(void) {
  begin();
  start_ready();
  script.stop_errors = 2;
  script.confirm_errors = 1;
  uint32_t closed = close_for_long();
  EVENTUALLY(acknowledged(closed, VLV_TENANT_STOPPED));
  CHECK(row->errors == 3 && script.stops == 4); /* asked again after a confirm that failed */
  script.resume_errors = 2;
  uint32_t opened = vlv_gate_open(holder);
  EVENTUALLY(acknowledged(opened, VLV_TENANT_RUNNING));
  CHECK(row->errors == 5 && script.resumes == 3 && row->ack_head == 2);
  end();
}

static void a_close_during_a_failing_resume_stops_again(void) {
  begin();
  start_ready();
  close_for_long();
  EVENTUALLY(row->state == VLV_TENANT_STOPPED);
  script.resume_errors = 1000000;
  vlv_gate_open(holder);
  EVENTUALLY(row->errors > 2);
  CHECK(row->state == VLV_TENANT_STOPPING && row->ack_level == VLV_LEVEL_RUNNING);
  uint32_t closed = close_for_long();
  EVENTUALLY(acknowledged(closed, VLV_TENANT_STOPPED));
  CHECK(script.stops == 2 && row->ack_head == 1); /* it never ran in between */
  script.resume_errors = 0;
  end();
}

static void what_somebody_else_continues_is_stopped_again(void) {
  begin();
  start_ready();
  close_for_long();
  EVENTUALLY(row->state == VLV_TENANT_STOPPED);
  script.stopped = false;
  script.foreign = 2;
  EVENTUALLY(row->foreign_resumes == 2 && row->state == VLV_TENANT_STOPPED);
  CHECK(script.stopped && row->stops == 1 && row->ack_head == 1); /* no second preemption */
  end();
}

static void what_the_guard_cannot_see_is_no_longer_called_halted(void) {
  begin();
  start_ready();
  close_for_long();
  EVENTUALLY(row->state == VLV_TENANT_STOPPED);
  script.stop_errors = 1000000;
  script.guard_errors = 1;
  EVENTUALLY(row->errors > 2);
  CHECK(row->state == VLV_TENANT_STOPPING && row->ack_level == VLV_LEVEL_RUNNING);
  script.stop_errors = 0;
  EVENTUALLY(row->state == VLV_TENANT_STOPPED);
  CHECK(row->ack_level == VLV_LEVEL_COMPUTE_HALTED && row->foreign_resumes == 0);
  CHECK(row->stops == 1 && row->ack_head == 1); /* no second preemption */
  end();
}

static void a_change_of_the_mechanism_is_an_escalation(void) {
  begin();
  script.id = VLV_MECHANISM_FREEZER_CGROUP;
  start_ready();
  CHECK(row->mechanism == VLV_MECHANISM_FREEZER_CGROUP && row->escalations == 0);
  script.id = VLV_MECHANISM_FREEZER_SIGNAL;
  close_for_long();
  EVENTUALLY(row->state == VLV_TENANT_STOPPED && row->escalations == 1);
  CHECK(row->mechanism == VLV_MECHANISM_FREEZER_SIGNAL);
  end();
}

static void a_lease_that_runs_out_resumes_without_a_wake(void) {
  begin();
  start_ready();
  close_for_long();
  EVENTUALLY(row->state == VLV_TENANT_STOPPED);
  holder_row(holders, 0)->lease_expiry_ns = vlv_now_ns() + 30000000;
  EVENTUALLY(row->state == VLV_TENANT_RUNNING);
  CHECK(holder_row(holders, 0)->closed == 1 && vlv_now_ns() >= holder_row(holders, 0)->lease_expiry_ns);
  end();
}

static void close_for_long_and_stay(void) {
  struct vlv_node *node = open_side(VLV_SIDE_HOLDER);
  struct vlv_holder *own = register_holder(node);
  vlv_gate_close(own);
  holder_row(node, vlv_holder_row_index(own))->lease_expiry_ns = vlv_now_ns() + HOUR_NS;
  for (;;) pause();
}

static void a_dead_holder_is_noticed_before_its_lease_ends(void) {
  begin();
  start_ready();
  pid_t dying = spawn(close_for_long_and_stay);
  EVENTUALLY(row->state == VLV_TENANT_STOPPED &&
             holder_row(holders, 1)->lease_expiry_ns > vlv_now_ns() + HOUR_NS / 2);
  kill_and_wait(dying);
  EVENTUALLY(row->state == VLV_TENANT_RUNNING);
  CHECK(holder_row(holders, 1)->closed == 1); /* nobody has dropped the claim: its owner's death was seen */
  struct vlv_holder *successor = register_holder(holders);
  CHECK(vlv_holder_row_index(successor) == 1);
  vlv_gate_close(successor); /* the same row, but a living owner: it counts again */
  EVENTUALLY(row->state == VLV_TENANT_STOPPED);
  vlv_holder_release(successor);
  EVENTUALLY(row->state == VLV_TENANT_RUNNING);
  end();
}

static void leaving_lets_the_tenant_run_even_after_errors(void) {
  begin();
  start_ready();
  close_for_long();
  EVENTUALLY(row->state == VLV_TENANT_STOPPED);
  script.resume_errors = 2;
  end();
  CHECK(script.resumes == 3);
}

static void two_agents_in_one_process_do_not_disturb_each_other(void) {
  static struct script second_script;
  begin();
  memset(&second_script, 0, sizeof second_script);
  struct vlv_tenant *second = register_tenant(tenants);
  struct vlv_agent *second_agent;
  start_ready();
  CHECK(vlv_agent_start(second, &scripted, &second_script, &second_agent) == 0);
  close_for_long();
  EVENTUALLY(script.stopped && second_script.stopped);
  vlv_agent_stop(second_agent);
  CHECK(!second_script.stopped && script.stopped);
  vlv_tenant_release(second);
  end();
}

static void stop_the_copy(void) {
  vlv_agent_stop(agent); /* of the parent: nothing to wait for here */
  _exit(0);
}

static void a_forked_child_can_stop_its_copy(void) {
  begin();
  start_ready();
  CHECK(wait_status(spawn(stop_the_copy)) == 0);
  close_for_long();
  EVENTUALLY(script.stopped);
  end();
}

int main(void) {
  RUN(it_stops_and_resumes_with_the_gate);
  RUN(one_that_joins_a_closed_gate_starts_stopped);
  RUN(waiting_for_ready_has_an_end);
  RUN(a_gate_that_opens_meanwhile_ends_the_stopping);
  RUN(a_second_close_is_acknowledged_without_a_second_stop);
  RUN(errors_of_the_mechanism_are_counted_and_tried_again);
  RUN(a_close_during_a_failing_resume_stops_again);
  RUN(what_somebody_else_continues_is_stopped_again);
  RUN(what_the_guard_cannot_see_is_no_longer_called_halted);
  RUN(a_change_of_the_mechanism_is_an_escalation);
  RUN(a_lease_that_runs_out_resumes_without_a_wake);
  RUN(a_dead_holder_is_noticed_before_its_lease_ends);
  RUN(leaving_lets_the_tenant_run_even_after_errors);
  RUN(two_agents_in_one_process_do_not_disturb_each_other);
  RUN(a_forked_child_can_stop_its_copy);
  return 0;
}
