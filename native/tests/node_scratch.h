/* What the node segment's tests share: a scratch directory, a check that ends the test, waiting for something
 * to become true (a deadline only to fail by, never to pass by). */
#ifndef VALVE_TESTS_NODE_SCRATCH_H
#define VALVE_TESTS_NODE_SCRATCH_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "valve/node.h"

#define CHECK(condition)                                                                    \
  do {                                                                                      \
    if (!(condition)) {                                                                     \
      fprintf(stderr, "%s:%d: %s: failed: %s\n", __FILE__, __LINE__, __func__, #condition); \
      exit(1);                                                                              \
    }                                                                                       \
  } while (0)

#define RUN(test)          \
  do {                     \
    printf("%s\n", #test); \
    fflush(stdout);        \
    scratch_make();        \
    test();                \
    scratch_remove();      \
  } while (0)

/* Fails the test if it does not become true within a minute. */
#define EVENTUALLY(condition)                                                 \
  do {                                                                        \
    for (int tries_ = 0; !(condition) && tries_ < 60000; tries_++) nap_ms(1); \
    CHECK(condition);                                                         \
  } while (0)

static const struct vlv_device_id CPU = {"cpu"};

static char scratch[64];

static inline void nap_ms(long ms) {
  struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
  nanosleep(&time, NULL);
}

static inline void scratch_make(void) {
  snprintf(scratch, sizeof scratch, "/tmp/valve-test-XXXXXX");
  CHECK(mkdtemp(scratch) != NULL);
}

static inline const char *scratch_path(const char *name) {
  static char path[400];
  snprintf(path, sizeof path, "%s/%s", scratch, name);
  return path;
}

static inline int scratch_entries(bool remove_them) {
  int count = 0;
  DIR *directory = opendir(scratch);
  CHECK(directory != NULL);
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    count++;
    if (remove_them && unlink(scratch_path(entry->d_name)) != 0) rmdir(scratch_path(entry->d_name));
  }
  closedir(directory);
  return count;
}

static inline void scratch_remove(void) {
  scratch_entries(true);
  CHECK(rmdir(scratch) == 0);
}

static inline struct vlv_node *open_side(enum vlv_side side) {
  struct vlv_node *node = NULL;
  CHECK(vlv_node_open(scratch, side, &node) == 0);
  return node;
}

static inline int open_error(enum vlv_side side) {
  struct vlv_node *node = NULL;
  int error = vlv_node_open(scratch, side, &node);
  if (error == 0) vlv_node_close(node);
  return error;
}

static inline struct vlv_holder *register_holder(struct vlv_node *node) {
  struct vlv_holder *holder = NULL;
  CHECK(vlv_holder_register(node, "holder", &CPU, 1, &holder) == 0);
  return holder;
}

static inline struct vlv_tenant *register_tenant(struct vlv_node *node) {
  struct vlv_tenant *tenant = NULL;
  CHECK(vlv_tenant_register(node, "job", 0, &CPU, 1, &tenant) == 0);
  return tenant;
}

/* The test plays tricks on a row that the node has mapped for writing. */
static inline struct vlv_holder_row *holder_row(struct vlv_node *node, uint32_t row) {
  return (struct vlv_holder_row *)&vlv_node_holders(node)->rows[row];
}

static inline struct vlv_tenant_row *tenant_row(struct vlv_node *node, uint32_t row) {
  return (struct vlv_tenant_row *)&vlv_node_tenants(node)->rows[row];
}

static inline uint32_t generation(struct vlv_node *node) {
  return atomic_load(&vlv_node_holders(node)->generation);
}

/* Runs `body` in a child that is a copy of this process; it must not return. */
static inline pid_t spawn(void (*body)(void)) {
  fflush(NULL);
  pid_t parent = getpid(), child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
    if (getppid() != parent) _exit(9);
    body();
    _exit(9);
  }
  return child;
}

static inline int wait_status(pid_t child) {
  int status;
  CHECK(waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static inline void kill_and_wait(pid_t child) {
  CHECK(kill(child, SIGKILL) == 0);
  CHECK(wait_status(child) == 128 + SIGKILL);
}

/* Memory that this process shares with its children. */
static inline void *share(size_t size) {
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  return memory;
}

#endif
