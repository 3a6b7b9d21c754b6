/* tree.h - the processes below one reaper, each pinned by its open /proc/PID directory. */
#ifndef VALVE_TREE_H
#define VALVE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tree_proc.h"

struct vlv_process {
  pid_t pid;
  int directory; /* /proc/PID; also its pidfd */
  uint64_t start_ticks;
  bool seen;          /* by the scan in progress */
  bool ended;         /* has been seen as a zombie */
  bool signalled;     /* has had the signal of the current round */
  bool held;          /* we stopped it, so we continue it; false for one that was stopped already */
  bool stopped;       /* every thread has been seen stopped */
  uint32_t looks;     /* how often it has been seen unstopped since its signal */
  uint32_t unstopped; /* threads that had not, when last looked at */
};

struct vlv_tree {
  pid_t reaper, spare;
  int proc, loadavg;
  bool has_children_files;
  uint64_t settled_cursor; /* pid cursor when the tree was last complete and standing still; 0: never */
  bool torn;               /* processes ended under the scan in progress and may have hidden others */
  struct vlv_process *processes;
  size_t count, capacity;
};

int vlv_tree_init(struct vlv_tree *tree, pid_t reaper, pid_t spare);
void vlv_tree_free(struct vlv_tree *tree);

/* Adds processes that appeared, forgets those that ended. How many were added, or -errno; -EAGAIN: processes
 * ended under the scan and may have hidden others. Whatever it returns, what it found is in the tree.
 *
 * 0 means that the tree is complete, provided that all that was known stood still. One look is not enough for
 * that: an unknown process may end between the look at its reaper's children and the look at its parent's,
 * and its own child then moves to the list that has been read. But a process that is missed like this is its
 * reaper's child from then on, and only unknown processes can fork; so the second look cannot miss it in the
 * same way. */
int vlv_tree_scan(struct vlv_tree *tree);

/* To be called after a scan of a standing tree that added nothing, with the cursor read before that scan.
 * (Of a running tree it would be wrong: a fork takes its pid some time before the child can be seen.) */
void vlv_tree_settle(struct vlv_tree *tree, uint64_t cursor);
/* True if no process was born on this machine since then, so that a scan would find nothing. */
bool vlv_tree_is_settled(const struct vlv_tree *tree);
uint64_t vlv_tree_cursor(const struct vlv_tree *tree);

/* 0 or -errno; -ESRCH if it has ended. */
int vlv_process_signal(const struct vlv_process *process, int signal);
/* Sends SIGSTOP to each thread of a process that has been sent SIGSTOP. The kernel gives that to one thread
 * of its choice, and the others run on until that one has had its turn on a processor: milliseconds, if they
 * keep it busy. Like this whichever runs stops at once, and the process with it. SIGCONT takes all of these
 * back. (By tid: pids are given out in a circle, so none comes round again between the listing and the
 * signal.) */
void vlv_process_stop_threads(const struct vlv_process *process);
/* False if it has ended; a zombie has. True where that cannot be read. */
bool vlv_process_is_alive(const struct vlv_process *process);
/* How many of the known processes are alive. */
uint32_t vlv_tree_alive(const struct vlv_tree *tree);

/* ---- for the scan: tree_scan.c. Both ways return how many they added, or -errno. ---- */

int vlv_tree_scan_children(struct vlv_tree *tree);
int vlv_tree_scan_parents(struct vlv_tree *tree);
struct vlv_process *vlv_tree_find(struct vlv_tree *tree, pid_t pid);
/* Pins a process that the scan has met. 1: it is new, 0: it is known or has ended, -errno. `expected` (or
 * NULL) is what was read before it was pinned: another start time means that its pid was reused meanwhile. */
int vlv_tree_meet(struct vlv_tree *tree, pid_t pid, const struct vlv_stat *expected);

#endif
