/* rm_channel.h - a channel's thread, stopped at any instruction.
 *
 * The thread executes work only between fake_rm_enter() and fake_rm_leave(), with the stop signal unblocked
 * there and nowhere else; so it is stopped in the midst of a kernel, and never while it holds a lock. Who
 * stops it first sets a reason in `stop`, then looks at `running`; the thread first sets `running`, then
 * looks at `stop`.
 */
#ifndef FAKE_RM_CHANNEL_H
#define FAKE_RM_CHANNEL_H

#include "rm_file.h"

/* Sets and clears reasons; where a reason is set, returns once the thread stands still. RM_OK, or
 * RM_ERR_TIMEOUT after a second. A dead thread stands still. */
uint32_t rm_channel_stop(struct rm_object *channel, uint32_t reasons);
void rm_channel_clear(struct rm_object *channel, uint32_t reasons);
/* The calling thread is the channel's from now on. */
void rm_channel_bind(struct rm_object *channel);

/* For libcuda, by dlsym. */
__attribute__((visibility("default"))) void fake_rm_enter(void);
__attribute__((visibility("default"))) void fake_rm_leave(void);

#endif
