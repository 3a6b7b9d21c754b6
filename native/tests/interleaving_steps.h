/* One step of one thread of the interleaving test, and the scenario that tells which threads there are. */
#ifndef VALVE_TESTS_INTERLEAVING_STEPS_H
#define VALVE_TESTS_INTERLEAVING_STEPS_H

#include "interleaving_access.h"

enum { OPERATIONS_MAX = 5, TICKS_MAX = 4 };

struct part { /* one holder's thread */
  uint8_t row;
  bool may_crash;
  enum operation operations[OPERATIONS_MAX];
};

struct scenario {
  const char *name;
  int agents, holders;
  struct part parts[HOLDER_THREADS_MAX];
  uint64_t ticks_ns[TICKS_MAX]; /* time passes by these spans, in this order, at any moments */
  bool within_lease;            /* no lease runs out: then no stop and no resume may be a needless one */
  bool guard_fails;
  uint64_t max_stopped_ns; /* of the first agent; 0: for ever */
  bool rank;               /* the second agent is a rank of the first */
};

static const struct scenario *scenario;

static bool guard_fails(void) {
  return scenario->guard_fails;
}

static bool has_rank(void) {
  return scenario->rank;
}

/* ---- between `world` and the memory of the library's code ---- */

static void unpack(void) {
  atomic_store(&file.generation, world.generation);
  for (uint32_t i = 0; i < VLV_HOLDERS_MAX; i++) {
    atomic_store(&file.rows[i].device_mask, world.rows[i].device_mask);
    atomic_store(&file.rows[i].lease_expiry_ns, world.rows[i].lease_expiry_ns);
    atomic_store(&file.rows[i].closes, world.rows[i].closes);
    atomic_store(&file.rows[i].lapses, world.rows[i].lapses);
    atomic_store(&file.rows[i].owner_pid, world.rows[i].owner_pid);
    atomic_store(&file.rows[i].closed, world.rows[i].closed);
  }
}

static void pack(void) {
  world.generation = atomic_load(&file.generation);
  for (uint32_t i = 0; i < VLV_HOLDERS_MAX; i++) {
    world.rows[i].device_mask = atomic_load(&file.rows[i].device_mask);
    world.rows[i].lease_expiry_ns = atomic_load(&file.rows[i].lease_expiry_ns);
    world.rows[i].closes = atomic_load(&file.rows[i].closes);
    world.rows[i].lapses = atomic_load(&file.rows[i].lapses);
    world.rows[i].owner_pid = atomic_load(&file.rows[i].owner_pid);
    world.rows[i].closed = atomic_load(&file.rows[i].closed);
  }
}

static void unpack_agent(int agent) {
  const struct tenant_words *words = &world.tenants[agent];
  struct vlv_tenant_row *row = &tenant_rows_memory[agent];
  atomic_store(&row->state, words->state);
  atomic_store(&row->ack_generation, words->ack_generation);
  atomic_store(&row->ack_level, words->ack_level);
  atomic_store(&row->mechanism, words->mechanism);
  atomic_store(&row->stops, words->stops);
  atomic_store(&row->ack_head, words->ack_head);
  atomic_store(&row->breathers, words->breathers);
  atomic_store(&row->breathes_until_ns, words->breathes_until_ns);
  memcpy(tenants[agent].dead_lease_ns, world.agents[agent].dead_lease_ns,
         sizeof tenants[agent].dead_lease_ns);
}

static void pack_agent(int agent) {
  struct tenant_words *words = &world.tenants[agent];
  const struct vlv_tenant_row *row = &tenant_rows_memory[agent];
  words->state = atomic_load(&row->state);
  words->ack_generation = atomic_load(&row->ack_generation);
  words->ack_level = atomic_load(&row->ack_level);
  words->mechanism = atomic_load(&row->mechanism);
  words->stops = atomic_load(&row->stops);
  words->ack_head = atomic_load(&row->ack_head);
  words->breathers = atomic_load(&row->breathers);
  words->breathes_until_ns = atomic_load(&row->breathes_until_ns);
}

/* ---- one step of one thread ---- */

/* As in agent.c: the clock, a turn, the sleep. */
static void run_agent(void) {
  struct turn *turn = &own_agent()->turn;
  uint64_t now_ns = vlv_now_ns();
  uint64_t until_ns = turn_take(turn, now_ns);
  if (until_ns > now_ns) word_wait(&file.generation, turn->generation, until_ns);
}

static void set_owner(uint8_t owner) {
  if (!happens(true)) return;
  own_words()->owner = owner;
  tell(0);
}

static void run_holder(void) {
  struct vlv_holder *holder = own_holder();
  switch (running) {
    case CLOSE:
      vlv_gate_close(holder);
      break;
    case OPEN:
      vlv_gate_open(holder);
      break;
    case RENEW:
      vlv_holder_renew(holder);
      break;
    case TAKE:
      set_owner((uint8_t)(current + 1)), claim_begin(holder, 1, (uint64_t)current + 1);
      break;
    case RELEASE:
      claim_end(holder), set_owner(0);
      break;
    case END:
      give_up("END");
  }
}

static enum operation next_operation(int thread) {
  return is_agent(thread) ? END
                          : scenario->parts[thread - AGENTS_MAX].operations[world.threads[thread].operation];
}

/* What the last turn leaves behind but the next one does not read. */
static void forget_turn(struct turn *turn) {
  turn->now_ns = 0;
  turn->woken_ns = 0;
  turn->generation = 0;
}

/* Half an operation leaves no trace but its log: what it keeps for itself is done again from the beginning.
 */
static void step_agent(void) {
  struct turn before = own_agent()->turn;
  int left = setjmp(step_is_over);
  if (left == 0) run_agent();
  if (left == 1) {
    own_agent()->turn = before;
  } else {
    memcpy(own_agent()->dead_lease_ns, tenants[current].dead_lease_ns, sizeof own_agent()->dead_lease_ns);
    forget_turn(&own_agent()->turn);
  }
  if (left == 0) begin_next_operation(current);
  pack_agent(current);
}

static void step_holder(void) {
  if (setjmp(step_is_over) != 0) return;
  run_holder();
  begin_next_operation(current);
}

static void step(int thread) {
  current = thread;
  position = 0;
  moved = false;
  clock_reads = 0;
  delayed_claim = 0;
  running = next_operation(thread);
  unpack();
  if (is_agent(thread)) {
    for (int i = 0; i < AGENTS_MAX; i++) unpack_agent(i);
    step_agent();
  } else {
    step_holder();
  }
  pack();
}

#endif
