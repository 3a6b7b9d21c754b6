/* controls.h - the RM controls that the kit tries on channels, each switchable. */
#ifndef GPU_KIT_CONTROLS_H
#define GPU_KIT_CONTROLS_H

#include "own_channels.h"

enum control { CONTROL_TIMESLICE, CONTROL_PREEMPT, CONTROL_SCHEDULE, CONTROL_DISABLE };

/* TIMESLICE sets the driver's default, PREEMPT preempts once (`enable` says nothing to either); SCHEDULE and
 * DISABLE take everything off the hardware (`enable` false) and put it back. The worst result: RM status or
 * -errno. */
int controls_apply(enum control control, bool enable, const struct channel *channels, uint32_t count);

#endif
