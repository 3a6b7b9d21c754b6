/* The cgroup way in a cgroup of its own, and the escalation to signals when that cgroup is lost. */
#include <limits.h>
#include <sys/stat.h>

#include "freezer_victims.h"

static char parent_directory[PATH_MAX], directory[PATH_MAX];

/* The mount point of cgroup v2, hybrid layouts included. */
static bool find_mount(char *out) {
  char line[4096], point[PATH_MAX];
  FILE *mounts = fopen("/proc/self/mounts", "r");
  bool found = false;
  while (!found && mounts && fgets(line, sizeof line, mounts))
    found = sscanf(line, "%*s %4095s cgroup2 ", point) == 1 && strstr(line, " cgroup2 ");
  if (mounts) fclose(mounts);
  if (found) snprintf(out, PATH_MAX, "%s", point);
  return found;
}

/* The path of our own cgroup below the mount point. */
static void append_own_path(char *out) {
  char line[4096];
  FILE *file = fopen("/proc/self/cgroup", "r");
  while (file && fgets(line, sizeof line, file))
    if (strncmp(line, "0::/", 4) == 0) strncat(out, line + 3, strcspn(line + 3, "\n"));
  if (file) fclose(file);
}

static void write_file(const char *folder, const char *name, const char *text) {
  char path[PATH_MAX + 32];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  int fd = open(path, O_WRONLY);
  CHECK(fd >= 0);
  CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
  close(fd);
}

static void move(pid_t pid, const char *folder) {
  char text[16];
  snprintf(text, sizeof text, "%d", pid);
  write_file(folder, "cgroup.procs", text);
}

/* False where no cgroup can be made: then there is nothing to test. */
static bool make_cgroup(void) {
  if (!find_mount(parent_directory)) return false;
  append_own_path(parent_directory);
  int length = snprintf(directory, sizeof directory, "%s/valve-test-%d", parent_directory, getpid());
  return length < (int)sizeof directory && mkdir(directory, 0755) == 0;
}

static void remove_cgroup(void) {
  struct timespec deadline = deadline_from_now();
  while (rmdir(directory) && errno == EBUSY) CHECK(!has_passed(&deadline));
}

static struct vlv_freezer *make_freezer(void) {
  struct vlv_freezer *freezer;
  CHECK(vlv_freezer_create(directory, getpid(), 0, &freezer) == 0);
  CHECK(vlv_freezer_mechanism()->id(freezer) == VLV_MECHANISM_FREEZER_CGROUP);
  return freezer;
}

static pid_t start_inside(int first, int threads) {
  pid_t pid = start_spinner(first, threads);
  move(pid, directory);
  return pid;
}

static void test_every_thread_stops_and_runs_again(void) {
  struct vlv_freezer *freezer = make_freezer();
  start_inside(0, 4);
  for (int cycle = 0; cycle < 50; cycle++) {
    for (int counter = 0; counter < 4; counter++) wait_for_progress(counter);
    stop_and_confirm(freezer);
    CHECK(vlv_freezer_mechanism()->guard(freezer) == 0);
    CHECK(vlv_freezer_mechanism()->processes(freezer) == 1);
    check_nothing_runs();
    resume(freezer);
  }
  end_victims();
  vlv_freezer_destroy(freezer);
}

/* The first of the storm waits until it is inside. */
static void test_fork_storm_cannot_escape(void) {
  struct vlv_freezer *freezer = make_freezer();
  char here[16];
  snprintf(here, sizeof here, "%d", getpid());
  write_file(directory, "cgroup.procs", here);
  start_fork_storm(0, 0);
  start_fork_storm(1, 0);
  move(getpid(), parent_directory);
  for (int cycle = 0; cycle < 30; cycle++) {
    wait_for_progress(0);
    wait_for_progress(1);
    stop_and_confirm(freezer);
    check_nothing_runs();
    resume(freezer);
  }
  end_victims();
  vlv_freezer_destroy(freezer);
}

static void test_foreign_thaw_is_answered(void) {
  struct vlv_freezer *freezer = make_freezer();
  start_inside(0, 1);
  stop_and_confirm(freezer);
  write_file(directory, "cgroup.freeze", "0");
  wait_for_progress(0);
  CHECK(vlv_freezer_mechanism()->guard(freezer) == 1);
  confirm(freezer);
  check_nothing_runs();
  resume(freezer);
  wait_for_progress(0);
  end_victims();
  vlv_freezer_destroy(freezer);
}

static void test_foreign_continue_changes_nothing(void) {
  struct vlv_freezer *freezer = make_freezer();
  pid_t pid = start_inside(0, 2);
  wait_for_progress(0);
  stop_and_confirm(freezer);
  kill(pid, SIGCONT);
  check_nothing_runs();
  CHECK(vlv_freezer_mechanism()->guard(freezer) == 0);
  resume(freezer);
  wait_for_progress(0);
  end_victims();
  vlv_freezer_destroy(freezer);
}

static void test_lost_cgroup_escalates(void) {
  struct vlv_freezer *freezer = make_freezer();
  pid_t pid = start_inside(0, 2);
  wait_for_progress(0);
  move(pid, parent_directory);
  CHECK(rmdir(directory) == 0);
  stop_and_confirm(freezer);
  CHECK(vlv_freezer_mechanism()->id(freezer) == VLV_MECHANISM_FREEZER_SIGNAL);
  check_nothing_runs();
  resume(freezer);
  wait_for_progress(1);
  end_victims();
  vlv_freezer_destroy(freezer);
  CHECK(mkdir(directory, 0755) == 0);
}

/* The cgroup says "frozen", but the tree has been moved out of it. */
static void test_abandoned_cgroup_escalates(void) {
  struct vlv_freezer *freezer = make_freezer();
  pid_t pid = start_inside(0, 2);
  stop_and_confirm(freezer);
  resume(freezer);
  move(pid, parent_directory);
  stop_and_confirm(freezer);
  CHECK(vlv_freezer_mechanism()->id(freezer) == VLV_MECHANISM_FREEZER_SIGNAL);
  check_nothing_runs();
  resume(freezer);
  wait_for_progress(0);
  end_victims();
  vlv_freezer_destroy(freezer);
}

static void test_cgroup_lost_while_frozen_lets_run(void) {
  struct vlv_freezer *freezer = make_freezer();
  pid_t pid = start_inside(0, 2);
  stop_and_confirm(freezer);
  move(pid, parent_directory);
  remove_cgroup();
  resume(freezer);
  CHECK(vlv_freezer_mechanism()->id(freezer) == VLV_MECHANISM_FREEZER_SIGNAL);
  wait_for_progress(0);
  end_victims();
  vlv_freezer_destroy(freezer);
  CHECK(mkdir(directory, 0755) == 0);
}

/* The freeze does not reach it, and the cgroup of the others says "frozen". */
static void test_process_that_left_is_stopped(void) {
  struct vlv_freezer *freezer = make_freezer();
  start_inside(0, 1);
  move(start_inside(1, 2), parent_directory);
  stop_and_confirm(freezer);
  wait_for_progress(1);
  CHECK(vlv_freezer_mechanism()->guard(freezer) == 1);
  CHECK(vlv_freezer_mechanism()->id(freezer) == VLV_MECHANISM_FREEZER_SIGNAL);
  confirm(freezer);
  check_nothing_runs();
  resume(freezer);
  for (int counter = 0; counter < 3; counter++) wait_for_progress(counter);
  end_victims();
  vlv_freezer_destroy(freezer);
}

static void test_cgroup_below_is_no_way_out(void) {
  char below[PATH_MAX + 8];
  struct vlv_freezer *freezer = make_freezer();
  snprintf(below, sizeof below, "%s/below", directory);
  CHECK(mkdir(below, 0755) == 0);
  start_inside(0, 1);
  move(start_inside(1, 1), below);
  stop_and_confirm(freezer);
  CHECK(vlv_freezer_mechanism()->guard(freezer) == 0);
  CHECK(vlv_freezer_mechanism()->id(freezer) == VLV_MECHANISM_FREEZER_CGROUP);
  check_nothing_runs();
  resume(freezer);
  end_victims();
  vlv_freezer_destroy(freezer);
  struct timespec deadline = deadline_from_now();
  while (rmdir(below) && errno == EBUSY) CHECK(!has_passed(&deadline));
}

static void test_unusable_cgroup_is_refused(void) {
  struct vlv_freezer *freezer;
  CHECK(vlv_freezer_create("/tmp", getpid(), 0, &freezer) == -ENOENT);
}

int main(void) {
  become_reaper();
  RUN(test_unusable_cgroup_is_refused);
  if (!make_cgroup()) {
    printf("skipped: no cgroup v2 can be made here (%s)\n", strerror(errno));
    return 0;
  }
  RUN(test_every_thread_stops_and_runs_again);
  RUN(test_fork_storm_cannot_escape);
  RUN(test_foreign_thaw_is_answered);
  RUN(test_foreign_continue_changes_nothing);
  RUN(test_lost_cgroup_escalates);
  RUN(test_abandoned_cgroup_escalates);
  RUN(test_cgroup_lost_while_frozen_lets_run);
  RUN(test_process_that_left_is_stopped);
  RUN(test_cgroup_below_is_no_way_out);
  remove_cgroup();
  return 0;
}
