#include "rescue.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "figures.h"

struct rescue {
  _Atomic uint64_t deadline_ns; /* 0: nothing is stopped */
  _Atomic uint32_t acted;
  uint32_t count;
  struct channel channels[KIT_CHANNELS_MAX];
};

static struct rescue *rescue;
static int alive_fd = -1; /* the child sees its other end close */
static pid_t child, owner;

static void put_back(void) {
  rm_for_runs(rescue->channels, rescue->count, false);
  rm_for_groups(rescue->channels, rescue->count, true);
}

static bool is_overdue(void) {
  uint64_t deadline_ns = atomic_load(&rescue->deadline_ns);
  return deadline_ns != 0 && clock_ns() > deadline_ns;
}

/* Until the parent is gone. Only system calls: it was forked off a process with threads. */
static _Noreturn void watch(int parent_fd) {
  struct pollfd parent = {.fd = parent_fd, .events = POLLIN};
  while (poll(&parent, 1, 50) == 0 || errno == EINTR) {
    if (!is_overdue()) continue;
    atomic_store(&rescue->deadline_ns, 0);
    atomic_fetch_add(&rescue->acted, 1);
    put_back();
  }
  if (atomic_load(&rescue->deadline_ns) != 0) put_back();
  _exit(0);
}

static void on_signal(int number) {
  if (getpid() == owner && atomic_load(&rescue->deadline_ns) != 0) put_back();
  signal(number, SIG_DFL);
  raise(number);
}

static void catch_signals(void) {
  static const int numbers[] = {SIGHUP,  SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGALRM,
                                SIGSEGV, SIGBUS, SIGABRT, SIGFPE,  SIGILL};
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND};
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) sigaction(numbers[i], &action, NULL);
}

/* In the child: no handlers of the parent's, and no copy of the end that tells of the parent. */
static void become_watcher(int ends[2]) {
  static const int numbers[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGALRM};
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) signal(numbers[i], SIG_IGN);
  close(ends[1]);
  watch(ends[0]);
}

static int fork_watcher(void) {
  int ends[2];
  if (pipe(ends) != 0) return -errno;
  child = fork();
  if (child < 0) return -errno;
  if (child == 0) become_watcher(ends);
  close(ends[0]);
  alive_fd = ends[1];
  return 0;
}

int rescue_begin(const struct channel *channels, uint32_t count) {
  void *memory = mmap(NULL, sizeof *rescue, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return -errno;
  rescue = memory;
  rescue->count = count;
  memcpy(rescue->channels, channels, count * sizeof channels[0]);
  owner = getpid();
  int error = fork_watcher();
  if (error != 0) return error;
  atexit(rescue_end);
  catch_signals();
  return 0;
}

void rescue_arm(void) {
  atomic_store(&rescue->deadline_ns, clock_ns() + RESCUE_NS);
}

void rescue_disarm(void) {
  atomic_store(&rescue->deadline_ns, 0);
}

uint32_t rescue_count(void) {
  return rescue ? atomic_load(&rescue->acted) : 0;
}

void rescue_end(void) {
  if (rescue == NULL || getpid() != owner || child == 0) return;
  if (atomic_load(&rescue->deadline_ns) != 0) put_back();
  rescue_disarm();
  close(alive_fd);
  waitpid(child, NULL, 0);
  child = 0;
}
