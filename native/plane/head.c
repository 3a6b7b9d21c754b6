#include "head.h"

#include <string.h>
#include <strings.h>

/* Bits of `kinds`: a token's byte; a byte of a field's value; a byte of a target. */
#define TOKEN 1
#define VALUE 2
#define TARGET 4

static unsigned char kind_of(int byte) {
  unsigned char kind = 0;
  if (byte == '\t' || (byte >= 0x20 && byte != 0x7f)) kind |= VALUE;
  if (byte > 0x20 && byte != 0x7f) kind |= TARGET;
  bool letter = (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z');
  if (byte < 0x80 && (letter || (byte > 0x20 && strchr("!#$%&'*+-.^_`|~", byte) != NULL))) kind |= TOKEN;
  return kind;
}

static unsigned char kinds[256];

__attribute__((constructor)) static void fill_kinds(void) {
  for (int byte = 0; byte < 256; byte++) kinds[byte] = kind_of(byte);
}

bool is_token(unsigned char byte) {
  return kinds[byte] & TOKEN;
}

/* A place in the bytes of a head. */
struct cursor {
  const char *at, *end;
};

static struct span take_while(struct cursor *cursor, unsigned char kind) {
  const char *start = cursor->at;
  while (cursor->at < cursor->end && (kinds[(unsigned char)*cursor->at] & kind)) cursor->at++;
  return (struct span){start, (size_t)(cursor->at - start)};
}

static bool at_end(const struct cursor *cursor) {
  return cursor->at == cursor->end;
}

/* 1 if `byte` comes next, and takes it. */
static long take(struct cursor *cursor, char byte) {
  if (at_end(cursor)) return HEAD_INCOMPLETE;
  return *cursor->at++ == byte ? 1 : HEAD_MALFORMED;
}

static long take_text(struct cursor *cursor, const char *text) {
  for (; *text != '\0'; text++) {
    long result = take(cursor, *text);
    if (result <= 0) return result;
  }
  return 1;
}

static long take_line_end(struct cursor *cursor) {
  long result = take(cursor, '\r');
  return result <= 0 ? result : take(cursor, '\n');
}

static struct span trimmed(struct span span) {
  while (span.len > 0 && (*span.at == ' ' || *span.at == '\t')) span.at++, span.len--;
  while (span.len > 0 && (span.at[span.len - 1] == ' ' || span.at[span.len - 1] == '\t')) span.len--;
  return span;
}

static struct span next_member(struct span *list) {
  const char *comma = memchr(list->at, ',', list->len);
  size_t len = comma != NULL ? (size_t)(comma - list->at) : list->len;
  struct span member = trimmed((struct span){list->at, len});
  size_t taken = comma != NULL ? len + 1 : len;
  list->at += taken;
  list->len -= taken;
  return member;
}

/* ---- what single fields mean ---- */

static long note_length(struct head *head, struct span value) {
  uint64_t length = 0;
  if (value.len == 0 || value.len > 18) return HEAD_MALFORMED;
  for (size_t i = 0; i < value.len; i++) {
    if (value.at[i] < '0' || value.at[i] > '9') return HEAD_MALFORMED;
    length = length * 10 + (uint64_t)(value.at[i] - '0');
  }
  head->lengths_differ |= head->lengths > 0 && length != head->length;
  head->length_plain = value.len == 1 || value.at[0] != '0';
  head->length = length;
  head->lengths++;
  return 1;
}

static void note_coding(struct head *head, struct span value) {
  head->codings++;
  head->chunked = head->codings == 1 && span_is(value, "chunked");
}

static void note_connection(struct head *head, struct span list) {
  head->connections++;
  while (list.len > 0) {
    struct span member = next_member(&list);
    head->says_close |= span_is(member, "close");
    head->says_keep_alive |= span_is(member, "keep-alive");
    head->says_upgrade |= span_is(member, "upgrade");
  }
}

static void note_expect(struct head *head, struct span list) {
  while (list.len > 0) head->expects_continue |= span_is(next_member(&list), "100-continue");
}

/* RFC 9110, 7.6.1. A trailer announcement crosses with the trailers: see writer.c. */
static bool is_hop_by_hop(struct span name) {
  switch (name.len) {
    case 2:
      return span_is(name, "te");
    case 7:
      return span_is(name, "upgrade") || span_is(name, "trailer");
    case 10:
      return span_is(name, "connection") || span_is(name, "keep-alive");
    case 14:
      return span_is(name, "http2-settings");
    case 16:
      return span_is(name, "proxy-connection");
    case 17:
      return span_is(name, "transfer-encoding");
    case 18:
      return span_is(name, "proxy-authenticate");
    case 19:
      return span_is(name, "proxy-authorization");
    case 25:
      return span_is(name, "proxy-authentication-info");
    default:
      return false;
  }
}

static long digest(struct head *head, struct field *field) {
  struct span name = field->name, value = field->value;
  field->dropped = is_hop_by_hop(name);
  if (span_is(name, "content-length")) return note_length(head, value);
  if (span_is(name, "transfer-encoding")) note_coding(head, value);
  if (span_is(name, "connection")) note_connection(head, value);
  if (span_is(name, "expect")) note_expect(head, value);
  if (span_is(name, "upgrade")) head->upgrade_websocket = span_is(value, "websocket");
  if (span_is(name, "x-request-id")) head->request_id = value;
  if (span_is(name, "traceparent") && head->traceparent.at == NULL) head->traceparent = value;
  head->hosts += span_is(name, "host");
  return 1;
}

/* A peer that names these in Connection would make us send a message without its target or its end. */
static bool never_nominated(struct span name) {
  return span_is(name, "content-length") || span_is(name, "host");
}

static void drop_named(struct head *head, struct span name) {
  for (unsigned i = 0; i < head->count; i++) {
    struct span other = head->fields[i].name;
    if (other.len == name.len && strncasecmp(other.at, name.at, name.len) == 0)
      head->fields[i].dropped = true;
  }
}

static void drop_nominated(struct head *head) {
  for (unsigned i = 0; i < head->count; i++) {
    if (!span_is(head->fields[i].name, "connection")) continue;
    struct span list = head->fields[i].value;
    while (list.len > 0) {
      struct span member = next_member(&list);
      if (member.len > 0 && !never_nominated(member)) drop_named(head, member);
    }
  }
}

/* ---- lines ---- */

static long read_field(struct head *head, struct cursor *cursor) {
  if (head->count == head->capacity) return HEAD_TOO_LARGE;
  struct field *field = &head->fields[head->count];
  field->line.at = cursor->at;
  field->name = take_while(cursor, TOKEN);
  if (field->name.len == 0 && !at_end(cursor)) return HEAD_MALFORMED;
  long result = take(cursor, ':');
  if (result <= 0) return result;
  field->value = trimmed(take_while(cursor, VALUE));
  result = take_line_end(cursor);
  if (result <= 0) return result;
  field->line.len = (size_t)(cursor->at - field->line.at);
  head->count++;
  return digest(head, field);
}

static long read_fields(struct head *head, struct cursor *cursor) {
  while (!at_end(cursor) && *cursor->at != '\r') {
    long result = read_field(head, cursor);
    if (result <= 0) return result;
  }
  long result = take_line_end(cursor);
  if (result > 0 && head->connections > 0) drop_nominated(head);
  return result;
}

static long read_version(struct head *head, struct cursor *cursor) {
  long result = take_text(cursor, "HTTP/");
  if (result <= 0) return result;
  if (cursor->end - cursor->at < 3) return HEAD_INCOMPLETE;
  char major = cursor->at[0], minor = cursor->at[2];
  bool digits = major >= '0' && major <= '9' && minor >= '0' && minor <= '9' && cursor->at[1] == '.';
  if (!digits) return HEAD_MALFORMED;
  cursor->at += 3;
  head->minor = minor - '0';
  head->foreign = major != '1' || head->minor > 1;
  return 1;
}

static long read_request_line(struct head *head, struct cursor *cursor) {
  head->method = take_while(cursor, TOKEN);
  long result = take(cursor, ' ');
  if (result <= 0) return result;
  head->target = take_while(cursor, TARGET);
  result = take(cursor, ' ');
  if (result <= 0) return result;
  while (!at_end(cursor) && *cursor->at == ' ') cursor->at++; /* RFC 9112, 3: they may be taken as one */
  if (head->method.len == 0 || head->target.len == 0) return HEAD_MALFORMED;
  result = read_version(head, cursor);
  return result <= 0 ? result : take_line_end(cursor);
}

static long read_status(struct head *head, struct cursor *cursor) {
  if (cursor->end - cursor->at < 3) return HEAD_INCOMPLETE;
  head->status = 0;
  for (int i = 0; i < 3; i++) {
    char digit = *cursor->at++;
    if (digit < '0' || digit > '9') return HEAD_MALFORMED;
    head->status = head->status * 10 + (digit - '0');
  }
  return head->status >= 100 ? 1 : HEAD_MALFORMED;
}

static long read_status_line(struct head *head, struct cursor *cursor) {
  long result = read_version(head, cursor);
  if (result <= 0) return result;
  if (head->foreign) return HEAD_MALFORMED;
  result = take(cursor, ' ');
  if (result <= 0) return result;
  result = read_status(head, cursor);
  if (result <= 0) return result;
  head->reason = (struct span){cursor->at, 0};
  if (!at_end(cursor) && *cursor->at == ' ') {
    cursor->at++;
    head->reason = take_while(cursor, VALUE);
  }
  return take_line_end(cursor);
}

static struct cursor begin(struct head *head, const char *data, size_t len) {
  *head = (struct head){.fields = head->fields, .capacity = head->capacity};
  return (struct cursor){data, data + len};
}

static long ended(const char *data, const struct cursor *cursor, long result, long limit) {
  long taken = cursor->at - data;
  if (result <= 0) return result == HEAD_INCOMPLETE && taken >= limit ? HEAD_TOO_LARGE : result;
  return taken > limit ? HEAD_TOO_LARGE : taken;
}

long head_read_request(struct head *head, const char *data, size_t len) {
  struct cursor cursor = begin(head, data, len);
  long result = read_request_line(head, &cursor);
  if (result > 0 && !head->foreign) result = read_fields(head, &cursor);
  return ended(data, &cursor, result, HEAD_MAX);
}

long head_read_response(struct head *head, const char *data, size_t len) {
  struct cursor cursor = begin(head, data, len);
  long result = read_status_line(head, &cursor);
  if (result > 0) result = read_fields(head, &cursor);
  return ended(data, &cursor, result, ENGINE_HEAD_MAX);
}

long head_read_trailers(struct head *head, const char *data, size_t len) {
  struct cursor cursor = begin(head, data, len);
  long result = read_fields(head, &cursor);
  return ended(data, &cursor, result, HEAD_MAX);
}
