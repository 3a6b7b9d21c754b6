/* Random changes to what others write: fuzz SECONDS SEED [EXECUTIONS]. Each target for its share of the time,
 * and until it has had so many executions. The same seed gives the same inputs; a finding is an abort or a
 * sanitizer's report, after the line that names the target. */
#include "fuzz.h"

#include <inttypes.h>
#include <stdbool.h>
#include <time.h>

#define LOOK_EVERY 4096 /* executions between two looks at the clock */

static const struct target *const targets[] = {&head_target, &body_target, &stream_target, &segment_target,
                                               &observer_target};
enum { TARGETS = sizeof targets / sizeof *targets };

static double now_s(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void run(const struct target *target, uint64_t seed, double seconds, uint64_t least) {
  uint64_t random = seed * 2654435761u + 1, executions = 0, accepted = 0;
  double end_s = now_s() + seconds;
  printf("%-9s seed %" PRIu64 ": ", target->name, seed);
  fflush(stdout);
  target->begin();
  do
    for (int i = 0; i < LOOK_EVERY; i++, executions++) accepted += target->once(&random);
  while (now_s() < end_s || executions < least);
  target->end();
  REQUIRE(accepted > 0 && accepted < executions);
  printf("%" PRIu64 " executions, %" PRIu64 " accepted, 0 findings\n", executions, accepted);
}

int main(int argc, char **argv) {
  if (argc < 3 || argc > 4) return fprintf(stderr, "fuzz SECONDS SEED [EXECUTIONS]\n"), 2;
  double seconds = atof(argv[1]) / TARGETS;
  uint64_t seed = strtoull(argv[2], NULL, 10), least = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
  for (int i = 0; i < TARGETS; i++) run(targets[i], seed, seconds, least);
  return 0;
}
