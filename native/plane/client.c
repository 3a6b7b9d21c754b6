/* A client's connection: its coming and going, and its events. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "plane.h"
#include "writer.h"

#define ACCEPTS_AT_ONCE 64
#define FIRST_READ 32768 /* of a request: the gate does not wait for a long prompt to be copied */

/* ---- coming and going ---- */

/* Those who wait are served once a connection has ended: see bury(). */
static void pause_listening(struct vlv_plane *plane) {
  plane->calls.count_error(plane->intake, VLV_OUT_OF_DESCRIPTORS);
  plane->listen_again_ns = plane->now_ns + ACCEPT_PAUSE_NS;
  for (size_t i = 0; i < plane->listener_count; i++) endpoint_pause(&plane->listeners[i], true);
}

static void welcome(struct vlv_plane *plane, int fd) {
  struct client *client = calloc(1, sizeof *client);
  struct endpoint endpoint = {.fd = fd};
  if (client == NULL) return endpoint_close(&endpoint, false);
  client->plane = plane;
  list_append(&plane->clients, &client->all);
  if (endpoint_open(&client->end, ROLE_CLIENT, plane->arrivals.fd, fd) < 0)
    return client_close(client, VLV_REFUSED, false);
  timer_start(plane, &plane->idle, &client->end);
}

static bool is_exhausted(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/* An idle connection to the engine is worth less than a client. */
static bool spare_one(struct vlv_plane *plane) {
  if (list_empty(&plane->pool)) return false;
  close_endpoint(timer_oldest(&plane->pool));
  return true;
}

bool client_accept(struct vlv_plane *plane, const struct endpoint *listener) {
  for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
      welcome(plane, fd);
    else if (errno == EAGAIN)
      return false;
    else if (is_exhausted(errno) && !spare_one(plane)) {
      pause_listening(plane);
      return false;
    }
  }
  return true;
}

/* A request that has arrived but was never passed on. */
static void drop_next(struct client *client) {
  if (!client->queued) return;
  client->queued = false;
  if (client->next_flight != NULL)
    client->plane->calls.finish(client->plane->intake, client->next_flight, VLV_REFUSED, 0);
  exchange_counted(client->plane, -1);
}

void client_close(struct client *client, enum vlv_outcome outcome, bool reset) {
  struct engine *engine = client->engine;
  if (client->end.closed) return;
  bool running = client->state == CLIENT_BUSY || client->state == CLIENT_TUNNEL;
  if (engine != NULL) engine_close(engine, !client->uploaded);
  if (running) exchange_finish(client, outcome);
  drop_next(client);
  client->state = CLIENT_ENDING;
  bytes_free(&client->held);
  body_free(&client->upload);
  endpoint_close(&client->end, reset);
  list_remove(&client->all);
  client_left(client->plane);
  bury(client->plane, &client->end);
}

/* Our half is closed; what the client still sends is read and dropped, or a reset would destroy the answer.
 */
static void linger(struct client *client) {
  client->shut = true;
  shutdown(client->end.fd, SHUT_WR);
  timer_start(client->plane, &client->plane->ending, &client->end);
}

void client_end(struct client *client) {
  client->state = CLIENT_ENDING;
  drop_next(client);
  bytes_free(&client->held);
  list_remove(&client->end.timer);
  endpoint_pause(&client->end, false);
  if (client->end.broken) return client_close(client, VLV_CLIENT_GONE, true); /* it must not look complete */
  if (client->end.out.len == 0) linger(client);
}

/* ---- requests ---- */

void client_done(struct client *client, bool keep) {
  if (client->end.broken) return client_close(client, VLV_CLIENT_GONE, true); /* it must not look complete */
  if (!keep) return client_end(client);
  client->state = CLIENT_WAITING;
  arrival_go_on(client);
}

/* ---- events ---- */

static void take_while_busy(struct client *client, const char *data, size_t len) {
  size_t took = client->uploaded ? 0 : request_follow(client, data, len);
  if (client->state == CLIENT_WAITING) return arrival_take(client, data + took, len - took);
  if (client->state != CLIENT_BUSY || took == len) return;
  arrival_hold(client, data + took, len - took);
  if (client->state == CLIENT_BUSY) arrival_note_next(client);
}

static void read_input(struct client *client) {
  char *data = client->plane->input;
  size_t most = client->state == CLIENT_WAITING ? FIRST_READ : INPUT_SIZE;
  ssize_t got = recv(client->end.fd, data, most, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got == 0 && client->state == CLIENT_TUNNEL) return tunnel_client_ended(client);
  if (got <= 0) return client_close(client, VLV_CLIENT_GONE, false);
  if (client->state == CLIENT_WAITING)
    arrival_take(client, data, (size_t)got);
  else if (client->state == CLIENT_BUSY)
    take_while_busy(client, data, (size_t)got);
  else if (client->state == CLIENT_TUNNEL)
    tunnel_up(client, data, (size_t)got);
}

/* What it sends in this moment still counts, unless it is a part of a head. */
void client_expire(struct client *client) {
  if (!client->end.paused) read_input(client);
  bool silent = client->state == CLIENT_WAITING && client->end.timer.next == NULL;
  if (silent) client_close(client, VLV_REFUSED, false);
}

static void send_output(struct client *client) {
  endpoint_flush(&client->end);
  if (client->end.out.len > 0) return;
  if (client->engine != NULL) response_hold_back(client->engine, false);
  if (client->state == CLIENT_WAITING) arrival_go_on(client);
  if (client->state == CLIENT_ENDING && !client->shut) linger(client);
}

/* The client hung up. Half-closing counts as that, as it does for the engines themselves: TCP does not tell
 * the two apart, and a cancelled request must not go on computing. */
static void hung_up(struct client *client) {
  if (client->state != CLIENT_ENDING || client->end.out.len == 0)
    return client_close(client, VLV_CLIENT_GONE, false);
  client->end.keeps_half = true; /* it may still read what is on its way */
  endpoint_pause(&client->end, true);
  endpoint_watch(&client->end);
}

/* What a tunnel's client sent before it went still goes out. */
static void failed(struct client *client) {
  if (client->state != CLIENT_TUNNEL) return client_close(client, VLV_CLIENT_GONE, false);
  if (client->end.paused) return endpoint_silence(&client->end);
  read_input(client);
}

void client_event(struct client *client, uint32_t events) {
  if (events & (EPOLLERR | EPOLLHUP)) return failed(client);
  if (events & EPOLLOUT) send_output(client);
  if (!client->end.closed && events & EPOLLRDHUP) return hung_up(client);
  if (!client->end.closed && events & EPOLLIN && !client->end.paused) read_input(client);
}
