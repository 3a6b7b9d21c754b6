/* budget.h - the budget policy, as sidecar/valve_sidecar/budget.py has it: that file is the manual, and tests
 * walk both side by side. Pure. Times are CLOCK_MONOTONIC ns. */
#ifndef VALVE_BUDGET_H
#define VALVE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

struct goal {
  uint64_t slo_ns; /* TPOT; 0: `over` the baseline */
  double over;
  uint64_t ttft_ns; /* 0: none */
  uint64_t period_min_ns;
};

/* What the budget knows of one request in flight. */
struct account {
  uint64_t since_ns; /* first token, later by what its client held the stream back; 0: none yet */
  uint64_t last_ns;  /* latest token */
  uint64_t tokens;
  bool held_back;   /* its client takes nothing: its time does not count */
  bool sliced;      /* a slice was open in its life */
  uint64_t calm_ns; /* since when no slice or prompt was between its tokens, and how many came since */
  uint64_t calm_tokens;
};

struct budget {
  struct goal goal;
  uint64_t slices, cut;   /* opened; of those, ended before their time */
  uint64_t ended, missed; /* requests that a slice was taken from */
  uint64_t slo_ns, period_ns;
  double reserve_ns, base_ns, stall_ns, window;
  uint64_t slice_end_ns; /* 0: closed */
  uint64_t base_samples, last_end_ns, ready_ns, stop_ns, resume_ns, capacity;
  bool pressed;
};

/* What is in flight, summed up: the caller adds every account. */
struct standing {
  uint64_t count, paid_until_ns;
  uint64_t last_ns; /* latest token */
  bool waits;
};

struct verdict {
  bool open;
  uint64_t wake_ns;
};

void budget_init(struct budget *budget, const struct goal *goal);
struct standing standing_of_none(void);
void standing_add(struct standing *standing, const struct budget *budget, const struct account *account);
/* Where `verdict.open` and budget->slices has risen, the caller marks every account as sliced. */
struct verdict budget_decide(struct budget *budget, const struct standing *standing, uint64_t now_ns);
/* Something arrived, or nothing is in flight any more. */
void budget_close(struct budget *budget, uint64_t now_ns);
uint64_t budget_paid_until_ns(const struct budget *budget, const struct account *account);

void budget_decoded(struct budget *budget, struct account *account, uint64_t now_ns, uint64_t tokens,
                    bool calm);
void budget_finished(struct budget *budget, const struct account *account, uint64_t tokens);
void budget_first_token(struct budget *budget, uint64_t ttft_ns, uint64_t others);
void budget_costs(struct budget *budget, uint64_t stop_ns, uint64_t resume_ns);
void budget_load(struct budget *budget, bool waiting, uint64_t capacity);

#endif
