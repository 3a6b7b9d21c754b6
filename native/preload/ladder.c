#include "ladder.h"

#include <errno.h>

#include "rank.h"

static int stop_by_launch(struct ladder *ladder) {
  ladder->by_launch = true;
  launch_activate(ladder->launch);
  launch_stop(ladder->launch);
  return 0;
}

/* An error that is no refusal is the agent's to try again: by channels still. */
static int stop_by_channels(struct ladder *ladder) {
  int error = channels_stop(ladder->channels);
  return error == -EPERM ? stop_by_launch(ladder) : error;
}

/* What was refused once may be permitted by now (another driver has been loaded, say). */
static void climb(struct ladder *ladder) {
  ladder->by_launch = false;
  atomic_store(&ladder->channels->way, CHANNELS_BY_DISABLE);
}

/* As long as nothing says that channels work, submissions are watched. */
static int probe_channels(struct ladder *ladder) {
  climb(ladder);
  int error = stop_by_channels(ladder);
  if (!ladder->by_launch) atomic_store(&ladder->launch->active, 0);
  return error;
}

static bool is_time_to_probe(struct ladder *ladder) {
  return ++ladder->stops_by_launch % LADDER_RETRY == 0;
}

static int stop(struct ladder *ladder) {
  if (!ladder->by_launch) return stop_by_channels(ladder);
  return is_time_to_probe(ladder) ? probe_channels(ladder) : stop_by_launch(ladder);
}

static int ladder_stop(void *context) {
  struct ladder *ladder = context;
  int error = stop(ladder);
  rank_publish_ladder(ladder);
  return error;
}

static int ladder_confirm(void *context) {
  struct ladder *ladder = context;
  if (!ladder->by_launch) return VLV_LEVEL_COMPUTE_HALTED;
  return launch_is_stopped(ladder->launch) ? VLV_LEVEL_SUBMISSION_STOPPED : 0;
}

/* Both ways: the step from one to the other may have come in the middle of a stop. */
static int ladder_resume(void *context) {
  struct ladder *ladder = context;
  launch_resume(ladder->launch);
  int error = channels_resume(ladder->channels);
  rank_publish_ladder(ladder);
  return error;
}

/* A channel that came while the gate was closed may have been the first to be refused: it runs. */
static int ladder_guard(void *context) {
  struct ladder *ladder = context;
  bool refused = atomic_load(&ladder->channels->way) == CHANNELS_REFUSED;
  bool missed = atomic_exchange(&ladder->channels->missed, false);
  rank_publish_ladder(ladder);
  if (ladder->by_launch) return 0;
  return refused ? -EPERM : missed ? -EIO : 0;
}

static uint32_t ladder_id(void *context) {
  const struct ladder *ladder = context;
  return ladder->by_launch ? VLV_MECHANISM_LAUNCH : VLV_MECHANISM_CHANNELS;
}

const struct vlv_mechanism *ladder_mechanism(void) {
  static const struct vlv_mechanism mechanism = {
      .stop = ladder_stop,
      .confirm = ladder_confirm,
      .resume = ladder_resume,
      .guard = ladder_guard,
      .id = ladder_id,
  };
  return &mechanism;
}
