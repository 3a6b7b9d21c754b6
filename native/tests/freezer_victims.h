/* Victims for the freezer's tests: real processes that count in shared memory for as long as they run. */
#ifndef VALVE_TESTS_FREEZER_VICTIMS_H
#define VALVE_TESTS_FREEZER_VICTIMS_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "valve/freezer.h"

#define CHECK(condition)                                                                    \
  do {                                                                                      \
    if (!(condition)) {                                                                     \
      fprintf(stderr, "%s:%d: %s: failed: %s\n", __FILE__, __LINE__, __func__, #condition); \
      kill_all();                                                                           \
      exit(1);                                                                              \
    }                                                                                       \
  } while (0)

#define RUN(test)          \
  do {                     \
    printf("%s\n", #test); \
    fflush(stdout);        \
    test();                \
  } while (0)

#define COUNTERS 64
#define DEADLINE_S 60
#define STORM_GENERATIONS 200000

struct shared {
  _Atomic uint64_t counters[COUNTERS];
  _Atomic int quit;
  _Atomic int pid; /* of a process that the test cannot learn of otherwise */
};

static struct shared *shared;

static void kill_all(void) {
  if (shared) shared->quit = 1;
  vlv_tree_signal(getpid(), 0, SIGKILL);
}

static void sleep_ms(long ms) {
  struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
  nanosleep(&time, NULL);
}

/* A subreaper whose children vanish without being waited for. */
static void become_reaper(void) {
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(shared != MAP_FAILED);
  CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  signal(SIGCHLD, SIG_IGN);
}

static void *spin(void *counter) {
  while (!atomic_load_explicit(&shared->quit, memory_order_relaxed))
    atomic_fetch_add_explicit((_Atomic uint64_t *)counter, 1, memory_order_relaxed);
  return NULL;
}

/* A process with `threads` threads; the i-th counts in counters[first + i]. */
static pid_t start_spinner(int first, int threads) {
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid) return pid;
  pthread_t ignored;
  for (int i = 1; i < threads; i++) pthread_create(&ignored, NULL, spin, &shared->counters[first + i]);
  spin(&shared->counters[first]);
  _exit(0);
}

/* Every generation counts, lives for `life_ms`, forks the next one and ends: no process lives for long, and
 * each is reparented. It ends by itself, whatever becomes of the test: nobody could catch it. */
static inline void start_fork_storm(int counter, long life_ms) {
  if (fork()) return;
  for (int generation = 0; generation < STORM_GENERATIONS && !shared->quit; generation++) {
    atomic_fetch_add(&shared->counters[counter], 1);
    if (life_ms) sleep_ms(life_ms);
    if (fork() > 0) _exit(0);
  }
  _exit(0);
}

static uint64_t sum_counters(void) {
  uint64_t sum = 0;
  for (int i = 0; i < COUNTERS; i++) sum += shared->counters[i];
  return sum;
}

static bool has_passed(const struct timespec *deadline) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec > deadline->tv_sec;
}

static struct timespec deadline_from_now(void) {
  struct timespec deadline;
  clock_gettime(CLOCK_MONOTONIC, &deadline);
  deadline.tv_sec += DEADLINE_S;
  return deadline;
}

static void wait_for_progress(int counter) {
  struct timespec deadline = deadline_from_now();
  uint64_t before = shared->counters[counter];
  while (shared->counters[counter] == before) {
    CHECK(!has_passed(&deadline));
    sleep_ms(1);
  }
}

/* What is stopped makes no progress however long one looks: this cannot fail by chance. */
static inline void check_nothing_runs(void) {
  uint64_t before = sum_counters();
  sleep_ms(15);
  CHECK(sum_counters() == before);
}

static inline char leader_state(pid_t pid) {
  char path[32], text[512] = "";
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  int fd = open(path, O_RDONLY);
  ssize_t length = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  char *name_end = length > 0 ? strrchr(text, ')') : NULL;
  return name_end ? name_end[2] : '-';
}

static inline void wait_for_state(pid_t pid, char state) {
  struct timespec deadline = deadline_from_now();
  while (leader_state(pid) != state) {
    CHECK(!has_passed(&deadline));
    sleep_ms(1);
  }
}

static inline void confirm(struct vlv_freezer *freezer) {
  struct timespec deadline = deadline_from_now();
  int rc;
  while ((rc = vlv_freezer_mechanism()->confirm(freezer)) == 0) CHECK(!has_passed(&deadline));
  CHECK(rc == VLV_LEVEL_COMPUTE_HALTED);
}

static inline void stop_and_confirm(struct vlv_freezer *freezer) {
  CHECK(vlv_freezer_mechanism()->stop(freezer) == 0);
  confirm(freezer);
}

static inline void resume(struct vlv_freezer *freezer) {
  CHECK(vlv_freezer_mechanism()->resume(freezer) == 0);
}

/* Ends every victim and waits until none is left. */
static void end_victims(void) {
  struct timespec deadline = deadline_from_now();
  shared->quit = 1;
  int left;
  do {
    left = vlv_tree_signal(getpid(), 0, SIGKILL);
    sleep_ms(1);
  } while (left > 0 && !has_passed(&deadline));
  CHECK(left == 0);
  shared->quit = 0;
}

#endif
