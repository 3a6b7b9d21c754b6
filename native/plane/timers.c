/* The plane's time-outs: lists of endpoints, each with one time for all, so that the oldest comes first. */
#include "plane.h"

void timer_start(struct vlv_plane *plane, struct link *list, struct endpoint *endpoint) {
  endpoint->timer_ns = plane->now_ns;
  list_append(list, &endpoint->timer);
}

void timers_restart(struct vlv_plane *plane, struct link *list) {
  for (struct link *link = list->next; link != list; link = link->next)
    member_of(struct endpoint, timer, link)->timer_ns = plane->now_ns;
}

struct endpoint *timer_oldest(struct link *list) {
  return list_empty(list) ? NULL : member_of(struct endpoint, timer, list->next);
}

static void expire(struct vlv_plane *plane, struct link *list, uint64_t after_ns,
                   void (*act)(struct endpoint *)) {
  struct endpoint *endpoint;
  while ((endpoint = timer_oldest(list)) != NULL && endpoint->timer_ns + after_ns <= plane->now_ns) {
    list_remove(&endpoint->timer);
    act(endpoint);
  }
}

void close_endpoint(struct endpoint *endpoint) {
  if (endpoint->role == ROLE_CLIENT)
    client_close((struct client *)endpoint, VLV_REFUSED, false);
  else
    engine_close((struct engine *)endpoint, false);
}

static void silent(struct endpoint *endpoint) {
  client_expire((struct client *)endpoint);
}

static void too_late(struct endpoint *endpoint) {
  request_refuse(((struct engine *)endpoint)->client, REFUSAL_LATE, 0);
}

static void listen_again(struct vlv_plane *plane) {
  if (plane->listen_again_ns == 0 || plane->listen_again_ns > plane->now_ns) return;
  plane->listen_again_ns = 0;
  for (size_t i = 0; i < plane->listener_count; i++) endpoint_pause(&plane->listeners[i], false);
}

void keep_time(struct vlv_plane *plane) {
  expire(plane, &plane->idle, plane->idle_timeout_ns, silent);
  expire(plane, &plane->pool, plane->keepalive_ns, close_endpoint);
  expire(plane, &plane->connecting, plane->connect_timeout_ns, too_late);
  expire(plane, &plane->ending, LINGER_NS, close_endpoint);
  listen_again(plane);
  plane->tick_ns = plane->calls.tick != NULL ? plane->calls.tick(plane->intake, plane->now_ns) : UINT64_MAX;
}

static uint64_t earlier(uint64_t deadline_ns, struct link *list, uint64_t after_ns) {
  struct endpoint *endpoint = timer_oldest(list);
  uint64_t other_ns = endpoint != NULL ? endpoint->timer_ns + after_ns : UINT64_MAX;
  return other_ns < deadline_ns ? other_ns : deadline_ns;
}

uint64_t time_left_ns(struct vlv_plane *plane) {
  uint64_t next_ns = plane->listen_again_ns > 0 ? plane->listen_again_ns : UINT64_MAX;
  if (plane->tick_ns < next_ns) next_ns = plane->tick_ns;
  next_ns = earlier(next_ns, &plane->idle, plane->idle_timeout_ns);
  next_ns = earlier(next_ns, &plane->pool, plane->keepalive_ns);
  next_ns = earlier(next_ns, &plane->connecting, plane->connect_timeout_ns);
  next_ns = earlier(next_ns, &plane->ending, LINGER_NS);
  if (next_ns == UINT64_MAX) return UINT64_MAX;
  return next_ns <= plane->now_ns ? 0 : next_ns - plane->now_ns;
}
