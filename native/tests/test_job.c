/* The mechanism of a GPU job against ranks: puppets, where every case can be had, and real processes. */
#include "job_ranks.h"
#include "valve/job.h"

#define HOUR_NS 3600000000000ull
#define HALTED VLV_LEVEL_COMPUTE_HALTED
#define SUBMISSION VLV_LEVEL_SUBMISSION_STOPPED

static struct vlv_node *holders, *tenants;
static struct vlv_holder *holder;
static struct vlv_freezer *freezer;
static struct vlv_job *job;

static void begin(void) {
  holders = open_side(VLV_SIDE_HOLDER);
  tenants = open_side(VLV_SIDE_TENANT);
  holder = register_holder(holders);
  scripts = share(RANKS_MAX * sizeof *scripts);
  next_rank = 0;
  CHECK(vlv_freezer_create(NULL, getpid(), 0, &freezer) == 0);
  CHECK(vlv_job_create(tenants, freezer, getpid(), &job) == 0);
}

static void end(void) {
  vlv_job_destroy(job);
  vlv_freezer_destroy(freezer);
  vlv_holder_release(holder);
  vlv_node_close(tenants);
  vlv_node_close(holders);
  munmap(scripts, RANKS_MAX * sizeof *scripts);
}

static const struct vlv_mechanism *mechanism(void) {
  return vlv_job_mechanism();
}
static uint32_t id(void) {
  return mechanism()->id(job);
}
static void stop(void) {
  CHECK(mechanism()->stop(job) == 0);
}
static void resume(void) {
  CHECK(mechanism()->resume(job) == 0);
}

/* The level at last. */
static int confirm(void) {
  int level = 0;
  EVENTUALLY((level = mechanism()->confirm(job)) != 0);
  return level;
}

static struct vlv_tenant *make_rank(void) {
  return make_puppet(tenants, (uint64_t)getpid());
}

static void halt(struct vlv_tenant *puppet) {
  set_puppet(puppet, VLV_TENANT_STOPPED, HALTED, VLV_MECHANISM_CHANNELS, generation(holders));
}

static void run(struct vlv_tenant *puppet) {
  set_puppet(puppet, VLV_TENANT_RUNNING, VLV_LEVEL_RUNNING, VLV_MECHANISM_CHANNELS, generation(holders));
}

static void the_last_ranks_acknowledgement_is_the_jobs(void) {
  begin();
  struct vlv_tenant *first = make_rank(), *second = make_rank();
  run(first);
  run(second);
  stop();
  halt(first);
  /* Not the level of the first alone: either it waits for the second, or it gave up and froze. */
  int level = mechanism()->confirm(job);
  CHECK(level == 0 || level == SUBMISSION);
  halt(second);
  CHECK(confirm() == HALTED);
  resume();
  stop(); /* all ranks have halted already: no freeze, however long it takes to get there */
  CHECK(confirm() == HALTED && id() == VLV_MECHANISM_CHANNELS);
  CHECK(mechanism()->processes(job) == 2 && mechanism()->unstopped_threads(job) == 0);
  resume();
  vlv_tenant_release(first);
  vlv_tenant_release(second);
  end();
}

static void the_worst_of_the_ranks_is_the_jobs(void) {
  begin();
  struct vlv_tenant *first = make_rank(), *second = make_rank();
  halt(first);
  set_puppet(second, VLV_TENANT_STOPPED, SUBMISSION, VLV_MECHANISM_LAUNCH, generation(holders));
  stop();
  CHECK(confirm() == SUBMISSION && id() == VLV_MECHANISM_LAUNCH);
  vlv_tenant_release(second);
  CHECK(confirm() == HALTED && id() == VLV_MECHANISM_CHANNELS);
  resume();
  vlv_tenant_release(first);
  end();
}

static void without_a_rank_the_tree_is_frozen(void) {
  begin();
  pid_t other = start_rank(HALTED, VLV_MECHANISM_CHANNELS);
  struct vlv_tenant_row *row = tenant_row(tenants, 0);
  row->runner_pid = (uint64_t)other; /* somebody else's */
  CHECK(id() == VLV_MECHANISM_FREEZER_SIGNAL);
  stop();
  CHECK(confirm() == SUBMISSION && id() == VLV_MECHANISM_FREEZER_SIGNAL);
  CHECK(mechanism()->processes(job) == 1);
  check_frozen(0);
  resume();
  wait_for_beat(0);
  kill_and_wait(other);
  end();
}

/* Its row says stopped; what counts is whether that answers this stop. */
static void an_old_acknowledgement_does_not_count(void) {
  begin();
  struct vlv_tenant *rank = make_rank();
  halt(rank);
  vlv_gate_close(holder);
  stop();
  CHECK(confirm() == SUBMISSION && id() == VLV_MECHANISM_FREEZER_SIGNAL);
  halt(rank);
  CHECK(confirm() == HALTED); /* frozen, and its channels are off as well */
  resume();
  vlv_tenant_release(rank);
  end();
}

static void the_generation_may_wrap(void) {
  begin();
  struct vlv_tenant *rank = make_rank();
  struct vlv_holders_file *file = (struct vlv_holders_file *)vlv_node_holders(holders);
  atomic_store(&file->generation, UINT32_MAX);
  stop();
  set_puppet(rank, VLV_TENANT_STOPPED, HALTED, VLV_MECHANISM_CHANNELS, 1);
  CHECK(confirm() == HALTED && id() == VLV_MECHANISM_CHANNELS);
  resume();
  vlv_tenant_release(rank);
  end();
}

static void one_that_is_stopping_is_not_stopped(void) {
  begin();
  struct vlv_tenant *rank = make_rank();
  set_puppet(rank, VLV_TENANT_STOPPING, HALTED, VLV_MECHANISM_CHANNELS, generation(holders));
  stop();
  CHECK(confirm() == SUBMISSION);
  resume();
  vlv_tenant_release(rank);
  end();
}

static void a_scribbled_level_is_none(void) {
  begin();
  struct vlv_tenant *rank = make_rank();
  set_puppet(rank, VLV_TENANT_STOPPED, 77, 77, generation(holders));
  stop();
  CHECK(confirm() == SUBMISSION && id() == VLV_MECHANISM_FREEZER_SIGNAL);
  resume();
  CHECK(id() == VLV_MECHANISM_FREEZER_SIGNAL);
  vlv_tenant_release(rank);
  end();
}

static void register_and_die(void) {
  make_puppet(open_side(VLV_SIDE_TENANT), (uint64_t)getppid());
  _exit(0);
}

static void the_dead_do_not_count(void) {
  begin();
  struct vlv_tenant *rank = make_rank();
  pid_t dead = spawn(register_and_die);
  CHECK(wait_status(dead) == 0 && tenant_row(tenants, 1)->owner_pid == (uint64_t)dead);
  struct vlv_tenant *forged = make_rank(); /* takes the dead one's row */
  forged->row->owner_pid = (uint64_t)dead;
  struct vlv_tenant_row *unlocked = tenant_row(tenants, 2); /* a dead one's, whose pid is another's by now */
  unlocked->owner_pid = unlocked->runner_pid = (uint64_t)getpid();
  halt(rank);
  stop();
  CHECK(confirm() == HALTED && id() == VLV_MECHANISM_CHANNELS && mechanism()->processes(job) == 1);
  resume();
  vlv_tenant_release(forged);
  vlv_tenant_release(rank);
  end();
}

static void the_guard_finds_a_rank_that_runs(void) {
  begin();
  struct vlv_tenant *rank = make_rank();
  halt(rank);
  stop();
  CHECK(confirm() == HALTED && mechanism()->guard(job) == 0);
  run(rank);
  CHECK(mechanism()->guard(job) == 1);
  CHECK(confirm() == SUBMISSION && id() == VLV_MECHANISM_FREEZER_SIGNAL);
  CHECK(mechanism()->guard(job) == 0);
  resume();
  vlv_tenant_release(rank);
  end();
}

static void the_guard_finds_a_rank_that_has_come(void) {
  begin();
  struct vlv_tenant *rank = make_rank(), *stopped, *running;
  halt(rank);
  stop();
  CHECK(confirm() == HALTED);
  stopped = make_rank();
  halt(stopped);
  CHECK(mechanism()->guard(job) == 0);
  running = make_rank();
  CHECK(mechanism()->guard(job) == 1);
  halt(running);
  CHECK(confirm() == HALTED && id() == VLV_MECHANISM_CHANNELS);
  resume();
  vlv_tenant_release(running);
  vlv_tenant_release(stopped);
  vlv_tenant_release(rank);
  end();
}

/* Stopped for long, then a rank runs. 1: it is waited for, 0: it is given up at once (this test was late). */
static bool is_waited_for(struct vlv_tenant *rank) {
  halt(rank);
  stop();
  CHECK(confirm() == HALTED);
  nap_ms(VLV_JOB_ESCALATE_NS / 1000000 + 1);
  run(rank);
  CHECK(mechanism()->guard(job) == 1);
  bool waits = mechanism()->confirm(job) == 0 && id() == VLV_MECHANISM_CHANNELS;
  resume();
  return waits;
}

static void what_the_guard_finds_has_its_whole_time(void) {
  begin();
  struct vlv_tenant *rank = make_rank();
  bool waits = false;
  for (int tries = 0; !waits && tries < 1000; tries++) waits = is_waited_for(rank);
  CHECK(waits);
  vlv_tenant_release(rank);
  end();
}

static void when_the_last_rank_is_gone_the_rest_is_frozen(void) {
  begin();
  struct vlv_tenant *rank = make_rank();
  halt(rank);
  stop();
  CHECK(confirm() == HALTED);
  vlv_tenant_release(rank);
  CHECK(mechanism()->guard(job) == 1);
  CHECK(confirm() == SUBMISSION && id() == VLV_MECHANISM_FREEZER_SIGNAL);
  resume();
  end();
}

static void a_process_without_the_shim_is_frozen_after_the_ranks(void) {
  begin();
  struct vlv_tenant *rank = make_rank();
  halt(rank);
  vlv_job_set_unshimmed(job, 1);
  stop();
  CHECK(confirm() == SUBMISSION && id() == VLV_MECHANISM_FREEZER_SIGNAL);
  resume();
  vlv_job_set_unshimmed(job, 0);
  stop();
  CHECK(confirm() == HALTED && id() == VLV_MECHANISM_CHANNELS);
  vlv_job_set_unshimmed(job, 1); /* while all ranks are stopped */
  CHECK(mechanism()->guard(job) == 1);
  CHECK(confirm() == SUBMISSION);
  resume();
  vlv_tenant_release(rank);
  end();
}

static void a_foreign_continue_of_the_frozen_is_answered(void) {
  begin();
  pid_t pid = start_rank(HALTED, VLV_MECHANISM_CHANNELS);
  vlv_job_set_unshimmed(job, 1);
  stop();
  CHECK(confirm() > 0);
  CHECK(kill(pid, SIGCONT) == 0);
  wait_for_beat(0);
  CHECK(mechanism()->guard(job) == 1);
  CHECK(confirm() > 0);
  check_frozen(0);
  resume();
  kill_and_wait(pid);
  end();
}

/* ---- the whole: agents here and in the ranks ---- */

static struct vlv_tenant *tenant;
static struct vlv_agent *agent;
static struct vlv_tenant_row *row;

static void start_agent(void) {
  tenant = register_tenant(tenants);
  row = tenant_row(tenants, vlv_tenant_row_index(tenant));
  CHECK(vlv_agent_start(tenant, mechanism(), job, &agent) == 0);
  CHECK(vlv_agent_wait_ready(agent, HOUR_NS) == 0);
}

static void end_agent(void) {
  vlv_agent_stop(agent);
  vlv_tenant_release(tenant);
}

/* However slow the machine is, this lease does not run out by itself. */
static void close_gate(void) {
  uint32_t closed = vlv_gate_close(holder);
  holder_row(holders, 0)->lease_expiry_ns = vlv_now_ns() + HOUR_NS;
  EVENTUALLY(row->ack_generation == closed && row->state == VLV_TENANT_STOPPED);
}

static void open_gate(void) {
  uint32_t opened = vlv_gate_open(holder);
  EVENTUALLY(row->ack_generation == opened && row->state == VLV_TENANT_RUNNING);
}

/* A rank that is scheduled late is frozen, as it should be; on a machine that is not overloaded for ever, one
 * of many stops is in time. */
static void close_gate_by_ranks(void) {
  for (int tries = 0; tries < 10000; tries++) {
    close_gate();
    if (row->mechanism >= VLV_MECHANISM_LAUNCH) return;
    open_gate();
  }
  CHECK(!"ever stopped by its ranks");
}

static void real_ranks_stop_as_one_set(void) {
  begin();
  pid_t first = start_rank(HALTED, VLV_MECHANISM_CHANNELS),
        second = start_rank(HALTED, VLV_MECHANISM_CHANNELS);
  start_agent();
  for (int cycle = 0; cycle < 20; cycle++) {
    close_gate_by_ranks();
    CHECK(scripts[0].halted && scripts[1].halted && row->ack_level == HALTED);
    CHECK(row->mechanism == VLV_MECHANISM_CHANNELS && row->processes == 2);
    wait_for_beat(0); /* not frozen */
    wait_for_beat(1);
    open_gate();
    EVENTUALLY(!scripts[0].halted && !scripts[1].halted);
  }
  end_agent();
  kill_and_wait(first);
  kill_and_wait(second);
  end();
}

static void a_real_rank_that_hangs_is_frozen_and_counted(void) {
  begin();
  pid_t good = start_rank(HALTED, VLV_MECHANISM_CHANNELS), bad = start_rank(HALTED, VLV_MECHANISM_CHANNELS);
  start_agent();
  close_gate_by_ranks();
  open_gate();
  uint64_t before = row->escalations;
  EVENTUALLY(!scripts[1].halted); /* one that has not seen the gate open is stopped already */
  scripts[1].hangs = true;
  close_gate();
  CHECK(row->mechanism == VLV_MECHANISM_FREEZER_SIGNAL && row->ack_level == SUBMISSION);
  CHECK(row->escalations == before + 1);
  check_frozen(0);
  check_frozen(1);
  scripts[1].hangs = false;
  open_gate();
  wait_for_beat(1);
  close_gate_by_ranks();
  CHECK(row->ack_level == HALTED && scripts[1].halted);
  open_gate();
  end_agent();
  kill_and_wait(good);
  kill_and_wait(bad);
  end();
}

static void a_real_rank_killed_while_closed_is_no_longer_waited_for(void) {
  begin();
  pid_t stays = start_rank(HALTED, VLV_MECHANISM_CHANNELS),
        dies = start_rank(SUBMISSION, VLV_MECHANISM_LAUNCH);
  start_agent();
  close_gate_by_ranks();
  CHECK(row->ack_level == SUBMISSION && row->mechanism == VLV_MECHANISM_LAUNCH);
  kill_and_wait(dies);
  open_gate();
  close_gate_by_ranks();
  CHECK(row->ack_level == HALTED && row->mechanism == VLV_MECHANISM_CHANNELS && row->processes == 1);
  open_gate();
  end_agent();
  kill_and_wait(stays);
  end();
}

int main(void) {
  RUN(the_last_ranks_acknowledgement_is_the_jobs);
  RUN(the_worst_of_the_ranks_is_the_jobs);
  RUN(without_a_rank_the_tree_is_frozen);
  RUN(an_old_acknowledgement_does_not_count);
  RUN(the_generation_may_wrap);
  RUN(one_that_is_stopping_is_not_stopped);
  RUN(a_scribbled_level_is_none);
  RUN(the_dead_do_not_count);
  RUN(the_guard_finds_a_rank_that_runs);
  RUN(the_guard_finds_a_rank_that_has_come);
  RUN(what_the_guard_finds_has_its_whole_time);
  RUN(when_the_last_rank_is_gone_the_rest_is_frozen);
  RUN(a_process_without_the_shim_is_frozen_after_the_ranks);
  RUN(a_foreign_continue_of_the_frozen_is_answered);
  RUN(real_ranks_stop_as_one_set);
  RUN(a_real_rank_that_hangs_is_frozen_and_counted);
  RUN(a_real_rank_killed_while_closed_is_no_longer_waited_for);
  return 0;
}
