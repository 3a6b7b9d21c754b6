#include "victims.h"

#include <string.h>

#define BYTE 8u
#define VALUES 256u

struct search { /* for the cost at which the choice ends */
  const uint32_t *costs;
  const bool *may;
  uint32_t pages;
  uint32_t prefix, known_bits; /* the bits of it that are known, from the highest */
  uint32_t wanted;             /* how many of those with this prefix */
};

static bool has_prefix(const struct search *search, uint32_t cost) {
  return ((cost ^ search->prefix) & search->known_bits) == 0;
}

static void count_next_byte(const struct search *search, uint32_t shift, uint32_t counts[VALUES]) {
  memset(counts, 0, VALUES * sizeof *counts);
  for (uint32_t i = 0; i < search->pages; i++)
    if (search->may[i] && has_prefix(search, search->costs[i])) counts[search->costs[i] >> shift & 0xff]++;
}

/* Byte by byte from the highest. */
static void find_next_byte(struct search *search, uint32_t shift) {
  uint32_t counts[VALUES], value = 0;
  count_next_byte(search, shift, counts);
  for (; counts[value] < search->wanted; value++) search->wanted -= counts[value];
  search->prefix |= value << shift;
  search->known_bits |= 0xffu << shift;
}

static uint32_t count_candidates(const bool *may, uint32_t pages) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < pages; i++) count += may[i];
  return count;
}

/* `search` tells the highest cost that is paid, and for how many pages of that cost. */
static uint32_t collect(const struct search *search, uint32_t *chosen) {
  uint32_t count = 0, left = search->wanted;
  for (uint32_t i = 0; i < search->pages; i++) {
    bool highest = search->costs[i] == search->prefix;
    bool taken = search->costs[i] < search->prefix || (highest && left > 0);
    if (!search->may[i] || !taken) continue;
    left -= highest;
    chosen[count++] = i;
  }
  return count;
}

uint32_t victims_choose(const uint32_t *costs, const bool *may, uint32_t pages, uint32_t wanted,
                        uint32_t *chosen) {
  uint32_t candidates = count_candidates(may, pages);
  struct search search = {.costs = costs, .may = may, .pages = pages};
  search.wanted = wanted < candidates ? wanted : candidates;
  if (search.wanted == 0) return 0;
  for (uint32_t shift = 3 * BYTE; shift < 4 * BYTE; shift -= BYTE) find_next_byte(&search, shift);
  return collect(&search, chosen);
}
