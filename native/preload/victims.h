/* victims.h - which pages are given up: those whose loss costs least. Pure. */
#ifndef VALVE_PRELOAD_VICTIMS_H
#define VALVE_PRELOAD_VICTIMS_H

#include <stdbool.h>
#include <stdint.h>

/* Up to `wanted` of the pages with may[i], such that no other choice of as many has a smaller sum of costs;
 * of equal ones the first, so that neighbours go together. Their numbers come in `chosen`, ascending. How
 * many. Linear in `pages`. */
uint32_t victims_choose(const uint32_t *costs, const bool *may, uint32_t pages, uint32_t wanted,
                        uint32_t *chosen);

#endif
