/* What a GPU job does next: the table, row by row, and what holds for every combination there is. */
#include "job_decision.h"
#include "node_scratch.h"

#define IN_TIME (VLV_JOB_ESCALATE_NS - 1)
#define LATE VLV_JOB_ESCALATE_NS
#define HALTED VLV_LEVEL_COMPUTE_HALTED
#define SUBMISSION VLV_LEVEL_SUBMISSION_STOPPED

struct row {
  struct job_seen seen;
  enum job_step step;
  uint32_t level;
};

/* ranks, stopped, least level, unshimmed, waited, freeze */
static const struct row table[] = {
    {{2, 2, HALTED, 0, 0, JOB_THAWED}, JOB_ACKNOWLEDGE, HALTED},
    {{2, 2, SUBMISSION, 0, 0, JOB_THAWED}, JOB_ACKNOWLEDGE, SUBMISSION},
    {{2, 2, HALTED, 0, LATE, JOB_THAWED}, JOB_ACKNOWLEDGE, HALTED}, /* late, but it is there */
    {{2, 1, HALTED, 0, IN_TIME, JOB_THAWED}, JOB_WAIT, 0},
    {{2, 1, HALTED, 0, LATE, JOB_THAWED}, JOB_FREEZE, 0},
    {{2, 0, 0, 0, IN_TIME, JOB_THAWED}, JOB_WAIT, 0},
    {{2, 0, 0, 0, LATE, JOB_THAWED}, JOB_FREEZE, 0},
    {{0, 0, 0, 0, 0, JOB_THAWED}, JOB_FREEZE, 0}, /* nobody else can stop it */
    {{0, 0, 0, 1, 0, JOB_THAWED}, JOB_FREEZE, 0},
    {{1, 1, HALTED, 1, 0, JOB_THAWED}, JOB_FREEZE, 0}, /* the ranks have done their part */
    {{1, 0, 0, 1, IN_TIME, JOB_THAWED}, JOB_WAIT, 0},  /* they could not, once frozen */
    {{1, 0, 0, 1, LATE, JOB_THAWED}, JOB_FREEZE, 0},
    {{1, 1, HALTED, 0, LATE, JOB_FREEZING}, JOB_WAIT, 0},
    {{1, 0, 0, 0, LATE, JOB_FREEZING}, JOB_WAIT, 0},
    {{1, 1, HALTED, 0, LATE, JOB_FROZEN}, JOB_ACKNOWLEDGE, HALTED},
    {{1, 1, SUBMISSION, 0, LATE, JOB_FROZEN}, JOB_ACKNOWLEDGE, SUBMISSION},
    {{2, 1, HALTED, 0, LATE, JOB_FROZEN}, JOB_ACKNOWLEDGE, SUBMISSION}, /* one's kernels run on */
    {{1, 1, HALTED, 1, LATE, JOB_FROZEN}, JOB_ACKNOWLEDGE, SUBMISSION},
    {{0, 0, 0, 0, 0, JOB_FROZEN}, JOB_ACKNOWLEDGE, SUBMISSION},
};

static void every_row_of_the_table(void) {
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    struct job_decision decision = job_decide(&table[i].seen);
    if (decision.step != table[i].step || decision.level != table[i].level) fprintf(stderr, "row %zu\n", i);
    CHECK(decision.step == table[i].step && decision.level == table[i].level);
  }
}

static void check_acknowledgement(const struct job_seen *seen, struct job_decision decision) {
  bool all = seen->ranks > 0 && seen->stopped == seen->ranks && seen->unshimmed == 0;
  CHECK(seen->freeze == JOB_FROZEN || (seen->freeze == JOB_THAWED && all));
  CHECK(decision.level == SUBMISSION || (decision.level == HALTED && all && seen->least_level == HALTED));
}

static void check_freeze(const struct job_seen *seen) {
  CHECK(seen->freeze == JOB_THAWED);
  CHECK(seen->stopped == seen->ranks || seen->waited_ns >= VLV_JOB_ESCALATE_NS);
}

/* Time alone ends every wait for the ranks; the freezer's is its own. */
static void check_wait(const struct job_seen *seen) {
  struct job_seen later = *seen;
  later.waited_ns = VLV_JOB_ESCALATE_NS;
  CHECK(seen->freeze == JOB_FREEZING || job_decide(&later).step != JOB_WAIT);
}

static void check_one(const struct job_seen *seen) {
  struct job_decision decision = job_decide(seen);
  if (decision.step == JOB_ACKNOWLEDGE) {
    check_acknowledgement(seen, decision);
    return;
  }
  CHECK(decision.level == VLV_LEVEL_RUNNING);
  if (decision.step == JOB_FREEZE)
    check_freeze(seen);
  else
    check_wait(seen);
}

static void check_all_of(uint32_t ranks, uint32_t stopped, uint32_t unshimmed) {
  static const uint64_t waits[] = {0, IN_TIME, LATE, UINT64_MAX};
  for (uint32_t level = SUBMISSION; level <= HALTED; level++)
    for (size_t wait = 0; wait < 4; wait++)
      for (int freeze = JOB_THAWED; freeze <= JOB_FROZEN; freeze++)
        check_one(&(struct job_seen){ranks, stopped, level, unshimmed, waits[wait], (enum job_freeze)freeze});
}

static void what_holds_for_every_combination(void) {
  for (uint32_t ranks = 0; ranks <= 3; ranks++)
    for (uint32_t stopped = 0; stopped <= ranks; stopped++)
      for (uint32_t unshimmed = 0; unshimmed <= 1; unshimmed++) check_all_of(ranks, stopped, unshimmed);
}

int main(void) {
  RUN(every_row_of_the_table);
  RUN(what_holds_for_every_combination);
  return 0;
}
