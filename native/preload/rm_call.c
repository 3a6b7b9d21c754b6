/* A control that the expected descriptor cannot carry (closed, or given to another file) is tried through
 * every descriptor of /dev/nvidiactl that the process has: RM looks at the open file, not at its number.
 */
#include "rm_call.h"

#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int (*rm_ioctl)(int fd, unsigned long request, void *argument);

static int call_through(int fd, struct rm_control *control) {
  int rc;
  control->status = RM_OK;
  do rc = rm_ioctl(fd, RM_IOCTL_CONTROL, control);
  while (rc < 0 && errno == EINTR);
  return rc < 0 ? -errno : (int)control->status;
}

static bool is_wrong_file(int result) {
  return result == -EBADF || result == -ENOTTY || result == -EINVAL || result == (int)RM_ERR_INVALID_CLIENT;
}

static bool is_control_device(const char *descriptor) {
  char path[64], target[256];
  snprintf(path, sizeof path, "/proc/self/fd/%.20s", descriptor);
  ssize_t length = readlink(path, target, sizeof target - 1);
  if (length < 0) return false;
  target[length] = '\0';
  return strstr(target, "nvidiactl") != NULL;
}

/* The first answer that is not "wrong file"; `result` if there is none. */
static int call_through_any(struct rm_control *control, int result) {
  DIR *directory = opendir("/proc/self/fd");
  if (directory == NULL) return result;
  for (struct dirent *entry; is_wrong_file(result) && (entry = readdir(directory)) != NULL;)
    if (is_control_device(entry->d_name)) result = call_through(atoi(entry->d_name), control);
  closedir(directory);
  return result;
}

static int control(const struct channel *channel, rm_handle object, uint32_t command, void *params,
                   uint32_t size) {
  struct rm_control call = {.client = channel->client,
                            .object = object,
                            .command = command,
                            .params = (uint64_t)(uintptr_t)params,
                            .params_size = size};
  int result = channel->fd < 0 ? -EBADF : call_through(channel->fd, &call);
  return is_wrong_file(result) ? call_through_any(&call, result) : result;
}

int rm_disable_channels(const struct channel *channels, uint32_t count, bool disable) {
  struct rm_disable_channels params = {.disable = disable, .channel_count = count};
  for (uint32_t i = 0; i < count; i++) {
    params.clients[i] = channels[i].client;
    params.channels[i] = channels[i].channel;
  }
  return control(&channels[0], channels[0].subdevice, RM_CONTROL_DISABLE_CHANNELS, &params, sizeof params);
}

/* RM checks the structure's size, which grew by a member: the size that this driver took last comes first. */
static int schedule(const struct channel *channel, rm_handle object, uint32_t command, bool enable) {
  static _Atomic uint32_t size = sizeof(struct rm_schedule);
  struct rm_schedule params = {.enable = enable};
  uint32_t tried = atomic_load(&size), other = sizeof params + RM_SCHEDULE_SIZE_OLD - tried;
  int result = control(channel, object, command, &params, tried);
  if (result != RM_ERR_INVALID_PARAM_STRUCT && result != RM_ERR_INVALID_ARGUMENT) return result;
  result = control(channel, object, command, &params, other);
  if (result == RM_OK) atomic_store(&size, other);
  return result;
}

int rm_schedule_group(const struct channel *channel, bool enable) {
  return schedule(channel, channel->group, RM_CONTROL_GROUP_SCHEDULE, enable);
}

int rm_schedule_channel(const struct channel *channel, bool enable) {
  return schedule(channel, channel->channel, RM_CONTROL_CHANNEL_SCHEDULE, enable);
}

bool rm_is_refusal(int result) {
  return result == RM_ERR_INSUFFICIENT_PERMISSIONS || result == RM_ERR_INVALID_ARGUMENT ||
         result == RM_ERR_INVALID_COMMAND || result == RM_ERR_INVALID_PARAM_STRUCT ||
         result == RM_ERR_NOT_SUPPORTED || result == RM_ERR_PRIV_SEC_VIOLATION ||
         result == RM_ERR_FEATURE_NOT_ENABLED || result == -EPERM || result == -EACCES;
}

bool rm_is_gone(int result) {
  return result == RM_ERR_INVALID_CHANNEL || result == RM_ERR_INVALID_CLIENT ||
         result == RM_ERR_INVALID_OBJECT || result == RM_ERR_INVALID_OBJECT_HANDLE ||
         result == RM_ERR_OBJECT_NOT_FOUND || result == -EBADF || result == -ENOTTY;
}
