/* valve/plane.h - the sidecar's data plane: a thread that carries requests between clients and the engine.
 *
 * One thread, one epoll, no locks on a request's way. What it tells goes to an intake: the native one
 * (valve/intake.h), or any other that implements these calls (a test's).
 */
#ifndef VALVE_PLANE_H
#define VALVE_PLANE_H

#include <stddef.h>
#include <sys/socket.h>

#include "valve/node.h"

#define VLV_TRACEPARENT_LEN 55 /* of W3C Trace Context, without a zero byte */

/* A request's head as it is told; none of the texts ends with a zero byte. */
struct vlv_request {
  const char *method, *path, *request_id, *traceparent; /* the path is without its query */
  size_t method_len, path_len, request_id_len, traceparent_len;
  uint64_t readable_ns; /* the bytes that completed the head reached us */
  uint64_t body_len;    /* as its Content-Length says; 0: none, or not told beforehand */
  bool upgrade;         /* the connection is to become a WebSocket */
};

enum vlv_outcome {
  VLV_COMPLETED = 0,
  VLV_CLIENT_GONE = 1,
  VLV_UPSTREAM_FAILED = 2,
  VLV_REFUSED = 3,
};

enum vlv_error_kind {
  VLV_BAD_REQUEST,
  VLV_UPSTREAM_UNREACHABLE,
  VLV_UPSTREAM_TIMEOUT,
  VLV_UPSTREAM_RESET,
  VLV_UPSTREAM_MALFORMED,
  VLV_INTERNAL,
  VLV_OUT_OF_DESCRIPTORS, /* a connection waits or was refused for want of file descriptors */
  VLV_ERROR_KINDS,
};
/* "bad_request" and so on: the code in the answer and the label in the metrics. */
VLV_API const char *vlv_error_name(enum vlv_error_kind kind);

/* Told on the plane's thread. None may block. `flight` is what `arrive` returned; NULL: nothing to tell. */
struct vlv_intake_calls {
  void *(*arrive)(void *intake, const struct vlv_request *request);
  /* Content of the response (or of either side after an upgrade) passed through; len 0: something moved. */
  void (*progress)(void *intake, void *flight, const char *data, size_t len);
  void (*finish)(void *intake, void *flight, enum vlv_outcome outcome, int status);
  void (*count_error)(void *intake, enum vlv_error_kind kind);
  /* The client takes nothing, so that the engine is not read; or it takes again. May be NULL. */
  void (*hold_back)(void *intake, void *flight, bool held);
  /* Does what is due at `now_ns`; returns when to be called again, at the latest. May be NULL. */
  uint64_t (*tick)(void *intake, uint64_t now_ns);
  /* Whether the engine is to be sent `out` in place of the client's traceparent. May be NULL: it never is. */
  bool (*traceparent)(void *intake, void *flight, char out[VLV_TRACEPARENT_LEN]);
};

struct vlv_plane;

struct vlv_plane_options {
  const int *listeners; /* bound and listening sockets; the plane closes them */
  size_t listener_count;
  const char *engine;    /* its address, for messages, escaped for JSON */
  const char *authority; /* for requests without a Host */
  double keepalive_s;    /* how long an idle connection to the engine may be used again */
  double connect_timeout_s;
  double idle_timeout_s; /* of a client, from its last response: bounds slow heads too */
  const struct vlv_intake_calls *calls;
  void *intake;
};

/* Copies what it is given. NULL: no memory or no file descriptors (errno). */
VLV_API struct vlv_plane *vlv_plane_create(const struct vlv_plane_options *options);
/* Where the engine is: at most VLV_ADDRESSES_MAX addresses, tried in order. Any time, any thread. */
#define VLV_ADDRESSES_MAX 8
VLV_API void vlv_plane_set_engine(struct vlv_plane *plane, const struct sockaddr_storage *addresses,
                                  const socklen_t *lengths, size_t count);
/* Starts the thread. 0 or -errno. */
VLV_API int vlv_plane_start(struct vlv_plane *plane);
/* Runs `task` on the plane's thread, soon. Any thread. 0, or -ENOBUFS while VLV_TASKS_MAX wait already. */
#define VLV_TASKS_MAX 128
VLV_API int vlv_plane_post(struct vlv_plane *plane, void (*task)(void *, uint64_t, uint64_t), void *context,
                           uint64_t first, uint64_t second);
/* Stops listening, and serves whoever is connected: each response says that its connection ends with it, and
 * who says nothing for `patience_ns` is let go. `deserted_fd` (an eventfd) is written when nobody is
 * connected, perhaps at once; it must live until the plane has stopped. May be called again, with less
 * patience. 0, or as vlv_plane_post(). */
VLV_API int vlv_plane_retire(struct vlv_plane *plane, int deserted_fd, uint64_t patience_ns);
/* A task for vlv_plane_post(), the plane being its context: whether the engine keeps a connection open after
 * a streamed (chunked) response. Until this is said it is not relied upon. */
VLV_API void vlv_plane_reuse_streams(void *plane, uint64_t reuse, uint64_t unused);
/* A task for vlv_plane_post(): writes the eventfd. Whoever waits for it knows that the thread runs. */
VLV_API void vlv_plane_echo(void *plane, uint64_t fd, uint64_t unused);
/* How many exchanges run now. */
VLV_API uint64_t vlv_plane_exchanges(const struct vlv_plane *plane);
/* Cuts what is left, ends the thread, waits for it and frees everything. */
VLV_API void vlv_plane_stop(struct vlv_plane *plane);

#endif
