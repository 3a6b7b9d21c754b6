#include "rm_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define KNOWN_MAX 256

/* By inode, which is the same in every process that holds the file. */
static struct known {
  ino_t inode;
  struct rm_file *file;
} known[KNOWN_MAX];
static _Atomic int known_count;
static pthread_mutex_t known_lock = PTHREAD_MUTEX_INITIALIZER;

static void prepare(struct rm_file *file) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&file->lock, &attributes);
  file->next_handle = 0x5c000001;
}

static struct rm_file *map(int fd) {
  void *memory = mmap(NULL, sizeof(struct rm_file), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

int rm_file_open(bool close_on_exec) {
  int fd = memfd_create("nvidiactl", close_on_exec ? MFD_CLOEXEC : 0);
  if (fd < 0 || ftruncate(fd, sizeof(struct rm_file)) != 0) return -1;
  struct rm_file *file = map(fd);
  if (file == NULL) return -1;
  prepare(file);
  munmap(file, sizeof *file);
  return fd;
}

static bool is_ours(int fd) {
  char path[64], target[128];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(path, target, sizeof target - 1);
  if (length < 0) return false;
  target[length] = '\0';
  return strncmp(target, "/memfd:nvidiactl", strlen("/memfd:nvidiactl")) == 0;
}

static struct rm_file *look_up(ino_t inode) {
  for (int i = 0; i < atomic_load(&known_count); i++)
    if (known[i].inode == inode) return known[i].file;
  return NULL;
}

static struct rm_file *remember(ino_t inode, struct rm_file *file) {
  int count = atomic_load(&known_count);
  if (file == NULL || count == KNOWN_MAX) return file;
  known[count] = (struct known){inode, file};
  atomic_store(&known_count, count + 1);
  return file;
}

static struct rm_file *find_or_map(int fd, ino_t inode) {
  pthread_mutex_lock(&known_lock);
  struct rm_file *file = look_up(inode);
  if (file == NULL && is_ours(fd)) file = remember(inode, map(fd));
  pthread_mutex_unlock(&known_lock);
  return file;
}

struct rm_file *rm_file_of(int fd) {
  struct stat status;
  if (fstat(fd, &status) != 0 || status.st_size != sizeof(struct rm_file)) return NULL;
  struct rm_file *file = look_up(status.st_ino);
  return file != NULL ? file : find_or_map(fd, status.st_ino);
}

/* Whoever died with the lock left at worst an object that nobody asks for. */
void rm_file_lock(struct rm_file *file) {
  if (pthread_mutex_lock(&file->lock) == EOWNERDEAD) pthread_mutex_consistent(&file->lock);
}

void rm_file_unlock(struct rm_file *file) {
  pthread_mutex_unlock(&file->lock);
}

struct rm_object *rm_object_find(struct rm_file *file, rm_handle client, rm_handle handle) {
  for (uint32_t i = 0; i < RM_OBJECTS_MAX; i++) {
    struct rm_object *object = &file->objects[i];
    if (object->used && object->client == client && object->handle == handle) return object;
  }
  return NULL;
}

static struct rm_object *find_free(struct rm_file *file) {
  for (uint32_t i = 0; i < RM_OBJECTS_MAX; i++)
    if (!file->objects[i].used) return &file->objects[i];
  return NULL;
}

struct rm_object *rm_object_make(struct rm_file *file, rm_handle client, rm_handle parent, rm_handle handle,
                                 uint32_t class_id) {
  struct rm_object *object = find_free(file);
  if (object == NULL) return NULL;
  if (handle == 0) handle = file->next_handle++;
  object->handle = handle;
  object->client = rm_is_root(class_id) ? handle : client;
  object->parent = rm_is_root(class_id) ? handle : parent;
  object->class_id = class_id;
  object->stop = rm_is_channel(class_id) ? RM_STOP_UNSCHEDULED : 0;
  object->running = 0;
  object->pid = object->tid = 0;
  object->used = true;
  return object;
}

void rm_object_free(struct rm_file *file, struct rm_object *object) {
  object->used = false;
  for (uint32_t i = 0; i < RM_OBJECTS_MAX; i++) {
    struct rm_object *below = &file->objects[i];
    if (below->used && below->client == object->client && below->parent == object->handle)
      rm_object_free(file, below);
  }
}
