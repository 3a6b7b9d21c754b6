/* rm_call.h - issues RM controls, past the shim's own interposition. */
#ifndef VALVE_PRELOAD_RM_CALL_H
#define VALVE_PRELOAD_RM_CALL_H

#include "registry.h"

/* The ioctl below ours: next.c's in the shim, a script in tests. Returns 0 or -1 with errno. */
extern int (*rm_ioctl)(int fd, unsigned long request, void *argument);

/* All return RM_OK, RM's status (> 0), or -errno of the system call. `count` <= RM_CHANNELS_MAX; all channels
 * of one call have the first one's fd, client and subdevice. */
int rm_disable_channels(const struct channel *channels, uint32_t count, bool disable);
int rm_schedule_group(const struct channel *channel, bool enable);
/* A channel that stands in no group. */
int rm_schedule_channel(const struct channel *channel, bool enable);

/* True if the driver will go on refusing: permission, unknown command, wrong structure. */
bool rm_is_refusal(int result);
/* True if the handles are gone: take a new snapshot. */
bool rm_is_gone(int result);

#endif
