/* costs.h - what the driver's calls cost, by environment:
 *   FAKE_VMM_US     "create=193,map=1.45,access=36,unmap=25.6": a call takes at least that many microseconds
 *   FAKE_VMM_SPENT  a file of 8 bytes that sums up the ns which all processes have spent in calls for memory,
 *                   in clearing it, and in stopping channels
 */
#ifndef FAKE_COSTS_H
#define FAKE_COSTS_H

#include <stdint.h>

uint64_t cost_begin(void);
void cost_end(const char *call, uint64_t began_ns);

#endif
