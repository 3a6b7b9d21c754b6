#include "ownership.h"

#include <pthread.h>
#include <unistd.h>

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
  for (struct ownership *each = all; each != NULL; each = each->next) {
    close(each->lock_fd);
    each->lost = true;
  }
  all = NULL;
  pthread_mutex_unlock(&mutex);
}

static void watch_forks(void) {
  pthread_atfork(before_fork, in_parent, in_child);
}

void ownership_begin(struct ownership *ownership, int lock_fd) {
  pthread_once(&once, watch_forks);
  pthread_mutex_lock(&mutex);
  *ownership = (struct ownership){.lock_fd = lock_fd, .next = all};
  all = ownership;
  pthread_mutex_unlock(&mutex);
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
  close(ownership->lock_fd);
  pthread_mutex_unlock(&mutex);
}
