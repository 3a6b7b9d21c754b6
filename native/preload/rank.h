/* rank.h - this process as a tenant: its row in the node segment and its agent thread.
 *
 * Begins with the process's first channel. Everything that `valve run` has to say comes by environment:
 *   VALVE_RUNTIME_DIR  where the segment lies
 *   VALVE_JOB_NAME     the job's name, as in the runner's own row; where it is not set, that of VALVE_JOB,
 *                      the mark by which a job's processes are found again
 *   VALVE_RUNNER       pid of `valve run`, in our own pid namespace
 *   VALVE_DEVICES      GPU-..., comma separated: the whole job's, since its ranks stop as one set
 *   VALVE_SHIM_LOG     optional: a file that gets a line for everything that went wrong
 * If anything is missing or fails, the process runs on ungated by us; `valve run` notices that no rank came.
 * A failure is tried once more, with the next channel, and then never again by this process.
 *
 * rank_begin() is called within an ioctl of the application's, which may hold any lock of libcuda: it calls
 * nothing of CUDA. Its own open() and close() may pass through the shim's interposition.
 */
#ifndef VALVE_PRELOAD_RANK_H
#define VALVE_PRELOAD_RANK_H

#include "ladder.h"

/* Idempotent, thread-safe, cheap when done. Waits up to 100 ms for the gate's first application. Leaves errno
 * as it was. What makes the process obey, and its context, must live until the process ends. */
void rank_begin(const struct vlv_mechanism *mechanism, void *context);
/* Publishes counters into the row (called when channels come and go); nothing happens while there is none. */
void rank_publish(uint64_t channels, uint64_t refusals, uint64_t unknown, uint64_t held);
/* The same from what the ladder knows, which is all but `unknown` (the ladder calls it after each change). */
void rank_publish_ladder(const struct ladder *ladder);
/* A line into VALVE_SHIM_LOG; `error` is -errno. */
void rank_tell(const char *what, int error);
/* In a forked child: the row and thread are the parent's; begin anew on the first channel. */
void rank_reset_after_fork(void);

#endif
