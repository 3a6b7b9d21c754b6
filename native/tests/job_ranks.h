/* Ranks for the tests of a GPU job: puppets, whose rows this process writes by hand, and real processes with
 * an agent, whose mechanism is a script in shared memory. */
#ifndef VALVE_TESTS_JOB_RANKS_H
#define VALVE_TESTS_JOB_RANKS_H

#include "node_scratch.h"
#include "tenant.h"
#include "valve/agent.h"

#define RANKS_MAX 4

/* ---- puppets ---- */

static inline struct vlv_tenant *make_puppet(struct vlv_node *node, uint64_t runner) {
  struct vlv_tenant *puppet = register_tenant(node);
  atomic_store(&puppet->row->runner_pid, runner);
  return puppet;
}

/* As if it had acknowledged `acknowledged` in that state. */
static inline void set_puppet(struct vlv_tenant *puppet, uint32_t state, uint32_t level, uint32_t mechanism,
                              uint32_t acknowledged) {
  atomic_store(&puppet->row->mechanism, mechanism);
  atomic_store(&puppet->row->ack_level, level);
  atomic_store(&puppet->row->state, state);
  atomic_store(&puppet->row->ack_generation, acknowledged);
}

/* ---- real ones ---- */

struct rank_script {
  _Atomic uint32_t level, mechanism;
  _Atomic bool hangs;     /* its stop is never confirmed */
  _Atomic bool halted;    /* by its mechanism */
  _Atomic uint64_t beats; /* goes up while the process runs, whatever its mechanism says */
  _Atomic bool is_ready;
};

static struct rank_script *scripts; /* shared with the ranks */
static int next_rank;

static inline int rank_stop(void *context) {
  return context != NULL ? 0 : -EINVAL;
}
static inline int rank_confirm(void *context) {
  struct rank_script *script = context;
  if (script->hangs) return 0;
  script->halted = true;
  return (int)script->level;
}
static inline int rank_resume(void *context) {
  ((struct rank_script *)context)->halted = false;
  return 0;
}
static inline int rank_guard(void *context) {
  return context != NULL ? 0 : -EINVAL;
}
static inline uint32_t rank_id(void *context) {
  return ((struct rank_script *)context)->mechanism;
}

static inline void be_a_rank(void) {
  static const struct vlv_mechanism scripted = {
      .stop = rank_stop, .confirm = rank_confirm, .resume = rank_resume, .guard = rank_guard, .id = rank_id};
  struct rank_script *script = &scripts[next_rank];
  struct vlv_tenant *tenant = make_puppet(open_side(VLV_SIDE_TENANT), (uint64_t)getppid());
  struct vlv_agent *agent;
  CHECK(vlv_agent_start(tenant, &scripted, script, &agent) == 0);
  CHECK(vlv_agent_wait_ready(agent, UINT64_MAX) == 0);
  for (script->is_ready = true;; nap_ms(1)) atomic_fetch_add(&script->beats, 1);
}

/* Before this process has any thread: a sanitizer wants it so. */
static inline pid_t start_rank(uint32_t level, uint32_t mechanism) {
  struct rank_script *script = &scripts[next_rank];
  script->level = level;
  script->mechanism = mechanism;
  pid_t pid = spawn(be_a_rank);
  next_rank++;
  EVENTUALLY(script->is_ready);
  return pid;
}

static inline void wait_for_beat(int rank) {
  uint64_t before = scripts[rank].beats;
  EVENTUALLY(scripts[rank].beats != before);
}

/* What is frozen makes no progress however long one looks: this cannot fail by chance. */
static inline void check_frozen(int rank) {
  uint64_t before = scripts[rank].beats;
  nap_ms(15);
  CHECK(scripts[rank].beats == before);
}

#endif
