#include "writer.h"

#include <stdio.h>
#include <string.h>

static char *put(char *out, const char *data, size_t len) {
  memcpy(out, data, len);
  return out + len;
}

static char *put_span(char *out, struct span span) {
  return put(out, span.at, span.len);
}

static char *put_text(char *out, const char *text) {
  return put(out, text, strlen(text));
}

struct span origin_target(struct span target) {
  static const struct span root = {"/", 1};
  if (target.at[0] == '/' || span_is(target, "*")) return target;
  const char *scheme = memmem(target.at, target.len, "://", 3);
  if (scheme == NULL) return (struct span){target.at, 0};
  const char *end = target.at + target.len;
  for (const char *at = scheme + 3; at < end; at++)
    if (*at == '/' || *at == '?') return (struct span){at, (size_t)(end - at)};
  return root;
}

/* How the length is written where the field that came cannot pass as it is. */
static char *put_length(char *out, uint64_t length) {
  return out + sprintf(out, "Content-Length: %llu\r\n", (unsigned long long)length);
}

static bool is_length(const struct field *field) {
  return span_is(field->name, "content-length");
}

static bool crosses(const struct field *field, struct own own) {
  if (is_length(field)) return false;
  if (own.trace.len > 0 && span_is(field->name, "traceparent")) return false;
  if (span_is(field->name, "trailer")) return own.framing == FRAMING_CHUNKED;
  return !field->dropped;
}

/* One length at most, in its place among the fields. */
static char *put_fields(char *out, const struct head *head, struct own own, bool with_length) {
  bool lengths_left = with_length;
  for (unsigned i = 0; i < head->count; i++) {
    const struct field *field = &head->fields[i];
    if (crosses(field, own)) out = put_span(out, field->line);
    if (!is_length(field) || !lengths_left) continue;
    out = head->length_plain ? put_span(out, field->line) : put_length(out, head->length);
    lengths_left = false;
  }
  return out;
}

static char *put_own(char *out, struct own own) {
  if (own.framing == FRAMING_CHUNKED) out = put_text(out, "Transfer-Encoding: chunked\r\n");
  out = put_text(out, own.connection);
  if (own.trace.len > 0) out = put_text(put_span(put_text(out, "traceparent: "), own.trace), "\r\n");
  return put_text(out, "\r\n");
}

size_t write_request(char *out, const struct head *head, struct span target, struct span host,
                     struct own own) {
  char *at = put_span(out, head->method);
  at = put_text(at, target.at[0] == '?' ? " /" : " ");
  at = put_span(at, target);
  at = put_text(at, " HTTP/1.1\r\n");
  if (head->hosts == 0) {
    at = put_text(at, "Host: ");
    at = put_span(at, host);
    at = put_text(at, "\r\n");
  }
  at = put_fields(at, head, own, head->lengths > 0);
  return (size_t)(put_own(at, own) - out);
}

static bool length_crosses(const struct head *head, struct own own) {
  if (head->lengths == 0 || head->status == 204 || head->status < 200) return false;
  return own.framing == FRAMING_LENGTH || own.framing == FRAMING_NONE;
}

size_t write_response(char *out, const struct head *head, struct own own) {
  char *at = out + sprintf(out, "HTTP/1.1 %03d ", head->status);
  at = put_span(at, head->reason);
  at = put_text(at, "\r\n");
  at = put_fields(at, head, own, length_crosses(head, own));
  return (size_t)(put_own(at, own) - out);
}
