/* One JSON document, or several (Ollama's routes stream them): its usage figure is all that matters, and only
 * that is looked for. */
#include <string.h>

#include "tokens.h"

#define BLANKS_MAX 8
#define DIGITS_MAX 12

/* Each with the quote behind it: inside a JSON string there would be a backslash before that. */
static const char *const names[] = {"\"completion_tokens\"", "\"output_tokens\"", "\"tokens_predicted\"",
                                    "\"eval_count\""};
static const char *const endings[] = {"_tokens\"", "_predicted\"", "_count\""};

static const char *skip_blanks(const char *at, const char *end) {
  const char *limit = end - at > BLANKS_MAX ? at + BLANKS_MAX : end;
  while (at < limit && (*at == ' ' || (*at >= '\t' && *at <= '\r'))) at++;
  return at;
}

static uint64_t read_figure(const char *at, const char *end) {
  uint64_t figure = 0;
  at = skip_blanks(at, end);
  if (at == end || *at++ != ':') return 0;
  at = skip_blanks(at, end);
  for (int i = 0; i < DIGITS_MAX && at < end && *at >= '0' && *at <= '9'; i++)
    figure = figure * 10 + (uint64_t)(*at++ - '0');
  return figure;
}

static bool ends_with_name(const char *start, const char *end) {
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    size_t len = strlen(names[i]);
    if ((size_t)(end - start) >= len && memcmp(end - len, names[i], len) == 0) return true;
  }
  return false;
}

static uint64_t search_for(const char *ending, const char *data, size_t len) {
  const char *at = data, *end = data + len;
  uint64_t most = 0;
  while ((at = memmem(at, (size_t)(end - at), ending, strlen(ending))) != NULL) {
    at += strlen(ending);
    uint64_t figure = ends_with_name(data, at) ? read_figure(at, end) : 0;
    if (figure > most) most = figure;
  }
  return most;
}

static uint64_t search(const char *data, size_t len) {
  uint64_t most = 0;
  for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
    uint64_t figure = search_for(endings[i], data, len);
    if (figure > most) most = figure;
  }
  return most;
}

static void keep_tail(struct tokens *tokens, const char *data, size_t len) {
  size_t taken = len < DOCUMENT_TAIL ? len : DOCUMENT_TAIL;
  size_t kept = tokens->tail_len + taken > DOCUMENT_TAIL ? DOCUMENT_TAIL - taken : tokens->tail_len;
  memmove(tokens->tail, tokens->tail + tokens->tail_len - kept, kept);
  memcpy(tokens->tail + kept, data + len - taken, taken);
  tokens->tail_len = (uint8_t)(kept + taken);
}

/* A figure that lies across the border between what was and what comes. */
static uint64_t search_border(const struct tokens *tokens, const char *data, size_t len) {
  char border[2 * DOCUMENT_TAIL];
  size_t taken = len < DOCUMENT_TAIL ? len : DOCUMENT_TAIL;
  memcpy(border, tokens->tail, tokens->tail_len);
  memcpy(border + tokens->tail_len, data, taken);
  return search(border, tokens->tail_len + taken);
}

uint64_t document_feed(struct tokens *tokens, const char *data, size_t len) {
  uint64_t total = search(data, len), at_border = search_border(tokens, data, len);
  if (at_border > total) total = at_border;
  keep_tail(tokens, data, len);
  if (total <= tokens->usage) return 0;
  uint64_t new = total - tokens->usage;
  tokens->usage = total;
  return new;
}
