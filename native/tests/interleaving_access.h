/* The accesses of the interleaving test: to shared words, to the kernel, to the mechanism. */
#ifndef VALVE_TESTS_INTERLEAVING_ACCESS_H
#define VALVE_TESTS_INTERLEAVING_ACCESS_H

#include "interleaving_world.h"

/* ---- shared words ---- */

static bool within(const void *word, const void *memory, size_t size) {
  return (const char *)word >= (const char *)memory && (const char *)word < (const char *)memory + size;
}

/* Every holder here holds the one device. */
static bool is_mask(const void *word) {
  return word == (const void *)&file.rows[0].device_mask || word == (const void *)&file.rows[1].device_mask;
}

static bool has_rank(void);

/* What a rank reads of its runner, which is the first agent. */
static bool is_told_to_rank(const void *word) {
  return has_rank() && word == (const void *)&tenant_rows_memory[0].breathes_until_ns;
}

/* A holder's own row cannot change under it, and what else a tenant's row says is read by no thread here. */
static bool others_matter(const void *word) {
  if (!is_agent(current)) return false;
  if (current != 0 && is_told_to_rank(word)) return true;
  bool in_rows = within(word, &file.rows, sizeof file.rows) && !is_mask(word);
  return in_rows || word == (const void *)&file.generation;
}

/* What the agents read of a holder, and a rank of its runner. */
static bool others_read(const void *word) {
  const struct vlv_holder_row *row = is_agent(current) ? NULL : own_holder()->row;
  if (row == NULL) return is_told_to_rank(word);
  return word == (const void *)&row->closed || word == (const void *)&row->lease_expiry_ns;
}

uint32_t load32(const VLV_ATOMIC(uint32_t) * word) {
  return happens(others_matter(word)) ? (uint32_t)tell(atomic_load(word)) : (uint32_t)told();
}

uint64_t load64(const VLV_ATOMIC(uint64_t) * word) {
  return happens(others_matter(word)) ? tell(atomic_load(word)) : told();
}

static bool is_own_claim(const void *word) {
  return !is_agent(current) && word == (const void *)&own_holder()->row->closed;
}

static void set_claim(uint32_t closed) {
  atomic_store(&own_holder()->row->closed, closed);
  own_words()->announced = 0;
  world.changes += closed;
}

static bool mutant_drops_store(const void *word, uint32_t value) {
  bool level = is_agent(current) && word == (const void *)&tenant_rows_memory[current].ack_level;
  return mutant == LEVEL_AFTER_RESUME && level && value == VLV_LEVEL_RUNNING;
}

void store32(VLV_ATOMIC(uint32_t) * word, uint32_t value) {
  bool claim = is_own_claim(word), late = claim && mutant == BUMP_BEFORE_STORE;
  if (late) delayed_claim = value + 1;
  if (!happens(others_read(word))) return;
  if (claim && !late) set_claim(value);
  if (!claim && !mutant_drops_store(word, value)) atomic_store(word, value);
  tell(0);
}

/* Two stamps that nothing depends on would only make equal moments look different. */
static bool is_mere_stamp(const void *word) {
  if (is_agent(current)) return word == (const void *)&tenant_rows_memory[current].ack_ns;
  return word == (const void *)&own_holder()->row->closed_since_ns;
}

void store64(VLV_ATOMIC(uint64_t) * word, uint64_t value) {
  if (!happens(others_read(word))) return;
  if (!is_mere_stamp(word)) atomic_store(word, value);
  if (is_told_to_rank(word)) world.agents[0].told_rank_ns = world.clock_ns;
  tell(0);
}

static bool mutant_keeps_silent(void) {
  return mutant == SILENT_LAPSE && running == RENEW;
}

uint32_t add32(VLV_ATOMIC(uint32_t) * word, uint32_t by) {
  if (!happens(true)) return (uint32_t)told();
  if (mutant_keeps_silent()) return (uint32_t)tell(atomic_load(word));
  uint32_t generation = atomic_load(word) + by;
  atomic_store(word, generation);
  own_words()->announced = generation;
  return (uint32_t)tell(generation);
}

/* ---- the kernel ---- */

static void begin_next_operation(int thread) {
  struct log_of_thread *log = &world.threads[thread];
  forget_log(log);
  log->status = READY;
  log->deadline_ns = 0;
  if (!is_agent(thread)) log->operation++;
}

static void wake_all(void) {
  for (int thread = 0; thread < AGENTS_MAX; thread++)
    if (world.threads[thread].status == ASLEEP) begin_next_operation(thread);
}

void word_wake(const VLV_ATOMIC(uint32_t) * word) {
  if (word != &file.generation) give_up("word_wake");
  if (!happens(true)) return;
  if (delayed_claim != 0) set_claim(delayed_claim - 1);
  if (mutant != NO_WAKE && !mutant_keeps_silent()) wake_all();
  tell(0);
}

/* Always the last access of an agent's turn, so a sleeper begins its next one when it wakes. */
void word_wait(const VLV_ATOMIC(uint32_t) * word, uint32_t expected, uint64_t deadline_ns) {
  if (!happens(true)) return;
  bool sleeps = atomic_load(word) == expected || mutant == WAIT_IGNORES_VALUE;
  tell(0);
  if (!sleeps) return;
  world.threads[current].status = ASLEEP;
  world.threads[current].deadline_ns = mutant == NO_DEADLINE ? UINT64_MAX : deadline_ns;
  longjmp(step_is_over, 2);
}

static struct private_state *own_agent(void) {
  return &world.agents[current];
}

/* An agent reads the clock for stamps too; only the read before its turn is a step. */
uint64_t vlv_now_ns(void) {
  clock_reads++;
  if (clock_reads == 3 && running == RENEW && mutant == NO_SECOND_LOOK) return first_read_ns;
  uint64_t now_ns = happens(!is_agent(current) || clock_reads == 1) ? tell(world.clock_ns) : told();
  if (clock_reads == 1) first_read_ns = now_ns;
  if (clock_reads == 1 && is_agent(current)) own_agent()->looked_ns = now_ns;
  return now_ns;
}

int byte_is_locked(int fd, size_t offset) {
  (void)fd;
  if (!happens(true)) return (int)told();
  return (int)tell(world.rows[offset].owner != 0 && mutant != LIVING_TAKEN_AS_DEAD);
}

uint32_t devices_known(const struct vlv_holders_file *holders_file) {
  (void)holders_file;
  return 1;
}

uint64_t devices_mask(const struct vlv_holders_file *holders_file, const struct vlv_device_id *ids,
                      uint32_t count) {
  (void)holders_file, (void)ids, (void)count;
  return 1;
}

/* ---- the mechanism: stopping is seen at the second look ---- */

static int model_stop(void *context) {
  (void)context;
  if (!happens(true)) return 0;
  own_agent()->confirms_left = 1;
  return (int)tell(0);
}

static int model_confirm(void *context) {
  (void)context;
  if (!happens(true)) return (int)told();
  if (own_agent()->confirms_left > 0) {
    own_agent()->confirms_left--;
    return (int)tell(0);
  }
  own_agent()->halted = true;
  own_agent()->halted_at_ns = world.clock_ns;
  return (int)tell(VLV_LEVEL_COMPUTE_HALTED);
}

static void check_resume(void);

static int model_resume(void *context) {
  (void)context;
  if (!happens(true)) return 0;
  check_resume();
  own_agent()->halted = false;
  return (int)tell(0);
}

static bool guard_fails(void);

/* Where the scenario says so, it fails once, and what it could not look at runs. (The pause before the retry
 * is one of the short spans that are not modelled.) */
static int model_guard(void *context) {
  (void)context;
  if (!guard_fails()) return 0;
  own_agent()->turn.retry_ns = 0;
  if (!happens(true)) return (int)told();
  if (own_agent()->guard_failed) return (int)tell(0);
  own_agent()->guard_failed = true;
  own_agent()->halted = false;
  return (int)tell((uint64_t)-1);
}

static uint32_t model_id(void *context) {
  (void)context;
  return VLV_MECHANISM_FREEZER_SIGNAL;
}

static const struct vlv_mechanism model_mechanism = {.stop = model_stop,
                                                     .confirm = model_confirm,
                                                     .resume = model_resume,
                                                     .guard = model_guard,
                                                     .id = model_id};

#endif
