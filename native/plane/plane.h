/* plane.h - what the parts of the data plane share: the plane itself, a client's and an engine's connection.
 *
 * A client carries one exchange at a time. While it runs, `client->engine` and `engine->client` point at each
 * other; an engine's connection without a client is idle, in the pool.
 */
#ifndef VALVE_PLANE_STATE_H
#define VALVE_PLANE_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "body.h"
#include "endpoint.h"
#include "refusal.h"
#include "valve/plane.h"
#include "writer.h"

#define INPUT_SIZE 262144
#define HELD_MAX 65536          /* bytes of a next request that we keep before we stop reading */
#define LINGER_NS 2000000000ull /* how long we read on after a last response, which a reset would destroy */
#define ACCEPT_PAUSE_NS 100000000ull /* without file descriptors */
#define KEEPALIVE_SHARE 0.6          /* of the engine's: a POST never meets a connection that is closing */

enum client_state {
  CLIENT_WAITING, /* for a request's head */
  CLIENT_BUSY,    /* with an exchange */
  CLIENT_TUNNEL,  /* the exchange has become a WebSocket */
  CLIENT_ENDING,  /* what was written goes out, then we linger */
};

struct client {
  struct endpoint end; /* first: an endpoint is cast to what holds it */
  struct vlv_plane *plane;
  struct link all;
  enum client_state state;
  struct bytes held; /* input that nobody could take yet */
  size_t searched;   /* bytes of an unfinished head that hold no end */
  unsigned lines;    /* line feeds in them */
  bool running;      /* client_run is on the stack */
  bool shut;         /* our half is closed */
  bool queued;       /* the next request has arrived already: */
  void *next_flight;

  /* the exchange */
  struct engine *engine;
  void *flight;
  struct body upload;
  bool uploaded; /* its body is complete */
  bool http10, head_only, websocket, wants_continue;
  bool last;  /* no request can follow this one */
  int status; /* sent to the client; 0: nothing */
  int connect_error;
};

enum engine_state { ENGINE_CONNECTING, ENGINE_BUSY, ENGINE_TUNNEL, ENGINE_IDLE, ENGINE_ENDING };

struct engine {
  struct endpoint end;
  struct vlv_plane *plane;
  struct client *client;
  enum engine_state state;
  size_t address;    /* index of the one that is tried */
  struct bytes held; /* of an unfinished head */
  struct body download;
  enum framing sent_as; /* to the client */
  bool answered;        /* the final response's head has passed */
  bool ends;            /* it will not be used again */
};

struct task {
  void (*run)(void *context, uint64_t first, uint64_t second);
  void *context;
  uint64_t first, second;
};

struct vlv_plane {
  int epoll_fd;                   /* engines, and what follows */
  struct endpoint wake, arrivals; /* arrivals: an epoll of clients and listeners */
  struct endpoint *listeners;
  size_t listener_count;
  bool listening;
  uint64_t listen_again_ns; /* 0: not paused */
  struct link clients;
  struct link idle, connecting, pool, ending; /* by endpoint.timer: oldest first */
  struct link dying;                          /* closed: freed after the present events */
  bool retiring, reuses_streams;
  _Atomic bool stopping;
  bool coarse; /* the kernel waits by the millisecond */
  int deserted_fd;
  _Atomic uint64_t exchanges;
  uint64_t keepalive_ns, connect_timeout_ns, idle_timeout_ns, now_ns, tick_ns;
  struct vlv_intake_calls calls;
  void *intake;
  char *engine_name, *authority;
  double connect_timeout_s;

  pthread_t thread;
  pthread_mutex_t mutex; /* of what follows */
  struct task tasks[VLV_TASKS_MAX];
  size_t task_count;
  struct sockaddr_storage addresses[VLV_ADDRESSES_MAX];
  socklen_t address_lengths[VLV_ADDRESSES_MAX];
  size_t address_count;

  struct field fields[ENGINE_HEAD_FIELDS_MAX];
  struct pieces wire, content, spare;
  char input[INPUT_SIZE];
  char output[ENGINE_HEAD_MAX + WRITER_EXTRA];
};

/* ---- timers.c ---- */
void timer_start(struct vlv_plane *plane, struct link *list, struct endpoint *endpoint);
/* All of the list, from now. */
void timers_restart(struct vlv_plane *plane, struct link *list);
/* NULL: the list is empty. */
struct endpoint *timer_oldest(struct link *list);
/* Does what is due. */
void keep_time(struct vlv_plane *plane);
/* Until something is due; UINT64_MAX: for ever. */
uint64_t time_left_ns(struct vlv_plane *plane);
void close_endpoint(struct endpoint *endpoint);

/* ---- plane.c ---- */
/* Closed: freed once the present events are done. */
void bury(struct vlv_plane *plane, struct endpoint *endpoint);
void exchange_counted(struct vlv_plane *plane, int change);
/* A connection has ended, and is in no list any more. */
void client_left(struct vlv_plane *plane);
void pieces_reset(struct pieces *pieces);

/* ---- client.c: a client's connection ---- */
/* Whether more may wait. */
bool client_accept(struct vlv_plane *plane, const struct endpoint *listener);
void client_event(struct client *client, uint32_t events);
/* It has been silent for too long. */
void client_expire(struct client *client);
/* The response is out. `keep`: another request may follow. */
void client_done(struct client *client, bool keep);
/* Answers what has not become an exchange; the connection ends with that. */
void client_refuse(struct client *client, enum refusal refusal);
/* No more requests: closes once what was written is out and was taken. */
void client_end(struct client *client);
/* Closes now. `outcome`: of what runs. `reset`: where a plain end would look complete. */
void client_close(struct client *client, enum vlv_outcome outcome, bool reset);

/* ---- arrival.c: requests as they arrive ---- */
/* Input of a client that waits for a request. */
void arrival_take(struct client *client, const char *data, size_t len);
/* Input that nobody can take yet. */
void arrival_hold(struct client *client, const char *data, size_t len);
/* The next request arrives while this one runs: the gate hears of it now. */
void arrival_note_next(struct client *client);
/* With the next request, but not before the answers to the last ones have been taken: they would pile up. */
void arrival_go_on(struct client *client);

/* ---- engine.c: a connection to the engine ---- */
/* An idle connection or a new one, joined to `client`; NULL: none could be made (client->connect_error). */
struct engine *engine_take(struct client *client);
void engine_event(struct engine *engine, uint32_t events);
/* Its exchange is over. */
void engine_leave(struct engine *engine, bool reusable);
void engine_close(struct engine *engine, bool reset);
/* Closes once what was written is out. */
void engine_end(struct engine *engine);

/* ---- request.c: a request on its way to the engine ---- */
/* Begins with a head that was read, and what follows it. Returns how much of that it took. */
size_t request_begin(struct client *client, struct head *head, const char *rest, size_t len);
/* More of its body. Returns how much it took. */
size_t request_follow(struct client *client, const char *data, size_t len);
/* Answers in the engine's stead; what runs ends with that. */
void request_refuse(struct client *client, enum refusal refusal, int error);
/* Tells the intake that what runs is over. */
void exchange_finish(struct client *client, enum vlv_outcome outcome);

/* ---- response.c: the response on its way to the client ---- */
void response_follow(struct engine *engine, const char *data, size_t len);
/* The client takes nothing, so that the engine is not read; or it takes again. */
void response_hold_back(struct engine *engine, bool held);
/* The engine closed, or `reset`, its connection. */
void response_ended(struct engine *engine, bool reset);

/* ---- tunnel.c: an upgraded connection ---- */
void tunnel_begin(struct engine *engine, const char *data, size_t len);
void tunnel_up(struct client *client, const char *data, size_t len);
void tunnel_down(struct engine *engine, const char *data, size_t len);
void tunnel_client_ended(struct client *client);
void tunnel_engine_ended(struct engine *engine);

#endif
