/* The registry: what is known of a channel, and what is forgotten with what. */
#include "node_scratch.h"
#include "registry.h"

#define CLASS 0xc86fu

static struct registry *registry;

static int add(rm_handle client, rm_handle parent, rm_handle object, uint32_t class_id) {
  return registry_add(registry, 5, client, parent, object, class_id);
}

static void begin(void) {
  CHECK(registry_create(&registry) == 0);
  CHECK(add(1, 1, 1, RM_CLASS_ROOT_CLIENT) == 0 && add(1, 1, 2, RM_CLASS_DEVICE) == 0);
  CHECK(add(1, 2, 3, RM_CLASS_SUBDEVICE) == 0 && add(1, 2, 4, RM_CLASS_CHANNEL_GROUP) == 0);
}

static void a_channel_is_known_with_all_above_it(void) {
  struct channel channel;
  begin();
  CHECK(add(1, 4, 10, CLASS) == 1 && registry_channels(registry) == 1);
  CHECK(registry_find(registry, 1, 10, &channel) == 1);
  CHECK(channel.fd == 5 && channel.client == 1 && channel.device == 2 && channel.subdevice == 3);
  CHECK(channel.group == 4 && channel.channel == 10);
  CHECK(registry_find(registry, 1, 4, &channel) == 0 && registry_find(registry, 2, 10, &channel) == 0);
  registry_destroy(registry);
}

static void a_channel_without_a_group_or_a_known_parent_is_a_channel(void) {
  struct channel channel;
  begin();
  CHECK(add(1, 2, 10, CLASS) == 1 && registry_find(registry, 1, 10, &channel) == 1);
  CHECK(channel.group == 0 && channel.subdevice == 3);
  CHECK(add(1, 99, 11, CLASS) == 1 && registry_find(registry, 1, 11, &channel) == 1);
  CHECK(channel.device == 0 && channel.subdevice == 0 && channel.fd == 5);
  CHECK(add(7, 99, 12, CLASS) == 1 && registry_find(registry, 7, 12, &channel) == 1 && channel.fd == -1);
  registry_destroy(registry);
}

static void other_classes_are_passed_over(void) {
  begin();
  CHECK(add(1, 2, 50, 0x003e) == 0 && add(1, 2, 51, 0xc8b5) == 0 && registry_channels(registry) == 0);
  registry_destroy(registry);
}

static void what_is_above_takes_what_is_below_with_it(void) {
  begin();
  CHECK(add(1, 4, 10, CLASS) == 1 && add(1, 4, 11, CLASS) == 1 && add(1, 2, 12, CLASS) == 1);
  registry_remove(registry, 1, 10);
  CHECK(registry_channels(registry) == 2);
  registry_remove(registry, 1, 4);
  CHECK(registry_channels(registry) == 1);
  registry_remove(registry, 1, 2);
  CHECK(registry_channels(registry) == 0);
  registry_remove(registry, 1, 77);
  registry_destroy(registry);
}

static void a_client_takes_its_own_only(void) {
  begin();
  CHECK(add(2, 2, 2, RM_CLASS_ROOT_CLIENT) == 0 && add(2, 4, 10, CLASS) == 1 && add(1, 4, 10, CLASS) == 1);
  registry_remove(registry, 1, 1);
  CHECK(registry_channels(registry) == 1);
  registry_remove(registry, 2, 2);
  CHECK(registry_channels(registry) == 0);
  registry_destroy(registry);
}

static void a_handle_can_be_given_again(void) {
  struct channel channel;
  begin();
  CHECK(add(1, 4, 10, CLASS) == 1 && add(1, 2, 10, CLASS) == 1 && registry_channels(registry) == 1);
  CHECK(registry_find(registry, 1, 10, &channel) == 1 && channel.group == 0);
  CHECK(add(1, 2, 10, RM_CLASS_CHANNEL_GROUP) == 0 && registry_channels(registry) == 0);
  registry_destroy(registry);
}

static void a_duplicate_is_of_its_sources_class(void) {
  begin();
  CHECK(add(1, 4, 10, CLASS) == 1);
  CHECK(registry_dup(registry, 5, 1, 2, 20, 1, 10) == 1 && registry_channels(registry) == 2);
  CHECK(registry_dup(registry, 5, 1, 1, 21, 1, 2) == 0 && registry_dup(registry, 5, 1, 1, 22, 1, 99) == 0);
  registry_destroy(registry);
}

static void a_client_is_reached_through_the_last_descriptor_that_named_it(void) {
  struct channel channel;
  begin();
  CHECK(add(1, 4, 10, CLASS) == 1);
  registry_fd_closed(registry, 5);
  CHECK(registry_find(registry, 1, 10, &channel) == 1 && channel.fd == -1);
  registry_seen(registry, 9, 1);
  CHECK(registry_find(registry, 1, 10, &channel) == 1 && channel.fd == 9);
  registry_fd_closed(registry, 5);
  CHECK(registry_find(registry, 1, 10, &channel) == 1 && channel.fd == 9);
  registry_destroy(registry);
}

static void lists_are_sorted_and_whole(void) {
  struct channel *list;
  begin();
  CHECK(registry_snapshot(registry, &list) == 0 && list == NULL);
  for (rm_handle i = 300; i > 0; i--) CHECK(add(1, 4, 1000 + i, CLASS) == 1);
  CHECK(!registry_is_closed(registry) && registry_set_closed(registry, true, &list) == 300);
  for (rm_handle i = 0; i < 300; i++) CHECK(list[i].channel == 1001 + i);
  CHECK(registry_is_closed(registry));
  free(list);
  registry_destroy(registry);
}

/* The last of so many channels, as a stop would get it. */
static struct channel listed(int count) {
  struct channel *list, last = {0};
  CHECK(registry_snapshot(registry, &list) == count);
  if (count > 0) last = list[count - 1];
  free(list);
  return last;
}

static void a_list_tells_of_every_change(void) {
  begin();
  CHECK(listed(0).channel == 0 && add(1, 4, 10, CLASS) == 1 && listed(1).channel == 10);
  registry_seen(registry, 9, 1);
  CHECK(listed(1).fd == 9);
  registry_fd_closed(registry, 9);
  CHECK(listed(1).fd == -1);
  CHECK(registry_dup(registry, 5, 1, 4, 20, 1, 10) == 1 && listed(2).channel == 20 && listed(2).group == 4);
  registry_remove(registry, 1, 3);
  CHECK(listed(2).subdevice == 0);
  registry_remove(registry, 1, 20);
  CHECK(listed(1).channel == 10);
  registry_remove(registry, 1, 1);
  CHECK(listed(0).channel == 0);
  registry_destroy(registry);
}

static void parents_in_a_circle_end(void) {
  struct channel channel;
  begin();
  CHECK(add(1, 31, 30, RM_CLASS_CHANNEL_GROUP) == 0 && add(1, 30, 31, RM_CLASS_CHANNEL_GROUP) == 0);
  CHECK(add(1, 31, 32, CLASS) == 1 && registry_find(registry, 1, 32, &channel) == 1 && channel.device == 0);
  registry_destroy(registry);
}

static void begin_anew(void) {
  registry_reset_after_fork(registry);
  CHECK(registry_channels(registry) == 0 && !registry_is_closed(registry));
  CHECK(add(1, 4, 10, CLASS) == 1 && registry_channels(registry) == 1);
  _exit(0);
}

static void a_forked_child_begins_anew(void) {
  int status;
  begin();
  CHECK(add(1, 4, 10, CLASS) == 1);
  pid_t child = fork();
  if (child == 0) begin_anew();
  CHECK(waitpid(child, &status, 0) == child && status == 0 && registry_channels(registry) == 1);
  registry_destroy(registry);
}

int main(void) {
  RUN(a_channel_is_known_with_all_above_it);
  RUN(a_channel_without_a_group_or_a_known_parent_is_a_channel);
  RUN(other_classes_are_passed_over);
  RUN(what_is_above_takes_what_is_below_with_it);
  RUN(a_client_takes_its_own_only);
  RUN(a_handle_can_be_given_again);
  RUN(a_duplicate_is_of_its_sources_class);
  RUN(a_client_is_reached_through_the_last_descriptor_that_named_it);
  RUN(lists_are_sorted_and_whole);
  RUN(a_list_tells_of_every_change);
  RUN(parents_in_a_circle_end);
  RUN(a_forked_child_begins_anew);
  return 0;
}
