/* Bodies: however a body is cut on its way, it ends at the same byte, with the same bytes passed on. */
#include "body.h"
#include "fuzz.h"

static const char *const words[] = {"\r\n",     "0\r\n\r\n",         "\n", ";", "ffff", "-1",
                                    "X: y\r\n", "Content-Length: 5", NULL};
static const char seed_text[] =
    "5\r\nhello\r\n3;a=b\r\nabc\r\n1\r\nx\r\n0\r\nX-T: 1\r\n\r\nPOST / HTTP/1.1\r\nHost: x\r\n\r\n";

struct outcome {
  bool malformed, ended;
  size_t taken, passed;
};

/* `step`: bytes of a piece; 0: drawn anew for each. */
static struct outcome follow(enum framing framing, const char *text, size_t len, size_t step,
                             uint64_t *random) {
  struct body body = {0};
  struct outcome outcome = {0};
  body_begin(&body, framing, len / 2);
  while (!body.ended && outcome.taken < len) {
    size_t size = step > 0 ? step : draw_below(random, 7) + 1;
    if (size > len - outcome.taken) size = len - outcome.taken;
    char *data = exact(text + outcome.taken, size);
    struct pieces wire = {.count = 0}, content = {.count = 0};
    long taken = body_follow(&body, data, size, (struct passing){&wire, &content});
    free(data);
    outcome.malformed = taken < 0;
    if (taken < 0) break;
    REQUIRE((size_t)taken <= size && (taken > 0 || body.ended));
    outcome.taken += (size_t)taken;
    outcome.passed += content.total;
  }
  outcome.ended = body.ended;
  body_free(&body);
  return outcome;
}

static bool once(uint64_t *random) {
  char text[sizeof seed_text];
  size_t len = sizeof seed_text - 1;
  memcpy(text, seed_text, len);
  mutate(random, text, len, words);
  enum framing framing = draw_below(random, 4) > 0 ? FRAMING_CHUNKED : FRAMING_LENGTH;
  struct outcome whole = follow(framing, text, len, len, random), cut = follow(framing, text, len, 0, random);
  REQUIRE(whole.malformed == cut.malformed);
  if (whole.malformed) return false;
  REQUIRE(whole.ended == cut.ended && whole.taken == cut.taken && whole.passed == cut.passed);
  return whole.ended;
}

static void nothing(void) {}

const struct target body_target = {"body", nothing, once, nothing};
