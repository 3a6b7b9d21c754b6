#include "tree_proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#define STAT_SIZE 1024
#define PATH_SIZE 64
#define CGROUP_SIZE 8192 /* a line per hierarchy of cgroup v1; the one of v2 comes last */

int vlv_pids_append(struct vlv_pids *pids, pid_t pid) {
  if (pids->count == pids->capacity) {
    size_t capacity = pids->capacity ? pids->capacity * 2 : 64;
    pid_t *items = realloc(pids->items, capacity * sizeof *items);
    if (!items) return -ENOMEM;
    pids->items = items;
    pids->capacity = capacity;
  }
  pids->items[pids->count++] = pid;
  return 0;
}

/* One read() is enough for the small files here: the kernel makes their text in one piece. */
static int read_small(int directory, const char *path, char *buffer, size_t size) {
  int fd = openat(directory, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT ? -ESRCH : -errno;
  ssize_t length = read(fd, buffer, size - 1);
  int error = errno;
  close(fd);
  if (length < 0) return -error;
  buffer[length] = '\0';
  return length ? (int)length : -ESRCH;
}

int vlv_proc_stat(int directory, const char *path, struct vlv_stat *out) {
  char text[STAT_SIZE];
  int length = read_small(directory, path, text, sizeof text);
  if (length < 0) return length;
  char *name_end = strrchr(text, ')'); /* the name may hold anything, also ") R" */
  unsigned long long start = 0;
  int parent = 0;
  if (!name_end ||
      sscanf(name_end + 1, " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %d %*d %llu",
             &out->state, &parent, &out->threads, &start) != 4)
    return -EPROTO;
  out->pid = (pid_t)strtol(text, NULL, 10);
  out->parent = parent;
  out->start_ticks = start;
  return out->state == 'X' ? -ESRCH : 0;
}

int vlv_proc_cgroup(int directory, const char *path, char *out, size_t size) {
  char text[CGROUP_SIZE];
  int length = read_small(directory, path, text, sizeof text);
  if (length < 0) return length;
  char *line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
  if (!line) return -ENOENT;
  line += strcspn(line, ":") + 2;
  line[strcspn(line, "\n")] = '\0';
  return snprintf(out, size, "%s", line) < (int)size ? 0 : -ENAMETOOLONG;
}

bool vlv_state_is_stopped(char state) {
  return state && strchr("TtZXx", state) != NULL;
}

static bool is_number(const char *name) {
  return name[0] >= '1' && name[0] <= '9';
}

/* The parent of a vfork() sleeps uninterruptibly until its child has called exec, which a stopped child never
 * does: it runs nothing, and SIGSTOP is waiting for it. (An ordinary fork that sleeps on its way will still
 * bear its child: that thread waits in another function.) */
static bool is_waiting_for_vfork(int process, const char *thread) {
  static const char *const functions[] = {"kernel_clone", "wait_for_vfork_done", "_do_fork"};
  char path[PATH_SIZE], text[STAT_SIZE];
  snprintf(path, sizeof path, "task/%.20s/wchan", thread);
  if (read_small(process, path, text, sizeof text) <= 0) return false;
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
    if (strcmp(text, functions[i]) == 0) return true;
  return false;
}

static int thread_is_unstopped(int process, const char *thread) {
  char path[PATH_SIZE];
  struct vlv_stat stat;
  snprintf(path, sizeof path, "task/%.20s/stat", thread);
  int rc = vlv_proc_stat(process, path, &stat);
  if (rc == -ESRCH) return 0;
  if (rc || vlv_state_is_stopped(stat.state)) return rc;
  return !(stat.state == 'D' && is_waiting_for_vfork(process, thread));
}

/* Opens a listing of `path`, which must be closed with closedir(). NULL and errno: ESRCH if it is gone. */
static DIR *open_listing(int directory, const char *path) {
  int fd = openat(directory, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *listing = fd < 0 ? NULL : fdopendir(fd);
  if (!listing && fd >= 0) close(fd);
  if (!listing && errno == ENOENT) errno = ESRCH;
  return listing;
}

int vlv_proc_threads(int process, struct vlv_pids *out) {
  DIR *threads = open_listing(process, "task");
  if (!threads) return -errno;
  int rc = 0;
  for (struct dirent *entry; !rc && (entry = readdir(threads));)
    if (is_number(entry->d_name)) rc = vlv_pids_append(out, (pid_t)strtol(entry->d_name, NULL, 10));
  closedir(threads);
  return rc;
}

int vlv_proc_unstopped_threads(int process) {
  DIR *threads = open_listing(process, "task");
  if (!threads) return errno == ESRCH ? 0 : -errno;
  int unstopped = 0, rc = 0;
  for (struct dirent *entry; rc >= 0 && (entry = readdir(threads));) {
    if (!is_number(entry->d_name)) continue;
    rc = thread_is_unstopped(process, entry->d_name);
    if (rc > 0) unstopped++;
  }
  closedir(threads);
  return rc < 0 ? rc : unstopped;
}

/* Reads a list of pids from `file`, however long. */
static int append_list(FILE *file, struct vlv_pids *out) {
  int pid, rc = 0;
  while (!rc && fscanf(file, "%d", &pid) == 1) rc = vlv_pids_append(out, pid);
  return rc;
}

static int children_of_thread(int process, const char *thread, struct vlv_pids *out) {
  char path[PATH_SIZE];
  snprintf(path, sizeof path, "task/%.20s/children", thread);
  int fd = openat(process, path, O_RDONLY | O_CLOEXEC);
  FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
  if (!file) {
    int error = errno;
    if (fd >= 0) close(fd);
    return error == ENOENT || error == ESRCH ? 0 : -error;
  }
  int rc = append_list(file, out);
  fclose(file);
  return rc;
}

int vlv_proc_children(int process, struct vlv_pids *out) {
  DIR *threads = open_listing(process, "task");
  if (!threads) return -errno;
  int rc = 0;
  for (struct dirent *entry; !rc && (entry = readdir(threads));)
    if (is_number(entry->d_name)) rc = children_of_thread(process, entry->d_name, out);
  closedir(threads);
  return rc;
}

int vlv_proc_all(int proc, struct vlv_pids *out) {
  DIR *listing = open_listing(proc, ".");
  if (!listing) return -errno;
  int rc = 0;
  for (struct dirent *entry; !rc && (entry = readdir(listing));)
    if (is_number(entry->d_name)) rc = vlv_pids_append(out, (pid_t)strtol(entry->d_name, NULL, 10));
  closedir(listing);
  return rc;
}

/* lxcfs serves its own, delayed loadavg from a FUSE mount; only the kernel's is exact. */
int vlv_proc_open_cursor(int proc) {
  struct statfs filesystem;
  int fd = openat(proc, "loadavg", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  if (fstatfs(fd, &filesystem) == 0 && filesystem.f_type == PROC_SUPER_MAGIC) return fd;
  close(fd);
  return -1;
}

/* "0.00 0.00 0.00 1/100 4711": the last field is the pid that was given out last. */
uint64_t vlv_proc_pid_cursor(int loadavg) {
  char text[128];
  ssize_t length = loadavg < 0 ? -1 : pread(loadavg, text, sizeof text - 1, 0);
  if (length <= 0) return 0;
  text[length] = '\0';
  char *last = strrchr(text, ' ');
  return last ? strtoull(last, NULL, 10) : 0;
}
