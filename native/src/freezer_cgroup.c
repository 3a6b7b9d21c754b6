#include "freezer_cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tree_proc.h"
#include "valve/freezer.h"

int vlv_cgroup_open(struct vlv_cgroup *cgroup, const char *directory) {
  *cgroup = (struct vlv_cgroup){.directory = -1, .freeze = -1, .events = -1};
  cgroup->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (cgroup->directory < 0) return -errno;
  cgroup->freeze = openat(cgroup->directory, "cgroup.freeze", O_RDWR | O_CLOEXEC);
  if (cgroup->freeze >= 0) cgroup->events = openat(cgroup->directory, "cgroup.events", O_RDONLY | O_CLOEXEC);
  if (cgroup->events >= 0) return 0;
  int error = errno;
  vlv_cgroup_close(cgroup);
  return -error;
}

void vlv_cgroup_close(struct vlv_cgroup *cgroup) {
  int descriptors[] = {cgroup->directory, cgroup->freeze, cgroup->events};
  for (size_t i = 0; i < sizeof descriptors / sizeof *descriptors; i++)
    if (descriptors[i] >= 0) close(descriptors[i]);
  *cgroup = (struct vlv_cgroup){.directory = -1, .freeze = -1, .events = -1};
}

bool vlv_cgroup_is_open(const struct vlv_cgroup *cgroup) {
  return cgroup->events >= 0;
}

int vlv_cgroup_set_frozen(const struct vlv_cgroup *cgroup, bool frozen) {
  return pwrite(cgroup->freeze, frozen ? "1" : "0", 1, 0) == 1 ? 0 : -errno;
}

int vlv_cgroup_asks_for_freeze(const struct vlv_cgroup *cgroup) {
  char text[4];
  ssize_t length = pread(cgroup->freeze, text, sizeof text, 0);
  return length < 0 ? -errno : length > 0 && text[0] == '1';
}

int vlv_cgroup_read_events(const struct vlv_cgroup *cgroup, struct vlv_cgroup_events *out) {
  char text[256];
  ssize_t length = pread(cgroup->events, text, sizeof text - 1, 0);
  if (length < 0) return -errno;
  text[length] = '\0';
  out->populated = strstr(text, "populated 1") != NULL;
  out->frozen = strstr(text, "frozen 1") != NULL;
  return 0;
}

/* Reads the pids in a file of the cgroup; an unreadable file gives none. */
static void read_pids(const struct vlv_cgroup *cgroup, const char *name, struct vlv_pids *out) {
  int fd = openat(cgroup->directory, name, O_RDONLY | O_CLOEXEC);
  FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
  if (!file && fd >= 0) close(fd);
  if (!file) return;
  for (int pid, rc = 0; !rc && fscanf(file, "%d", &pid) == 1;) rc = vlv_pids_append(out, pid);
  fclose(file);
}

/* From one of its members, so that the path is in the same terms as those it is compared with. */
static int learn_path(struct vlv_cgroup *cgroup) {
  struct vlv_pids pids = {0};
  char file[32];
  int rc = -ESRCH;
  if (cgroup->path[0]) return 0;
  read_pids(cgroup, "cgroup.procs", &pids);
  if (pids.count) {
    snprintf(file, sizeof file, "/proc/%d/cgroup", pids.items[0]);
    rc = vlv_proc_cgroup(AT_FDCWD, file, cgroup->path, sizeof cgroup->path);
  }
  free(pids.items);
  if (rc) cgroup->path[0] = '\0';
  return rc;
}

int vlv_cgroup_contains(struct vlv_cgroup *cgroup, int process) {
  char path[VLV_CGROUP_PATH_SIZE];
  int rc = learn_path(cgroup);
  if (!rc) rc = vlv_proc_cgroup(process, "cgroup", path, sizeof path);
  if (rc) return rc;
  size_t length = strlen(cgroup->path);
  return strncmp(path, cgroup->path, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

bool vlv_cgroup_has_vanished(int error) {
  return error == -ENODEV || error == -ENOENT;
}

uint32_t vlv_cgroup_processes(const struct vlv_cgroup *cgroup) {
  struct vlv_pids pids = {0};
  read_pids(cgroup, "cgroup.procs", &pids);
  free(pids.items);
  return (uint32_t)pids.count;
}

/* A frozen thread shows as S; on its way there it may show as R. */
static bool keeps_running(pid_t thread) {
  char path[32];
  struct vlv_stat stat;
  snprintf(path, sizeof path, "/proc/%d/stat", thread);
  return vlv_proc_stat(AT_FDCWD, path, &stat) == 0 && (stat.state == 'D' || stat.state == 'R');
}

uint32_t vlv_cgroup_unstopped_threads(const struct vlv_cgroup *cgroup) {
  struct vlv_pids threads = {0};
  uint32_t unstopped = 0;
  read_pids(cgroup, "cgroup.threads", &threads);
  for (size_t i = 0; i < threads.count; i++) unstopped += keeps_running(threads.items[i]);
  free(threads.items);
  return unstopped;
}
