/* writer.h - writes heads: which fields cross the proxy, and how what follows is framed. Pure. */
#ifndef VALVE_WRITER_H
#define VALVE_WRITER_H

#include "body.h"
#include "head.h"

/* Room that a head needs beyond what was read, for our own fields. */
#define WRITER_EXTRA 1024

/* The hop-by-hop fields of a message about a WebSocket. */
#define WEBSOCKET_FIELDS "Connection: Upgrade\r\nUpgrade: websocket\r\n"

/* What a head that we write has of its own. */
struct own {
  enum framing framing;
  const char *connection; /* whole lines, or "" */
  struct span trace;      /* a traceparent in place of those that came; .len 0: they pass */
};

/* The request's target without any authority: the engine to reach is fixed. It may begin with the query, its
 * path then being "/". .len is 0 if there is none. */
struct span origin_target(struct span target);
/* Writes a request head for the engine; `host` is used only where the client (HTTP/1.0) named none. `out` has
 * room for the head that was read and WRITER_EXTRA. Returns the length. */
size_t write_request(char *out, const struct head *head, struct span target, struct span host,
                     struct own own);
/* Writes a response head for the client. */
size_t write_response(char *out, const struct head *head, struct own own);

#endif
