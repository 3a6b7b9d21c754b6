/* The hot path: classify, store and wake, two clock reads. Everything else happens after the answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gate.h"

static struct flight *new_flight(const struct vlv_request *request) {
  size_t id = request->request_id_len, path = request->path_len;
  if (id > VLV_REQUEST_ID_MAX) id = VLV_REQUEST_ID_MAX;
  if (path > VLV_PATH_MAX) path = VLV_PATH_MAX;
  struct flight *flight = malloc(sizeof *flight + (id > 0 ? id : 32) + path);
  if (flight == NULL) return NULL;
  *flight = (struct flight){.readable_ns = request->readable_ns, .upgrade = request->upgrade};
  flight->request_id_len = (uint16_t)id;
  flight->path_len = (uint16_t)path;
  flight->tokens = calloc(1, sizeof *flight->tokens);
  return flight;
}

/* A request without an id gets one of ours. */
static void write_texts(struct vlv_intake *intake, struct flight *flight, const struct vlv_request *request) {
  if (flight->request_id_len > 0)
    memcpy(flight->texts, request->request_id, flight->request_id_len);
  else
    flight->request_id_len =
        (uint16_t)sprintf(flight->texts, "valve-%llu", (unsigned long long)++intake->numbers);
  memcpy(flight->texts + flight->request_id_len, request->path, flight->path_len);
}

static void note_latency(struct vlv_intake *intake, const struct flight *flight) {
  uint64_t latency_ns = flight->gate_ns - flight->readable_ns;
  unsigned bucket = 0;
  while (bucket < VLV_ARRIVAL_BUCKETS && latency_ns > 1000ull << bucket) bucket++;
  count_up(&intake->stats.arrivals[bucket], 1);
  count_up(&intake->stats.arrivals_sum_ns, latency_ns);
}

static void note_busy(struct vlv_intake *intake, uint64_t now_ns) {
  uint64_t since_ns = value_of(&intake->stats.idle_since_ns);
  count_up(&intake->stats.in_flight, 1);
  if (since_ns > 0) count_up(&intake->stats.drained_ns, now_ns - since_ns);
  set_to(&intake->stats.idle_since_ns, 0);
}

static void note_end(struct vlv_intake *intake, uint64_t now_ns) {
  count_up(&intake->stats.in_flight, (uint64_t)-1);
  if (value_of(&intake->stats.in_flight) == 0) set_to(&intake->stats.idle_since_ns, now_ns);
}

static void note_newest(struct vlv_intake_stats *stats, const struct flight *flight) {
  atomic_fetch_add(&stats->newest_version, 1);
  atomic_store(&stats->newest_trace_high, flight->trace.high);
  atomic_store(&stats->newest_trace_low, flight->trace.low);
  atomic_store(&stats->newest_span, flight->trace.span);
  atomic_store(&stats->newest_readable_ns, flight->readable_ns);
  atomic_fetch_add(&stats->newest_version, 1);
}

static void note_waiting(struct vlv_intake *intake, struct flight *flight, uint64_t body_len) {
  flight->prompt_bytes = (uint32_t)(body_len < VLV_PROMPT_BYTES_MAX ? body_len : VLV_PROMPT_BYTES_MAX);
  count_up(&intake->stats.waiting, 1);
  count_up(&intake->stats.waiting_bytes, flight->prompt_bytes);
  prefill_began(&intake->cooldown);
  note_newest(&intake->stats, flight);
}

/* Its first token is out, or it ended without one. */
static void note_served(struct vlv_intake *intake, const struct flight *flight, uint64_t now_ns) {
  count_up(&intake->stats.waiting, (uint64_t)-1);
  count_up(&intake->stats.waiting_bytes, -(uint64_t)flight->prompt_bytes);
  prefill_ended(&intake->cooldown, now_ns);
}

static void *pass_through(struct vlv_intake *intake) {
  count_up(&intake->stats.passed_through, 1);
  return NULL;
}

static void *arrive(void *context, const struct vlv_request *request) {
  struct vlv_intake *intake = context;
  uint8_t operation = routes_ask(&intake->routes, request);
  if (operation == 0) return pass_through(intake);
  uint64_t arrival_ns = vlv_now_ns();
  if (intake->options.gated) gate_signal(intake);
  uint64_t gate_ns = vlv_now_ns();
  struct flight *flight = new_flight(request);
  if (flight == NULL) {
    gate_withdraw(intake);
    return pass_through(intake);
  }
  flight->operation = operation;
  flight->arrival_ns = arrival_ns;
  flight->gate_ns = flight->progress_ns = gate_ns;
  flight->trace = trace_begin(&intake->tracer, request->traceparent, request->traceparent_len);
  write_texts(intake, flight, request);
  if (intake->options.gated) gate_arrived(intake, flight);
  note_busy(intake, arrival_ns);
  if (!flight->upgrade) note_waiting(intake, flight, request->body_len);
  if (intake->options.measures_arrivals) note_latency(intake, flight);
  return flight;
}

static void note_first_token(struct vlv_intake *intake, struct flight *flight, uint64_t now_ns) {
  flight->first_token_ns = flight->account.since_ns = now_ns;
  if (!flight->upgrade) note_served(intake, flight, now_ns);
  if (intake->budgeted) budget_first_token(&intake->budget, now_ns - flight->readable_ns, flight->others);
}

/* Neither a prompt nor a slice was in the gap, and its client took all of it. */
static void note_baseline(struct vlv_intake *intake, struct flight *flight, uint64_t decode_ns,
                          uint64_t now_ns) {
  uint64_t tokens = tokens_total(flight->tokens) - flight->account.tokens;
  bool sliced = intake->budget.slice_end_ns > 0 || intake->slice_ended_ns > flight->last_token_ns;
  bool calm = !sliced && flight->held_back_ns == 0 && decode_ns > 0;
  budget_decoded(&intake->budget, &flight->account, now_ns, tokens, calm);
}

static void note_gap(struct vlv_intake *intake, struct flight *flight, uint64_t now_ns) {
  uint64_t gap_ns = now_ns - flight->last_token_ns;
  uint64_t decode_ns = decode_gap_ns(&intake->cooldown, flight->last_token_ns, now_ns);
  if (gap_ns > flight->max_gap_ns) flight->max_gap_ns = gap_ns;
  if (decode_ns > flight->max_decode_gap_ns) flight->max_decode_gap_ns = decode_ns;
  if (intake->budgeted) note_baseline(intake, flight, decode_ns, now_ns);
}

static void note_tokens(struct vlv_intake *intake, struct flight *flight, uint64_t now_ns) {
  bool first = flight->first_token_ns == 0;
  if (first)
    note_first_token(intake, flight, now_ns);
  else
    note_gap(intake, flight, now_ns);
  flight->last_token_ns = flight->account.last_ns = now_ns;
  flight->account.tokens = tokens_total(flight->tokens);
  if (first) gate_look(intake);
}

static struct ends *new_ends(void) {
  struct ends *ends = malloc(sizeof *ends);
  if (ends != NULL) ends->len = 0;
  return ends;
}

/* A WebSocket's bytes are no answer. */
static void keep_ends(struct flight *flight, const char *data, size_t len) {
  if (flight->upgrade || len == 0) return;
  if (flight->ends == NULL) flight->ends = new_ends();
  if (flight->ends != NULL) ends_keep(flight->ends, data, len);
}

static void progress(void *context, void *told, const char *data, size_t len) {
  struct vlv_intake *intake = context;
  struct flight *flight = told;
  uint64_t now_ns = flight->progress_ns = vlv_now_ns();
  if (intake->options.gated) gate_progressed(intake, flight);
  keep_ends(flight, data, len);
  if (flight->tokens == NULL || len == 0 || tokens_feed(flight->tokens, data, len) == 0) return;
  note_tokens(intake, flight, now_ns);
}

/* While a client takes nothing, the engine is not read: that time is not the engine's. */
static void hold_back(void *context, void *told, bool held) {
  struct flight *flight = told;
  uint64_t now_ns = vlv_now_ns(), since_ns = flight->held_back_ns;
  flight->account.held_back = held;
  flight->held_back_ns = held ? now_ns : 0;
  if (held || flight->account.since_ns == 0) return;
  flight->account.since_ns += now_ns - since_ns;
  flight->account.last_ns = now_ns;
  gate_look(context);
}

static void account_budget(struct vlv_intake *intake, const struct flight *flight) {
  const struct account *account = &flight->account;
  if (!intake->budgeted || account->since_ns == 0 || flight->token_count < 2) return;
  count_up(&intake->stats.earned_ns, intake->budget.slo_ns * (flight->token_count - 1));
  count_up(&intake->stats.spent_ns, account->last_ns - account->since_ns);
  budget_finished(&intake->budget, account, flight->token_count);
}

static void stop_counting(struct flight *flight) {
  if (flight->tokens != NULL) flight->token_count = tokens_total(flight->tokens);
  free(flight->tokens);
  flight->tokens = NULL;
}

static char *append(char *to, struct text text) {
  return text.len == 0 ? to : mempcpy(to, text.at, text.len); /* what was not told is no memory at all */
}

/* With what its answer told behind its other texts; without, where there is no memory for them. */
static struct flight *with_facts(struct flight *flight, const struct facts *facts) {
  size_t own = (size_t)flight->request_id_len + flight->path_len;
  size_t told = facts->model.len + facts->response_id.len + facts->finish_reasons_len;
  struct flight *larger = realloc(flight, sizeof *flight + own + told);
  if (larger == NULL) return flight;
  char *at = larger->texts + own;
  at = append(at, facts->model);
  at = append(at, facts->response_id);
  memcpy(at, facts->finish_reasons, facts->finish_reasons_len);
  larger->model_len = (uint16_t)facts->model.len;
  larger->response_id_len = (uint16_t)facts->response_id.len;
  larger->finish_reasons_len = (uint16_t)facts->finish_reasons_len;
  return larger;
}

/* It is in no list any more: it may move. */
static struct flight *read_answer(struct vlv_intake *intake, struct flight *flight) {
  struct ends *ends = flight->ends;
  struct facts facts;
  if (ends == NULL) return flight;
  flight->ends = NULL;
  facts_read_ends(&facts, ends);
  flight->input_tokens = facts.input_tokens;
  flight->streamed = facts.streamed;
  count_up(&intake->stats.input_tokens, facts.input_tokens);
  flight = with_facts(flight, &facts);
  free(ends);
  return flight;
}

static void count_flight(struct vlv_intake *intake, const struct flight *flight) {
  struct vlv_intake_stats *stats = &intake->stats;
  note_end(intake, flight->finished_ns);
  count_up(&stats->tokens, flight->token_count);
  count_up(&stats->requests[flight->outcome], 1);
  if (flight->closes_seen > value_of(&stats->closes_per_request_max))
    set_to(&stats->closes_per_request_max, flight->closes_seen);
}

static void finish(void *context, void *told, enum vlv_outcome outcome, int status) {
  struct vlv_intake *intake = context;
  struct flight *flight = told;
  flight->finished_ns = vlv_now_ns();
  flight->outcome = (uint8_t)outcome;
  flight->status = (uint16_t)status;
  stop_counting(flight);
  bool never_spoke = flight->first_token_ns == 0 && !flight->upgrade;
  if (never_spoke) note_served(intake, flight, flight->finished_ns);
  cooldown_observe(&intake->cooldown, flight->max_decode_gap_ns);
  account_budget(intake, flight);
  bool sure = outcome == VLV_COMPLETED || outcome == VLV_REFUSED;
  if (intake->options.gated) gate_finished(intake, flight, sure);
  count_flight(intake, flight);
  flight = read_answer(intake, flight);
  if (!flight->upgrade) latencies_count(&intake->latencies, flight);
  log_flight(&intake->log, flight);
}

static bool traceparent(void *context, void *told, char out[VLV_TRACEPARENT_LEN]) {
  const struct flight *flight = told;
  (void)context;
  if (flight->trace.span == 0) return false;
  trace_write(&flight->trace, out);
  return true;
}

static void count_error(void *context, enum vlv_error_kind kind) {
  count_up(&((struct vlv_intake *)context)->stats.errors[kind], 1);
}

static uint64_t tick(void *context, uint64_t now_ns) {
  struct vlv_intake *intake = context;
  return intake->options.gated ? gate_tick(intake, now_ns) : UINT64_MAX;
}

const struct vlv_intake_calls *vlv_intake_calls(void) {
  static const struct vlv_intake_calls calls = {arrive,    progress, finish,     count_error,
                                                hold_back, tick,     traceparent};
  return &calls;
}

const struct vlv_intake_stats *vlv_intake_stats(const struct vlv_intake *intake) {
  return &intake->stats;
}

const struct vlv_series *vlv_intake_latencies(const struct vlv_intake *intake) {
  return intake->latencies.first;
}

void vlv_intake_forget_routes(void *context, uint64_t unused, uint64_t also_unused) {
  (void)unused, (void)also_unused;
  routes_forget(&((struct vlv_intake *)context)->routes);
}

static void init_budget(struct vlv_intake *intake) {
  const struct vlv_intake_options *options = &intake->options;
  struct goal goal = {options->slo_tpot_ns, options->tpot_over, options->slo_ttft_ns, options->period_min_ns};
  intake->budgeted = options->gated && (goal.slo_ns > 0 || goal.over > 0);
  budget_init(&intake->budget, &goal);
  set_to(&intake->stats.balance_ns, UINT64_MAX);
  set_to(&intake->stats.slo_ns, intake->budget.slo_ns);
  set_to(&intake->stats.period_ns, intake->budget.period_ns);
  set_to(&intake->stats.reserve_ns, (uint64_t)intake->budget.reserve_ns);
}

struct vlv_intake *vlv_intake_create(const struct vlv_intake_options *options) {
  struct vlv_intake *intake = calloc(1, sizeof *intake);
  if (intake == NULL) return NULL;
  intake->options = *options;
  intake->routes.ask = options->operation;
  memcpy(intake->latencies.bounds_ns, options->latency_bounds_ns, sizeof options->latency_bounds_ns);
  intake->cooldown.fixed_ns = options->fixed_cooldown_ns;
  intake->timer_ns = intake->look_ns = UINT64_MAX;
  init_budget(intake);
  tracer_init(&intake->tracer, options->trace_share);
  intake->renewed_ns = vlv_now_ns();
  controller_init(&intake->controller);
  set_to(&intake->stats.idle_since_ns, intake->renewed_ns);
  set_to(&intake->stats.cooldown_ns, cooldown_duration_ns(&intake->cooldown));
  if (log_init(&intake->log)) return intake;
  vlv_intake_destroy(intake);
  return NULL;
}

void vlv_intake_destroy(struct vlv_intake *intake) {
  log_free(&intake->log);
  latencies_free(&intake->latencies);
  free(intake);
}
