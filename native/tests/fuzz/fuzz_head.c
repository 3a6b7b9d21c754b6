/* Heads of requests and responses, and trailers: what is read lies in what was given, and no head holds
 * another. */
#include "fuzz.h"
#include "head.h"
#include "refusal.h"

static const char *const words[] = {"\r\n\r\n",
                                    "\r\n",
                                    "\n",
                                    ": ",
                                    "Content-Length: ",
                                    "Transfer-Encoding: chunked",
                                    "HTTP/1.0",
                                    "http://x/",
                                    "Host: ",
                                    "Connection: close",
                                    "Upgrade: websocket",
                                    "traceparent: ",
                                    NULL};
static const char *const seeds[] = {
    "POST /v1/completions?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nX-Request-Id: r-1\r\n\r\nabc",
    "GET http://x.example/a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "POST / HTTP/1.0\r\ntransfer-encoding:\tchunked \r\nConnection: close, x\r\nExpect: 100-continue\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: \xe9\r\n\r\n5\r\nhello\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "X-Trailer: a\r\nY: b\r\n\r\n",
};
static struct field fields[ENGINE_HEAD_FIELDS_MAX];

static void require_inside(struct span span, const char *data, long taken) {
  REQUIRE(span.len == 0 || (span.at >= data && span.at + span.len <= data + taken));
}

static void require_head_inside(const struct head *head, const char *data, long taken) {
  struct span spans[] = {head->method, head->target, head->reason, head->request_id, head->traceparent};
  for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) require_inside(spans[i], data, taken);
  for (unsigned i = 0; i < head->count; i++) {
    require_inside(head->fields[i].name, data, taken);
    require_inside(head->fields[i].value, data, taken);
    require_inside(head->fields[i].line, data, taken);
  }
}

static bool read_whole(long (*read)(struct head *, const char *, size_t), uint64_t *random, const char *text,
                       size_t len) {
  struct head head = {.fields = fields, .capacity = HEAD_FIELDS_MAX};
  char *data = exact(text, len);
  long taken = read(&head, data, len);
  REQUIRE(taken <= (long)len);
  if (taken > 0 && !head.foreign) {
    require_head_inside(&head, data, taken);
    if (head.method.len > 0) objection(&head);
    for (size_t cut = draw_below(random, (size_t)taken); cut < (size_t)taken; cut += 1 + cut / 2)
      REQUIRE(read(&head, data, cut) <= 0);
  }
  free(data);
  return taken > 0;
}

static bool once(uint64_t *random) {
  char text[512];
  const char *seed = seeds[draw_below(random, sizeof seeds / sizeof *seeds)];
  size_t len = strlen(seed);
  memcpy(text, seed, len);
  mutate(random, text, len, words);
  bool request = read_whole(head_read_request, random, text, len);
  bool response = read_whole(head_read_response, random, text, len);
  read_whole(head_read_trailers, random, text, len);
  REQUIRE(!(request && response));
  return request || response;
}

static void nothing(void) {}

const struct target head_target = {"head", nothing, once, nothing};
