/* Which pages are given up: the cheapest, by comparison with sorting; neighbours among equals. */
#include <stdlib.h>
#include <string.h>

#include "node_scratch.h"
#include "victims.h"

enum { PAGES = 200 };

static int by_value(const void *left, const void *right) {
  const uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
  return (a > b) - (a < b);
}

static uint64_t sum_of(const uint32_t *costs, const uint32_t *chosen, uint32_t count) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < count; i++) sum += costs[chosen[i]];
  return sum;
}

static uint64_t least_sum(const uint32_t *costs, const bool *may, uint32_t wanted) {
  uint32_t sorted[PAGES], count = 0;
  uint64_t sum = 0;
  for (uint32_t i = 0; i < PAGES; i++)
    if (may[i]) sorted[count++] = costs[i];
  qsort(sorted, count, sizeof *sorted, by_value);
  for (uint32_t i = 0; i < count && i < wanted; i++) sum += sorted[i];
  return sum;
}

/* Costs of all magnitudes, with many equal ones. */
static void draw(uint32_t *costs, bool *may) {
  for (uint32_t i = 0; i < PAGES; i++) {
    costs[i] = (uint32_t)rand() >> rand() % 31;
    may[i] = rand() % 4 != 0;
  }
}

static void no_choice_costs_less(void) {
  uint32_t costs[PAGES], chosen[PAGES];
  bool may[PAGES];
  srand(1);
  for (int round = 0; round < 5000; round++) {
    draw(costs, may);
    uint32_t wanted = (uint32_t)rand() % (PAGES + 20), candidates = 0;
    for (uint32_t i = 0; i < PAGES; i++) candidates += may[i];
    uint32_t count = victims_choose(costs, may, PAGES, wanted, chosen);
    CHECK(count == (wanted < candidates ? wanted : candidates));
    CHECK(sum_of(costs, chosen, count) == least_sum(costs, may, wanted));
    for (uint32_t i = 0; i < count; i++) CHECK(may[chosen[i]] && (i == 0 || chosen[i - 1] < chosen[i]));
  }
}

static void neighbours_go_together_among_equals(void) {
  const uint32_t costs[] = {5, 7, 7, 7, 1, 7, UINT32_MAX, 0};
  const bool may[] = {true, true, true, true, true, true, true, false};
  uint32_t chosen[8];
  CHECK(victims_choose(costs, may, 8, 4, chosen) == 4);
  CHECK(memcmp(chosen, (uint32_t[]){0, 1, 2, 4}, 4 * sizeof *chosen) == 0);
  CHECK(victims_choose(costs, may, 8, 99, chosen) == 7 && chosen[6] == 6);
  CHECK(victims_choose(costs, may, 8, 0, chosen) == 0);
  CHECK(victims_choose(costs, may, 0, 3, chosen) == 0);
}

int main(void) {
  RUN(no_choice_costs_less);
  RUN(neighbours_go_together_among_equals);
  return 0;
}
