/* flight.h - one inference request on its way: its stamps (CLOCK_MONOTONIC ns; 0: has not happened). */
#ifndef VALVE_FLIGHT_H
#define VALVE_FLIGHT_H

#include "answer.h"
#include "budget.h"
#include "controller.h"
#include "tokens.h"
#include "trace.h"

struct flight {
  struct hold hold;      /* first: the controller knows flights by it */
  struct tokens *tokens; /* NULL: finished, or no memory to count with */
  struct ends *ends;     /* of the answer while it passes; NULL: nothing of one is kept */
  struct trace trace;
  uint64_t readable_ns, arrival_ns, gate_ns;
  uint64_t closes_before, closes_seen;
  uint64_t progress_ns, first_token_ns, last_token_ns, finished_ns;
  uint64_t max_gap_ns, max_decode_gap_ns;
  uint64_t token_count;
  struct account account;
  uint64_t held_back_ns; /* since when its client takes nothing; 0: it does */
  uint64_t others;       /* in flight when it arrived */
  uint64_t slices_before, slices_seen;
  uint32_t generation;
  uint32_t prompt_bytes; /* of its body, bounded */
  uint16_t status;
  uint8_t outcome, operation;
  bool upgrade, closed_gate, streamed;
  uint32_t input_tokens;
  uint16_t request_id_len, path_len, model_len, response_id_len, finish_reasons_len;
  char texts[]; /* the request id and the path; once it is over, what the answer told, in that order */
};

#endif
