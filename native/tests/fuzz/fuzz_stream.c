/* An engine's answers: tokens are counted the same however the bytes come, facts lie in what was read. */
#include "answer.h"
#include "fuzz.h"
#include "tokens.h"

static const char *const words[] = {
    "data: ",      "\n\n",    "\r\n",       "[DONE]",       "\"choices\":[",
    "{\"delta\":", "\\u00e9", "\"usage\":", "\"model\":\"", "\"finish_reason\":",
    "]]]]",        NULL};
static const char *const seeds[] = {
    "data: {\"id\":\"c-1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one\"}}]}\n\n"
    "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"two\"},\"finish_reason\":\"stop\"}]}\n\n"
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n",
    "{\"id\":\"c-1\",\"model\":\"m\",\"choices\":[{\"text\":\"a b c\",\"finish_reason\":\"length\"}],"
    "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":17,\"total_tokens\":20}}",
};

static uint64_t count(const char *text, size_t len, uint64_t *random) {
  struct tokens tokens = {0};
  for (size_t at = 0; at < len;) {
    size_t size = random != NULL ? draw_below(random, 9) + 1 : len;
    if (size > len - at) size = len - at;
    char *data = exact(text + at, size);
    tokens_feed(&tokens, data, size);
    free(data);
    at += size;
  }
  return tokens_total(&tokens);
}

static void require_inside(struct text found, const char *data, size_t len) {
  REQUIRE(found.len == 0 || (found.at >= data && found.at + found.len <= data + len));
}

static void read_facts(const char *text, size_t len) {
  struct facts facts;
  struct ends ends = {0};
  char *data = exact(text, len);
  facts_read(&facts, (struct text){data, len}, (struct text){data, len});
  require_inside(facts.model, data, len);
  require_inside(facts.response_id, data, len);
  REQUIRE(facts.finish_reasons_len <= sizeof facts.finish_reasons);
  for (int i = 0; i < 12; i++) ends_keep(&ends, data, len);
  facts_read_ends(&facts, &ends);
  free(data);
}

static bool once(uint64_t *random) {
  char text[512];
  const char *seed = seeds[draw_below(random, sizeof seeds / sizeof *seeds)];
  size_t len = strlen(seed);
  memcpy(text, seed, len);
  mutate(random, text, len, words);
  uint64_t whole = count(text, len, NULL);
  REQUIRE(whole == count(text, len, random));
  read_facts(text, len);
  return whole > 0;
}

static void nothing(void) {}

const struct target stream_target = {"stream", nothing, once, nothing};
