/* log.h - what happened, in order: a ring that the plane's thread appends to. */
#ifndef VALVE_LOG_H
#define VALVE_LOG_H

#include <pthread.h>

#include "flight.h"
#include "valve/intake.h"

struct entry {
  uint64_t t_ns;
  uint32_t kind, generation;
  void *more; /* a struct flight, or a struct note; owned */
};

/* The text of an event, and the request that caused it. */
struct note {
  struct cause {
    uint64_t readable_ns;
    struct trace trace;
  } cause;
  size_t len;
  char text[];
};

struct log {
  pthread_mutex_t mutex;
  uint64_t next;
  struct entry *entries;
};

bool log_init(struct log *log);
void log_free(struct log *log);
void log_event(struct log *log, enum vlv_event_kind kind, uint64_t t_ns, uint32_t generation);
/* An event with a text of its own. */
void log_text(struct log *log, struct entry entry, struct cause cause, const char *text, size_t len);
/* The log owns the flight from here on. */
void log_flight(struct log *log, struct flight *flight);

#endif
