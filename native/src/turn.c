#include "turn.h"

#include "acks.h"
#include "words.h"

#define SPIN_NS 20000ull /* confirm without a pause this long: a stop by IPI is seen within microseconds */
#define NAP_MIN_NS 50000ull
#define NAP_MAX_NS 1000000ull
#define SLOW_STOP_NS 10000000ull
#define RETRY_MIN_NS 1000000ull
#define RETRY_MAX_NS 1000000000ull

void turn_init(struct turn *turn, struct vlv_tenant *tenant, const struct vlv_mechanism *mechanism,
               void *context) {
  *turn =
      (struct turn){.tenant = tenant, .mechanism = mechanism, .context = context, .retry_ns = RETRY_MIN_NS};
}

bool turn_is_settled(const struct turn *turn) {
  return turn->phase == PHASE_RUNNING || turn->phase == PHASE_STOPPED || turn->phase == PHASE_BREATHING;
}

static struct vlv_tenant_row *row_of(const struct turn *turn) {
  return turn->tenant->row;
}

static uint64_t min64(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}
static uint64_t max64(uint64_t a, uint64_t b) {
  return a > b ? a : b;
}

static void set_phase(struct turn *turn, enum phase phase) {
  static const uint32_t states[] = {VLV_TENANT_RUNNING, VLV_TENANT_STOPPING, VLV_TENANT_STOPPED,
                                    VLV_TENANT_STOPPING, VLV_TENANT_BREATHING};
  turn->phase = phase;
  store32(&row_of(turn)->state, states[phase]);
}

/* Counted, and tried again later and later: never fatal, never a busy loop. */
static uint64_t failed(struct turn *turn) {
  count64(&row_of(turn)->errors, 1);
  turn->retry_at_ns = vlv_now_ns() + turn->retry_ns;
  turn->retry_ns = min64(turn->retry_ns * 2, RETRY_MAX_NS);
  return turn->retry_at_ns;
}

static void record(struct turn *turn, enum vlv_ack_kind kind, uint32_t generation, uint32_t level,
                   uint64_t woken_ns) {
  acks_append(row_of(turn), (struct vlv_ack){.generation = generation,
                                             .kind = (uint16_t)kind,
                                             .level = (uint16_t)level,
                                             .woken_ns = woken_ns,
                                             .done_ns = vlv_now_ns()});
}

/* The generation is read again: a claim may have been seen between its store and its bump, and the entry
 * should tell of the close that it answers. */
static void record_stop(struct turn *turn, uint32_t level) {
  uint32_t generation = load32(&turn->tenant->holders->generation);
  record(turn, VLV_ACK_STOPPED, generation, level, turn->woken_ns);
  count64(&row_of(turn)->stops, 1);
  turn->recorded = true;
}

static void begin_stop(struct turn *turn) {
  breather_stopped(&turn->breather, turn->now_ns);
  store64(&row_of(turn)->breathes_until_ns, 0);
  set_phase(turn, PHASE_STOPPING);
  turn->asked = false;
  turn->slow = false;
  turn->woken_ns = turn->now_ns;
  turn->asked_ns = turn->now_ns;
}

/* Best first is CHANNELS, LAUNCH, then the freezers; NONE is no mechanism yet. */
static bool is_worse(uint32_t now, uint32_t before) {
  static const uint8_t places[] = {0, 3, 4, 2, 1};
  return before != VLV_MECHANISM_NONE && places[now] > places[before];
}

/* A mechanism that changes to a worse one has escalated; back is no news. */
static void publish_mechanism(const struct turn *turn) {
  uint32_t before = load32(&row_of(turn)->mechanism), now = turn->mechanism->id(turn->context);
  if (now == before) return;
  store32(&row_of(turn)->mechanism, now);
  if (is_worse(now, before)) count64(&row_of(turn)->escalations, 1);
}

static void publish_processes(const struct turn *turn) {
  store32(&row_of(turn)->unstopped_threads, 0);
  if (turn->mechanism->processes != NULL)
    store32(&row_of(turn)->processes, turn->mechanism->processes(turn->context));
}

static uint64_t stopped(struct turn *turn, uint32_t level) {
  store32(&row_of(turn)->ack_level, level);
  set_phase(turn, PHASE_STOPPED);
  if (!turn->recorded) record_stop(turn, level);
  turn->retry_ns = RETRY_MIN_NS;
  turn->guard_at_ns = vlv_now_ns() + VLV_GUARD_NS;
  publish_processes(turn);
  return turn->guard_at_ns;
}

static void note_slow_stop(struct turn *turn, uint64_t waited_ns) {
  if (turn->slow || waited_ns < SLOW_STOP_NS) return;
  turn->slow = true;
  count64(&row_of(turn)->slow_stops, 1);
}

/* Spins shortly, then naps: the longer it takes, the longer the naps, and as long as the last look
 * took (a real-time thread must leave the processor to those that it waits for). */
static uint64_t nap(struct turn *turn, uint64_t looked_ns) {
  uint64_t now_ns = vlv_now_ns(), waited_ns = now_ns - turn->asked_ns;
  if (turn->mechanism->unstopped_threads != NULL)
    store32(&row_of(turn)->unstopped_threads, turn->mechanism->unstopped_threads(turn->context));
  note_slow_stop(turn, waited_ns);
  if (waited_ns < SPIN_NS) return 0;
  uint64_t nap_ns = max64(max64(waited_ns / 8, now_ns - looked_ns), NAP_MIN_NS);
  return now_ns + min64(nap_ns, NAP_MAX_NS);
}

static uint64_t confirm(struct turn *turn) {
  uint64_t looked_ns = vlv_now_ns();
  int level = turn->mechanism->confirm(turn->context);
  if (level > 0) return stopped(turn, (uint32_t)level);
  if (level == 0) return nap(turn, looked_ns);
  turn->asked = false;
  return failed(turn);
}

static uint64_t keep_stopping(struct turn *turn) {
  if (turn->now_ns < turn->retry_at_ns) return turn->retry_at_ns;
  if (!turn->asked && turn->mechanism->stop(turn->context) < 0) return failed(turn);
  turn->asked = true;
  return confirm(turn);
}

/* Somebody else continued a part of it: it is stopped again by now, but that has to be seen again too. */
static uint64_t stop_again(struct turn *turn, uint64_t resumed) {
  store32(&row_of(turn)->ack_level, VLV_LEVEL_RUNNING);
  begin_stop(turn);
  count64(&row_of(turn)->foreign_resumes, resumed);
  turn->asked = true;
  return confirm(turn);
}

/* What cannot be looked at may run: it is stopped, and has to be seen stopped, once more. */
static uint64_t stop_unseen(struct turn *turn) {
  store32(&row_of(turn)->ack_level, VLV_LEVEL_RUNNING);
  begin_stop(turn);
  return failed(turn);
}

static uint64_t guard(struct turn *turn) {
  if (turn->now_ns < turn->guard_at_ns) return turn->guard_at_ns;
  turn->guard_at_ns = turn->now_ns + VLV_GUARD_NS;
  int resumed = turn->mechanism->guard(turn->context);
  if (resumed > 0) return stop_again(turn, (uint64_t)resumed);
  return resumed < 0 ? stop_unseen(turn) : turn->guard_at_ns;
}

/* Until when it may run although its gate is closed; not later than now: it may not. Ranks follow their
 * runner, so that a job breathes as one. */
static uint64_t breather_until(const struct turn *turn) {
  const struct vlv_tenant_row *row = row_of(turn);
  if (load64(&row->runner_pid) != 0) return tenant_runner_breathes_until(turn->tenant);
  if (turn->phase == PHASE_BREATHING) return load64(&row->breathes_until_ns);
  bool due = turn->now_ns >= breather_due_ns(&turn->breather, load64(&row->max_stopped_ns));
  return due ? turn->now_ns + breather_left_ns(&turn->breather) : 0;
}

/* A rank looks whether its runner has ended it before its time. */
static uint64_t keep_breathing(const struct turn *turn, uint64_t until_ns) {
  return min64(until_ns, turn->now_ns + VLV_GUARD_NS);
}

/* The level goes first, as with a resume; what follows is another stop. */
static uint64_t breathe(struct turn *turn, uint64_t until_ns) {
  store32(&row_of(turn)->ack_level, VLV_LEVEL_RUNNING);
  store64(&row_of(turn)->breathes_until_ns, until_ns);
  set_phase(turn, PHASE_BREATHING);
  if (turn->mechanism->resume(turn->context) < 0) {
    begin_stop(turn);
    return failed(turn);
  }
  breather_resumed(&turn->breather, turn->now_ns);
  record(turn, VLV_ACK_BREATHER, turn->generation, VLV_LEVEL_RUNNING, turn->now_ns);
  count64(&row_of(turn)->breathers, 1);
  turn->recorded = false;
  return keep_breathing(turn, until_ns);
}

/* A slice that is owed is not taken out of a stop that is under way: that is seen and acknowledged first. */
static uint64_t towards_stopped(struct turn *turn) {
  bool breathing = turn->phase == PHASE_BREATHING;
  uint64_t until_ns = breathing || turn->phase == PHASE_STOPPED ? breather_until(turn) : 0;
  if (until_ns > turn->now_ns) return breathing ? keep_breathing(turn, until_ns) : breathe(turn, until_ns);
  if (turn->phase == PHASE_STOPPED) return guard(turn);
  if (turn->phase != PHASE_STOPPING) begin_stop(turn);
  return keep_stopping(turn);
}

/* The level goes first: nobody may read "halted" while the tenant runs. */
static uint64_t resume(struct turn *turn) {
  store32(&row_of(turn)->ack_level, VLV_LEVEL_RUNNING);
  set_phase(turn, PHASE_RESUMING);
  if (turn->mechanism->resume(turn->context) < 0) return failed(turn);
  set_phase(turn, PHASE_RUNNING);
  breather_resumed(&turn->breather, turn->now_ns);
  store64(&row_of(turn)->breathes_until_ns, 0);
  record(turn, VLV_ACK_RESUMED, turn->generation, VLV_LEVEL_RUNNING, turn->now_ns);
  store32(&row_of(turn)->unstopped_threads, 0);
  turn->recorded = false;
  turn->retry_at_ns = 0;
  turn->retry_ns = RETRY_MIN_NS;
  return UINT64_MAX;
}

static uint64_t towards_running(struct turn *turn) {
  if (turn->phase == PHASE_RUNNING) return UINT64_MAX;
  if (turn->phase == PHASE_RESUMING && turn->now_ns < turn->retry_at_ns) return turn->retry_at_ns;
  return resume(turn);
}

static void bury_dead_holders(struct turn *turn) {
  bool due = turn->phase == PHASE_STOPPED && turn->now_ns >= turn->guard_at_ns;
  if (due) tenant_bury_dead_holders(turn->tenant, turn->now_ns);
}

static void acknowledge(struct turn *turn) {
  publish_mechanism(turn);
  store64(&row_of(turn)->ack_ns, vlv_now_ns());
  store32(&row_of(turn)->ack_generation, turn->generation);
}

uint64_t turn_take(struct turn *turn, uint64_t now_ns) {
  uint64_t lease_ns;
  turn->now_ns = now_ns;
  if (turn->breather.slice_ended_ns == 0) breather_begin(&turn->breather, now_ns);
  turn->generation = load32(&turn->tenant->holders->generation);
  tenant_resolve_devices(turn->tenant);
  bury_dead_holders(turn);
  bool closed = vlv_gate_is_closed(turn->tenant, now_ns, &lease_ns);
  uint64_t next_ns = closed ? towards_stopped(turn) : towards_running(turn);
  acknowledge(turn);
  return min64(next_ns, lease_ns);
}

bool turn_leave(struct turn *turn) {
  turn->now_ns = vlv_now_ns();
  if (turn->phase != PHASE_RUNNING) resume(turn);
  return turn->phase == PHASE_RUNNING;
}
