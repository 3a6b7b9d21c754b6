/* stage.h - the page that a part shares with the victim that it experiments on, and what they say to each
 * other.
 *
 * A victim is this program again, executed with the subcommand "victim" and a kind. It inherits two
 * descriptors: the stage (a memfd) and one end of a socket on which it takes orders, one at a time, each
 * answered.
 */
#ifndef GPU_KIT_STAGE_H
#define GPU_KIT_STAGE_H

#include "cycles.h"
#include "own_channels.h"
#include "pulse.h"

#define STAGE_FD 200 /* in the victim */
#define ORDERS_FD 201
#define STAGE_FILES_MAX 16u /* nvidiactl descriptors of one process */

enum verb {
  ORDER_CHANNELS = 1, /* fill in `channels` and send the descriptors */
  ORDER_CONTROL,      /* controls_apply() on the victim's own channels */
  ORDER_CYCLES,       /* run close/open cycles on itself */
  ORDER_END,
};

struct order {
  uint32_t verb;
  uint32_t control, enable; /* ORDER_CONTROL */
  uint32_t unguarded;       /* no rescue: the process is to be killed while its channels are off */
  struct cycle_plan plan;   /* ORDER_CYCLES */
};

struct answer {
  int32_t result; /* RM status or -errno of the order */
  double us;      /* how long it took */
};

/* What a role (roles.c) is to do. */
struct role_plan {
  uint64_t duration_ns, seed;
  double arrivals_per_s;
  uint32_t gated;     /* closes its gate on an arrival and opens it after the cool-down */
  uint32_t neighbour; /* runs the offline work itself, in a stream of the lowest priority */
};

struct stage {
  struct pulse pulse;
  struct cycle_figures cycles;
  char device_name[96], message[200];
  uint8_t uuid[16];
  int32_t driver_version, multiprocessors;
  double kernel_us; /* how long one kernel of this victim takes */
  struct role_plan plan;
  _Atomic uint32_t ready, go, end;  /* a role: has its context; may begin; should end */
  _Atomic uint64_t work;            /* offline: matrix products done */
  struct figures first_us, step_us; /* online: arrival to first token; time of a decode step */
  uint64_t closes, requests;
  double busy_share; /* online: of its time, something was in flight or cooling down */
  /* ORDER_CHANNELS: `fd` of each is an index of the descriptors sent; file_numbers are the victim's own. */
  uint32_t channel_count, file_count;
  int32_t file_numbers[STAGE_FILES_MAX];
  struct channel channels[KIT_CHANNELS_MAX];
};

#endif
