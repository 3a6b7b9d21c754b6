/* Follows the JSON text of an event just far enough to know which value has which name at which depth. */
#include <string.h>

#include "tokens.h"

enum json_name {
  NAME_NONE,
  NAME_CHOICES,
  NAME_DELTA,
  NAME_TEXT,
  NAME_CONTENT,
  NAME_REASONING, /* any of the names of hidden text, and a refusal */
  NAME_BLOCK,     /* a block's thinking or partial JSON */
  NAME_TYPE,
  NAME_ARGUMENTS,
  NAME_FUNCTION,
  NAME_FUNCTION_CALL,
  NAME_TOOL_CALLS,
  NAME_USAGE,
  NAME_META_INFO,
  NAME_RESPONSE, /* or a message: what may have a usage of its own */
  NAME_TOKEN_IDS,
  NAME_TOTAL, /* any of the engines' names for how many tokens they made */
};

#define NAME(text, name) {text, sizeof(text) - 1, name}

static const struct {
  const char *text;
  size_t len;
  enum json_name name;
} names[] = {
    NAME("content", NAME_CONTENT),
    NAME("delta", NAME_DELTA),
    NAME("text", NAME_TEXT),
    NAME("type", NAME_TYPE),
    NAME("usage", NAME_USAGE),
    NAME("choices", NAME_CHOICES),
    NAME("message", NAME_RESPONSE),
    NAME("response", NAME_RESPONSE),
    NAME("reasoning_content", NAME_REASONING),
    NAME("reasoning", NAME_REASONING),
    NAME("refusal", NAME_REASONING),
    NAME("thinking", NAME_BLOCK),
    NAME("partial_json", NAME_BLOCK),
    NAME("arguments", NAME_ARGUMENTS),
    NAME("function", NAME_FUNCTION),
    NAME("function_call", NAME_FUNCTION_CALL),
    NAME("tool_calls", NAME_TOOL_CALLS),
    NAME("meta_info", NAME_META_INFO),
    NAME("token_ids", NAME_TOKEN_IDS),
    NAME("completion_tokens", NAME_TOTAL),
    NAME("output_tokens", NAME_TOTAL),
    NAME("tokens_predicted", NAME_TOTAL),
};

static enum json_name look_up(const struct json *json) {
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (names[i].len == json->captured && memcmp(names[i].text, json->capture, json->captured) == 0)
      return names[i].name;
  return NAME_NONE;
}

void json_begin(struct json *json) {
  *json = (struct json){0};
}

static bool under(const struct json *json, unsigned depth, enum json_name name) {
  return json->depth > depth && json->path[depth] == name;
}

/* ---- what values mean ---- */

static bool speaks_in_delta(const struct json *json) {
  enum json_name name = json->name;
  if (json->depth == 4) return name == NAME_CONTENT || name == NAME_REASONING;
  if (name != NAME_ARGUMENTS) return false;
  if (json->depth == 5) return under(json, 4, NAME_FUNCTION_CALL);
  return json->depth == 7 && under(json, 4, NAME_TOOL_CALLS) && under(json, 6, NAME_FUNCTION);
}

static bool speaks_in_choice(const struct json *json) {
  if (!under(json, 1, NAME_CHOICES)) return false;
  if (json->depth == 3) return json->name == NAME_TEXT;
  return under(json, 3, NAME_DELTA) && speaks_in_delta(json);
}

static bool in_token_ids(const struct json *json) {
  return json->depth == 4 && under(json, 1, NAME_CHOICES) && under(json, 3, NAME_TOKEN_IDS);
}

/* One more id begins, at its first byte. */
static void note_id(const struct json *json, struct event_facts *event, char byte) {
  if (!in_token_ids(json)) return;
  bool between = byte == ',' || byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
  if (!between && !event->id_open) event->choice_ids++;
  event->id_open = !between || (event->id_open && byte != ',');
}

static void end_choice(const struct json *json, struct event_facts *event) {
  if (json->depth != 3 || !under(json, 1, NAME_CHOICES)) return;
  event->choices_spoken += event->choice_ids > 0 ? event->choice_ids : event->choice_spoke;
  event->choice_ids = event->choice_spoke = event->id_open = 0;
}

/* A string that is not empty begins. */
static void note_text(const struct json *json, struct event_facts *event) {
  enum json_name name = json->name;
  if (json->depth == 1) {
    event->text_speaks |= name == NAME_CONTENT || name == NAME_TEXT;
    event->delta_speaks |= name == NAME_DELTA;
  } else if (json->depth == 2 && under(json, 1, NAME_DELTA)) {
    event->delta_speaks |= name == NAME_TEXT || name == NAME_BLOCK;
  } else if (speaks_in_choice(json)) {
    event->choice_spoke = 1;
  }
}

static bool is_total(const struct json *json) {
  if (json->name != NAME_TOTAL) return false;
  if (json->depth == 1) return true;
  if (json->depth == 2) return under(json, 1, NAME_USAGE) || under(json, 1, NAME_META_INFO);
  return json->depth == 3 && under(json, 1, NAME_RESPONSE) && under(json, 2, NAME_USAGE);
}

static void note_type(const struct json *json, struct event_facts *event) {
  if (json->depth != 1 || json->name != NAME_TYPE) return;
  event->has_type = 1;
  event->type_is_delta = memcmp(json->ending, "delta", sizeof json->ending) == 0;
}

/* ---- the text, byte by byte ---- */

static void begin_string(struct json *json) {
  json->in_string = 1;
  json->captured = 0;
  memset(json->ending, 0, sizeof json->ending);
}

static void end_string(struct json *json, struct event_facts *event) {
  json->in_string = 0;
  json->after_name = json->name == NAME_NONE;
  note_type(json, event);
  json->name = NAME_NONE;
}

static void keep_ending(struct json *json, const char *data, size_t len) {
  size_t size = sizeof json->ending, taken = len < size ? len : size;
  memmove(json->ending, json->ending + taken, size - taken);
  memcpy(json->ending + size - taken, data + len - taken, taken);
}

/* More bytes of the present string. */
static void keep(struct json *json, struct event_facts *event, const char *data, size_t len) {
  size_t room = json->captured < NAME_MAX_LEN ? NAME_MAX_LEN - json->captured : 0;
  if (len == 0) return;
  if (json->captured == 0) note_text(json, event);
  memcpy(json->capture + NAME_MAX_LEN - room, data, len < room ? len : room);
  json->captured = (uint8_t)(json->captured + len < UINT8_MAX ? json->captured + len : UINT8_MAX);
  if (json->name == NAME_TYPE) keep_ending(json, data, len);
}

/* Where the string ends, or an escape in it begins. */
static const char *skip(const char *at, const char *end) {
  while (at < end && *at != '"' && *at != '\\') at++;
  return at;
}

static const char *read_string(struct json *json, struct event_facts *event, const char *at,
                               const char *end) {
  if (!json->escaped) {
    const char *stop = skip(at, end);
    keep(json, event, at, (size_t)(stop - at));
    at = stop;
  }
  if (at == end) return at;
  if (*at == '"' && !json->escaped) {
    end_string(json, event);
    return at + 1;
  }
  json->escaped = *at == '\\' && !json->escaped;
  keep(json, event, at, 1);
  return at + 1;
}

static void open_container(struct json *json, struct event_facts *event, char byte) {
  if (json->depth == 1 && json->name == NAME_CHOICES) event->has_choices = byte == '[';
  if (json->name == NAME_TOKEN_IDS && byte != '[') json->name = NAME_NONE;
  if (json->depth < PATH_DEPTH) json->path[json->depth] = json->name;
  json->depth++;
  json->name = NAME_NONE;
}

static void end_number(struct json *json, uint64_t *usage) {
  json->in_number = 0;
  if (json->number_is_whole && is_total(json) && json->number > *usage) *usage = json->number;
}

static void read_number(struct json *json, char byte) {
  if (!json->in_number) {
    json->number = 0;
    json->number_is_whole = 1;
  }
  json->in_number = 1;
  bool digit = byte >= '0' && byte <= '9' && json->number < UINT32_MAX;
  json->number_is_whole &= digit;
  if (digit) json->number = json->number * 10 + (uint64_t)(byte - '0');
}

static bool is_of_number(char byte) {
  return (byte >= '0' && byte <= '9') || byte == '-' || byte == '+' || byte == '.' || byte == 'e' ||
         byte == 'E';
}

static void read_structure(struct json *json, struct event_facts *event, char byte) {
  if (byte != ']') note_id(json, event, byte);
  switch (byte) {
    case '"':
      return begin_string(json);
    case ':':
      json->name = json->after_name ? look_up(json) : NAME_NONE;
      json->after_name = 0;
      return;
    case '{':
    case '[':
      return open_container(json, event, byte);
    case '}':
    case ']':
      end_choice(json, event);
      if (json->depth > 0) json->depth--;
      json->name = NAME_NONE;
      return;
    case ',':
      json->name = NAME_NONE;
      return;
  }
}

void json_feed(struct json *json, struct event_facts *event, uint64_t *usage, const char *data, size_t len) {
  const char *at = data, *end = data + len;
  while (at < end) {
    if (json->in_string) {
      at = read_string(json, event, at, end);
      continue;
    }
    if (json->name != NAME_NONE && is_of_number(*at)) {
      read_number(json, *at++);
      continue;
    }
    if (json->in_number) end_number(json, usage);
    read_structure(json, event, *at++);
  }
}
