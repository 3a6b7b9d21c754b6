/* own_channels.h - this process's own RM objects, learnt as the shim learns them: by seeing every ioctl(2).
 *
 * The program defines ioctl itself (it is linked with -rdynamic, so libcuda finds ours first), and links the
 * shim's registry, observer and channels. So the in-process figures are those of the shim's own code, without
 * the agent around it.
 */
#ifndef GPU_KIT_OWN_CHANNELS_H
#define GPU_KIT_OWN_CHANNELS_H

#include "channels.h"
#include "observer.h"
#include "rm_call.h"

/* Channels that one process may have here: a context has some tens at most. */
#define KIT_CHANNELS_MAX 1024u

extern struct channels own_channels;

/* Copies what is known now; returns how many. */
uint32_t own_channels_copy(struct channel out[KIT_CHANNELS_MAX]);
/* Requests that the observer did not understand. */
uint64_t own_channels_unknown(void);

/* One control, past everything that looks on. RM_OK, RM's status, or -errno. */
int rm_control_raw(int fd, rm_handle client, rm_handle object, uint32_t command, void *params, uint32_t size);
/* "OK", "INSUFFICIENT_PERMISSIONS", ... or the number. */
const char *rm_status_name(int status);

/* Calls `act` for runs of at most 64 channels that one FIFO_DISABLE_CHANNELS can name. The worst result. */
int rm_for_runs(const struct channel *channels, uint32_t count, bool disable);
/* GPFIFO_SCHEDULE of every group, or of the channel where it has none. The worst result. */
int rm_for_groups(const struct channel *channels, uint32_t count, bool enable);

#endif
