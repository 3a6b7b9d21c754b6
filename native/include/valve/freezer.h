/* valve/freezer.h - the freezer mechanism: stops a whole process tree.
 *
 * cgroup v2 first (cgroup.freeze of a cgroup that holds the tree: forks cannot escape, confirmed by
 * cgroup.events); else SIGSTOP through pidfds to every descendant of `root`, rescanned to a fixpoint,
 * confirmed when every thread of every process is seen stopped in /proc. If the cgroup refuses, the signal
 * way is used from then on (escalation). A thaw that fails is no reason for it: that is tried again, for a
 * frozen cgroup has no other way back.
 *
 * A process that another service moves out of the cgroup (su with pam_systemd, systemd-run --scope) is not
 * reached by its freeze, and runs although COMPUTE_HALTED is acknowledged until guard() finds it and
 * escalates. guard() looks once after each stop and again when any process was born, but not all the time:
 * a look is followed by 50 times its length without one.
 */
#ifndef VALVE_FREEZER_H
#define VALVE_FREEZER_H

#include <sys/types.h>

#include "valve/agent.h"

struct vlv_freezer;

/* `cgroup_directory` is an existing cgroup v2 directory that holds the tree, or NULL for the signal way.
 * `reaper` is the process whose descendants are the tree (the subreaper `valve run`); it is never stopped
 * itself, nor is `spare` (the guardian; 0 for none), whose own descendants belong to the tree all the same.
 * -errno where the cgroup cannot be opened: call again with NULL.
 *
 * The signal way continues only what it stopped: a process that its own user had stopped stays stopped. One
 * that its user stops while it is held cannot be told apart and is continued. A process of another user that
 * we may not signal makes stop() fail with -EPERM and is never confirmed. */
VLV_API int vlv_freezer_create(const char *cgroup_directory, pid_t reaper, pid_t spare,
                               struct vlv_freezer **out);
VLV_API const struct vlv_mechanism *vlv_freezer_mechanism(void); /* context: the struct vlv_freezer */
VLV_API void vlv_freezer_destroy(struct vlv_freezer *freezer);

/* Sends `signal` once to every descendant of `reaper` but `spare`, also to those born meanwhile. How many
 * processes, or -errno. */
VLV_API int vlv_tree_signal(pid_t reaper, pid_t spare, int signal);

#endif
