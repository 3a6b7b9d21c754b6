/* A resource manager below the shim's calls, in this process: says what it is told to and remembers which
 * channels are off the hardware. It knows one client (1) with two devices (2, 5), a subdevice (3, 6) and a
 * group (4, 7) each; channels are 10 and up. */
#ifndef VALVE_TESTS_RM_SCRIPT_H
#define VALVE_TESTS_RM_SCRIPT_H

#include <pthread.h>
#include <stdatomic.h>

#include "channels.h"
#include "node_scratch.h"
#include "rm_call.h"

#define SCRIPT_FD 5
#define SCRIPT_CHANNELS 512
#define SCRIPT_CLASS 0xc86fu

static struct {
  pthread_mutex_t lock;
  uint32_t disable_status, schedule_status; /* answers */
  uint32_t schedule_size;                   /* the only one that is taken; 0: any */
  int error;                                /* errno of the call itself; 0: none */
  bool exists[SCRIPT_CHANNELS], disabled[SCRIPT_CHANNELS], unscheduled[SCRIPT_CHANNELS];
  rm_handle group[SCRIPT_CHANNELS];
  uint32_t calls, largest; /* controls; channels of the largest one */
} script = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct registry *registry;
static struct channels channels;

static bool script_runs(rm_handle channel) {
  pthread_mutex_lock(&script.lock);
  bool runs = script.exists[channel] && !script.disabled[channel] && !script.unscheduled[channel];
  pthread_mutex_unlock(&script.lock);
  return runs;
}

static inline uint32_t script_running(void) {
  uint32_t running = 0;
  for (rm_handle i = 0; i < SCRIPT_CHANNELS; i++) running += script_runs(i);
  return running;
}

static uint32_t script_disable(const struct rm_control *call) {
  const struct rm_disable_channels *params = (const void *)(uintptr_t)call->params;
  CHECK(call->params_size == sizeof *params && params->channel_count <= RM_CHANNELS_MAX);
  if (params->channel_count > script.largest) script.largest = params->channel_count;
  if (script.disable_status != RM_OK) return script.disable_status;
  for (uint32_t i = 0; i < params->channel_count; i++)
    if (!script.exists[params->channels[i]]) return RM_ERR_INVALID_CHANNEL;
  for (uint32_t i = 0; i < params->channel_count; i++) script.disabled[params->channels[i]] = params->disable;
  return RM_OK;
}

static uint32_t script_schedule(const struct rm_control *call) {
  const struct rm_schedule *params = (const void *)(uintptr_t)call->params;
  if (script.schedule_status != RM_OK) return script.schedule_status;
  if (script.schedule_size != 0 && call->params_size != script.schedule_size)
    return RM_ERR_INVALID_PARAM_STRUCT;
  for (rm_handle i = 0; i < SCRIPT_CHANNELS; i++)
    if (script.group[i] == call->object || i == call->object) script.unscheduled[i] = !params->enable;
  return RM_OK;
}

static int script_ioctl(int fd, unsigned long request, void *argument) {
  struct rm_control *call = argument;
  CHECK(request == RM_IOCTL_CONTROL && call->client == 1);
  errno = fd != SCRIPT_FD ? EBADF : script.error;
  if (errno != 0) return -1;
  pthread_mutex_lock(&script.lock);
  script.calls++;
  call->status = call->command == RM_CONTROL_DISABLE_CHANNELS ? script_disable(call) : script_schedule(call);
  pthread_mutex_unlock(&script.lock);
  return 0;
}

static void script_add(rm_handle parent, rm_handle object, uint32_t class_id) {
  CHECK(registry_add(registry, SCRIPT_FD, 1, parent, object, class_id) >= 0);
}

/* As the driver sees it first, then as the shim does. */
static void script_add_channel(rm_handle group, rm_handle channel) {
  pthread_mutex_lock(&script.lock);
  script.exists[channel] = true;
  script.group[channel] = group;
  script.disabled[channel] = script.unscheduled[channel] = false;
  pthread_mutex_unlock(&script.lock);
  script_add(group, channel, SCRIPT_CLASS);
}

static inline void script_free_channel(rm_handle channel) {
  pthread_mutex_lock(&script.lock);
  script.exists[channel] = false;
  pthread_mutex_unlock(&script.lock);
  registry_remove(registry, 1, channel);
}

static void script_begin(void) {
  memset(&script, 0, sizeof script);
  pthread_mutex_init(&script.lock, NULL);
  rm_ioctl = script_ioctl;
  CHECK(registry_create(&registry) == 0);
  channels_create(&channels, registry);
  script_add(1, 1, RM_CLASS_ROOT_CLIENT);
  for (rm_handle device = 2; device <= 5; device += 3) {
    script_add(1, device, RM_CLASS_DEVICE);
    script_add(device, device + 1, RM_CLASS_SUBDEVICE);
    script_add(device, device + 2, RM_CLASS_CHANNEL_GROUP);
  }
}

static void script_end(void) {
  registry_destroy(registry);
}

#endif
