#include "body.h"

#include <stdio.h>

#define DIGITS_MAX 15
#define EXTENSION_MAX 4096
#define TRAILERS_MAX 8192
#define TRAILER_FIELDS_MAX 64

static const char last_line[] = "0\r\n";
static const char last_chunk[] = "0\r\n\r\n";

void body_begin(struct body *body, enum framing framing, uint64_t length) {
  body_free(body);
  *body = (struct body){.framing = framing, .left = framing == FRAMING_LENGTH ? length : 0};
  body->ended = framing == FRAMING_NONE || (framing == FRAMING_LENGTH && length == 0);
}

void body_free(struct body *body) {
  bytes_free(&body->trailers);
}

/* One walk over new bytes of a body. */
struct walk {
  struct body *body;
  const char *at, *end;
  const char *line; /* where the present size line began, if it began in these bytes */
  struct passing passing;
  bool stopped; /* the pieces have to be sent before we go on */
};

static size_t rest(const struct walk *walk) {
  return (size_t)(walk->end - walk->at);
}

static void pass_content(struct walk *walk) {
  struct body *body = walk->body;
  size_t taken = rest(walk) < body->left ? rest(walk) : (size_t)body->left;
  pieces_add(walk->passing.wire, walk->at, taken);
  pieces_add(walk->passing.content, walk->at, taken);
  body->left -= taken;
  walk->at += taken;
}

/* ---- chunks: each step takes bytes of one state; false: malformed ---- */

static int hex_value(char byte) {
  if (byte >= '0' && byte <= '9') return byte - '0';
  byte |= 0x20;
  return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

static bool step_size(struct walk *walk) {
  struct body *body = walk->body;
  int digit;
  if (body->digits == 0) walk->line = walk->at;
  while (walk->at < walk->end && (digit = hex_value(*walk->at)) >= 0) {
    if (++body->digits > DIGITS_MAX) return false;
    body->left = body->left * 16 + (unsigned)digit;
    walk->at++;
  }
  if (walk->at == walk->end) return true;
  char next = *walk->at++;
  body->state = next == ';' ? CHUNK_EXTENSION : CHUNK_SIZE_END;
  return body->digits > 0 && (next == ';' || next == '\r');
}

static bool step_extension(struct walk *walk) {
  struct body *body = walk->body;
  walk->line = NULL;
  while (walk->at < walk->end && ((unsigned char)*walk->at >= 0x20 || *walk->at == '\t')) {
    if (++body->extension > EXTENSION_MAX || *walk->at == 0x7f) return false;
    walk->at++;
  }
  if (walk->at == walk->end) return true;
  body->state = CHUNK_SIZE_END;
  return *walk->at++ == '\r';
}

/* A line that is not whole in these bytes, or has an extension, is written anew: one in each walk. */
static void pass_size_line(struct walk *walk) {
  struct body *body = walk->body;
  if (walk->line != NULL) {
    pieces_add(walk->passing.wire, walk->line, (size_t)(walk->at - walk->line));
    return;
  }
  int len = snprintf(body->line, sizeof body->line, "%llx\r\n", (unsigned long long)body->left);
  pieces_add(walk->passing.wire, body->line, (size_t)len);
  walk->stopped = true;
}

static bool step_size_end(struct walk *walk) {
  struct body *body = walk->body;
  if (*walk->at++ != '\n') return false;
  body->digits = body->extension = 0;
  body->state = body->left > 0 ? CHUNK_DATA : CHUNK_TRAILERS;
  if (body->left > 0) pass_size_line(walk);
  walk->line = NULL;
  return true;
}

static bool step_data(struct walk *walk) {
  pass_content(walk);
  if (walk->body->left == 0) walk->body->state = CHUNK_DATA_CR;
  return true;
}

static bool step_data_end(struct walk *walk) {
  bool cr = walk->body->state == CHUNK_DATA_CR;
  walk->body->state = cr ? CHUNK_DATA_LF : CHUNK_SIZE;
  if (*walk->at != (cr ? '\r' : '\n')) return false;
  pieces_add(walk->passing.wire, walk->at++, 1);
  return true;
}

/* Nothing among the trailers may change how the message is framed, routed or kept (RFC 9110, 6.5.1). */
static bool trailers_may_pass(const struct head *head) {
  for (unsigned i = 0; i < head->count; i++)
    if (head->fields[i].dropped) return false;
  return head->lengths == 0 && head->codings == 0 && head->hosts == 0;
}

static bool end_with_trailers(struct walk *walk) {
  struct body *body = walk->body;
  struct field fields[TRAILER_FIELDS_MAX];
  struct head head = {.fields = fields, .capacity = TRAILER_FIELDS_MAX};
  long taken = head_read_trailers(&head, bytes_at(&body->trailers), body->trailers.len);
  if (taken == HEAD_INCOMPLETE) return body->trailers.len <= TRAILERS_MAX;
  if (taken < 0 || !trailers_may_pass(&head)) return false;
  walk->at -= body->trailers.len - (size_t)taken;
  pieces_add(walk->passing.wire, last_line, sizeof last_line - 1);
  pieces_add(walk->passing.wire, bytes_at(&body->trailers), (size_t)taken);
  return body->ended = true;
}

static bool step_trailers(struct walk *walk) {
  struct body *body = walk->body;
  if (body->trailers.len == 0 && rest(walk) >= 2 && walk->at[0] == '\r' && walk->at[1] == '\n') {
    pieces_add(walk->passing.wire, last_chunk, sizeof last_chunk - 1);
    walk->at += 2;
    return body->ended = true;
  }
  if (!bytes_append(&body->trailers, walk->at, rest(walk))) return false;
  walk->at = walk->end;
  return end_with_trailers(walk);
}

static bool step(struct walk *walk) {
  switch (walk->body->state) {
    case CHUNK_SIZE:
      return step_size(walk);
    case CHUNK_EXTENSION:
      return step_extension(walk);
    case CHUNK_SIZE_END:
      return step_size_end(walk);
    case CHUNK_DATA:
      return step_data(walk);
    case CHUNK_DATA_CR:
    case CHUNK_DATA_LF:
      return step_data_end(walk);
    default:
      return step_trailers(walk);
  }
}

static bool has_room(const struct walk *walk) {
  return pieces_room(walk->passing.wire, 2) && pieces_room(walk->passing.content, 1);
}

static bool follow_chunks(struct walk *walk) {
  while (walk->at < walk->end && !walk->body->ended && !walk->stopped && has_room(walk))
    if (!step(walk)) return false;
  return true;
}

long body_follow(struct body *body, const char *data, size_t len, struct passing passing) {
  struct walk walk = {.body = body, .at = data, .end = data + len, .passing = passing};
  switch (body->framing) {
    case FRAMING_NONE:
      return 0;
    case FRAMING_LENGTH:
      pass_content(&walk);
      body->ended = body->left == 0;
      break;
    case FRAMING_UNTIL_CLOSE:
      pieces_add(passing.wire, data, len);
      pieces_add(passing.content, data, len);
      return (long)len;
    case FRAMING_CHUNKED:
      if (!follow_chunks(&walk)) return -1;
  }
  return walk.at - data;
}
