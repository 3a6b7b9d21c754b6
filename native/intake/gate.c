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

static bool slicing(const struct vlv_intake *intake) {
  return intake->budget.slice_end_ns > 0;
}

static bool is_open(const struct vlv_intake *intake) {
  return intake->controller.state == STATE_OPEN || slicing(intake);
}

/* ---- actions ---- */

/* gate_signal() has stored the claim already. */
static void note_close(struct vlv_intake *intake, struct flight *flight) {
  set_to(&intake->stats.closed_at_ns, intake->signalled_ns);
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

static void cut_slice(struct vlv_intake *intake, struct flight *flight);

static void hold(struct vlv_intake *intake, struct step step, struct flight *flight) {
  if (step.action == ACTION_CLOSE) {
    count_up(&intake->stats.closes, 1);
    note_close(intake, flight);
  } else {
    cancel_timer(intake);
    if (slicing(intake)) cut_slice(intake, flight);
  }
  intake->asked_since_ns = 0;
  flight->generation = intake->generation;
  show_state(intake);
}

/* ---- slices ---- */

static void show_budget(struct vlv_intake *intake, const struct standing *standing, uint64_t now_ns) {
  const struct budget *budget = &intake->budget;
  uint64_t kept_ns = (uint64_t)budget->reserve_ns + budget->stop_ns, paid_ns = standing->paid_until_ns;
  bool none = paid_ns == UINT64_MAX, behind = paid_ns + kept_ns < now_ns;
  set_to(&intake->stats.balance_ns, none ? UINT64_MAX : behind ? 0 : paid_ns + kept_ns - now_ns);
  set_to(&intake->stats.slices, budget->slices);
  set_to(&intake->stats.slices_cut, budget->cut);
  set_to(&intake->stats.slice_until_ns, budget->slice_end_ns);
  set_to(&intake->stats.slo_ns, budget->slo_ns);
  set_to(&intake->stats.period_ns, budget->period_ns);
  set_to(&intake->stats.reserve_ns, (uint64_t)budget->reserve_ns);
  set_to(&intake->stats.base_ns, (uint64_t)budget->base_ns);
  set_to(&intake->stats.sliced, budget->ended);
  set_to(&intake->stats.sliced_missed, budget->missed);
}

static struct flight *flight_at(const struct link *link) {
  return (struct flight *)member_of(struct hold, link, link);
}

static struct standing stand(const struct vlv_intake *intake) {
  struct standing standing = standing_of_none();
  const struct link *held = &intake->controller.held;
  for (const struct link *link = held->next; link != held; link = link->next)
    standing_add(&standing, &intake->budget, &flight_at(link)->account);
  return standing;
}

static void begin_slice(struct vlv_intake *intake, uint64_t now_ns) {
  if (intake->holder != NULL) intake->generation = vlv_gate_open(intake->holder);
  account_closed_time(intake, now_ns);
  set_to(&intake->stats.slice_began_ns, now_ns);
  const struct link *held = &intake->controller.held;
  for (const struct link *link = held->next; link != held; link = link->next)
    flight_at(link)->account.sliced = true;
  struct entry entry = {.t_ns = now_ns, .kind = VLV_EVENT_OPEN, .generation = intake->generation};
  struct cause until = {.readable_ns = intake->budget.slice_end_ns};
  log_text(&intake->log, entry, until, "", 0);
}

static void account_slice(struct vlv_intake *intake, uint64_t now_ns) {
  count_up(&intake->stats.slice_ns, now_ns - value_of(&intake->stats.slice_began_ns));
  intake->slice_ended_ns = now_ns + intake->budget.stop_ns;
}

/* `flight` has arrived, and gate_signal() has stored the claim. */
static void cut_slice(struct vlv_intake *intake, struct flight *flight) {
  note_close(intake, flight);
  budget_close(&intake->budget, intake->signalled_ns);
  account_slice(intake, intake->signalled_ns);
}

static void end_slice(struct vlv_intake *intake, uint64_t due_ns, uint64_t now_ns) {
  if (intake->holder != NULL) intake->generation = vlv_gate_close(intake->holder);
  set_to(&intake->stats.closed_at_ns, now_ns);
  account_slice(intake, now_ns);
  struct entry entry = {.t_ns = now_ns, .kind = VLV_EVENT_CLOSE, .generation = intake->generation};
  struct cause due = {.readable_ns = due_ns < now_ns ? due_ns : now_ns};
  log_text(&intake->log, entry, due, "", 0);
}

/* Slices are for the state in which something is in flight; the drain policy has the others. */
static struct verdict decide(struct vlv_intake *intake, const struct standing *standing, uint64_t now_ns) {
  if (intake->controller.state == STATE_CLOSED) return budget_decide(&intake->budget, standing, now_ns);
  budget_close(&intake->budget, now_ns);
  return (struct verdict){false, UINT64_MAX};
}

void gate_look(struct vlv_intake *intake) {
  if (!intake->budgeted) return;
  uint64_t now_ns = vlv_now_ns(), due_ns = intake->budget.slice_end_ns;
  struct standing standing = stand(intake);
  struct verdict verdict = decide(intake, &standing, now_ns);
  intake->look_ns = verdict.wake_ns;
  if (verdict.open && due_ns == 0) begin_slice(intake, now_ns);
  if (!verdict.open && due_ns > 0) end_slice(intake, due_ns, now_ns);
  show_budget(intake, &standing, now_ns);
}

/* ---- the lease ---- */

static void lapsed(struct vlv_intake *intake) {
  uint64_t now_ns = vlv_now_ns();
  count_up(&intake->stats.lapses, 1);
  cancel_timer(intake);
  account_closed_time(intake, now_ns);
  log_event(&intake->log, VLV_EVENT_LAPSE, now_ns, 0);
  controller_lapsed(&intake->controller);
  budget_close(&intake->budget, now_ns); /* every tenant has opened: the lapse ends the slice */
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
    if (flight_at(link)->progress_ns > latest_ns) latest_ns = flight_at(link)->progress_ns;
  }
  return now_ns - latest_ns;
}

/* Says again what it says already: that changes something only where somebody scribbled over the row. */
static void repeat_claim(struct vlv_intake *intake) {
  if (intake->holder == NULL) return;
  if (is_open(intake))
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
  if (is_open(intake) && intake->holder != NULL) intake->generation = vlv_gate_close(intake->holder);
}

void gate_withdraw(struct vlv_intake *intake) {
  if (is_open(intake) && intake->holder != NULL) intake->generation = vlv_gate_open(intake->holder);
}

void gate_arrived(struct vlv_intake *intake, struct flight *flight) {
  flight->closes_before = value_of(&intake->stats.closes);
  flight->slices_before = intake->budget.slices;
  flight->others = intake->controller.held_count;
  hold(intake, controller_arrived(&intake->controller, &flight->hold), flight);
  gate_look(intake);
}

void gate_progressed(struct vlv_intake *intake, struct flight *flight) {
  if (flight->hold.holding != HOLD_DORMANT) return;
  gate_signal(intake);
  hold(intake, controller_progressed(&intake->controller, &flight->hold), flight);
  gate_look(intake);
}

void gate_finished(struct vlv_intake *intake, struct flight *flight, bool sure) {
  flight->closes_seen = value_of(&intake->stats.closes) - flight->closes_before;
  flight->slices_seen = intake->budget.slices - flight->slices_before;
  perform(intake, controller_finished(&intake->controller, &flight->hold, sure));
  gate_look(intake);
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
  if (now_ns >= intake->look_ns) gate_look(intake);
  uint64_t next_ns = intake->renewed_ns + RENEW_NS;
  if (intake->timer_ns < next_ns) next_ns = intake->timer_ns;
  return intake->look_ns < next_ns ? intake->look_ns : next_ns;
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

void vlv_intake_set_costs(void *context, uint64_t stop_ns, uint64_t resume_ns) {
  budget_costs(&((struct vlv_intake *)context)->budget, stop_ns, resume_ns);
}

void vlv_intake_set_load(void *context, uint64_t waiting, uint64_t capacity) {
  struct vlv_intake *intake = context;
  budget_load(&intake->budget, waiting > 0, capacity);
  gate_look(intake);
}

void vlv_intake_set_holder(void *context, uint64_t holder, uint64_t unused) {
  struct vlv_intake *intake = context;
  (void)unused;
  intake->holder = (struct vlv_holder *)(uintptr_t)holder;
  intake->renewed_ns = vlv_now_ns();
  bool closed = value_of(&intake->stats.closed_at_ns) > 0;
  if (intake->holder != NULL && closed) intake->generation = vlv_gate_close(intake->holder);
}
