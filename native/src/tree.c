#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "valve/freezer.h"

#define SIGNAL_ROUNDS 200

int vlv_process_signal(const struct vlv_process *process, int signal) {
  return syscall(SYS_pidfd_send_signal, process->directory, signal, NULL, 0) ? -errno : 0;
}

void vlv_process_stop_threads(const struct vlv_process *process) {
  struct vlv_pids threads = {0};
  vlv_proc_threads(process->directory, &threads);
  for (size_t i = 0; i < threads.count; i++) syscall(SYS_tgkill, process->pid, threads.items[i], SIGSTOP);
  free(threads.items);
}

int vlv_tree_init(struct vlv_tree *tree, pid_t reaper, pid_t spare) {
  memset(tree, 0, sizeof *tree);
  tree->reaper = reaper;
  tree->spare = spare;
  tree->proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (tree->proc < 0) return -errno;
  tree->loadavg = vlv_proc_open_cursor(tree->proc);
  tree->has_children_files = access("/proc/thread-self/children", R_OK) == 0;
  return 0;
}

void vlv_tree_free(struct vlv_tree *tree) {
  for (size_t i = 0; i < tree->count; i++) close(tree->processes[i].directory);
  free(tree->processes);
  if (tree->loadavg >= 0) close(tree->loadavg);
  close(tree->proc);
}

struct vlv_process *vlv_tree_find(struct vlv_tree *tree, pid_t pid) {
  for (size_t i = 0; i < tree->count; i++)
    if (tree->processes[i].pid == pid) return &tree->processes[i];
  return NULL;
}

static int append(struct vlv_tree *tree, int directory, const struct vlv_stat *stat) {
  if (tree->count == tree->capacity) {
    size_t capacity = tree->capacity ? tree->capacity * 2 : 16;
    struct vlv_process *processes = realloc(tree->processes, capacity * sizeof *processes);
    if (!processes) return -ENOMEM;
    tree->processes = processes;
    tree->capacity = capacity;
  }
  tree->processes[tree->count++] = (struct vlv_process){
      .pid = stat->pid, .directory = directory, .start_ticks = stat->start_ticks, .seen = true};
  return 1;
}

static bool has_ended(const struct vlv_process *process) {
  struct vlv_stat stat;
  return vlv_proc_stat(process->directory, "stat", &stat) == -ESRCH;
}

bool vlv_process_is_alive(const struct vlv_process *process) {
  struct vlv_stat stat;
  int rc = vlv_proc_stat(process->directory, "stat", &stat);
  return rc ? rc != -ESRCH : stat.state != 'Z';
}

uint32_t vlv_tree_alive(const struct vlv_tree *tree) {
  uint32_t alive = 0;
  for (size_t i = 0; i < tree->count; i++) alive += vlv_process_is_alive(&tree->processes[i]);
  return alive;
}

static void forget(struct vlv_tree *tree, struct vlv_process *process) {
  close(process->directory);
  *process = tree->processes[--tree->count];
}

/* Pins `pid`. 1, or -errno; -ESRCH if it is no longer the process that `expected` (or NULL) describes. */
static int add(struct vlv_tree *tree, pid_t pid, const struct vlv_stat *expected) {
  char name[24];
  struct vlv_stat stat;
  snprintf(name, sizeof name, "%d", pid);
  int directory = openat(tree->proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return errno == ENOENT ? -ESRCH : -errno;
  int rc = vlv_proc_stat(directory, "stat", &stat);
  if (!rc && expected && stat.start_ticks != expected->start_ticks) rc = -ESRCH;
  if (!rc) rc = append(tree, directory, &stat);
  if (rc < 0) close(directory);
  return rc;
}

/* The children of a process that has just ended have moved to another parent, perhaps behind the scan's back.
 */
static void note_end(struct vlv_tree *tree, struct vlv_process *process, char state) {
  if (!process->ended && state == 'Z') process->ended = tree->torn = true;
}

static int meet_unknown(struct vlv_tree *tree, pid_t pid, const struct vlv_stat *expected) {
  int rc = add(tree, pid, expected);
  if (rc != -ESRCH) return rc;
  tree->torn = true;
  return 0;
}

/* Only one that has ended is forgotten: where nothing can be read (no descriptor left, no memory), a process
 * that we hold has to stay known, or nobody would continue it. */
int vlv_tree_meet(struct vlv_tree *tree, pid_t pid, const struct vlv_stat *expected) {
  struct vlv_process *known = vlv_tree_find(tree, pid);
  struct vlv_stat stat = {0};
  if (!known) return meet_unknown(tree, pid, expected);
  int rc = expected ? 0 : vlv_proc_stat(known->directory, "stat", &stat);
  if (expected) stat = *expected;
  if (rc == -ESRCH || (!rc && known->start_ticks != stat.start_ticks)) {
    forget(tree, known);
    return meet_unknown(tree, pid, expected);
  }
  known->seen = true;
  if (!rc) note_end(tree, known, stat.state);
  return rc;
}

static void forget_ended(struct vlv_tree *tree) {
  for (size_t i = 0; i < tree->count;)
    if (!tree->processes[i].seen && has_ended(&tree->processes[i]))
      forget(tree, &tree->processes[i]), tree->torn = true;
    else
      i++;
}

static int scan_once(struct vlv_tree *tree) {
  tree->torn = false;
  for (size_t i = 0; i < tree->count; i++) tree->processes[i].seen = false;
  int added = tree->has_children_files ? vlv_tree_scan_children(tree) : vlv_tree_scan_parents(tree);
  if (added < 0) return added;
  forget_ended(tree);
  return tree->torn && !added ? -EAGAIN : added;
}

int vlv_tree_scan(struct vlv_tree *tree) {
  int added = scan_once(tree);
  return added ? added : scan_once(tree);
}

uint64_t vlv_tree_cursor(const struct vlv_tree *tree) {
  return vlv_proc_pid_cursor(tree->loadavg);
}

void vlv_tree_settle(struct vlv_tree *tree, uint64_t cursor) {
  tree->settled_cursor = cursor;
}

bool vlv_tree_is_settled(const struct vlv_tree *tree) {
  return tree->settled_cursor && tree->settled_cursor == vlv_tree_cursor(tree);
}

/* Signals what has not had it yet. How many. */
static int signal_new(struct vlv_tree *tree, int signal) {
  int reached = 0;
  for (size_t i = 0; i < tree->count; i++) {
    if (tree->processes[i].signalled) continue;
    tree->processes[i].signalled = true;
    if (vlv_process_signal(&tree->processes[i], signal) == 0) reached++;
  }
  return reached;
}

int vlv_tree_signal(pid_t reaper, pid_t spare, int signal) {
  struct vlv_tree tree;
  int reached = 0;
  int rc = vlv_tree_init(&tree, reaper, spare);
  if (rc) return rc;
  rc = 1;
  for (int round = 0; round < SIGNAL_ROUNDS && (rc > 0 || rc == -EAGAIN); round++) {
    rc = vlv_tree_scan(&tree);
    reached += signal_new(&tree, signal);
  }
  vlv_tree_free(&tree);
  return rc < 0 && rc != -EAGAIN ? rc : reached;
}
