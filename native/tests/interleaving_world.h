/* The world of the interleaving test: the shared words, and threads that run the library's own protocol code
 * one shared access at a time (interleaving_replay.h). */
#ifndef VALVE_TESTS_INTERLEAVING_WORLD_H
#define VALVE_TESTS_INTERLEAVING_WORLD_H

#include <string.h>

#include "valve/node.h"

#undef VLV_HOLDERS_MAX /* the rule looks at two rows: the others would only be zeros */
#define VLV_HOLDERS_MAX 2u
#undef VLV_TENANTS_MAX /* likewise: a rank looks for its runner's row among these */
#define VLV_TENANTS_MAX 2u
#define VLV_WORDS_HEADER "interleaving_words.h"
#include "../src/acks.c"
#include "../src/breather.c"
#include "../src/claim.c"
#include "../src/gate.c"
#include "../src/turn.c"

enum { AGENTS_MAX = 2, HOLDER_THREADS_MAX = 3, THREADS_MAX = AGENTS_MAX + HOLDER_THREADS_MAX, LOG_MAX = 80 };

enum operation { END, CLOSE, OPEN, RENEW, TAKE, RELEASE };

enum status { READY, ASLEEP, CRASHED };

struct log_of_thread {
  uint8_t status;
  uint8_t operation; /* how many are done */
  uint8_t length;
  uint64_t deadline_ns;
  uint64_t entries[LOG_MAX];
};

struct private_state { /* what an agent keeps from one turn to the next */
  struct turn turn;
  uint64_t dead_lease_ns[VLV_HOLDERS_MAX];
  bool halted; /* the mechanism: nothing runs */
  uint64_t halted_at_ns;
  uint64_t looked_ns;    /* its last turn began */
  uint64_t told_rank_ns; /* that it breathes */
  uint8_t confirms_left;
  bool guard_failed;
};

struct row_words {
  uint64_t device_mask, lease_expiry_ns, closes, lapses, owner_pid;
  uint32_t closed;
  uint8_t owner;      /* who holds the row's lock: thread + 1; 0 nobody */
  uint32_t announced; /* the generation that told of the present claim; 0: not told yet */
};

struct tenant_words {
  uint32_t state, ack_generation, ack_level, mechanism;
  uint64_t stops, ack_head, breathers, breathes_until_ns;
};

struct world { /* everything that differs from one moment to another */
  uint64_t clock_ns;
  uint32_t generation;
  uint32_t changes; /* open -> closed, ever */
  uint8_t ticks, crashes;
  struct row_words rows[VLV_HOLDERS_MAX];
  struct tenant_words tenants[AGENTS_MAX];
  struct private_state agents[AGENTS_MAX];
  struct log_of_thread threads[THREADS_MAX];
};

/* One deliberate mistake, made by the accesses so that the library's code stays what it is. */
enum mutant {
  FAITHFUL,
  BUMP_BEFORE_STORE,    /* the claim is stored after the generation is bumped */
  NO_WAKE,              /* nobody is woken */
  WAIT_IGNORES_VALUE,   /* an agent sleeps although the generation moved on */
  NO_SECOND_LOOK,       /* renew() does not look at the clock again after the store */
  SILENT_LAPSE,         /* a lapse drops the claim without a bump and a wake */
  LEVEL_AFTER_RESUME,   /* the acknowledged level is not lowered before resume() */
  NO_DEADLINE,          /* an agent sleeps beyond the lease */
  LIVING_TAKEN_AS_DEAD, /* the lock of a living owner is seen as free */
  MUTANTS,
};

static enum mutant mutant;
static struct world world;

/* The memory that the library's code works on; `world` keeps what changes in it. */
static struct vlv_holders_file file;
static struct vlv_tenant_row tenant_rows_memory[AGENTS_MAX];
static struct vlv_tenant tenants[AGENTS_MAX];
static struct vlv_holder holders[HOLDER_THREADS_MAX];

static int clock_reads; /* of this operation */
static uint64_t first_read_ns;
static uint32_t delayed_claim; /* BUMP_BEFORE_STORE: + 1 */
static enum operation running;

const struct row_table holder_rows = {0, 1, VLV_HOLDERS_MAX};

#define TEST "test_interleaving"
#include "interleaving_replay.h"

static bool is_agent(int thread) {
  return thread < AGENTS_MAX;
}
static struct vlv_holder *own_holder(void) {
  return &holders[current - AGENTS_MAX];
}
static struct row_words *own_words(void) {
  return &world.rows[own_holder()->index];
}

#endif
