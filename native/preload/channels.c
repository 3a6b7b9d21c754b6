#include "channels.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rm_call.h"

/* After so many stops in a row in which no control succeeded, the failure is taken for a refusal. */
#define FAILURES_MAX 4u

/* A list of channels, sorted as the registry sorts. */
struct list {
  const struct channel *channels;
  uint32_t count;
};

/* What is asked of RM for them. */
struct wish {
  int way; /* enum channels_way */
  bool disable;
};

void channels_create(struct channels *channels, struct registry *registry) {
  memset(channels, 0, sizeof *channels);
  channels->registry = registry;
  pthread_mutex_init(&channels->lock, NULL);
}

void channels_reset_after_fork(struct channels *channels) {
  channels_create(channels, channels->registry);
}

/* ---- one control, and what its answer means ---- */

static bool is_known(struct channels *self, const struct channel *channel) {
  struct channel found;
  return registry_find(self->registry, channel->client, channel->channel, &found) == 1;
}

/* RM does not know the channels of `run`. What the registry has forgotten too was freed; what it has not may
 * be about to be, or may run. */
static int look_again(struct channels *self, struct list run) {
  for (uint32_t i = 0; i < run.count; i++)
    if (is_known(self, &run.channels[i])) return -EIO;
  atomic_fetch_add(&self->vanished, run.count);
  return 0;
}

/* After an error it may have been done all the same. */
static int judge(struct channels *self, struct list run, struct wish wish, int result) {
  bool gone = rm_is_gone(result), refused = rm_is_refusal(result);
  if (result == RM_OK) self->failures = 0;
  if (wish.disable && !gone && !refused) self->used[wish.way] = true;
  if (gone) return look_again(self, run);
  return result == RM_OK ? 0 : refused ? -EPERM : -EIO;
}

/* RM refuses a whole chunk for one channel that is gone. */
static int disable_singly(struct channels *self, struct list run, struct wish wish) {
  int worst = 0;
  for (uint32_t i = 0; i < run.count; i++) {
    struct list one = {&run.channels[i], 1};
    int rc = judge(self, one, wish, rm_disable_channels(one.channels, 1, wish.disable));
    if (rc < 0) worst = rc;
  }
  return worst;
}

static int disable_run(struct channels *self, struct list run, struct wish wish) {
  if (run.channels[0].subdevice == 0) return -EPERM;
  int result = rm_disable_channels(run.channels, run.count, wish.disable);
  if (run.count > 1 && rm_is_gone(result)) return disable_singly(self, run, wish);
  return judge(self, run, wish, result);
}

static int schedule_run(struct channels *self, struct list run, struct wish wish) {
  const struct channel *first = &run.channels[0];
  int result =
      first->group ? rm_schedule_group(first, !wish.disable) : rm_schedule_channel(first, !wish.disable);
  return judge(self, run, wish, result);
}

/* ---- a whole list, in one way ---- */

static bool is_one_subdevice(const struct channel *a, const struct channel *b) {
  return a->client == b->client && a->subdevice == b->subdevice;
}

static bool is_one_group(const struct channel *a, const struct channel *b) {
  return a->client == b->client && a->group == b->group && a->group != 0;
}

static uint32_t measure_run(struct list list, int way) {
  uint32_t count = 1, most = way == CHANNELS_BY_DISABLE ? RM_CHANNELS_MAX : UINT32_MAX;
  bool (*same)(const struct channel *, const struct channel *) =
      way == CHANNELS_BY_DISABLE ? is_one_subdevice : is_one_group;
  while (count < list.count && count < most && same(&list.channels[0], &list.channels[count])) count++;
  return count;
}

/* Goes on after an error: what can be stopped is stopped. A refusal ends it. */
static int apply(struct channels *self, struct list list, struct wish wish) {
  int worst = 0;
  for (uint32_t count; list.count > 0; list.channels += count, list.count -= count) {
    count = measure_run(list, wish.way);
    struct list run = {list.channels, count};
    int rc = wish.way == CHANNELS_BY_DISABLE ? disable_run(self, run, wish) : schedule_run(self, run, wish);
    if (rc < 0) worst = rc;
    if (rc == -EPERM && wish.disable) break;
  }
  return worst;
}

/* What fails again and again, for whatever reason, will go on to. */
static int weigh(struct channels *self, int rc) {
  if (rc != -EIO) return rc;
  return ++self->failures < FAILURES_MAX ? -EIO : -EPERM;
}

static void go_on_to_the_next_way(struct channels *self) {
  self->failures = 0;
  atomic_fetch_add(&self->way, 1);
  atomic_fetch_add(&self->refusals, 1);
}

static int stop_list(struct channels *self, struct list list) {
  int rc = -EPERM;
  while (rc == -EPERM && atomic_load(&self->way) != CHANNELS_REFUSED) {
    rc = weigh(self, apply(self, list, (struct wish){atomic_load(&self->way), .disable = true}));
    if (rc == -EPERM) go_on_to_the_next_way(self);
  }
  return rc;
}

/* In every way in which something may be disabled: a stop can have begun in one and ended in the next. What
 * was permitted once and is refused now is asked for until it is given. */
static int resume_list(struct channels *self, struct list list) {
  int worst = 0;
  for (int way = 0; way < CHANNELS_REFUSED; way++) {
    if (!self->used[way]) continue;
    self->used[way] = apply(self, list, (struct wish){way, .disable = false}) < 0;
    if (self->used[way]) worst = -EIO;
  }
  return worst;
}

/* ---- the gate ---- */

static int set_closed(struct channels *self, bool closed) {
  struct channel *channels;
  int count = registry_set_closed(self->registry, closed, &channels);
  if (count < 0) return count;
  struct list list = {channels, (uint32_t)count};
  int rc = closed ? stop_list(self, list) : resume_list(self, list);
  free(channels);
  return rc;
}

int channels_stop(struct channels *channels) {
  pthread_mutex_lock(&channels->lock);
  int rc = set_closed(channels, true);
  if (rc == -EPERM) set_closed(channels, false);
  pthread_mutex_unlock(&channels->lock);
  return rc;
}

int channels_resume(struct channels *channels) {
  pthread_mutex_lock(&channels->lock);
  int rc = set_closed(channels, false);
  atomic_store(&channels->missed, false);
  pthread_mutex_unlock(&channels->lock);
  return rc;
}

static void stop_late(struct channels *self, struct list list) {
  if (stop_list(self, list) < 0) atomic_store(&self->missed, true);
}

void channels_added(struct channels *channels, const struct channel *channel) {
  pthread_mutex_lock(&channels->lock);
  if (registry_is_closed(channels->registry)) stop_late(channels, (struct list){channel, 1});
  pthread_mutex_unlock(&channels->lock);
}

/* What is below the object: the group's channels, or the channel itself. */
static uint32_t keep_below(struct channel *channels, uint32_t count, rm_handle client, rm_handle object) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < count; i++)
    if (channels[i].client == client && (channels[i].group == object || channels[i].channel == object))
      channels[kept++] = channels[i];
  return kept;
}

static void stop_below(struct channels *self, rm_handle client, rm_handle object) {
  struct channel *channels;
  int count = registry_snapshot(self->registry, &channels);
  if (count > 0) count = (int)keep_below(channels, (uint32_t)count, client, object);
  if (count < 0) atomic_store(&self->missed, true);
  if (count > 0) stop_late(self, (struct list){channels, (uint32_t)count});
  free(channels);
}

void channels_scheduled(struct channels *channels, rm_handle client, rm_handle object) {
  pthread_mutex_lock(&channels->lock);
  if (registry_is_closed(channels->registry)) stop_below(channels, client, object);
  pthread_mutex_unlock(&channels->lock);
}
