/* Rules: only calls that succeeded count; a call is known by the escape's number and its structure's size,
 * and what does not match is counted, not guessed at. */
#include "observer.h"

#include <errno.h>
#include <string.h>

/* One escape as the driver got it: unwrapped, if it came by RM_TRANSFER. */
struct escape {
  uint32_t number, size;
  const void *data;
};

/* Escapes of RM that allocate nothing below a client (nv_escape.h, nv-ioctl-numbers.h). */
static bool is_harmless(uint32_t number) {
  static const uint8_t known[] = {0x27, 0x28, 0x35, 0x39, 0x41, 0x4a, 0x4d, 0x4e, 0x4f, 0x52, 0x54};
  if (memchr(known, (int)number, sizeof known) != NULL) return true;
  return (number >= 0x56 && number <= 0x5f) || number == 200 || number == 201 ||
         (number >= 206 && number <= 218);
}

static struct escape unwrap(unsigned long request, const void *argument) {
  struct escape escape = {_IOC_NR(request), _IOC_SIZE(request), argument};
  const struct rm_transfer *transfer = argument;
  if (escape.number != RM_TRANSFER || escape.size != sizeof *transfer) return escape;
  return (struct escape){transfer->command, transfer->size, (const void *)(uintptr_t)transfer->pointer};
}

static void announce(struct observer *observer, int added, rm_handle client, rm_handle object) {
  struct channel channel;
  if (added != 1 || registry_find(observer->registry, client, object, &channel) == 0) return;
  observer->channel_added(observer->context, &channel);
}

/* A client has no parent and is named by what was allocated. */
static void allocated(struct observer *observer, int fd, const struct rm_alloc64 *call) {
  bool root = rm_is_root(call->class_id);
  rm_handle client = root ? call->object : call->root, parent = root ? call->object : call->parent;
  if (!root) registry_seen(observer->registry, fd, client);
  int added = registry_add(observer->registry, fd, client, parent, call->object, call->class_id);
  announce(observer, added, client, call->object);
}

static void saw_alloc64(struct observer *observer, int fd, const struct rm_alloc64 *call) {
  if (call->status == RM_OK) allocated(observer, fd, call);
}

static void saw_alloc21(struct observer *observer, int fd, const struct rm_alloc21 *call) {
  struct rm_alloc64 wide = {
      .root = call->root, .parent = call->parent, .object = call->object, .class_id = call->class_id};
  if (call->status == RM_OK) allocated(observer, fd, &wide);
}

static void saw_free(struct observer *observer, const struct rm_free *call) {
  if (call->status == RM_OK) registry_remove(observer->registry, call->root, call->object);
}

static void saw_dup(struct observer *observer, int fd, const struct rm_dup *call) {
  if (call->status != RM_OK) return;
  registry_seen(observer->registry, fd, call->client);
  int added = registry_dup(observer->registry, fd, call->client, call->parent, call->object,
                           call->client_source, call->object_source);
  announce(observer, added, call->client, call->object);
}

static bool enables_scheduling(const struct rm_control *call) {
  const struct rm_schedule *params = (const void *)(uintptr_t)call->params;
  if (call->command != RM_CONTROL_GROUP_SCHEDULE && call->command != RM_CONTROL_CHANNEL_SCHEDULE)
    return false;
  return params != NULL && call->params_size >= RM_SCHEDULE_SIZE_OLD && params->enable;
}

static void saw_control(struct observer *observer, int fd, const struct rm_control *call) {
  if (call->status != RM_OK) return;
  registry_seen(observer->registry, fd, call->client);
  if (enables_scheduling(call)) observer->scheduled(observer->context, call->client, call->object);
}

static void read_escape(struct observer *observer, int fd, const struct escape *escape) {
  const void *data = escape->data;
  if (escape->number == RM_ALLOC && escape->size == sizeof(struct rm_alloc64))
    saw_alloc64(observer, fd, data);
  else if (escape->number == RM_ALLOC && escape->size == sizeof(struct rm_alloc21))
    saw_alloc21(observer, fd, data);
  else if (escape->number == RM_CONTROL && escape->size == sizeof(struct rm_control))
    saw_control(observer, fd, data);
  else if (escape->number == RM_FREE && escape->size == sizeof(struct rm_free))
    saw_free(observer, data);
  else if (escape->number == RM_DUP && escape->size == sizeof(struct rm_dup))
    saw_dup(observer, fd, data);
  else if (!is_harmless(escape->number))
    __atomic_fetch_add(&observer->unknown, 1, __ATOMIC_RELAXED);
}

void observer_saw(struct observer *observer, int fd, unsigned long request, const void *argument,
                  int result) {
  if (result != 0 || argument == NULL) return;
  int error = errno;
  struct escape escape = unwrap(request, argument);
  if (escape.data != NULL) read_escape(observer, fd, &escape);
  errno = error;
}
