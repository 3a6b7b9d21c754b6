/* tree_proc.h - what /proc says about one process, read through an open /proc/PID directory.
 *
 * Such a descriptor pins the process: once it has ended every read fails with -ESRCH, whoever has its pid by
 * then; pidfd_send_signal() takes the same descriptor. So a reused pid is never looked at nor signalled.
 */
#ifndef VALVE_TREE_PROC_H
#define VALVE_TREE_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct vlv_stat {
  pid_t pid;
  pid_t parent;
  char state; /* R S D T t Z X ... */
  int threads;
  uint64_t start_ticks;
};

/* A growing list of pids. */
struct vlv_pids {
  pid_t *items;
  size_t count, capacity;
};

/* Reads `path` (such as "stat" or "123/stat") below `directory`. 0 or -errno; -ESRCH if the process has ended
 * and is no zombie either. While it is taken down its parent may read as 0. */
int vlv_proc_stat(int directory, const char *path, struct vlv_stat *out);

/* The cgroup v2 path in `path` (such as "cgroup" or "123/cgroup") below `directory`, as seen from our cgroup
 * namespace. 0 or -errno; -ESRCH if the process has ended, -ENOENT if it is in none. */
int vlv_proc_cgroup(int directory, const char *path, char *out, size_t size);

/* True for the states in which a thread runs nothing: stopped, traced, dead. */
bool vlv_state_is_stopped(char state);

/* How many threads of the process can still run; 0 also when it has ended. Or -errno. */
int vlv_proc_unstopped_threads(int process);

/* Appends the process's threads. 0 or -errno, -ESRCH if it has ended. */
int vlv_proc_threads(int process, struct vlv_pids *out);

/* Appends the children of every thread of the process. 0 or -errno, -ESRCH if it has ended. Children that end
 * meanwhile may hide others: only a list read while all of them are stopped is complete. */
int vlv_proc_children(int process, struct vlv_pids *out);

/* Appends every process that /proc shows (`proc` is an open /proc). 0 or -errno. */
int vlv_proc_all(int proc, struct vlv_pids *out);

int vlv_pids_append(struct vlv_pids *pids, pid_t pid);

/* A number that changes whenever a pid is given out in this pid namespace: equal readings mean that no
 * process was born in between. 0: unknown. `loadavg` comes from vlv_proc_open_cursor(). */
uint64_t vlv_proc_pid_cursor(int loadavg);
/* -1 where the cursor cannot be trusted. */
int vlv_proc_open_cursor(int proc);

#endif
