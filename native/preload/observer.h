/* observer.h - reads finished RM ioctls of the application and keeps the registry and the gate right.
 *
 * The interposed ioctl() calls observer_saw() after each call whose number is of RM's, in the thread that
 * made it, before it returns to the application: a channel that is allocated while the gate is closed is
 * disabled before the application knows its handle.
 */
#ifndef VALVE_PRELOAD_OBSERVER_H
#define VALVE_PRELOAD_OBSERVER_H

#include "registry.h"

struct observer {
  struct registry *registry;
  void *context;
  /* A channel has come to be (the gate may be closed: it must not run). */
  void (*channel_added)(void *context, const struct channel *channel);
  /* The application has enabled scheduling of a group or channel by itself. */
  void (*scheduled)(void *context, rm_handle client, rm_handle object);
  uint64_t unknown; /* RM-looking calls that were passed through without being understood; atomic adds */
};

/* Cheap test by the request's number alone, for the fast path. */
static inline bool observer_wants(unsigned long request) {
  return _IOC_TYPE(request) == RM_ESCAPE && _IOC_DIR(request) == (_IOC_READ | _IOC_WRITE);
}

/* `argument` as the application passed it, after the call. A failed call (result != 0 or status != RM_OK)
 * changes nothing. Never writes to the argument; errno is left as it was. */
void observer_saw(struct observer *observer, int fd, unsigned long request, const void *argument, int result);

#endif
