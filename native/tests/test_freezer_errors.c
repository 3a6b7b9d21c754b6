/* The freezer where the system refuses: no descriptor is left, a process may not be signalled, the cgroup
 * cannot be written. Its insides are compiled in. */
#include <sys/resource.h>
#include <sys/stat.h>

#include "../src/freezer_cgroup.c"
#include "../src/freezer_mechanism.c"
#include "../src/freezer_signal.c"
#include "../src/tree.c"
#include "../src/tree_proc.c"
#include "../src/tree_scan.c"
#include "freezer_victims.h"

static void set_limit(int resource, rlim_t value) {
  struct rlimit limit;
  CHECK(getrlimit(resource, &limit) == 0);
  limit.rlim_cur = value < limit.rlim_max ? value : limit.rlim_max;
  CHECK(setrlimit(resource, &limit) == 0);
}

/* What is open stays open. */
static void forbid_to_open(void) {
  set_limit(RLIMIT_NOFILE, 0);
}
static void allow_to_open(void) {
  set_limit(RLIMIT_NOFILE, 1024);
}

static struct vlv_tree make_tree(void) {
  struct vlv_tree tree;
  CHECK(vlv_tree_init(&tree, getpid(), 0) == 0);
  return tree;
}

static void confirm_tree(struct vlv_tree *tree) {
  struct timespec deadline = deadline_from_now();
  int rc;
  while ((rc = vlv_signal_confirm(tree)) == 0) CHECK(!has_passed(&deadline));
  CHECK(rc == VLV_LEVEL_COMPUTE_HALTED);
}

/* A stopped spinner in a tree that knows it. */
static pid_t stop_spinner(struct vlv_tree *tree) {
  pid_t pid = start_spinner(0, 1);
  wait_for_progress(0);
  CHECK(vlv_signal_stop(tree) == 0);
  confirm_tree(tree);
  return pid;
}

static void end_tree(struct vlv_tree *tree) {
  end_victims();
  vlv_tree_free(tree);
}

static void test_held_process_that_cannot_be_read_stays_known(void) {
  struct vlv_tree tree = make_tree();
  pid_t pid = stop_spinner(&tree);
  forbid_to_open();
  CHECK(vlv_tree_meet(&tree, pid, NULL) == -EMFILE);
  CHECK(vlv_tree_alive(&tree) == 1);
  allow_to_open();
  CHECK(vlv_signal_stop(&tree) == 0);
  confirm_tree(&tree);
  CHECK(vlv_signal_resume(&tree) == 0);
  wait_for_progress(0);
  end_tree(&tree);
}

static void test_stop_that_failed_is_asked_again(void) {
  struct vlv_tree tree = make_tree();
  stop_spinner(&tree);
  CHECK(vlv_signal_resume(&tree) == 0);
  forbid_to_open();
  CHECK(vlv_signal_stop(&tree) == -EMFILE);
  allow_to_open();
  CHECK(vlv_signal_stop(&tree) == 0);
  confirm_tree(&tree);
  check_nothing_runs();
  end_tree(&tree);
}

static void test_resume_that_failed_is_asked_again(void) {
  struct vlv_tree tree = make_tree();
  stop_spinner(&tree);
  int directory = tree.processes[0].directory;
  tree.processes[0].directory = -1;
  CHECK(vlv_signal_resume(&tree) == -EBADF);
  tree.processes[0].directory = directory;
  CHECK(vlv_signal_resume(&tree) == 0);
  wait_for_progress(0);
  end_tree(&tree);
}

static void test_guard_that_cannot_look_says_so(void) {
  struct vlv_tree tree = make_tree();
  pid_t pid = stop_spinner(&tree);
  kill(pid, SIGCONT);
  wait_for_progress(0);
  forbid_to_open();
  CHECK(vlv_signal_guard(&tree) == -EMFILE);
  CHECK(vlv_signal_confirm(&tree) < 0); /* nor does what was seen before count */
  allow_to_open();
  CHECK(vlv_signal_stop(&tree) == 0);
  confirm_tree(&tree);
  check_nothing_runs();
  end_tree(&tree);
}

static void test_guard_reports_what_it_found_before_what_failed(void) {
  struct vlv_tree tree = make_tree();
  pid_t pid = stop_spinner(&tree);
  start_spinner(1, 1);
  wait_for_progress(1);
  kill(pid, SIGCONT);
  wait_for_progress(0);
  int proc = tree.proc;
  tree.proc = -1; /* the scan fails, the look at the known one does not */
  CHECK(vlv_signal_guard(&tree) == 1);
  tree.proc = proc;
  confirm_tree(&tree);
  check_nothing_runs();
  end_tree(&tree);
}

static void test_guard_reports_what_does_not_stand(void) {
  struct vlv_tree tree = make_tree();
  pid_t pid = stop_spinner(&tree);
  kill(pid, SIGCONT);
  wait_for_progress(0);
  vlv_tree_find(&tree, pid)->stopped = false;
  CHECK(vlv_signal_guard(&tree) == 1);
  end_tree(&tree);
}

/* A spinner of the superuser, then one of nobody, in nobody's tree. */
static void stop_as_nobody(void) {
  CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  struct vlv_tree tree = make_tree();
  start_spinner(0, 1);
  CHECK(setresuid(65534, 65534, 65534) == 0);
  CHECK(vlv_signal_stop(&tree) == -EPERM);
  pid_t own = start_spinner(1, 1);
  wait_for_progress(1);
  CHECK(vlv_signal_stop(&tree) == -EPERM);
  wait_for_state(own, 'T');
  CHECK(vlv_signal_confirm(&tree) == -EPERM);
  shared->pid = getpid();
  _exit(0);
}

static void test_one_that_refuses_does_not_keep_the_others_running(void) {
  if (geteuid() != 0) {
    printf("skipped: only the superuser can become somebody else\n");
    return;
  }
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) stop_as_nobody();
  wait_for_state(pid, '-');
  CHECK(shared->pid == pid);
  end_victims();
}

/* ---- a directory with the files of a cgroup; a limit of 0 bytes makes each write to them fail ---- */

static char directory[] = "/tmp/valve-cgroup-XXXXXX";

static int open_file(const char *name) {
  char path[64];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  CHECK(fd >= 0);
  return fd;
}

static void write_file(const char *name, const char *text) {
  int fd = open_file(name);
  CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
  close(fd);
}

static char frozen(void) {
  char text = '-';
  int fd = open_file("cgroup.freeze");
  CHECK(read(fd, &text, 1) == 1);
  close(fd);
  return text;
}

static void forbid_to_write(void) {
  set_limit(RLIMIT_FSIZE, 0);
}
static void allow_to_write(void) {
  set_limit(RLIMIT_FSIZE, RLIM_INFINITY);
}

static struct vlv_freezer *make_freezer(void) {
  struct vlv_freezer *freezer;
  strcpy(directory + sizeof directory - 7, "XXXXXX");
  CHECK(mkdtemp(directory));
  write_file("cgroup.freeze", "0");
  write_file("cgroup.events", "populated 1\nfrozen 1\n");
  CHECK(vlv_freezer_create(directory, getpid(), 0, &freezer) == 0);
  return freezer;
}

static void end_freezer(struct vlv_freezer *freezer) {
  static const char *const names[] = {"cgroup.freeze", "cgroup.events"};
  char path[64];
  end_victims();
  vlv_freezer_destroy(freezer);
  for (int i = 0; i < 2; i++) {
    snprintf(path, sizeof path, "%s/%s", directory, names[i]);
    CHECK(unlink(path) == 0);
  }
  CHECK(rmdir(directory) == 0);
}

static void test_thaw_that_failed_is_asked_again(void) {
  struct vlv_freezer *freezer = make_freezer();
  stop_and_confirm(freezer);
  CHECK(frozen() == '1');
  forbid_to_write();
  CHECK(vlv_freezer_mechanism()->resume(freezer) == -EFBIG);
  CHECK(vlv_freezer_mechanism()->resume(freezer) == -EFBIG);
  allow_to_write();
  CHECK(vlv_freezer_mechanism()->id(freezer) == VLV_MECHANISM_FREEZER_CGROUP);
  CHECK(vlv_freezer_mechanism()->resume(freezer) == 0);
  CHECK(frozen() == '0');
  end_freezer(freezer);
}

/* Somebody may have frozen it: signals take over, but neither call forgets the thaw that it owes. */
static void test_escalation_keeps_the_way_back(void) {
  struct vlv_freezer *freezer = make_freezer();
  start_spinner(0, 1);
  wait_for_progress(0);
  write_file("cgroup.freeze", "1");
  forbid_to_write();
  CHECK(vlv_freezer_mechanism()->stop(freezer) == -EFBIG);
  CHECK(vlv_freezer_mechanism()->id(freezer) == VLV_MECHANISM_FREEZER_SIGNAL);
  CHECK(vlv_freezer_mechanism()->stop(freezer) == 0);
  CHECK(vlv_freezer_mechanism()->confirm(freezer) == -EFBIG);
  CHECK(vlv_freezer_mechanism()->resume(freezer) == -EFBIG);
  allow_to_write();
  CHECK(frozen() == '1');
  stop_and_confirm(freezer);
  CHECK(frozen() == '0');
  check_nothing_runs();
  resume(freezer);
  wait_for_progress(0);
  end_freezer(freezer);
}

int main(void) {
  become_reaper();
  signal(SIGXFSZ, SIG_IGN);
  RUN(test_held_process_that_cannot_be_read_stays_known);
  RUN(test_stop_that_failed_is_asked_again);
  RUN(test_resume_that_failed_is_asked_again);
  RUN(test_guard_that_cannot_look_says_so);
  RUN(test_guard_reports_what_it_found_before_what_failed);
  RUN(test_guard_reports_what_does_not_stand);
  RUN(test_one_that_refuses_does_not_keep_the_others_running);
  RUN(test_thaw_that_failed_is_asked_again);
  RUN(test_escalation_keeps_the_way_back);
  return 0;
}
