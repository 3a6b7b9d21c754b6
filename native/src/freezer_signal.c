/* The signal way. A fork that raced the scan is caught by this order: see every known process stopped (only
 * they can fork), then scan; what the scan adds is stopped and the round starts again. The tree is confirmed
 * when a scan that began after all were stopped adds nothing. */
#include "freezer_signal.h"

#include <errno.h>
#include <signal.h>

#include "valve/agent.h"

#define LOOKS_PER_SIGNAL 64

/* A process that its own user had stopped gets SIGSTOP too (it may be continued any moment), but is not ours
 * to continue. One that it cannot be sent to is asked again by the next stop_new(). */
static int stop_process(struct vlv_process *process) {
  struct vlv_stat stat;
  int rc = vlv_proc_stat(process->directory, "stat", &stat);
  bool stopped_by_user = !rc && stat.state == 'T' && !process->held;
  if (!rc) rc = vlv_process_signal(process, SIGSTOP);
  if (!rc && stat.threads > 1) vlv_process_stop_threads(process);
  process->stopped = false;
  process->looks = 0;
  process->signalled = !rc || rc == -ESRCH;
  if (process->signalled) process->held = !stopped_by_user;
  return process->signalled ? 0 : rc;
}

/* Stops what has had no SIGSTOP since the last resume. 0 or the first error; the others are stopped anyway.
 */
static int stop_new(struct vlv_tree *tree) {
  int first_error = 0;
  for (size_t i = 0; i < tree->count; i++) {
    if (tree->processes[i].signalled) continue;
    int rc = stop_process(&tree->processes[i]);
    if (rc && !first_error) first_error = rc;
  }
  return first_error;
}

/* How many processes were new, -EAGAIN if the scan has to be done again, or -errno. */
static int scan_and_stop(struct vlv_tree *tree) {
  int added = vlv_tree_scan(tree);
  int rc = stop_new(tree);
  return rc ? rc : added;
}

/* What refuses does not keep the rest running: the scan takes place all the same. */
int vlv_signal_stop(struct vlv_tree *tree) {
  int rc = stop_new(tree);
  if (vlv_tree_is_settled(tree)) return rc;
  int added = scan_and_stop(tree);
  if (rc) return rc;
  return added < 0 && added != -EAGAIN ? added : 0;
}

/* 1: every thread is stopped, 0: not yet, -errno. A SIGCONT from somebody else takes back a SIGSTOP that has
 * not been acted on, so one that goes on running is sent it again now and then. */
static int look_at(struct vlv_process *process) {
  int unstopped = vlv_proc_unstopped_threads(process->directory);
  if (unstopped < 0) return unstopped;
  process->unstopped = (uint32_t)unstopped;
  process->stopped = unstopped == 0;
  if (unstopped && ++process->looks % LOOKS_PER_SIGNAL == 0) process->signalled = false;
  return process->stopped;
}

/* 1: all known processes have been seen stopped, 0: not yet, or the first error. Each is looked at until it
 * has been. */
static int all_seen_stopped(struct vlv_tree *tree) {
  int all = 1;
  for (size_t i = 0; i < tree->count; i++) {
    if (tree->processes[i].stopped) continue;
    int rc = look_at(&tree->processes[i]);
    if (all >= 0 && rc <= 0) all = rc;
  }
  return all;
}

int vlv_signal_confirm(struct vlv_tree *tree) {
  int rc = stop_new(tree);
  if (!rc) rc = all_seen_stopped(tree);
  if (rc <= 0) return rc;
  if (vlv_tree_is_settled(tree)) return VLV_LEVEL_COMPUTE_HALTED;
  uint64_t cursor = vlv_tree_cursor(tree);
  rc = scan_and_stop(tree);
  if (rc == -EAGAIN || rc > 0) return 0;
  if (rc < 0) return rc;
  vlv_tree_settle(tree, cursor);
  return VLV_LEVEL_COMPUTE_HALTED;
}

/* One that cannot be continued stays held, for the next resume. */
static int continue_process(struct vlv_process *process) {
  int rc = process->held ? vlv_process_signal(process, SIGCONT) : 0;
  process->signalled = process->stopped = false;
  if (rc && rc != -ESRCH) return rc;
  process->held = false;
  return 0;
}

int vlv_signal_resume(struct vlv_tree *tree) {
  int first_error = 0;
  for (size_t i = 0; i < tree->count; i++) {
    int rc = continue_process(&tree->processes[i]);
    if (rc && !first_error) first_error = rc;
  }
  return first_error;
}

/* SIGCONT continues all threads of a process together, so a leader that is stopped speaks for them; one that
 * has ended (Z) does not. */
static int is_running_again(const struct vlv_process *process) {
  struct vlv_stat stat;
  int rc = vlv_proc_stat(process->directory, "stat", &stat);
  if (rc == -ESRCH || (!rc && (stat.state == 'T' || stat.state == 't'))) return 0;
  return rc ? rc : vlv_proc_unstopped_threads(process->directory) > 0;
}

/* 1: it ran again and has been sent SIGSTOP, 0: it is stopped, -errno: nobody knows, so it has to be stopped
 * and seen once more. */
static int stop_if_continued(struct vlv_process *process) {
  int running = is_running_again(process);
  if (running < 0) process->signalled = process->stopped = false;
  if (running <= 0) return running;
  process->held = true; /* whoever stopped it before wants it to run now */
  stop_process(process);
  return 1;
}

/* How many; *error becomes the first one. */
static int stop_continued(struct vlv_tree *tree, int *error) {
  int continued = 0;
  for (size_t i = 0; i < tree->count; i++) {
    if (!tree->processes[i].stopped) continue;
    int rc = stop_if_continued(&tree->processes[i]);
    if (rc > 0) continued++;
    if (rc < 0 && !*error) *error = rc;
  }
  return continued;
}

/* How many; *error becomes the first one. The tree is settled if it `stood` still until now. */
static int stop_born(struct vlv_tree *tree, bool stood, int *error) {
  if (vlv_tree_is_settled(tree)) return 0;
  uint64_t cursor = vlv_tree_cursor(tree);
  int added = scan_and_stop(tree);
  if (added == 0 && stood) vlv_tree_settle(tree, cursor);
  if (added < 0 && added != -EAGAIN && !*error) *error = added;
  return added > 0 ? added : 0;
}

/* What was found comes before what failed: either way the caller has to see everything stopped again. So it
 * has to if something known was not standing (as one then). */
int vlv_signal_guard(struct vlv_tree *tree) {
  int standing = all_seen_stopped(tree), error = standing < 0 ? standing : 0;
  int continued = stop_continued(tree, &error);
  int found = continued + stop_born(tree, standing > 0 && !continued && !error, &error);
  if (found) return found;
  return error ? error : !standing;
}

uint32_t vlv_signal_unstopped_threads(const struct vlv_tree *tree) {
  uint32_t unstopped = 0;
  for (size_t i = 0; i < tree->count; i++)
    if (!tree->processes[i].stopped) unstopped += tree->processes[i].unstopped;
  return unstopped;
}
