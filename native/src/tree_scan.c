/* Two ways to find the processes below a reaper: by the lists of children that the kernel keeps
 * (CONFIG_PROC_CHILDREN), else by the parents of all processes on the machine. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tree.h"

#define KTHREADD 2 /* it and init (1) are the roots of all processes */

/* ---- by the children files: breadth first ---- */

static int children_of(const struct vlv_tree *tree, pid_t pid, struct vlv_pids *out) {
  char name[24];
  snprintf(name, sizeof name, "%d", pid);
  int directory = openat(tree->proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return errno == ENOENT ? 0 : -errno;
  int rc = vlv_proc_children(directory, out);
  close(directory);
  return rc == -ESRCH ? 0 : rc;
}

/* The spare is walked through but never part of the tree. */
static int walk_step(struct vlv_tree *tree, pid_t pid, struct vlv_pids *queue, int *added) {
  if (pid == tree->spare) return children_of(tree, pid, queue);
  int rc = vlv_tree_meet(tree, pid, NULL);
  if (rc < 0) return rc;
  *added += rc;
  struct vlv_process *process = vlv_tree_find(tree, pid);
  rc = process ? vlv_proc_children(process->directory, queue) : 0;
  if (rc != -ESRCH) return rc;
  tree->torn = true;
  return 0;
}

int vlv_tree_scan_children(struct vlv_tree *tree) {
  struct vlv_pids queue = {0};
  int added = 0;
  int rc = children_of(tree, tree->reaper, &queue);
  for (size_t i = 0; rc >= 0 && i < queue.count; i++) rc = walk_step(tree, queue.items[i], &queue, &added);
  free(queue.items);
  return rc < 0 ? rc : added;
}

/* ---- by the parents of all processes, where the kernel has no children files ---- */

struct snapshot {
  struct vlv_stat *stats; /* ascending by pid */
  size_t count;
};

static int compare_stats(const void *left, const void *right) {
  pid_t a = ((const struct vlv_stat *)left)->pid, b = ((const struct vlv_stat *)right)->pid;
  return (a > b) - (a < b);
}

static int read_stats(int proc, const struct vlv_pids *pids, struct snapshot *out, bool *torn) {
  char path[32];
  for (size_t i = 0; i < pids->count; i++) {
    snprintf(path, sizeof path, "%d/stat", pids->items[i]);
    int rc = vlv_proc_stat(proc, path, &out->stats[out->count]);
    bool is_hidden = rc == -EACCES || rc == -EPERM; /* hidepid */
    if (!rc) out->count++;
    if (rc == -ESRCH) *torn = true;
    if (rc && rc != -ESRCH && !is_hidden) return rc;
  }
  qsort(out->stats, out->count, sizeof *out->stats, compare_stats);
  return 0;
}

static int take_snapshot(int proc, struct snapshot *out, bool *torn) {
  struct vlv_pids pids = {0};
  int rc = vlv_proc_all(proc, &pids);
  *out = (struct snapshot){0};
  if (!rc) out->stats = calloc(pids.count + 1, sizeof *out->stats);
  if (!rc) rc = out->stats ? read_stats(proc, &pids, out, torn) : -ENOMEM;
  free(pids.items);
  return rc;
}

static const struct vlv_stat *lookup(const struct snapshot *all, pid_t pid) {
  struct vlv_stat key = {.pid = pid};
  return bsearch(&key, all->stats, all->count, sizeof key, compare_stats);
}

/* Its parent is 0 or not in the snapshot. Either the parent is hidden from us for good; or it ended under the
 * scan, and then the child has another parent by now; or the child itself is being taken down. 0 or -EAGAIN.
 */
static int judge_orphan(int proc, const struct vlv_stat *orphan) {
  char path[32];
  struct vlv_stat now;
  snprintf(path, sizeof path, "%d/stat", orphan->pid);
  return vlv_proc_stat(proc, path, &now) == 0 && now.parent == orphan->parent ? 0 : -EAGAIN;
}

/* 1: below the reaper, 0: not, -EAGAIN: an ancestor ended under the scan. */
static int is_descendant(const struct vlv_tree *tree, const struct snapshot *all,
                         const struct vlv_stat *stat) {
  for (size_t step = 0; step <= all->count; step++) {
    if (stat->parent == tree->reaper) return 1;
    if (stat->pid <= KTHREADD) return 0;
    const struct vlv_stat *parent = lookup(all, stat->parent);
    if (!parent) return judge_orphan(tree->proc, stat);
    stat = parent;
  }
  return -EAGAIN;
}

int vlv_tree_scan_parents(struct vlv_tree *tree) {
  struct snapshot all;
  int added = 0;
  int rc = take_snapshot(tree->proc, &all, &tree->torn);
  for (size_t i = 0; rc >= 0 && i < all.count; i++) {
    if (all.stats[i].pid == tree->spare) continue;
    rc = is_descendant(tree, &all, &all.stats[i]);
    if (rc == 1) rc = vlv_tree_meet(tree, all.stats[i].pid, &all.stats[i]);
    if (rc == -EAGAIN) tree->torn = true, rc = 0;
    if (rc > 0) added += rc;
  }
  free(all.stats);
  return rc < 0 ? rc : added;
}
