/* flight.h - one inference request on its way: its stamps (CLOCK_MONOTONIC ns; 0: has not happened). */
#ifndef VALVE_FLIGHT_H
#define VALVE_FLIGHT_H

#include "controller.h"
#include "tokens.h"

struct flight {
  struct hold hold;      /* first: the controller knows flights by it */
  struct tokens *tokens; /* NULL: finished, or no memory to count with */
  uint64_t readable_ns, arrival_ns, gate_ns;
  uint64_t closes_before, closes_seen;
  uint64_t progress_ns, first_token_ns, last_token_ns, finished_ns;
  uint64_t max_gap_ns, max_decode_gap_ns;
  uint64_t token_count;
  uint32_t generation;
  uint32_t prompt_bytes; /* of its body, bounded */
  uint16_t status;
  uint8_t outcome;
  bool upgrade, closed_gate;
  uint16_t request_id_len, path_len;
  char texts[]; /* the request id, then the path */
};

#endif
