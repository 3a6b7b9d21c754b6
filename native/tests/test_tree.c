/* The tree's insides, compiled in: both ways to scan, odd process names, the pid cursor. */
#include "../src/freezer_signal.c"
#include "../src/tree.c"
#include "../src/tree_proc.c"
#include "../src/tree_scan.c"
#include "freezer_victims.h"

static struct vlv_tree make_tree(pid_t spare, bool by_children) {
  struct vlv_tree tree;
  CHECK(vlv_tree_init(&tree, getpid(), spare) == 0);
  CHECK(tree.has_children_files || !by_children);
  tree.has_children_files = by_children;
  return tree;
}

/* The way by children is tested where the kernel has it. */
static bool has_children_files(void) {
  struct vlv_tree tree;
  CHECK(vlv_tree_init(&tree, getpid(), 0) == 0);
  bool has = tree.has_children_files;
  vlv_tree_free(&tree);
  if (!has) printf("children files: skipped, this kernel has none\n");
  return has;
}

static void scan_to_fixpoint(struct vlv_tree *tree) {
  struct timespec deadline = deadline_from_now();
  while (vlv_tree_scan(tree)) CHECK(!has_passed(&deadline));
}

/* A parent (the spare) with a child that has a child of its own. */
static pid_t start_three_generations(void) {
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid) return pid;
  if (fork()) spin(&shared->counters[0]);
  start_spinner(2, 1);
  spin(&shared->counters[1]);
  _exit(0);
}

static void check_finds_all_but_the_spare(bool by_children) {
  pid_t spare = start_three_generations();
  wait_for_progress(2);
  struct vlv_tree tree = make_tree(spare, by_children);
  scan_to_fixpoint(&tree);
  CHECK(tree.count == 2);
  CHECK(vlv_tree_find(&tree, spare) == NULL);
  tree.spare = 0;
  scan_to_fixpoint(&tree);
  CHECK(tree.count == 3);
  CHECK(vlv_tree_alive(&tree) == 3);
  end_victims();
  scan_to_fixpoint(&tree);
  CHECK(tree.count == 0);
  vlv_tree_free(&tree);
}

static void stop_and_confirm_tree(struct vlv_tree *tree) {
  struct timespec deadline = deadline_from_now();
  int rc;
  CHECK(vlv_signal_stop(tree) == 0);
  while ((rc = vlv_signal_confirm(tree)) == 0) CHECK(!has_passed(&deadline));
  CHECK(rc == VLV_LEVEL_COMPUTE_HALTED);
}

static void check_storm_is_caught(bool by_children, long life_ms) {
  struct vlv_tree tree = make_tree(0, by_children);
  for (int storm = 0; storm < 3; storm++) start_fork_storm(storm, life_ms);
  for (int cycle = 0; cycle < 20; cycle++) {
    for (int storm = 0; storm < 3; storm++) wait_for_progress(storm);
    stop_and_confirm_tree(&tree);
    uint64_t before = sum_counters();
    sleep_ms(2);
    CHECK(sum_counters() == before);
    CHECK(vlv_signal_resume(&tree) == 0);
  }
  end_victims();
  vlv_tree_free(&tree);
}

static void test_scan_by_children(void) {
  if (!has_children_files()) return;
  check_finds_all_but_the_spare(true);
  check_storm_is_caught(true, 0);
}

static void test_scan_by_parents(void) {
  check_finds_all_but_the_spare(false);
  check_storm_is_caught(false, 10); /* this way takes milliseconds: it cannot catch what lives for less */
}

static void test_a_name_cannot_pass_for_a_state(void) {
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    prctl(PR_SET_NAME, "x) T 1 1 (");
    spin(&shared->counters[0]);
    _exit(0);
  }
  wait_for_progress(0);
  struct vlv_tree tree = make_tree(0, false);
  scan_to_fixpoint(&tree);
  struct vlv_stat stat;
  CHECK(vlv_proc_stat(vlv_tree_find(&tree, pid)->directory, "stat", &stat) == 0);
  CHECK(stat.pid == pid && stat.parent == getpid() && stat.state != 'T' && stat.start_ticks > 0);
  end_victims();
  vlv_tree_free(&tree);
}

static void test_a_birth_unsettles_the_tree(void) {
  struct vlv_tree tree = make_tree(0, false);
  CHECK(!vlv_tree_is_settled(&tree));
  vlv_tree_settle(&tree, vlv_tree_cursor(&tree));
  start_spinner(0, 1);
  CHECK(!vlv_tree_is_settled(&tree));
  end_victims();
  vlv_tree_free(&tree);
}

int main(void) {
  become_reaper();
  RUN(test_scan_by_children);
  RUN(test_scan_by_parents);
  RUN(test_a_name_cannot_pass_for_a_state);
  RUN(test_a_birth_unsettles_the_tree);
  return 0;
}
