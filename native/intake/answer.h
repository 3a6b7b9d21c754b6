/* answer.h - what an engine's answer tells about itself: the model, why it ended, how long the prompt was.
 *
 * Read once the answer is over, from its first and last bytes; sidecar/valve_sidecar/answer.py is the
 * reference, and tests compare the two. Pure.
 */
#ifndef VALVE_ANSWER_H
#define VALVE_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "valve/intake.h"

#define START_BYTES 1024
#define END_BYTES 2048

/* The first and the last bytes of an answer while it passes. */
struct ends {
  uint64_t len; /* of the answer so far */
  char start[START_BYTES];
  char ring[END_BYTES]; /* byte number n at n % END_BYTES */
};

void ends_keep(struct ends *ends, const char *data, size_t len);

struct text {
  const char *at;
  size_t len;
};

/* The texts point into what was read, the reasons but for that: each once, with commas between them. */
struct facts {
  struct text model, response_id;
  char finish_reasons[VLV_FINISH_REASONS_MAX];
  size_t finish_reasons_len;
  uint32_t input_tokens;
  bool streamed; /* tokens came as they were made; a document comes as a whole */
};

/* `start` and `end`: the first and last bytes of a body; they may overlap. */
void facts_read(struct facts *facts, struct text start, struct text end);
/* The same of what was kept; puts the ring in order. */
void facts_read_ends(struct facts *facts, struct ends *ends);

#endif
