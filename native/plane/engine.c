/* A connection to the engine: made, pooled, and never used again once the engine may be about to close it. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "plane.h"

static void join(struct engine *engine, struct client *client) {
  engine->client = client;
  client->engine = engine;
  engine->answered = engine->ends = false;
}

static void part(struct engine *engine) {
  if (engine->client != NULL) engine->client->engine = NULL;
  engine->client = NULL;
}

void engine_close(struct engine *engine, bool reset) {
  if (engine->end.closed) return;
  part(engine);
  bytes_free(&engine->held);
  body_free(&engine->download);
  endpoint_close(&engine->end, reset);
  bury(engine->plane, &engine->end);
}

void engine_end(struct engine *engine) {
  part(engine);
  engine->state = ENGINE_ENDING;
  if (engine->end.out.len == 0 || engine->end.broken) return engine_close(engine, false);
  endpoint_pause(&engine->end, true);
  timer_start(engine->plane, &engine->plane->ending, &engine->end);
}

void engine_leave(struct engine *engine, bool reusable) {
  if (!reusable || engine->end.out.len > 0 || engine->end.broken) return engine_close(engine, false);
  part(engine);
  engine->state = ENGINE_IDLE;
  endpoint_pause(&engine->end, false);
  timer_start(engine->plane, &engine->plane->pool, &engine->end);
}

/* ---- connecting ---- */

/* Connections within a machine are there at once, although they are said to be in progress. */
static bool is_established(int fd) {
  struct tcp_info info;
  socklen_t len = sizeof info;
  return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_state == TCP_ESTABLISHED;
}

static void set_options(int fd) {
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

/* A socket that is connected or about to be: *connecting. Or -errno. */
static int begin_connect(struct vlv_plane *plane, size_t index, bool *connecting) {
  pthread_mutex_lock(&plane->mutex);
  bool known = index < plane->address_count;
  struct sockaddr_storage address = plane->addresses[known ? index : 0];
  socklen_t len = plane->address_lengths[known ? index : 0];
  pthread_mutex_unlock(&plane->mutex);
  if (!known) return -EADDRNOTAVAIL;
  int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  if (address.ss_family != AF_UNIX) set_options(fd);
  int result = connect(fd, (struct sockaddr *)&address, len) < 0 ? -errno : 0;
  *connecting = result == -EINPROGRESS && !is_established(fd);
  if (result == 0 || result == -EINPROGRESS) return fd;
  close(fd);
  return result;
}

/* Tries the addresses from engine->address on. 0, or the error of the last one. */
static int try_addresses(struct engine *engine) {
  struct vlv_plane *plane = engine->plane;
  int result = -EADDRNOTAVAIL, last = -EADDRNOTAVAIL;
  for (;; engine->address++) {
    bool connecting = false;
    result = begin_connect(plane, engine->address, &connecting);
    if (result == -EADDRNOTAVAIL) return last;
    last = result;
    if (result < 0) continue;
    engine->end.connecting = connecting;
    engine->state = connecting ? ENGINE_CONNECTING : ENGINE_BUSY;
    return endpoint_open(&engine->end, ROLE_ENGINE, plane->epoll_fd, result);
  }
}

static struct engine *engine_connect(struct client *client) {
  struct vlv_plane *plane = client->plane;
  struct engine *engine = calloc(1, sizeof *engine);
  client->connect_error = ENOMEM;
  if (engine == NULL) return NULL;
  engine->plane = plane;
  engine->end.fd = -1;
  client->connect_error = -try_addresses(engine);
  if (client->connect_error != 0) {
    if (engine->end.fd >= 0) close(engine->end.fd);
    free(engine);
    return NULL;
  }
  if (engine->end.connecting) timer_start(plane, &plane->connecting, &engine->end);
  return engine;
}

struct engine *engine_take(struct client *client) {
  struct vlv_plane *plane = client->plane;
  struct engine *engine;
  if (list_empty(&plane->pool)) {
    engine = engine_connect(client);
    if (engine == NULL) return NULL;
  } else { /* the one that was used last: its keep-alive is the longest */
    engine = (struct engine *)member_of(struct endpoint, timer, plane->pool.previous);
    list_remove(&engine->end.timer);
    engine->state = ENGINE_BUSY;
  }
  join(engine, client);
  return engine;
}

static void connected(struct engine *engine) {
  engine->end.connecting = false;
  engine->state = ENGINE_BUSY;
  list_remove(&engine->end.timer);
}

/* The next address, with what has been written so far. */
static void try_next(struct engine *engine, int error) {
  close(engine->end.fd);
  engine->end.fd = -1;
  engine->address++;
  int result = try_addresses(engine);
  if (result < 0)
    request_refuse(engine->client, REFUSAL_UNREACHABLE, result == -EADDRNOTAVAIL ? error : -result);
}

/* ---- events ---- */

static void send_output(struct engine *engine) {
  endpoint_flush(&engine->end);
  if (engine->end.out.len > 0) return;
  if (engine->state == ENGINE_ENDING) return engine_close(engine, false);
  if (engine->client != NULL) endpoint_pause(&engine->client->end, false);
}

static void finish_connecting(struct engine *engine) {
  int error = 0;
  socklen_t len = sizeof error;
  getsockopt(engine->end.fd, SOL_SOCKET, SO_ERROR, &error, &len);
  if (error != 0) return try_next(engine, error);
  connected(engine);
  send_output(engine);
  endpoint_watch(&engine->end);
}

static void ended(struct engine *engine, bool reset) {
  if (engine->state == ENGINE_TUNNEL) return tunnel_engine_ended(engine);
  response_ended(engine, reset);
}

static void read_input(struct engine *engine) {
  char *data = engine->plane->input;
  ssize_t got = recv(engine->end.fd, data, INPUT_SIZE, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return ended(engine, got < 0);
  if (engine->state == ENGINE_TUNNEL) return tunnel_down(engine, data, (size_t)got);
  response_follow(engine, data, (size_t)got);
}

/* On an idle connection nothing is expected: what comes would answer the wrong request. */
void engine_event(struct engine *engine, uint32_t events) {
  if (engine->state == ENGINE_IDLE) return engine_close(engine, false);
  if (engine->state == ENGINE_CONNECTING) return finish_connecting(engine);
  if (events & EPOLLOUT) send_output(engine);
  if (engine->end.closed) return;
  bool failed = events & (EPOLLERR | EPOLLHUP);
  if (engine->state == ENGINE_ENDING && failed) return engine_close(engine, false);
  if (engine->end.paused && failed) return endpoint_silence(&engine->end);
  if (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) read_input(engine);
}
