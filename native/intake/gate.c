#include "gate.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static void cancel_timer(struct vlv_intake *intake) {
  intake->timer_ns = UINT64_MAX;
}

static void start_timer(struct vlv_intake *intake, uint64_t after_ns, uint64_t epoch) {
  intake->timer_ns = vlv_now_ns() + after_ns;
  intake->timer_epoch = epoch;
  intake->awaits_answer = false;
}

static void show_state(struct vlv_intake *intake) {
  set_to(&intake->stats.state, intake->controller.state);
  set_to(&intake->stats.held, intake->controller.held_count);
  set_to(&intake->stats.released, intake->controller.released);
}

/* ---- actions ---- */

/* gate_signal() has stored the claim already. */
static void note_close(struct vlv_intake *intake, struct flight *flight) {
  set_to(&intake->stats.closed_at_ns, intake->signalled_ns);
  count_up(&intake->stats.closes, 1);
  flight->closed_gate = true;
  struct entry entry = {
      .t_ns = intake->signalled_ns, .kind = VLV_EVENT_CLOSE, .generation = intake->generation};
  struct cause cause = {flight->readable_ns, flight->trace};
  log_text(&intake->log, entry, cause, flight->texts, flight->request_id_len);
}

static void account_closed_time(struct vlv_intake *intake, uint64_t now_ns) {
  uint64_t since_ns = value_of(&intake->stats.closed_at_ns);
  if (since_ns > 0) count_up(&intake->stats.closed_ns, now_ns - since_ns);
  set_to(&intake->stats.closed_at_ns, 0);
}

static void open_gate(struct vlv_intake *intake) {
  uint64_t now_ns = vlv_now_ns();
  if (intake->holder != NULL) intake->generation = vlv_gate_open(intake->holder);
  account_closed_time(intake, now_ns);
  log_event(&intake->log, VLV_EVENT_OPEN, now_ns, intake->generation);
}

static void perform(struct vlv_intake *intake, struct step step);

/* Somebody else asks, and answers with vlv_intake_answer(). One who cannot be told counts as an idle engine;
 * one who hangs, as an engine that does not tell its load. */
static void ask(struct vlv_intake *intake, uint64_t epoch) {
  uint64_t one = 1;
  if (intake->asked_since_ns == 0) intake->asked_since_ns = vlv_now_ns();
  atomic_store(&intake->stats.question, epoch);
  start_timer(intake, PATIENCE_NS, epoch);
  intake->awaits_answer = true;
  if (write(intake->options.notice_fd, &one, sizeof one) < 0 && errno != EAGAIN)
    perform(intake, controller_answered(&intake->controller, epoch, false));
}

static void perform(struct vlv_intake *intake, struct step step) {
  switch (step.action) {
    case ACTION_OPEN:
      open_gate(intake);
      break;
    case ACTION_ASK:
      ask(intake, step.epoch);
      break;
    case ACTION_START_COOLDOWN:
      set_to(&intake->stats.cooldown_ns, cooldown_duration_ns(&intake->cooldown));
      start_timer(intake, value_of(&intake->stats.cooldown_ns), step.epoch);
      break;
    case ACTION_START_RETRY:
      start_timer(intake, intake->ask_again_ns, step.epoch);
      break;
    case ACTION_CLOSE: /* only an arrival closes */
    case ACTION_NONE:
      break;
  }
  show_state(intake);
}

static void hold(struct vlv_intake *intake, struct step step, struct flight *flight) {
  if (step.action == ACTION_CLOSE)
    note_close(intake, flight);
  else
    cancel_timer(intake);
  intake->asked_since_ns = 0;
  flight->generation = intake->generation;
  show_state(intake);
}

/* ---- the lease ---- */

static void lapsed(struct vlv_intake *intake) {
  uint64_t now_ns = vlv_now_ns();
  count_up(&intake->stats.lapses, 1);
  cancel_timer(intake);
  account_closed_time(intake, now_ns);
  log_event(&intake->log, VLV_EVENT_LAPSE, now_ns, 0);
  controller_lapsed(&intake->controller);
  show_state(intake);
}

static void renew(struct vlv_intake *intake) {
  intake->renewed_ns = vlv_now_ns();
  if (intake->holder == NULL) return;
  vlv_holder_set_in_flight(intake->holder, (uint32_t)intake->controller.held_count);
  if (vlv_holder_renew(intake->holder) > 0) lapsed(intake);
}

static uint64_t silent_ns(const struct vlv_intake *intake, uint64_t now_ns) {
  uint64_t latest_ns = 0;
  const struct link *list = &intake->controller.held;
  for (const struct link *link = list->next; link != list; link = link->next) {
    const struct flight *flight = (const struct flight *)member_of(struct hold, link, link);
    if (flight->progress_ns > latest_ns) latest_ns = flight->progress_ns;
  }
  return now_ns - latest_ns;
}

/* Says again what it says already: that changes something only where somebody scribbled over the row. */
static void repeat_claim(struct vlv_intake *intake) {
  if (intake->holder == NULL) return;
  if (intake->controller.state == STATE_OPEN)
    vlv_gate_open(intake->holder);
  else
    vlv_gate_close(intake->holder);
}

static void keep_lease(struct vlv_intake *intake) {
  renew(intake);
  repeat_claim(intake);
  bool holds = intake->controller.held_count > 0;
  if (holds && silent_ns(intake, vlv_now_ns()) > STALL_NS)
    perform(intake, controller_stalled(&intake->controller));
}

/* ---- what comes in ---- */

/* If we stood still, the lapse comes first, so that this arrival closes again. */
void gate_signal(struct vlv_intake *intake) {
  intake->signalled_ns = vlv_now_ns();
  if (intake->signalled_ns > intake->renewed_ns + VLV_LEASE_NS) renew(intake);
  if (intake->controller.state == STATE_OPEN && intake->holder != NULL)
    intake->generation = vlv_gate_close(intake->holder);
}

void gate_withdraw(struct vlv_intake *intake) {
  if (intake->controller.state == STATE_OPEN && intake->holder != NULL)
    intake->generation = vlv_gate_open(intake->holder);
}

void gate_arrived(struct vlv_intake *intake, struct flight *flight) {
  flight->closes_before = value_of(&intake->stats.closes);
  hold(intake, controller_arrived(&intake->controller, &flight->hold), flight);
}

void gate_progressed(struct vlv_intake *intake, struct flight *flight) {
  if (flight->hold.holding != HOLD_DORMANT) return;
  gate_signal(intake);
  hold(intake, controller_progressed(&intake->controller, &flight->hold), flight);
}

void gate_finished(struct vlv_intake *intake, struct flight *flight, bool sure) {
  flight->closes_seen = value_of(&intake->stats.closes) - flight->closes_before;
  perform(intake, controller_finished(&intake->controller, &flight->hold, sure));
}

static void timer_fired(struct vlv_intake *intake) {
  cancel_timer(intake);
  if (intake->awaits_answer)
    vlv_intake_answer(intake, intake->timer_epoch, VLV_LOAD_UNKNOWN);
  else
    perform(intake, controller_timer_fired(&intake->controller, intake->timer_epoch));
}

uint64_t gate_tick(struct vlv_intake *intake, uint64_t now_ns) {
  if (now_ns >= intake->renewed_ns + RENEW_NS) keep_lease(intake);
  if (now_ns >= intake->timer_ns) timer_fired(intake);
  uint64_t renew_ns = intake->renewed_ns + RENEW_NS;
  return intake->timer_ns < renew_ns ? intake->timer_ns : renew_ns;
}

/* A silent hold of an engine that cannot tell may still be a long prefill. */
static bool is_busy(const struct vlv_intake *intake, enum vlv_load load) {
  uint64_t now_ns = vlv_now_ns();
  bool holds = intake->controller.held_count > 0;
  uint64_t asked_ns = now_ns - intake->asked_since_ns;
  if (load == VLV_LOAD_UNKNOWN)
    return holds ? silent_ns(intake, now_ns) < BLIND_STALL_NS : asked_ns < intake->guard_ns;
  return load == VLV_LOAD_BUSY && (holds || asked_ns < DOUBT_LIMIT_NS);
}

void vlv_intake_answer(void *context, uint64_t epoch, uint64_t load) {
  struct vlv_intake *intake = context;
  bool busy = is_busy(intake, (enum vlv_load)load);
  if (intake->awaits_answer && epoch == intake->timer_epoch) cancel_timer(intake);
  perform(intake, controller_answered(&intake->controller, epoch, busy));
  if (intake->controller.state != STATE_ASKING) intake->asked_since_ns = 0;
}

void vlv_intake_set_engine(void *context, uint64_t guard_ns, uint64_t ask_again_ns) {
  struct vlv_intake *intake = context;
  intake->guard_ns = guard_ns;
  intake->ask_again_ns = ask_again_ns;
}

void vlv_intake_set_holder(void *context, uint64_t holder, uint64_t unused) {
  struct vlv_intake *intake = context;
  (void)unused;
  intake->holder = (struct vlv_holder *)(uintptr_t)holder;
  intake->renewed_ns = vlv_now_ns();
  bool closed = value_of(&intake->stats.closed_at_ns) > 0;
  if (intake->holder != NULL && closed) intake->generation = vlv_gate_close(intake->holder);
}
