#include "shim.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "channels.h"
#include "halt.h"
#include "ladder.h"
#include "launch.h"
#include "next.h"
#include "observer.h"
#include "pool.h"
#include "rank.h"
#include "rm_call.h"

static struct channels channels;
static struct ladder ladder = {.channels = &channels, .launch = &launch_gate};
static struct halt halt;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void publish(void);

/* The rank's agent applies the gate before it is ready, so the first channel too is disabled if it is closed.
 */
static void channel_added(void *context, const struct channel *channel) {
  (void)context;
  rank_begin(halt_mechanism(), &halt);
  channels_added(&channels, channel);
  publish();
}

static void scheduled(void *context, rm_handle client, rm_handle object) {
  (void)context;
  channels_scheduled(&channels, client, object);
}

/* Without a registry the shim is inert: all calls pass through. */
static struct observer observer = {.channel_added = channel_added, .scheduled = scheduled};

static uint64_t unknown(void) {
  return __atomic_load_n(&observer.unknown, __ATOMIC_RELAXED);
}

static void publish(void) {
  rank_publish(registry_channels(observer.registry), atomic_load(&channels.refusals), unknown(),
               atomic_load(&launch_gate.held));
}

/* First what has no thread of its own to wait for. */
static void begin_anew_in_child(void) {
  if (observer.registry == NULL) return;
  registry_reset_after_fork(observer.registry);
  channels_reset_after_fork(&channels);
  launch_reset_after_fork(&launch_gate);
  ladder = (struct ladder){.channels = &channels, .launch = &launch_gate};
  halt_create(&halt, &ladder);
  pool_reset_after_fork();
  rank_reset_after_fork();
}

static void wire(void) {
  rm_ioctl = (int (*)(int, unsigned long, void *))next_symbol("ioctl");
  if (rm_ioctl == NULL || registry_create(&observer.registry) < 0) return;
  channels_create(&channels, observer.registry);
  halt_create(&halt, &ladder);
  pthread_atfork(NULL, NULL, begin_anew_in_child);
}

/* Another library's constructor may have opened the GPU before ours ran. */
__attribute__((constructor)) static void shim_begin(void) {
  pthread_once(&once, wire);
}

void shim_saw_ioctl(int fd, unsigned long request, const void *argument, int result) {
  int error = errno;
  shim_begin();
  uint64_t before = unknown();
  if (observer.registry != NULL) observer_saw(&observer, fd, request, argument, result);
  if (unknown() != before) publish();
  errno = error;
}

void shim_saw_unknown_call(void) {
  __atomic_fetch_add(&observer.unknown, 1, __ATOMIC_RELAXED);
  if (observer.registry != NULL) publish();
}

void *shim_pool_alloc(size_t size) {
  shim_begin();
  return pool_alloc(&halt, size);
}
