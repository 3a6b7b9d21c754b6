#include "answer.h"

#include <string.h>

#define BLANKS_MAX 8
#define DIGITS_MAX 9
#define REASON_MAX 32
#define REASONS_MAX 4
#define TEXT(literal) ((struct text){literal, sizeof(literal) - 1})

static size_t least(size_t left, size_t right) {
  return left < right ? left : right;
}

/* ---- while it passes ---- */

static void keep_start(struct ends *ends, const char *data, size_t len) {
  if (ends->len >= START_BYTES) return;
  memcpy(ends->start + ends->len, data, least(len, START_BYTES - ends->len));
}

void ends_keep(struct ends *ends, const char *data, size_t len) {
  keep_start(ends, data, len);
  ends->len += len;
  size_t kept = least(len, END_BYTES), at = (ends->len - kept) % END_BYTES;
  size_t before_wrap = least(kept, END_BYTES - at);
  memcpy(ends->ring + at, data + len - kept, before_wrap);
  memcpy(ends->ring, data + len - kept + before_wrap, kept - before_wrap);
}

/* ---- what stands behind a name ---- */

static bool is_blank(char byte) {
  return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static bool is_digit(char byte) {
  return byte >= '0' && byte <= '9';
}

static bool is_word(char byte) {
  char lower = (char)(byte | 0x20);
  return is_digit(byte) || byte == '_' || (lower >= 'a' && lower <= 'z');
}

static const char *skip_blanks(const char *at, const char *end) {
  for (int i = 0; i < BLANKS_MAX && at < end && is_blank(*at); i++) at++;
  return at;
}

/* Where the value begins; NULL: no colon. */
static const char *find_value(const char *at, const char *end) {
  at = skip_blanks(at, end);
  if (at == end || *at != ':') return NULL;
  return skip_blanks(at + 1, end);
}

static bool is_text_byte(char byte) {
  return (unsigned char)byte >= 0x20 && byte != '"' && byte != '\\';
}

/* The string behind a name, if all of it is of such bytes. Its length 0: there is none. */
static struct text read_text(const char *at, const char *end, size_t most, bool (*fits)(char)) {
  struct text none = {NULL, 0};
  const char *from = find_value(at, end);
  if (from == NULL || from == end || *from++ != '"') return none;
  const char *stop = from;
  while (stop < end && (size_t)(stop - from) < most && fits(*stop)) stop++;
  if (stop == end || *stop != '"') return none;
  return (struct text){from, (size_t)(stop - from)};
}

static bool read_number(const char *at, const char *end, uint32_t *number) {
  const char *from = find_value(at, end);
  uint32_t value = 0;
  int digits = 0;
  if (from == NULL) return false;
  for (; from < end && is_digit(*from) && digits < DIGITS_MAX; digits++)
    value = value * 10 + (uint32_t)(*from++ - '0');
  if (digits == 0 || (from < end && is_word(*from))) return false;
  *number = value;
  return true;
}

/* ---- names: with their quotes they cannot stand inside a JSON string, where quotes are escaped ---- */

static const char *find(const char *at, const char *end, struct text name) {
  return memmem(at, (size_t)(end - at), name.at, name.len);
}

static struct text first_text(struct text data, struct text name) {
  const char *end = data.at + data.len, *at = find(data.at, end, name);
  if (at == NULL) return (struct text){NULL, 0};
  return read_text(at + name.len, end, VLV_ANSWER_TEXT_MAX, is_text_byte);
}

/* Behind the last of these names that there is. */
static const char *after_last(struct text data, struct text name) {
  const char *end = data.at + data.len, *last = NULL, *at = data.at;
  while ((at = find(at, end, name)) != NULL) last = at += name.len;
  return last;
}

static bool read_prompt(struct text data, uint32_t *tokens) {
  static const struct text names[] = {
      {"\"prompt_tokens\"", 15}, {"\"input_tokens\"", 14}, {"\"tokens_evaluated\"", 18}};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    const char *at = after_last(data, names[i]);
    if (at != NULL && read_number(at, data.at + data.len, tokens)) return true;
  }
  return false;
}

/* ---- reasons ---- */

static bool has_reason(const struct facts *facts, struct text reason) {
  const char *at = facts->finish_reasons, *end = at + facts->finish_reasons_len;
  while (at < end) {
    const char *comma = memchr(at, ',', (size_t)(end - at));
    const char *stop = comma != NULL ? comma : end;
    if ((size_t)(stop - at) == reason.len && memcmp(at, reason.at, reason.len) == 0) return true;
    at = stop + 1;
  }
  return false;
}

static void add_reason(struct facts *facts, struct text reason, int *count) {
  if (*count == REASONS_MAX || has_reason(facts, reason)) return;
  if ((*count)++ > 0) facts->finish_reasons[facts->finish_reasons_len++] = ',';
  memcpy(facts->finish_reasons + facts->finish_reasons_len, reason.at, reason.len);
  facts->finish_reasons_len += reason.len;
}

static void add_reasons(struct facts *facts, struct text data, struct text name, int *count) {
  const char *at = data.at, *end = data.at + data.len;
  while ((at = find(at, end, name)) != NULL) {
    struct text reason = read_text(at + name.len, end, REASON_MAX, is_word);
    if (reason.len > 0) add_reason(facts, reason, count);
    at = reason.len > 0 ? reason.at + reason.len + 1 : at + 1;
  }
}

static bool read_reasons(struct facts *facts, struct text data) {
  int count = 0;
  add_reasons(facts, data, TEXT("\"finish_reason\""), &count);
  add_reasons(facts, data, TEXT("\"stop_reason\""), &count);
  return count > 0;
}

/* ---- all of it ---- */

/* How server-sent events begin. */
static bool is_stream(struct text start) {
  static const char *const fields[] = {"data:", "event:", "id:", "retry:", ":"};
  const char *at = start.at, *end = start.at + start.len;
  while (at < end && is_blank(*at)) at++;
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    size_t len = strlen(fields[i]);
    if ((size_t)(end - at) >= len && memcmp(at, fields[i], len) == 0) return true;
  }
  return false;
}

void facts_read(struct facts *facts, struct text start, struct text end) {
  facts->finish_reasons_len = 0;
  facts->input_tokens = 0;
  facts->streamed = is_stream(start);
  facts->model = first_text(start, TEXT("\"model\""));
  if (facts->model.len == 0) facts->model = first_text(end, TEXT("\"model\""));
  facts->response_id = first_text(start, TEXT("\"id\""));
  bool ended = read_reasons(facts, end), counted = read_prompt(end, &facts->input_tokens);
  if (facts->streamed) return;
  if (!ended) read_reasons(facts, start); /* a document may begin with how it ended */
  if (!counted) read_prompt(start, &facts->input_tokens);
}

static void put_in_order(struct ends *ends) {
  char ordered[END_BYTES];
  size_t at = ends->len % END_BYTES;
  memcpy(ordered, ends->ring + at, END_BYTES - at);
  memcpy(ordered + END_BYTES - at, ends->ring, at);
  memcpy(ends->ring, ordered, END_BYTES);
}

void facts_read_ends(struct facts *facts, struct ends *ends) {
  if (ends->len > END_BYTES) put_in_order(ends);
  struct text start = {ends->start, least(ends->len, START_BYTES)};
  facts_read(facts, start, (struct text){ends->ring, least(ends->len, END_BYTES)});
}
