#include "figures.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

void figures_add(struct figures *figures, double value) {
  if (figures->count < FIGURES_MAX) figures->values[figures->count++] = value;
}

void figures_append(struct figures *figures, const struct figures *more) {
  for (uint32_t i = 0; i < more->count; i++) figures_add(figures, more->values[i]);
}

static int compare(const void *left, const void *right) {
  double a = *(const double *)left, b = *(const double *)right;
  return (a > b) - (a < b);
}

double figures_percentile(struct figures *figures, double share) {
  if (figures->count == 0) return 0;
  qsort(figures->values, figures->count, sizeof figures->values[0], compare);
  uint32_t index = (uint32_t)(share * figures->count);
  return figures->values[index < figures->count ? index : figures->count - 1];
}

double figures_mean(const struct figures *figures) {
  double sum = 0;
  for (uint32_t i = 0; i < figures->count; i++) sum += figures->values[i];
  return figures->count ? sum / figures->count : 0;
}

uint64_t clock_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

void sleep_ns(uint64_t ns) {
  struct timespec left = {.tv_sec = (time_t)(ns / 1000000000ull), .tv_nsec = (long)(ns % 1000000000ull)};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) continue;
}

/* xorshift64* */
uint64_t random_between(uint64_t *seed, uint64_t low, uint64_t high) {
  *seed ^= *seed >> 12;
  *seed ^= *seed << 25;
  *seed ^= *seed >> 27;
  return low + *seed * 0x2545f4914f6cdd1dull % (high - low);
}
