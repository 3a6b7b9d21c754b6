/* costs.h - what the driver's calls cost, by environment:
 *   FAKE_VMM_US     "create=193,map=1.45,access=36,unmap=25.6": a call takes at least that many microseconds;
 *                   "unmap_page=25.6": an unmapping takes that for each of its pages, on top
 *   FAKE_VMM_CALLS  a file in which all processes write down their calls for memory, the clearing of it, and
 * the stopping of channels: a struct cost_calls
 */
#ifndef FAKE_COSTS_H
#define FAKE_COSTS_H

#include <stdatomic.h>
#include <stdint.h>

#define COST_CALLS_MAX 65536

struct cost_calls {
  _Atomic uint32_t count; /* of all, those for which there was no room too */
  struct cost_call {
    uint64_t began_ns, ended_ns;
    int32_t pid;
    char name[12];
  } calls[COST_CALLS_MAX];
};

uint64_t cost_begin(void);
void cost_end(const char *call, uint64_t began_ns);
void cost_end_of_pages(const char *call, const char *page, uint64_t pages, uint64_t began_ns);

#endif
