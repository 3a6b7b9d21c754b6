/* channels.h - the `channels` mechanism: takes this process's GPU channels off the hardware, mid-kernel.
 *
 * First way FIFO_DISABLE_CHANNELS in chunks of 64; where that is refused, or fails four times in a row,
 * GPFIFO_SCHEDULE(false) per group.
 * Both calls return when the hardware has let go, so the call's return is the acknowledgement.
 *
 * One lock is held over each decision and the controls that carry it out, so the agent's thread and those of
 * the application that add channels cannot overtake one another: a channel is either in the list that a stop
 * works through, or is added after it and disabled by channels_added(). An application's thread waits for it
 * only while it adds a channel.
 */
#ifndef VALVE_PRELOAD_CHANNELS_H
#define VALVE_PRELOAD_CHANNELS_H

#include <pthread.h>
#include <stdatomic.h>

#include "registry.h"

enum channels_way { CHANNELS_BY_DISABLE, CHANNELS_BY_SCHEDULE, CHANNELS_REFUSED };

struct channels {
  struct registry *registry;
  pthread_mutex_t lock;
  bool used[CHANNELS_REFUSED]; /* by enum channels_way: something may be disabled so */
  uint32_t failures;           /* stops in a row in which every control failed, none was refused */
  _Atomic int way;             /* enum channels_way */
  _Atomic bool missed;         /* a channel was added while closed and may run: stop again */
  _Atomic uint64_t refusals;   /* ways that RM refused */
  _Atomic uint64_t vanished;   /* channels that were freed while being stopped */
};

void channels_create(struct channels *channels, struct registry *registry);

/* Closes: every channel known now is off the hardware, every later one will be disabled by
 * channels_added(). 0; -EPERM: both ways are refused (way == CHANNELS_REFUSED: use another mechanism, all
 * that was disabled is enabled again); -EIO: some channel could not be stopped, call again. */
int channels_stop(struct channels *channels);
/* Opens. 0, or -EIO: call again. What has been freed meanwhile is fine. */
int channels_resume(struct channels *channels);
/* For observer.channel_added and observer.scheduled (object is a group or a channel): disables again what the
 * closed gate wants disabled. */
void channels_added(struct channels *channels, const struct channel *channel);
void channels_scheduled(struct channels *channels, rm_handle client, rm_handle object);
/* In a forked child: nothing is disabled, nobody holds the lock. */
void channels_reset_after_fork(struct channels *channels);

#endif
