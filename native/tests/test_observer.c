/* The observer: which calls of the application change what is known, and which are counted as unknown. */
#include "node_scratch.h"
#include "observer.h"

#define CLASS 0xc86fu

static struct registry *registry;
static struct observer observer;
static struct {
  int added, scheduled;
  struct channel channel;
  rm_handle object;
} told;

static void channel_added(void *context, const struct channel *channel) {
  CHECK(context == &told);
  told.added++;
  told.channel = *channel;
}

static void scheduled(void *context, rm_handle client, rm_handle object) {
  CHECK(context == &told && client == 1);
  told.scheduled++;
  told.object = object;
}

static void saw(unsigned long request, const void *argument) {
  CHECK(observer_wants(request));
  observer_saw(&observer, 5, request, argument, 0);
}

static void alloc(rm_handle parent, rm_handle object, uint32_t class_id) {
  struct rm_alloc64 call = {.root = 1, .parent = parent, .object = object, .class_id = class_id};
  saw(RM_IOCTL_ALLOC64, &call);
}

static void begin(void) {
  struct rm_alloc64 root = {.object = 1, .class_id = RM_CLASS_ROOT_CLIENT};
  memset(&told, 0, sizeof told);
  CHECK(registry_create(&registry) == 0);
  observer = (struct observer){
      .registry = registry, .context = &told, .channel_added = channel_added, .scheduled = scheduled};
  saw(RM_IOCTL_ALLOC64, &root);
  alloc(1, 2, RM_CLASS_DEVICE);
  alloc(2, 3, RM_CLASS_SUBDEVICE);
  alloc(2, 4, RM_CLASS_CHANNEL_GROUP);
}

static void end(void) {
  registry_destroy(registry);
}

static void a_channel_is_announced(void) {
  begin();
  alloc(4, 10, CLASS);
  CHECK(told.added == 1 && told.channel.channel == 10 && told.channel.subdevice == 3);
  CHECK(told.channel.group == 4 && told.channel.fd == 5 && observer.unknown == 0);
  end();
}

static void the_older_form_is_understood(void) {
  struct rm_alloc21 call = {.root = 1, .parent = 4, .object = 10, .class_id = CLASS};
  begin();
  saw(RM_IOCTL_ALLOC21, &call);
  CHECK(told.added == 1 && told.channel.group == 4);
  end();
}

static void a_call_by_pointer_is_understood(void) {
  struct rm_alloc64 call = {.root = 1, .parent = 4, .object = 10, .class_id = CLASS};
  struct rm_transfer transfer = {.command = RM_ALLOC, .size = sizeof call, .pointer = (uintptr_t)&call};
  begin();
  saw(RM_IOCTL_TRANSFER, &transfer);
  CHECK(told.added == 1);
  transfer.pointer = 0;
  saw(RM_IOCTL_TRANSFER, &transfer);
  CHECK(told.added == 1);
  end();
}

static void what_failed_changes_nothing(void) {
  struct rm_alloc64 call = {
      .root = 1, .parent = 4, .object = 10, .class_id = CLASS, .status = RM_ERR_INSUFFICIENT_PERMISSIONS};
  struct rm_free free_call = {.root = 1, .object = 11, .status = RM_ERR_INVALID_OBJECT};
  begin();
  saw(RM_IOCTL_ALLOC64, &call);
  call.status = RM_OK;
  observer_saw(&observer, 5, RM_IOCTL_ALLOC64, &call, -1);
  CHECK(told.added == 0 && registry_channels(registry) == 0);
  alloc(4, 11, CLASS);
  saw(RM_IOCTL_FREE, &free_call);
  CHECK(registry_channels(registry) == 1);
  end();
}

static void what_is_freed_is_forgotten(void) {
  struct rm_free call = {.root = 1, .object = 4};
  begin();
  alloc(4, 10, CLASS);
  saw(RM_IOCTL_FREE, &call);
  CHECK(registry_channels(registry) == 0);
  end();
}

static void a_duplicate_is_announced_too(void) {
  struct rm_dup call = {.client = 1, .parent = 4, .object = 20, .client_source = 1, .object_source = 10};
  begin();
  alloc(4, 10, CLASS);
  saw(RM_IOCTL_DUP, &call);
  CHECK(told.added == 2 && told.channel.channel == 20);
  end();
}

static void schedule(uint32_t command, bool enable, uint32_t size, uint32_t status) {
  struct rm_schedule params = {.enable = enable};
  struct rm_control call = {.client = 1,
                            .object = 4,
                            .command = command,
                            .params = (uintptr_t)&params,
                            .params_size = size,
                            .status = status};
  saw(RM_IOCTL_CONTROL, &call);
}

static void enabling_by_the_application_is_told(void) {
  begin();
  schedule(RM_CONTROL_GROUP_SCHEDULE, true, 3, RM_OK);
  CHECK(told.scheduled == 1 && told.object == 4);
  schedule(RM_CONTROL_CHANNEL_SCHEDULE, true, 2, RM_OK);
  CHECK(told.scheduled == 2);
  schedule(RM_CONTROL_GROUP_SCHEDULE, false, 3, RM_OK);
  schedule(RM_CONTROL_GROUP_SCHEDULE, true, 3, RM_ERR_TIMEOUT);
  schedule(RM_CONTROL_GROUP_SCHEDULE, true, 0, RM_OK);
  schedule(RM_CONTROL_DISABLE_CHANNELS, true, 3, RM_OK);
  CHECK(told.scheduled == 2 && observer.unknown == 0);
  end();
}

static void a_client_is_followed_to_another_descriptor(void) {
  struct rm_control call = {.client = 1, .object = 3, .command = 0x20800102};
  begin();
  alloc(4, 10, CLASS);
  observer_saw(&observer, 8, RM_IOCTL_CONTROL, &call, 0);
  CHECK(registry_find(registry, 1, 10, &told.channel) == 1 && told.channel.fd == 8);
  end();
}

static void the_unknown_is_counted(void) {
  char bytes[64] = {0};
  begin();
  saw(_IOWR(RM_ESCAPE, RM_ALLOC, char[56]), bytes);
  saw(_IOWR(RM_ESCAPE, 0x60, char[8]), bytes);
  CHECK(observer.unknown == 2);
  saw(_IOWR(RM_ESCAPE, 0x4a, char[8]), bytes);
  saw(_IOWR(RM_ESCAPE, 214, char[8]), bytes);
  CHECK(observer.unknown == 2 && told.added == 0);
  CHECK(!observer_wants(0x5401) && !observer_wants(_IO(RM_ESCAPE, RM_ALLOC)));
  end();
}

static void errno_is_left_alone(void) {
  begin();
  errno = EXDEV;
  alloc(4, 10, CLASS);
  CHECK(errno == EXDEV);
  end();
}

int main(void) {
  RUN(a_channel_is_announced);
  RUN(the_older_form_is_understood);
  RUN(a_call_by_pointer_is_understood);
  RUN(what_failed_changes_nothing);
  RUN(what_is_freed_is_forgotten);
  RUN(a_duplicate_is_announced_too);
  RUN(enabling_by_the_application_is_told);
  RUN(a_client_is_followed_to_another_descriptor);
  RUN(the_unknown_is_counted);
  RUN(errno_is_left_alone);
  return 0;
}
