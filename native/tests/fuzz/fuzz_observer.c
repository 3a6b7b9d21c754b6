/* Driver calls as an application may make them: known and unknown numbers, structures with anything in them.
 */
#include "fuzz.h"
#include "observer.h"

#define RENEW_EVERY 4096 /* executions between two empty registries */
#define HANDLES 24       /* few, so that calls meet */

static const char *const words[] = {NULL};
static const unsigned long requests[] = {RM_IOCTL_FREE,    RM_IOCTL_ALLOC21,
                                         RM_IOCTL_ALLOC64, RM_IOCTL_CONTROL,
                                         RM_IOCTL_DUP,     _IOWR(RM_ESCAPE, 0x44, uint64_t)};
static const uint32_t classes[] = {RM_CLASS_ROOT_CLIENT,   RM_CLASS_DEVICE, RM_CLASS_SUBDEVICE,
                                   RM_CLASS_CHANNEL_GROUP, 0xc86f,          0x906f};
static const uint32_t commands[] = {RM_CONTROL_GROUP_SCHEDULE, RM_CONTROL_CHANNEL_SCHEDULE, RM_ALLOC};
static struct observer observer;
static struct registry *registry;
static uint64_t executions, channels_seen;

static void channel_added(void *context, const struct channel *channel) {
  (void)context;
  REQUIRE(channel->channel != 0 || channel->client != 0 || channel->fd >= -1);
  channels_seen++;
}

static void scheduled(void *context, rm_handle client, rm_handle object) {
  (void)context, (void)client, (void)object;
}

static void begin(void) {
  if (registry_create(&registry) != 0) abort();
  observer = (struct observer){.registry = registry, .channel_added = channel_added, .scheduled = scheduled};
}

static void end(void) {
  registry_destroy(registry);
}

static void put32(char *data, size_t at, uint32_t value) {
  memcpy(data + at, &value, sizeof value);
}

static uint32_t pick(uint64_t *random, const uint32_t *values, size_t count) {
  return values[draw_below(random, count)];
}

/* Plausible handles, class and status; then perhaps anything. */
static void fill(uint64_t *random, unsigned long request, char *data, size_t len) {
  memset(data, 0, len);
  for (size_t at = 0; at + 12 <= len && at < 12; at += 4)
    put32(data, at, (uint32_t)draw_below(random, HANDLES));
  if (request == RM_IOCTL_ALLOC64 || request == RM_IOCTL_ALLOC21)
    put32(data, 12, pick(random, classes, sizeof classes / sizeof *classes));
  if (request == RM_IOCTL_CONTROL) put32(data, 8, pick(random, commands, sizeof commands / sizeof *commands));
  if (draw_below(random, 3) == 0) mutate(random, data, len, words);
}

/* The application's own pointer is good, or the driver would have refused the call. */
static void point(char *data, unsigned long request, const char *params) {
  uint64_t address = (uintptr_t)params;
  if (request == RM_IOCTL_CONTROL)
    memcpy(data + offsetof(struct rm_control, params), &address, sizeof address);
}

static bool once(uint64_t *random) {
  char text[128], *params = exact("\1\1", RM_SCHEDULE_SIZE_OLD);
  unsigned long request = requests[draw_below(random, sizeof requests / sizeof *requests)];
  size_t len = _IOC_SIZE(request);
  uint64_t before = channels_seen;
  fill(random, request, text, len);
  point(text, request, params);
  char *argument = exact(text, len);
  int fd = (int)draw_below(random, 8), result = draw_below(random, 8) == 0 ? -1 : 0;
  struct rm_transfer transfer = {(uint32_t)_IOC_NR(request), (uint32_t)len, (uintptr_t)argument};
  if (draw_below(random, 4) == 0)
    observer_saw(&observer, fd, RM_IOCTL_TRANSFER, &transfer, result);
  else if (observer_wants(request))
    observer_saw(&observer, fd, request, argument, result);
  if (draw_below(random, 64) == 0) registry_fd_closed(registry, fd);
  free(argument);
  free(params);
  if (++executions % RENEW_EVERY == 0) end(), begin();
  return channels_seen > before;
}

const struct target observer_target = {"observer", begin, once, end};
