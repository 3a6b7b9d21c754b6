/* freezer_cgroup.h - the cgroup v2 way to stop a tree: one write to cgroup.freeze, seen in cgroup.events. */
#ifndef VALVE_FREEZER_CGROUP_H
#define VALVE_FREEZER_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

#define VLV_CGROUP_PATH_SIZE 4096

/* Descriptors are -1 where there is no cgroup (any more). */
struct vlv_cgroup {
  int directory, freeze, events;
  char path[VLV_CGROUP_PATH_SIZE]; /* as its members see it; empty: not yet known */
};

struct vlv_cgroup_events {
  bool populated, frozen;
};

/* Opens the files once, so that stopping needs no path lookup. 0 or -errno. */
int vlv_cgroup_open(struct vlv_cgroup *cgroup, const char *directory);
void vlv_cgroup_close(struct vlv_cgroup *cgroup);
bool vlv_cgroup_is_open(const struct vlv_cgroup *cgroup);

/* 0 or -errno. */
int vlv_cgroup_set_frozen(const struct vlv_cgroup *cgroup, bool frozen);
/* What cgroup.freeze says: 1 until someone thaws it. Or -errno. */
int vlv_cgroup_asks_for_freeze(const struct vlv_cgroup *cgroup);
int vlv_cgroup_read_events(const struct vlv_cgroup *cgroup, struct vlv_cgroup_events *out);

/* True for an error that only a removed cgroup gives; nothing in it can still be frozen. */
bool vlv_cgroup_has_vanished(int error);

/* Whether a process (an open /proc/PID directory) is in the cgroup or below it: 1 or 0, or -errno; -ESRCH
 * also while nothing is in the cgroup itself to tell its path by. */
int vlv_cgroup_contains(struct vlv_cgroup *cgroup, int process);

/* Processes in the cgroup itself (not in cgroups that the tenant made below it); 0 if unknown. */
uint32_t vlv_cgroup_processes(const struct vlv_cgroup *cgroup);
/* Threads of it that are running or in uninterruptible sleep: those that keep it from being frozen. */
uint32_t vlv_cgroup_unstopped_threads(const struct vlv_cgroup *cgroup);

#endif
