/* registry.h - what this process has allocated in RM: clients, devices, subdevices, channel groups, channels.
 *
 * Pure bookkeeping behind one lock; nothing here makes a system call. Handles are unique within a client. A
 * client is named by its root handle and reached through `fd`, the descriptor by which the latest successful
 * call named it: RM accepts a client's handles through that open file only.
 */
#ifndef VALVE_PRELOAD_REGISTRY_H
#define VALVE_PRELOAD_REGISTRY_H

#include <stddef.h>

#include "rm.h"

/* A channel, with all that is needed to control it. `group` and `subdevice` are 0 where none is known. */
struct channel {
  int fd;
  rm_handle client, device, subdevice, group, channel;
};

struct registry;

/* -ENOMEM. */
int registry_create(struct registry **out);
void registry_destroy(struct registry *registry);
/* Forgets everything; also mends the lock, so that a forked child may call it first of all. */
void registry_reset_after_fork(struct registry *registry);

/* An object came to be; classes that no channel hangs on are passed over. 0, 1: it is a channel, -errno. */
int registry_add(struct registry *registry, int fd, rm_handle client, rm_handle parent, rm_handle object,
                 uint32_t class_id);
/* An object came to be that is another name of a known one (of any client's). As registry_add(). */
int registry_dup(struct registry *registry, int fd, rm_handle client, rm_handle parent, rm_handle object,
                 rm_handle client_source, rm_handle object_source);
/* An object and everything below it went; the client itself where object == client. */
void registry_remove(struct registry *registry, rm_handle client, rm_handle object);
/* `client` was named in a successful call through `fd`. */
void registry_seen(struct registry *registry, int fd, rm_handle client);
/* `fd` was closed: clients that were reached through it are not reachable (fd -1) until seen again. */
void registry_fd_closed(struct registry *registry, int fd);
uint32_t registry_channels(struct registry *registry);

/* Sets the gate and copies all channels under one lock, so that of a channel that is added meanwhile and a
 * change of the gate at least one sees the other. *out is malloc'ed (NULL for none), sorted by client,
 * subdevice, group. Returns how many, or -ENOMEM (the gate is set all the same). */
int registry_set_closed(struct registry *registry, bool closed, struct channel **out);
/* The same without setting it. */
int registry_snapshot(struct registry *registry, struct channel **out);
bool registry_is_closed(struct registry *registry);
/* 1 and the channel's entry, 0 if it is gone. */
int registry_find(struct registry *registry, rm_handle client, rm_handle channel, struct channel *out);

#endif
