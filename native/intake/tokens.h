/* tokens.h - counts the tokens that a response body carries while it passes: no copy, no JSON document.
 *
 * The first byte that is not blank tells a JSON document from a stream of events. adapters/valve_adapters/
 * tokens.py is the reference; tests compare the two on every dialect. Pure.
 */
#ifndef VALVE_TOKENS_H
#define VALVE_TOKENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAME_MAX_LEN 20  /* the longest name that we look for has 17 bytes */
#define PATH_DEPTH 8     /* containers whose names we keep: nothing that we look for lies deeper */
#define DOCUMENT_TAIL 64 /* no usage figure with its name is longer */

/* Where we are in the JSON text of one event. */
struct json {
  uint8_t in_string, escaped, in_number, after_name;
  uint8_t name; /* enum json_name of the value that comes; also while it is read */
  uint16_t depth;
  uint8_t path[PATH_DEPTH]; /* enum json_name of each open container */
  uint8_t captured;
  char capture[NAME_MAX_LEN];
  uint64_t number;
  uint8_t number_is_whole;
  char ending[5]; /* the last bytes of the present string */
};

/* What one event has said so far. */
struct event_facts {
  uint32_t choices_spoken;
  uint32_t choice_ids; /* token ids of the present choice: vLLM's own route sends no text */
  uint8_t id_open;
  uint8_t has_data, is_object, has_choices, has_type, type_is_delta, delta_speaks, text_speaks, choice_spoke;
};

struct tokens {
  uint8_t kind; /* not known yet, document, events */
  uint8_t line; /* where we are in a line of the stream */
  uint8_t after_cr;
  struct json json;
  struct event_facts event;
  uint64_t deltas, usage;
  uint8_t tail_len;
  char tail[DOCUMENT_TAIL];
};

/* Tokens that `data` completes: a non-empty text, reasoning or tool delta each, never a role. */
uint64_t tokens_feed(struct tokens *tokens, const char *data, size_t len);
/* So far: the engine's own figure where that is more than the deltas. */
uint64_t tokens_total(const struct tokens *tokens);

/* document.c: the usage figure of a JSON document. */
uint64_t document_feed(struct tokens *tokens, const char *data, size_t len);
/* json.c: one more stretch of an event's JSON text. */
void json_begin(struct json *json);
void json_feed(struct json *json, struct event_facts *event, uint64_t *usage, const char *data, size_t len);

#endif
