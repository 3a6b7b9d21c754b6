/* rescue.h - puts channels back on, whatever happens to the process that took them off.
 *
 * Three ways, each enough: at exit; in the handler of every signal that ends a process; and by a child that
 * shares the descriptors (the same open files, so RM obeys it) and acts when a stop lasts for longer than
 * RESCUE_NS or when its parent is gone. Enabling what is enabled does no harm.
 */
#ifndef GPU_KIT_RESCUE_H
#define GPU_KIT_RESCUE_H

#include "own_channels.h"

#define RESCUE_NS 3000000000ull

/* Once, after the channels exist: the child has the descriptors of this moment. 0 or -errno. */
int rescue_begin(const struct channel *channels, uint32_t count);
/* Around every stop. */
void rescue_arm(void);
void rescue_disarm(void);
/* How often the child had to act. */
uint32_t rescue_count(void);
/* Before a process ends well; also by atexit. */
void rescue_end(void);

#endif
