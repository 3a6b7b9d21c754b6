#include "controls.h"

#include <errno.h>

#define GROUP_SET_TIMESLICE 0xa06c0103u
#define GROUP_PREEMPT 0xa06c0105u
#define DEFAULT_TIMESLICE_US 1024u

struct timeslice { /* NVA06C_CTRL_TIMESLICE_PARAMS */
  uint64_t us;
};
struct preempt { /* NVA06C_CTRL_PREEMPT_PARAMS */
  uint8_t wait, manual_timeout;
  uint32_t timeout_us;
};
_Static_assert(sizeof(struct preempt) == 8, "layout");

static int set_timeslice(const struct channel *channel) {
  struct timeslice timeslice = {.us = DEFAULT_TIMESLICE_US};
  return rm_control_raw(channel->fd, channel->client, channel->group, GROUP_SET_TIMESLICE, &timeslice,
                        sizeof timeslice);
}

static int preempt(const struct channel *channel) {
  struct preempt preempt = {.wait = 1, .manual_timeout = 1, .timeout_us = 100000};
  return rm_control_raw(channel->fd, channel->client, channel->group, GROUP_PREEMPT, &preempt,
                        sizeof preempt);
}

static bool is_new_group(const struct channel *channels, uint32_t index) {
  for (uint32_t i = 0; i < index; i++)
    if (channels[i].client == channels[index].client && channels[i].group == channels[index].group)
      return false;
  return channels[index].group != 0;
}

static int each_group(const struct channel *channels, uint32_t count, int (*act)(const struct channel *)) {
  int worst = RM_OK;
  for (uint32_t i = 0; i < count; i++) {
    int result = is_new_group(channels, i) ? act(&channels[i]) : 0;
    if (result != RM_OK) worst = result;
  }
  return worst;
}

int controls_apply(enum control control, bool enable, const struct channel *channels, uint32_t count) {
  if (count == 0) return -ENOENT;
  if (control == CONTROL_TIMESLICE) return each_group(channels, count, set_timeslice);
  if (control == CONTROL_PREEMPT) return each_group(channels, count, preempt);
  if (control == CONTROL_SCHEDULE) return rm_for_groups(channels, count, enable);
  return rm_for_runs(channels, count, !enable);
}
