/* figures.h - a bounded row of measured values, in microseconds unless said otherwise, and its percentiles.
 */
#ifndef GPU_KIT_FIGURES_H
#define GPU_KIT_FIGURES_H

#include <stdint.h>

#define FIGURES_MAX 4096u

/* No pointers: it also lies in memory that processes share. What is beyond FIGURES_MAX is dropped. */
struct figures {
  uint32_t count;
  double values[FIGURES_MAX];
};

void figures_add(struct figures *figures, double value);
void figures_append(struct figures *figures, const struct figures *more);
/* Sorts in place. `share` from 0 to 1; 0 if there are no values. */
double figures_percentile(struct figures *figures, double share);
double figures_mean(const struct figures *figures);

/* CLOCK_MONOTONIC. */
uint64_t clock_ns(void);
void sleep_ns(uint64_t ns);
/* Uniform in [low, high), from a seed of the caller's: runs repeat. */
uint64_t random_between(uint64_t *seed, uint64_t low, uint64_t high);

#endif
