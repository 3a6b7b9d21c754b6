#include "sliced.h"

#define BEGIN_NS (1ull << 40) /* the trace's start: no stamp is 0, which means not yet */

static uint64_t ns_of(double at_s) {
  return at_s > 9e9 ? UINT64_MAX : BEGIN_NS + (uint64_t)(at_s * 1e9 + 0.5);
}

static double s_of(uint64_t at_ns) {
  return (double)(at_ns - BEGIN_NS) / 1e9;
}

void sliced_init(struct sliced *sliced, const struct vlv_budget *goal) {
  struct goal own = {.slo_ns = (uint64_t)(goal->slo_s * 1e9)};
  *sliced = (struct sliced){.stop_ns = (uint64_t)(goal->stop_s * 1e9)};
  budget_init(&sliced->budget, &own);
  budget_costs(&sliced->budget, sliced->stop_ns, sliced->stop_ns);
}

/* Every running stream gets a token in each iteration, so the poorest stays the poorest. */
static void find_poorest(const struct simulation *simulation, struct replica *replica) {
  struct sliced *sliced = replica->sliced;
  sliced->poorest_ns = INT64_MAX;
  for (uint32_t i = 0; i < replica->running; i++) {
    uint32_t request = replica->heap[i].request;
    uint64_t first = replica->heap[i].last - (simulation->trace->output[request] - 1);
    int64_t since_ns = (int64_t)ns_of(simulation->outcome->first_s[request]);
    int64_t key_ns = since_ns - (int64_t)(sliced->budget.slo_ns * first);
    if (key_ns < sliced->poorest_ns) sliced->poorest_ns = key_ns;
  }
}

static struct standing stand(const struct replica *replica) {
  const struct sliced *sliced = replica->sliced;
  struct standing standing = standing_of_none();
  if (replica->running > 0) {
    int64_t since_ns = sliced->poorest_ns + (int64_t)(sliced->budget.slo_ns * replica->iteration);
    struct account poorest = {.since_ns = (uint64_t)since_ns, .last_ns = sliced->last_ns, .tokens = 1};
    standing_add(&standing, &sliced->budget, &poorest);
  }
  standing.count = replica->in_flight;
  standing.waits = replica->in_flight > replica->running;
  return standing;
}

static void begin(const struct simulation *simulation, struct replica *replica) {
  const struct vlv_engine *engine = simulation->engine;
  struct sliced *sliced = replica->sliced;
  replica->now_s = s_of(sliced->clock_ns);
  sliced->taken = (struct intake){0};
  if (replica_admits(simulation, replica)) sliced->taken = replica_look_ahead(simulation, replica);
  double work_s =
      engine->step_s + engine->sequence_s * replica->running + engine->token_s * sliced->taken.tokens;
  sliced->left_ns = (uint64_t)(work_s * 1e9) + 1;
}

static void end(struct simulation *simulation, struct replica *replica) {
  struct sliced *sliced = replica->sliced;
  uint32_t before = replica->running;
  bool calm = sliced->taken.tokens == 0 && sliced->opened_ns <= sliced->last_ns;
  replica->now_s = s_of(sliced->clock_ns);
  sliced->last_ns = sliced->clock_ns;
  budget_decoded(&sliced->budget, &sliced->pace, sliced->clock_ns, 1, calm);
  replica_end_iteration(simulation, replica, sliced->taken);
  if (replica->running != before || sliced->taken.completed > 0) find_poorest(simulation, replica);
}

/* Until `next_ns`, or until the iteration ends. */
static void compute(struct simulation *simulation, struct replica *replica, uint64_t next_ns) {
  struct sliced *sliced = replica->sliced;
  uint64_t done_ns = sliced->clock_ns + sliced->left_ns;
  if (done_ns > next_ns) {
    sliced->left_ns -= next_ns - sliced->clock_ns;
    sliced->clock_ns = next_ns;
    return;
  }
  sliced->clock_ns = done_ns;
  sliced->left_ns = 0;
  end(simulation, replica);
}

/* As the sidecar does: when it is time, or after an arrival, a first token or an end. */
static void look(const struct simulation *simulation, struct replica *replica) {
  struct sliced *sliced = replica->sliced;
  struct standing standing = stand(replica);
  bool was_open = sliced->budget.slice_end_ns > 0;
  struct verdict verdict = budget_decide(&sliced->budget, &standing, sliced->clock_ns);
  sliced->look_ns = verdict.wake_ns;
  if (was_open && !verdict.open) sliced->left_ns += sliced->stop_ns;
  if (was_open || !verdict.open) return;
  sliced->opened_ns = sliced->clock_ns;
  if (sliced->clock_ns < ns_of(simulation->trace->span_s)) sliced->slices++;
}

static void stand_still(const struct simulation *simulation, struct sliced *sliced, uint64_t next_ns) {
  uint64_t span_ns = ns_of(simulation->trace->span_s), seen_ns = next_ns < span_ns ? next_ns : span_ns;
  if (seen_ns > sliced->clock_ns) sliced->open_ns += seen_ns - sliced->clock_ns;
  sliced->clock_ns = next_ns;
}

static void step(struct simulation *simulation, struct replica *replica, uint64_t until_ns) {
  struct sliced *sliced = replica->sliced;
  if (sliced->clock_ns >= sliced->look_ns) look(simulation, replica);
  uint64_t next_ns = sliced->look_ns < until_ns ? sliced->look_ns : until_ns;
  if (sliced->budget.slice_end_ns > 0) return stand_still(simulation, sliced, next_ns);
  compute(simulation, replica, next_ns);
}

void sliced_advance(struct simulation *simulation, struct replica *replica, double until_s) {
  uint64_t until_ns = ns_of(until_s);
  while (replica->in_flight > 0 && replica->sliced->clock_ns < until_ns && simulation->error == 0) {
    if (replica->sliced->left_ns == 0) begin(simulation, replica);
    step(simulation, replica, until_ns);
  }
}

void sliced_arrival(struct replica *replica, double at_s) {
  struct sliced *sliced = replica->sliced;
  if (sliced->budget.slice_end_ns > 0) sliced->left_ns += sliced->stop_ns;
  budget_close(&sliced->budget, ns_of(at_s));
  sliced->look_ns = 0;
  if (replica->in_flight > 0) return;
  sliced->clock_ns = ns_of(at_s);
  sliced->left_ns = 0;
}

void sliced_first_token(const struct simulation *simulation, struct replica *replica, uint32_t request) {
  uint64_t ttft_ns = replica->sliced->clock_ns - ns_of(simulation->trace->at_s[request]);
  budget_first_token(&replica->sliced->budget, ttft_ns, replica->running);
  replica->sliced->look_ns = 0;
}

void sliced_finished(const struct simulation *simulation, struct replica *replica, uint32_t request) {
  struct sliced *sliced = replica->sliced;
  uint64_t first_ns = ns_of(simulation->outcome->first_s[request]);
  struct account account = {
      .since_ns = first_ns, .last_ns = sliced->clock_ns, .sliced = sliced->opened_ns > first_ns};
  budget_finished(&sliced->budget, &account, simulation->trace->output[request]);
  sliced->look_ns = 0;
}
