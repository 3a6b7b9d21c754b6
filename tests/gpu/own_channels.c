#include "own_channels.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct channels own_channels;
static struct observer observer;

static int next_ioctl(int fd, unsigned long request, void *argument) {
  static int (*next)(int, unsigned long, ...);
  if (next == NULL) next = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
  return next(fd, request, argument);
}

static void on_added(void *context, const struct channel *channel) {
  channels_added(context, channel);
}

static void on_scheduled(void *context, rm_handle client, rm_handle object) {
  channels_scheduled(context, client, object);
}

/* Also in a process that only controls another's channels. */
__attribute__((constructor)) static void begin(void) {
  struct registry *registry = NULL;
  rm_ioctl = next_ioctl;
  if (registry_create(&registry) != 0) return;
  channels_create(&own_channels, registry);
  observer.channel_added = on_added;
  observer.scheduled = on_scheduled;
  observer.context = &own_channels;
  observer.registry = registry;
}

/* Seen by libcuda before the C library's, since the program comes first. */
__attribute__((visibility("default"))) int ioctl(int fd, unsigned long request, ...) {
  va_list arguments;
  va_start(arguments, request);
  void *argument = va_arg(arguments, void *);
  va_end(arguments);
  int result = next_ioctl(fd, request, argument);
  if (observer.registry != NULL && observer_wants(request))
    observer_saw(&observer, fd, request, argument, result);
  return result;
}

uint32_t own_channels_copy(struct channel out[KIT_CHANNELS_MAX]) {
  struct channel *all = NULL;
  int count = own_channels.registry ? registry_snapshot(own_channels.registry, &all) : 0;
  uint32_t kept = count < 0 ? 0 : (uint32_t)count < KIT_CHANNELS_MAX ? (uint32_t)count : KIT_CHANNELS_MAX;
  if (kept != 0) memcpy(out, all, kept * sizeof out[0]);
  free(all);
  return kept;
}

uint64_t own_channels_unknown(void) {
  return observer.unknown;
}

int rm_control_raw(int fd, rm_handle client, rm_handle object, uint32_t command, void *params,
                   uint32_t size) {
  struct rm_control control = {.client = client,
                               .object = object,
                               .command = command,
                               .params = (uint64_t)(uintptr_t)params,
                               .params_size = size};
  if (next_ioctl(fd, RM_IOCTL_CONTROL, &control) != 0) return -errno;
  return (int)control.status;
}

const char *rm_status_name(int status) {
  static const struct {
    int status;
    const char *name;
  } names[] = {{RM_OK, "OK"},
               {RM_ERR_INSUFFICIENT_PERMISSIONS, "INSUFFICIENT_PERMISSIONS"},
               {0x1a, "INSUFFICIENT_RESOURCES"},
               {0x1f, "INVALID_ARGUMENT"},
               {RM_ERR_INVALID_CHANNEL, "INVALID_CHANNEL"},
               {RM_ERR_INVALID_CLIENT, "INVALID_CLIENT"},
               {RM_ERR_INVALID_OBJECT, "INVALID_OBJECT"},
               {RM_ERR_INVALID_OBJECT_HANDLE, "INVALID_OBJECT_HANDLE"},
               {RM_ERR_INVALID_PARAM_STRUCT, "INVALID_PARAM_STRUCT"},
               {RM_ERR_NOT_SUPPORTED, "NOT_SUPPORTED"},
               {RM_ERR_OBJECT_NOT_FOUND, "OBJECT_NOT_FOUND"},
               {RM_ERR_TIMEOUT, "TIMEOUT"}};
  static _Thread_local char number[32];
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (names[i].status == status) return names[i].name;
  if (status < 0) return strerror(-status);
  snprintf(number, sizeof number, "0x%x", (unsigned)status);
  return number;
}

static bool same_call(const struct channel *a, const struct channel *b) {
  return a->fd == b->fd && a->client == b->client && a->subdevice == b->subdevice;
}

int rm_for_runs(const struct channel *channels, uint32_t count, bool disable) {
  int worst = RM_OK;
  for (uint32_t begin = 0, end; begin < count; begin = end) {
    for (end = begin + 1; end < count && end - begin < RM_CHANNELS_MAX; end++)
      if (!same_call(&channels[begin], &channels[end])) break;
    int result = rm_disable_channels(channels + begin, end - begin, disable);
    if (result != RM_OK) worst = result;
  }
  return worst;
}

static bool group_came_before(const struct channel *channels, uint32_t index) {
  for (uint32_t i = 0; i < index; i++)
    if (channels[i].client == channels[index].client && channels[i].group == channels[index].group)
      return true;
  return false;
}

int rm_for_groups(const struct channel *channels, uint32_t count, bool enable) {
  int worst = RM_OK;
  for (uint32_t i = 0; i < count; i++) {
    if (channels[i].group != 0 && group_came_before(channels, i)) continue;
    int result = channels[i].group ? rm_schedule_group(&channels[i], enable)
                                   : rm_schedule_channel(&channels[i], enable);
    if (result != RM_OK) worst = result;
  }
  return worst;
}
