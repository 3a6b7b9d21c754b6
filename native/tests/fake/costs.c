#include "costs.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static _Atomic uint64_t nowhere;
static _Atomic uint64_t *spent_ns = &nowhere;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void map_sum(void) {
  const char *path = getenv("FAKE_VMM_SPENT");
  int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (fd < 0) return;
  void *memory = mmap(NULL, sizeof *spent_ns, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory != MAP_FAILED) spent_ns = memory;
  close(fd);
}

static uint64_t cost_of(const char *call) {
  const char *list = getenv("FAKE_VMM_US");
  size_t length = strlen(call);
  for (const char *at = list; at != NULL && (at = strstr(at, call)) != NULL; at += length)
    if (at[length] == '=' && (at == list || at[-1] == ','))
      return (uint64_t)(strtod(at + length + 1, NULL) * 1000);
  return 0;
}

uint64_t cost_begin(void) {
  pthread_once(&once, map_sum);
  return now_ns();
}

void cost_end(const char *call, uint64_t began_ns) {
  uint64_t end_ns = began_ns + cost_of(call);
  while (now_ns() < end_ns) continue;
  atomic_fetch_add(spent_ns, now_ns() - began_ns);
}
