/* The lines and events of a stream (WHATWG HTML, 9.2.6), however it is cut into pieces. */
#include "tokens.h"

#include <string.h>

enum { KIND_UNKNOWN, KIND_DOCUMENT, KIND_EVENTS };
/* LINE_START + n: n bytes of "data:" are matched. */
enum { LINE_START = 0, LINE_BLANK = 5, LINE_DATA, LINE_OTHER };

static const char data_name[] = "data:";

static bool is_blank(char byte) {
  return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

static uint64_t count_event(const struct event_facts *event) {
  if (!event->has_data || !event->is_object) return 0;
  if (event->has_choices) return event->choices_spoken;
  if (event->has_type) return event->type_is_delta && event->delta_speaks;
  return event->text_speaks;
}

static uint64_t end_event(struct tokens *tokens) {
  uint64_t spoken = count_event(&tokens->event);
  tokens->deltas += spoken;
  tokens->event = (struct event_facts){0};
  json_begin(&tokens->json);
  return spoken;
}

static uint64_t end_line(struct tokens *tokens) {
  bool empty = tokens->line == LINE_START;
  tokens->line = LINE_START;
  return empty ? end_event(tokens) : 0;
}

static const char *line_end(const char *at, const char *end) {
  while (at < end && *at != '\n' && *at != '\r') at++;
  return at;
}

static void read_payload(struct tokens *tokens, const char *data, size_t len) {
  struct event_facts *event = &tokens->event;
  if (len == 0) return;
  if (!event->has_data) event->is_object = data[0] == '{';
  event->has_data = 1;
  if (event->is_object) json_feed(&tokens->json, event, &tokens->usage, data, len);
}

/* The rest of a line, from the present place in it. Returns where the line ends, or `end`. */
static const char *read_line(struct tokens *tokens, const char *at, const char *end) {
  while (at < end && tokens->line < LINE_BLANK && *at == data_name[tokens->line]) tokens->line++, at++;
  if (at == end || *at == '\n' || *at == '\r') return at;
  if (tokens->line < LINE_BLANK) tokens->line = LINE_OTHER;
  if (tokens->line == LINE_BLANK) {
    tokens->line = LINE_DATA;
    if (*at == ' ') at++;
  }
  const char *stop = line_end(at, end);
  if (tokens->line == LINE_DATA) read_payload(tokens, at, (size_t)(stop - at));
  return stop;
}

static uint64_t feed_events(struct tokens *tokens, const char *at, const char *end) {
  uint64_t spoken = 0;
  while (at < end) {
    if (tokens->after_cr && *at == '\n') at++;
    tokens->after_cr = 0;
    at = read_line(tokens, at, end);
    if (at == end) break;
    tokens->after_cr = *at++ == '\r';
    spoken += end_line(tokens);
  }
  return spoken;
}

static bool tell_kind(struct tokens *tokens, const char *data, size_t len) {
  size_t at = 0;
  while (at < len && is_blank(data[at])) at++;
  if (at == len) return false;
  tokens->kind = data[at] == '{' || data[at] == '[' ? KIND_DOCUMENT : KIND_EVENTS;
  return true;
}

uint64_t tokens_feed(struct tokens *tokens, const char *data, size_t len) {
  if (tokens->kind == KIND_UNKNOWN && !tell_kind(tokens, data, len)) return 0;
  if (tokens->kind == KIND_DOCUMENT) return document_feed(tokens, data, len);
  return feed_events(tokens, data, data + len);
}

uint64_t tokens_total(const struct tokens *tokens) {
  return tokens->usage > tokens->deltas ? tokens->usage : tokens->deltas;
}
