#include "ownership.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#define LOCK_SIZE 1 /* of the mapping: whatever a page is */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct ownership *all;

static void before_fork(void) {
  pthread_mutex_lock(&mutex);
}
static void in_parent(void) {
  pthread_mutex_unlock(&mutex);
}

static void in_child(void) {
  for (struct ownership *each = all; each != NULL; each = each->next) each->lost = true;
  all = NULL;
  pthread_mutex_unlock(&mutex);
}

static void watch_forks(void) {
  pthread_atfork(before_fork, in_parent, in_child);
}

static int map_lock(int lock_fd, void **lock) {
  *lock = mmap(NULL, LOCK_SIZE, PROT_NONE, MAP_SHARED, lock_fd, 0);
  if (*lock == MAP_FAILED) return -errno;
  if (madvise(*lock, LOCK_SIZE, MADV_DONTFORK) == 0) return 0;
  int error = -errno;
  munmap(*lock, LOCK_SIZE);
  return error;
}

int ownership_begin(struct ownership *ownership, int lock_fd) {
  void *lock;
  pthread_once(&once, watch_forks);
  pthread_mutex_lock(&mutex);
  int error = map_lock(lock_fd, &lock);
  if (error == 0) {
    *ownership = (struct ownership){.lock = lock, .next = all};
    all = ownership;
  }
  pthread_mutex_unlock(&mutex);
  close(lock_fd);
  return error;
}

static void unlink_from_all(struct ownership *ownership) {
  for (struct ownership **link = &all; *link != NULL; link = &(*link)->next) {
    if (*link != ownership) continue;
    *link = ownership->next;
    return;
  }
}

void ownership_end(struct ownership *ownership) {
  if (ownership->lost) return;
  pthread_mutex_lock(&mutex);
  unlink_from_all(ownership);
  munmap(ownership->lock, LOCK_SIZE);
  pthread_mutex_unlock(&mutex);
}
