/* head.h - reads the head of an HTTP/1 message by one strict grammar (RFC 9112). Pure: no I/O, no memory. */
#ifndef VALVE_HEAD_H
#define VALVE_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#define HEAD_MAX 65536         /* bytes of a request's first line and fields */
#define HEAD_FIELDS_MAX 256    /* fields of a request */
#define ENGINE_HEAD_MAX 262144 /* the same of a response */
#define ENGINE_HEAD_FIELDS_MAX 1000

struct span {
  const char *at;
  size_t len;
};

struct field {
  struct span line; /* with its line end */
  struct span name, value;
  bool dropped; /* it does not cross the proxy */
};

/* What a head says, its fields digested. Spans point into what was read. */
struct head {
  struct span method, target; /* of a request */
  int status;                 /* of a response */
  struct span reason;
  int minor;    /* HTTP/1.<minor> */
  bool foreign; /* another version of HTTP; nothing else was read */
  struct field *fields;
  unsigned count, capacity;
  unsigned lengths, codings, hosts, connections; /* how many fields of these names */
  uint64_t length;                               /* Content-Length, if lengths > 0 */
  bool length_plain;                             /* it is written without leading zeros */
  bool lengths_differ;
  bool chunked;                                   /* the only coding is chunked */
  bool says_close, says_keep_alive, says_upgrade; /* in Connection */
  bool upgrade_websocket;                         /* Upgrade names it, and only it */
  bool expects_continue;
  struct span request_id;  /* X-Request-Id */
  struct span traceparent; /* the first one */
};

enum head_error {
  HEAD_INCOMPLETE = 0,
  HEAD_MALFORMED = -1,
  HEAD_TOO_LARGE = -2,
};

/* Read one head into `head`, whose `fields` and `capacity` the caller has set. How many bytes it takes (> 0),
 * or an enum head_error. */
long head_read_request(struct head *head, const char *data, size_t len);
long head_read_response(struct head *head, const char *data, size_t len);
/* The same for the fields of a trailer section, its empty line included. */
long head_read_trailers(struct head *head, const char *data, size_t len);

bool is_token(unsigned char byte);

/* Whether `span` is `text`, in upper or lower case. */
static inline bool span_is(struct span span, const char *text) {
  return strlen(text) == span.len && strncasecmp(span.at, text, span.len) == 0;
}

#endif
