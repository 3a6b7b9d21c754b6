/* The signal way against real processes: threads, fork storms, daemons, foreign SIGCONTs, a reused pid. */
#include <linux/sched.h>
#include <sys/syscall.h>

#include "freezer_victims.h"

static struct vlv_freezer *make_freezer(pid_t reaper, pid_t spare) {
  struct vlv_freezer *freezer;
  CHECK(vlv_freezer_create(NULL, reaper, spare, &freezer) == 0);
  CHECK(vlv_freezer_mechanism()->id(freezer) == VLV_MECHANISM_FREEZER_SIGNAL);
  return freezer;
}

static void test_every_thread_stops_and_runs_again(void) {
  struct vlv_freezer *freezer = make_freezer(getpid(), 0);
  start_spinner(0, 4);
  start_spinner(4, 1);
  for (int cycle = 0; cycle < 20; cycle++) {
    for (int counter = 0; counter < 5; counter++) wait_for_progress(counter);
    stop_and_confirm(freezer);
    CHECK(vlv_freezer_mechanism()->processes(freezer) == 2);
    CHECK(vlv_freezer_mechanism()->unstopped_threads(freezer) == 0);
    check_nothing_runs();
    resume(freezer);
  }
  end_victims();
  vlv_freezer_destroy(freezer);
}

static void test_fork_storm_is_caught(void) {
  struct vlv_freezer *freezer = make_freezer(getpid(), 0);
  for (int storm = 0; storm < 3; storm++) start_fork_storm(storm, 0);
  for (int cycle = 0; cycle < 30; cycle++) {
    for (int storm = 0; storm < 3; storm++) wait_for_progress(storm);
    stop_and_confirm(freezer);
    check_nothing_runs();
    resume(freezer);
  }
  end_victims();
  vlv_freezer_destroy(freezer);
}

static void test_foreign_continue_is_answered(void) {
  struct vlv_freezer *freezer = make_freezer(getpid(), 0);
  pid_t pid = start_spinner(0, 2);
  wait_for_progress(1);
  stop_and_confirm(freezer);
  CHECK(vlv_freezer_mechanism()->guard(freezer) == 0);
  kill(pid, SIGCONT);
  wait_for_progress(0);
  CHECK(vlv_freezer_mechanism()->guard(freezer) == 1);
  confirm(freezer);
  check_nothing_runs();
  resume(freezer);
  wait_for_progress(0);
  end_victims();
  vlv_freezer_destroy(freezer);
}

/* It takes back a SIGSTOP that has not been acted on: there is nothing left to wait for. */
static void test_continue_before_the_stop_is_seen_is_answered(void) {
  struct vlv_freezer *freezer = make_freezer(getpid(), 0);
  pid_t pid = start_spinner(0, 2);
  wait_for_progress(1);
  CHECK(vlv_freezer_mechanism()->stop(freezer) == 0);
  kill(pid, SIGCONT);
  confirm(freezer);
  check_nothing_runs();
  resume(freezer);
  wait_for_progress(0);
  end_victims();
  vlv_freezer_destroy(freezer);
}

static void test_process_born_while_stopped_is_stopped(void) {
  struct vlv_freezer *freezer = make_freezer(getpid(), 0);
  start_spinner(0, 1);
  stop_and_confirm(freezer);
  start_spinner(1, 1);
  wait_for_progress(1);
  CHECK(vlv_freezer_mechanism()->guard(freezer) == 1);
  confirm(freezer);
  check_nothing_runs();
  end_victims();
  vlv_freezer_destroy(freezer);
}

static void test_what_its_user_stopped_stays_stopped(void) {
  struct vlv_freezer *freezer = make_freezer(getpid(), 0);
  pid_t by_user = start_spinner(0, 2);
  start_spinner(2, 1);
  wait_for_progress(0);
  kill(by_user, SIGSTOP);
  wait_for_state(by_user, 'T');
  stop_and_confirm(freezer);
  resume(freezer);
  wait_for_progress(2);
  CHECK(leader_state(by_user) == 'T');
  kill(by_user, SIGCONT);
  wait_for_progress(0);
  end_victims();
  vlv_freezer_destroy(freezer);
}

static void test_user_stopped_then_continued_runs_after_the_resume(void) {
  struct vlv_freezer *freezer = make_freezer(getpid(), 0);
  pid_t by_user = start_spinner(0, 1);
  wait_for_progress(0);
  kill(by_user, SIGSTOP);
  wait_for_state(by_user, 'T');
  stop_and_confirm(freezer);
  kill(by_user, SIGCONT);
  wait_for_progress(0);
  CHECK(vlv_freezer_mechanism()->guard(freezer) == 1);
  confirm(freezer);
  check_nothing_runs();
  resume(freezer);
  wait_for_progress(0);
  end_victims();
  vlv_freezer_destroy(freezer);
}

static void start_daemon(int counter) {
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid) return;
  setsid();
  if (fork()) _exit(0);
  shared->pid = getpid();
  spin(&shared->counters[counter]);
  _exit(0);
}

static void test_daemon_is_found(void) {
  struct vlv_freezer *freezer = make_freezer(getpid(), 0);
  start_daemon(0);
  wait_for_progress(0);
  stop_and_confirm(freezer);
  check_nothing_runs();
  wait_for_state(shared->pid, 'T');
  resume(freezer);
  wait_for_progress(0);
  end_victims();
  vlv_freezer_destroy(freezer);
}

/* The spare counts in counters[0] and its child in counters[1]. */
static pid_t start_spare(void) {
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid) return pid;
  start_spinner(1, 1);
  spin(&shared->counters[0]);
  _exit(0);
}

static void test_spare_runs_but_its_child_stops(void) {
  pid_t spare = start_spare();
  struct vlv_freezer *freezer = make_freezer(getpid(), spare);
  wait_for_progress(1);
  stop_and_confirm(freezer);
  uint64_t child = shared->counters[1];
  wait_for_progress(0);
  CHECK(shared->counters[1] == child);
  CHECK(vlv_freezer_mechanism()->processes(freezer) == 1);
  resume(freezer);
  wait_for_progress(1);
  end_victims();
  vlv_freezer_destroy(freezer);
}

static void test_killed_while_stopped(void) {
  struct vlv_freezer *freezer = make_freezer(getpid(), 0);
  pid_t pid = start_spinner(0, 2);
  start_spinner(2, 1);
  wait_for_progress(0);
  stop_and_confirm(freezer);
  kill(pid, SIGKILL);
  wait_for_state(pid, '-');
  CHECK(vlv_freezer_mechanism()->guard(freezer) == 0);
  resume(freezer);
  wait_for_progress(2);
  stop_and_confirm(freezer);
  CHECK(vlv_freezer_mechanism()->processes(freezer) == 1);
  end_victims();
  vlv_freezer_destroy(freezer);
}

/* The parent of a vfork() sleeps uninterruptibly while its child is stopped: that is halted all the same. */
static inline void test_vfork_parent_counts_as_stopped(void) {
  struct vlv_freezer *freezer = make_freezer(getpid(), 0);
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    if (vfork() == 0) {
      spin(&shared->counters[0]);
      _exit(0);
    }
    _exit(0);
  }
  wait_for_progress(0);
  wait_for_state(pid, 'D');
  stop_and_confirm(freezer);
  check_nothing_runs();
  resume(freezer);
  wait_for_progress(0);
  end_victims();
  vlv_freezer_destroy(freezer);
}

static void test_leader_that_ended_does_not_hide_its_threads(void) {
  struct vlv_freezer *freezer = make_freezer(getpid(), 0);
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    pthread_t ignored;
    pthread_create(&ignored, NULL, spin, &shared->counters[0]);
    pthread_exit(NULL);
  }
  wait_for_state(pid, 'Z');
  wait_for_progress(0);
  stop_and_confirm(freezer);
  check_nothing_runs();
  kill(pid, SIGCONT);
  wait_for_progress(0);
  CHECK(vlv_freezer_mechanism()->guard(freezer) == 1);
  resume(freezer);
  wait_for_progress(0);
  end_victims();
  vlv_freezer_destroy(freezer);
}

static pid_t fork_with_pid(pid_t wanted) {
  struct clone_args args = {.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&wanted, .set_tid_size = 1};
  return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

/* Below another reaper, so that the process that takes its pid over is a stranger to the freezer. */
static pid_t start_reaper_with_spinner(void) {
  shared->pid = 0;
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid) return pid;
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  shared->pid = start_spinner(0, 1);
  for (;;) pause();
}

static void test_reused_pid_is_left_alone(void) {
  pid_t reaper = start_reaper_with_spinner();
  struct vlv_freezer *freezer = make_freezer(reaper, 0);
  wait_for_progress(0);
  stop_and_confirm(freezer);
  resume(freezer);
  pid_t victim = shared->pid;
  kill(victim, SIGKILL);
  wait_for_state(victim, '-');
  pid_t stranger = fork_with_pid(victim);
  if (stranger == 0) {
    spin(&shared->counters[1]);
    _exit(0);
  }
  if (stranger == victim) {
    wait_for_progress(1);
    stop_and_confirm(freezer);
    wait_for_progress(1);
    CHECK(vlv_freezer_mechanism()->processes(freezer) == 0);
    resume(freezer);
  } else {
    printf("reused pid: skipped (%s)\n", strerror(errno));
  }
  end_victims();
  vlv_freezer_destroy(freezer);
}

static void test_signal_reaches_the_whole_tree(void) {
  start_spinner(0, 2);
  start_daemon(2);
  wait_for_progress(0);
  wait_for_progress(2);
  CHECK(vlv_tree_signal(getpid(), 0, SIGKILL) >= 2);
  struct timespec deadline = deadline_from_now();
  while (vlv_tree_signal(getpid(), 0, 0) > 0) CHECK(!has_passed(&deadline));
}

int main(void) {
  become_reaper();
  RUN(test_every_thread_stops_and_runs_again);
  RUN(test_fork_storm_is_caught);
  RUN(test_foreign_continue_is_answered);
  RUN(test_continue_before_the_stop_is_seen_is_answered);
  RUN(test_process_born_while_stopped_is_stopped);
  RUN(test_what_its_user_stopped_stays_stopped);
  RUN(test_user_stopped_then_continued_runs_after_the_resume);
  RUN(test_daemon_is_found);
  RUN(test_spare_runs_but_its_child_stops);
  RUN(test_killed_while_stopped);
#ifndef __SANITIZE_THREAD__ /* it makes a fork of the vfork */
  RUN(test_vfork_parent_counts_as_stopped);
#endif
  RUN(test_leader_that_ended_does_not_hide_its_threads);
  RUN(test_reused_pid_is_left_alone);
  RUN(test_signal_reaches_the_whole_tree);
  return 0;
}
