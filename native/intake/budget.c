#include "budget.h"

#define NEVER_NS UINT64_MAX
#define MISS_UP 2.0
#define MET_DOWN 0.9965229074746375
#define RESERVE_SLOS 2
#define RESERVE_SLOS_MAX 32
#define STALL_UP 1.09
#define STALL_DOWN 0.9905
#define CALM_TOKENS 4
#define BASE_STEP 1.02
#define BASE_SAMPLES 16
#define PERIOD_SLOS 2
#define PERIOD_MAX_NS (1ull << 32)
#define LATE 0.75
#define GRID 16
#define USEFUL 4
#define WINDOW_MAX 1e6

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high) {
  return value < low ? low : value > high ? high : value;
}

static double bound(double value, double low, double high) {
  return value < low ? low : value > high ? high : value;
}

static uint64_t period_of(uint64_t slo_ns, uint64_t least_ns) {
  uint64_t wanted_ns = PERIOD_SLOS * slo_ns > least_ns ? PERIOD_SLOS * slo_ns : least_ns, period_ns = GRID;
  wanted_ns = clamp(wanted_ns, GRID, PERIOD_MAX_NS);
  while (period_ns < wanted_ns) period_ns *= 2;
  return period_ns;
}

static void bound_reserve(struct budget *budget) {
  double slo_ns = (double)budget->slo_ns, high_ns = (double)(RESERVE_SLOS_MAX * budget->slo_ns);
  double low_ns = budget->stall_ns > slo_ns ? budget->stall_ns : slo_ns;
  if (low_ns > high_ns) low_ns = high_ns;
  budget->reserve_ns = bound(budget->reserve_ns, low_ns, high_ns);
}

static void set_slo(struct budget *budget, uint64_t slo_ns) {
  budget->slo_ns = slo_ns;
  budget->period_ns = period_of(slo_ns, budget->goal.period_min_ns);
  if (budget->reserve_ns == 0) budget->reserve_ns = (double)(RESERVE_SLOS * slo_ns);
  bound_reserve(budget);
}

void budget_init(struct budget *budget, const struct goal *goal) {
  *budget = (struct budget){.goal = *goal, .window = WINDOW_MAX};
  if (goal->slo_ns > 0) set_slo(budget, goal->slo_ns);
}

/* ---- decisions ---- */

uint64_t budget_paid_until_ns(const struct budget *budget, const struct account *account) {
  if (account->held_back) return NEVER_NS;
  uint64_t earned_ns = account->tokens > 1 ? budget->slo_ns * (account->tokens - 1) : 0;
  uint64_t kept_ns = (uint64_t)budget->reserve_ns + budget->stop_ns;
  uint64_t paid_ns = account->since_ns + earned_ns, gap_ns = account->last_ns + budget->period_ns;
  paid_ns = paid_ns > kept_ns ? paid_ns - kept_ns : 0;
  return paid_ns < gap_ns ? paid_ns : gap_ns;
}

struct standing standing_of_none(void) {
  return (struct standing){.paid_until_ns = NEVER_NS};
}

void standing_add(struct standing *standing, const struct budget *budget, const struct account *account) {
  uint64_t paid_ns = budget_paid_until_ns(budget, account);
  standing->count++;
  if (account->since_ns == 0) standing->waits = true;
  if (paid_ns < standing->paid_until_ns) standing->paid_until_ns = paid_ns;
  if (account->last_ns > standing->last_ns) standing->last_ns = account->last_ns;
}

static bool barred(const struct budget *budget, const struct standing *standing) {
  bool full = (double)standing->count > budget->window ||
              (budget->capacity > 0 && standing->count >= budget->capacity);
  return budget->slo_ns == 0 || standing->count == 0 || budget->pressed || full || standing->waits;
}

static uint64_t period_end_ns(const struct budget *budget, uint64_t now_ns) {
  return (now_ns | (budget->period_ns - 1)) + 1;
}

static bool affordable(const struct budget *budget, const struct standing *standing, uint64_t now_ns) {
  uint64_t end_ns = period_end_ns(budget, now_ns), costs_ns = budget->stop_ns + budget->resume_ns;
  if (end_ns == budget->last_end_ns || end_ns - now_ns < USEFUL * costs_ns) return false;
  return standing->paid_until_ns >= end_ns;
}

static uint64_t late_ns(struct budget *budget, const struct standing *standing, uint64_t now_ns) {
  if (budget->ready_ns == 0) budget->ready_ns = now_ns;
  if (budget->base_samples < BASE_SAMPLES) return now_ns;
  uint64_t late_ns = standing->last_ns + (uint64_t)(LATE * budget->base_ns);
  uint64_t latest_ns = budget->ready_ns + (uint64_t)budget->base_ns;
  return late_ns < latest_ns ? late_ns : latest_ns;
}

static struct verdict open_slice(struct budget *budget, uint64_t now_ns) {
  budget->slice_end_ns = budget->last_end_ns = period_end_ns(budget, now_ns);
  budget->slices++;
  return (struct verdict){true, budget->slice_end_ns};
}

void budget_close(struct budget *budget, uint64_t now_ns) {
  if (budget->slice_end_ns > now_ns) budget->cut++;
  budget->slice_end_ns = 0;
}

struct verdict budget_decide(struct budget *budget, const struct standing *standing, uint64_t now_ns) {
  bool bars = barred(budget, standing), ended = budget->slice_end_ns > 0;
  if (budget->slice_end_ns > now_ns && !bars) return (struct verdict){true, budget->slice_end_ns};
  budget_close(budget, now_ns);
  if (bars || ended || !affordable(budget, standing, now_ns)) {
    budget->ready_ns = 0;
    return (struct verdict){false, bars ? NEVER_NS : (now_ns | (budget->period_ns / GRID - 1)) + 1};
  }
  uint64_t at_ns = late_ns(budget, standing, now_ns);
  return at_ns <= now_ns ? open_slice(budget, now_ns) : (struct verdict){false, at_ns};
}

/* ---- what it learns ---- */

static void sample(struct budget *budget, double sample_ns) {
  if (budget->base_samples++ == 0)
    budget->base_ns = sample_ns;
  else if (sample_ns > budget->base_ns)
    budget->base_ns *= BASE_STEP;
  else
    budget->base_ns /= BASE_STEP;
  if (budget->goal.over > 0 && budget->base_samples >= BASE_SAMPLES)
    set_slo(budget, (uint64_t)(budget->base_ns * (1.0 + budget->goal.over)));
}

void budget_decoded(struct budget *budget, struct account *account, uint64_t now_ns, uint64_t tokens,
                    bool calm) {
  account->calm_tokens = calm && account->calm_ns > 0 ? account->calm_tokens + tokens : 0;
  if (account->calm_tokens >= CALM_TOKENS)
    sample(budget, (double)(now_ns - account->calm_ns) / (double)account->calm_tokens);
  if (account->calm_tokens > 0 && account->calm_tokens < CALM_TOKENS) return;
  account->calm_ns = now_ns;
  account->calm_tokens = 0;
}

void budget_finished(struct budget *budget, const struct account *account, uint64_t tokens) {
  if (!account->sliced || tokens < 2 || budget->slo_ns == 0) return;
  bool missed = account->last_ns - account->since_ns > budget->slo_ns * (tokens - 1);
  budget->ended++;
  budget->missed += missed;
  budget->reserve_ns *= missed ? MISS_UP : MET_DOWN;
  bound_reserve(budget);
}

static void note_stall(struct budget *budget, double stall_ns) {
  double step = stall_ns > budget->stall_ns ? STALL_UP : STALL_DOWN;
  budget->stall_ns = budget->stall_ns > 0 ? budget->stall_ns * step : stall_ns;
  bound_reserve(budget);
}

void budget_first_token(struct budget *budget, uint64_t ttft_ns, uint64_t others) {
  if (others == 0) return;
  note_stall(budget, (double)ttft_ns);
  if (budget->goal.ttft_ns == 0) return;
  double found = (double)others + 1.0, window = budget->window;
  if (ttft_ns > budget->goal.ttft_ns)
    budget->window = bound((found < window ? found : window) / 2, 1.0, WINDOW_MAX);
  else if (found >= window)
    budget->window = bound(window + 1.0 / window, 1.0, WINDOW_MAX);
}

void budget_costs(struct budget *budget, uint64_t stop_ns, uint64_t resume_ns) {
  budget->stop_ns = stop_ns;
  budget->resume_ns = resume_ns;
}

void budget_load(struct budget *budget, bool waiting, uint64_t capacity) {
  budget->pressed = waiting;
  budget->capacity = capacity;
}
