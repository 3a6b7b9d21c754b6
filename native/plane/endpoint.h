/* endpoint.h - one end of a connection: its socket, what the kernel has not taken yet, what epoll watches. */
#ifndef VALVE_ENDPOINT_H
#define VALVE_ENDPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "list.h"
#include "pieces.h"

enum role { ROLE_LISTENER, ROLE_WAKE, ROLE_CLIENT, ROLE_ENGINE, ROLE_CLIENTS };

struct endpoint {
  enum role role;
  int fd;      /* -1: none */
  bool closed; /* for good; freed once the present events are done */
  int epoll_fd;
  uint32_t watched;
  bool paused;     /* we do not read */
  bool connecting; /* to be told when it can be written */
  bool broken;     /* writing failed: what is written is dropped, reading tells why */
  bool lost;       /* epoll told of an error while we do not read */
  bool keeps_half; /* the other side may end its half of a tunnel: reading tells, in its turn */
  struct bytes out;
  struct link timer; /* in one of the plane's lists */
  uint64_t timer_ns; /* since when */
};

/* Watches `fd`. 0 or -errno. */
int endpoint_open(struct endpoint *endpoint, enum role role, int epoll_fd, int fd);
/* Sends now what the kernel takes and keeps the rest. */
void endpoint_send(struct endpoint *endpoint, const struct pieces *pieces);
void endpoint_write(struct endpoint *endpoint, const void *data, size_t len);
/* Sends what was kept. */
void endpoint_flush(struct endpoint *endpoint);
void endpoint_pause(struct endpoint *endpoint, bool paused);
/* Watches for what the fields say now. */
void endpoint_watch(struct endpoint *endpoint);
/* After an error while we do not read: no more events until reading goes on. */
void endpoint_silence(struct endpoint *endpoint);
/* `reset`: the other side sees at once that this was no regular end, whatever is unsent. */
void endpoint_close(struct endpoint *endpoint, bool reset);

#endif
