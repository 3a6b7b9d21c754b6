/* rm_file.h - what the fake RM knows behind one open /dev/nvidiactl: a memory file, so that whoever holds a
 * descriptor of it, in whatever process, meets the same clients, and another open meets none of them.
 */
#ifndef FAKE_RM_FILE_H
#define FAKE_RM_FILE_H

#include <pthread.h>
#include <stdatomic.h>

#include "rm.h"

#define RM_OBJECTS_MAX 4096u

/* Reasons for a channel to be off the hardware. */
#define RM_STOP_DISABLED 1u
#define RM_STOP_UNSCHEDULED 2u

struct rm_object {
  bool used;
  rm_handle client, parent, handle;
  uint32_t class_id;
  /* of a channel: rm_channel.h */
  _Atomic uint32_t stop;    /* RM_STOP_...; futex word of its thread */
  _Atomic uint32_t running; /* its thread is executing work; futex word of who stops it */
  _Atomic int pid, tid;     /* its thread; 0: none yet */
};

struct rm_file {
  pthread_mutex_t lock; /* over the table, not over stopping */
  rm_handle next_handle;
  struct rm_object objects[RM_OBJECTS_MAX];
};

/* A fresh open file. Descriptor, or -1. */
int rm_file_open(bool close_on_exec);
/* Behind a descriptor; NULL if it is not one of ours. The mapping stays for good. */
struct rm_file *rm_file_of(int fd);
void rm_file_lock(struct rm_file *file);
void rm_file_unlock(struct rm_file *file);

/* Under the lock. */
struct rm_object *rm_object_find(struct rm_file *file, rm_handle client, rm_handle handle);
/* NULL: the table is full. handle 0: one is chosen. */
struct rm_object *rm_object_make(struct rm_file *file, rm_handle client, rm_handle parent, rm_handle handle,
                                 uint32_t class_id);
/* With everything below it. */
void rm_object_free(struct rm_file *file, struct rm_object *object);

#endif
