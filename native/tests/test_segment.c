/* Opening the node segment: made whole or not at all, and everything that is not ours is refused. */
#include <sched.h>

#include "node_scratch.h"

enum { RACERS = 8 };

static void patch(const char *file, off_t offset, const void *bytes, size_t size) {
  int fd = open(scratch_path(file), O_RDWR | O_CLOEXEC);
  CHECK(fd >= 0);
  CHECK(pwrite(fd, bytes, size, offset) == (ssize_t)size);
  close(fd);
}

static void make_segment(void) {
  vlv_node_close(open_side(VLV_SIDE_HOLDER));
}

static void a_first_owner_makes_both_files_and_nothing_else(void) {
  make_segment();
  CHECK(scratch_entries(false) == 2);
  struct stat status;
  CHECK(stat(scratch_path("holders"), &status) == 0 && status.st_size == sizeof(struct vlv_holders_file));
  CHECK(stat(scratch_path("tenants"), &status) == 0 && status.st_size == sizeof(struct vlv_tenants_file));
  CHECK(status.st_blocks * 512 >= status.st_size);
}

static mode_t file_mode_in(mode_t directory_mode) {
  struct stat status;
  CHECK(chmod(scratch, directory_mode) == 0);
  make_segment();
  CHECK(stat(scratch_path("holders"), &status) == 0);
  scratch_entries(true);
  return status.st_mode & 0777;
}

static void files_are_for_those_who_may_use_the_directory(void) {
  umask(0077);
  CHECK(file_mode_in(0700) == 0600);
  CHECK(file_mode_in(0770) == 0660);
  CHECK(file_mode_in(0755) == 0644);
  CHECK(file_mode_in(0777) == 0664);
}

/* User and group 0 are all that has a number in the new namespace. */
static bool enter_user_namespace(void) {
  static const char *const maps[][2] = {
      {"/proc/self/setgroups", "deny"}, {"/proc/self/uid_map", "0 0 1"}, {"/proc/self/gid_map", "0 0 1"}};
  bool entered = unshare(CLONE_NEWUSER) == 0;
  for (int i = 0; i < 3 && entered; i++) {
    int fd = open(maps[i][0], O_WRONLY);
    entered = fd >= 0 && write(fd, maps[i][1], strlen(maps[i][1])) > 0;
    close(fd);
  }
  return entered;
}

static void open_in_user_namespace(void) {
  if (!enter_user_namespace()) _exit(1);
  struct vlv_node *node;
  _exit(vlv_node_open(scratch, VLV_SIDE_HOLDER, &node) == 0 ? 0 : 2);
}

static void a_directory_of_a_group_without_a_number_is_used(void) {
  int status = chown(scratch, (uid_t)-1, 12345) == 0 ? wait_status(spawn(open_in_user_namespace)) : 1;
  CHECK(status == 0 || status == 1);
  if (status == 0) CHECK(open_error(VLV_SIDE_OBSERVER) == 0);
  if (status == 1) printf("skipped: no user namespace for the test here\n");
}

static void an_observer_makes_nothing(void) {
  CHECK(open_error(VLV_SIDE_OBSERVER) == -ENOENT);
  CHECK(scratch_entries(false) == 0);
  struct vlv_node *node;
  CHECK(vlv_node_open("/tmp/valve-no-such-directory", VLV_SIDE_HOLDER, &node) == -ENOENT);
  CHECK(vlv_node_open(scratch, (enum vlv_side)7, &node) == -EINVAL);
}

static void all_sides_see_the_same_memory(void) {
  struct vlv_node *holder_node = open_side(VLV_SIDE_HOLDER), *tenant_node = open_side(VLV_SIDE_TENANT);
  struct vlv_node *observer = open_side(VLV_SIDE_OBSERVER);
  struct vlv_holder *holder = register_holder(holder_node);
  uint32_t closed = vlv_gate_close(holder);
  CHECK(generation(tenant_node) == closed && generation(observer) == closed);
  vlv_holder_release(holder);
  vlv_node_close(observer);
  vlv_node_close(tenant_node);
  vlv_node_close(holder_node);
}

static void a_damaged_file_is_refused_by_every_side(void) {
  make_segment();
  CHECK(truncate(scratch_path("holders"), sizeof(struct vlv_holders_file) - 1) == 0);
  for (int side = VLV_SIDE_HOLDER; side <= VLV_SIDE_OBSERVER; side++) CHECK(open_error(side) == -EPROTO);
  CHECK(truncate(scratch_path("holders"), 10) == 0);
  CHECK(open_error(VLV_SIDE_HOLDER) == -EPROTO);
}

static void a_file_that_claims_another_size_is_refused(void) {
  make_segment();
  uint32_t size = 4096;
  patch("tenants", offsetof(struct vlv_header, file_size), &size, sizeof size);
  CHECK(open_error(VLV_SIDE_TENANT) == -EPROTO);
}

static void a_foreign_thing_of_that_name_is_refused(void) {
  CHECK(mkdir(scratch_path("holders"), 0700) == 0);
  CHECK(open_error(VLV_SIDE_HOLDER) == -EPROTO);
  CHECK(rmdir(scratch_path("holders")) == 0);
  CHECK(mkfifo(scratch_path("holders"), 0600) == 0);
  CHECK(open_error(VLV_SIDE_HOLDER) == -EPROTO);
  CHECK(open_error(VLV_SIDE_TENANT) == -EPROTO);
  CHECK(unlink(scratch_path("holders")) == 0);
  CHECK(symlink("/etc/passwd", scratch_path("holders")) == 0);
  CHECK(open_error(VLV_SIDE_HOLDER) == -EPROTO);
}

static void another_version_is_told_apart_from_damage(void) {
  make_segment();
  uint32_t version = VLV_LAYOUT_VERSION + 1;
  patch("holders", offsetof(struct vlv_header, layout_version), &version, sizeof version);
  CHECK(open_error(VLV_SIDE_HOLDER) == -EPROTONOSUPPORT);
  CHECK(open_error(VLV_SIDE_OBSERVER) == -EPROTONOSUPPORT);
}

static void any_minor_layout_is_as_good_as_ours(void) {
  make_segment();
  for (uint32_t minor = 0; minor <= VLV_LAYOUT_MINOR + 1; minor++) {
    patch("holders", offsetof(struct vlv_header, layout_minor), &minor, sizeof minor);
    for (int side = VLV_SIDE_HOLDER; side <= VLV_SIDE_OBSERVER; side++) CHECK(open_error(side) == 0);
  }
}

/* What a predecessor of the same row said is not taken for the word of one that does not know the field. */
static void a_row_says_which_minor_its_owner_writes(void) {
  struct vlv_node *node = open_side(VLV_SIDE_HOLDER);
  struct vlv_holder *holder = register_holder(node);
  uint64_t said = atomic_load(&holder_row(node, 0)->speaks), pid = (uint64_t)getpid();
  CHECK(vlv_row_minor(pid, said) == VLV_LAYOUT_MINOR);
  CHECK(vlv_row_minor(pid + 1, said) == 0 && vlv_row_minor(pid, 0) == 0);
  vlv_holder_release(holder);
  vlv_node_close(node);
}

static void a_removed_file_is_noticed(void) {
  for (int i = 0; i < 2; i++) {
    struct vlv_node *node = open_side(VLV_SIDE_HOLDER), *other = open_side(VLV_SIDE_OBSERVER);
    CHECK(vlv_node_is_removed(node) == 0 && vlv_node_is_removed(other) == 0);
    CHECK(unlink(scratch_path(i == 0 ? "holders" : "tenants")) == 0);
    CHECK(vlv_node_is_removed(node) == 1 && vlv_node_is_removed(other) == 1);
    vlv_node_close(other);
    vlv_node_close(node);
  }
}

static void another_time_namespace_is_refused(void) {
  make_segment();
  int64_t offset_ns = 1;
  patch("holders", offsetof(struct vlv_header, monotonic_offset_ns), &offset_ns, sizeof offset_ns);
  CHECK(open_error(VLV_SIDE_TENANT) == -EXDEV);
}

static void make_stale(void) {
  make_segment();
  uint32_t generation_before = 77;
  patch("holders", offsetof(struct vlv_header, boot_id), "another boot....", 16);
  patch("holders", offsetof(struct vlv_holders_file, generation), &generation_before,
        sizeof generation_before);
}

static void what_another_boot_left_is_replaced_by_an_owner_only(void) {
  make_stale();
  CHECK(open_error(VLV_SIDE_OBSERVER) == -ESTALE);
  struct vlv_node *node = open_side(VLV_SIDE_TENANT);
  CHECK(generation(node) == 0);
  vlv_node_close(node);
  CHECK(open_error(VLV_SIDE_OBSERVER) == 0);
  CHECK(scratch_entries(false) == 2);
}

/* A wrong boot id in a file that has living users is damage, not age. */
static void a_file_in_use_is_never_replaced(void) {
  struct vlv_node *node = open_side(VLV_SIDE_HOLDER);
  struct vlv_holder *holder = register_holder(node);
  patch("holders", offsetof(struct vlv_header, boot_id), "another boot....", 16);
  CHECK(open_error(VLV_SIDE_HOLDER) == -EPROTO);
  vlv_holder_release(holder);
  CHECK(open_error(VLV_SIDE_HOLDER) == 0);
  vlv_node_close(node);
}

/* Registers and stays until killed. */
static void race(void) {
  register_holder(open_side(VLV_SIDE_HOLDER));
  for (;;) pause();
}

static int count_live_rows(struct vlv_node *node) {
  int live = 0;
  for (uint32_t row = 0; row < VLV_HOLDERS_MAX; row++) {
    bool owned = atomic_load(&vlv_node_holders(node)->rows[row].owner_pid) != 0;
    live += owned && vlv_holder_alive(node, row) == 1;
  }
  return live;
}

static int live_rows_now(void) {
  struct vlv_node *node;
  if (vlv_node_open(scratch, VLV_SIDE_OBSERVER, &node) != 0) return 0;
  int live = count_live_rows(node);
  vlv_node_close(node);
  return live;
}

/* If two of them had made a file each, some rows would be in a file without a name. */
static void all_racers_end_up_in_one_file(void) {
  pid_t racers[RACERS];
  for (int i = 0; i < RACERS; i++) racers[i] = spawn(race);
  EVENTUALLY(live_rows_now() == RACERS);
  for (int i = 0; i < RACERS; i++) kill_and_wait(racers[i]);
  CHECK(scratch_entries(false) == 2);
}

static void racers_that_all_find_no_file_share_one(void) {
  all_racers_end_up_in_one_file();
}

static void racers_that_all_find_a_stale_file_share_one(void) {
  make_stale();
  all_racers_end_up_in_one_file();
}

static void no_descriptor_survives_an_exec(void) {
  struct vlv_node *node = open_side(VLV_SIDE_HOLDER);
  struct vlv_holder *holder = register_holder(node);
  for (int fd = 3; fd < 64; fd++) {
    char link[32], target[128] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (readlink(link, target, sizeof target - 1) < 0 || strstr(target, scratch) == NULL) continue;
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
  }
  vlv_holder_release(holder);
  vlv_node_close(node);
}

static void the_layout_is_told_as_data(void) {
  uint32_t count, row_size = 0;
  const struct vlv_layout_entry *entries = vlv_layout(&count);
  for (uint32_t i = 0; i < count; i++)
    if (strcmp(entries[i].name, "vlv_tenant_row") == 0) row_size = entries[i].size;
  CHECK(row_size == sizeof(struct vlv_tenant_row));
}

int main(void) {
  RUN(a_first_owner_makes_both_files_and_nothing_else);
  RUN(files_are_for_those_who_may_use_the_directory);
  RUN(a_directory_of_a_group_without_a_number_is_used);
  RUN(an_observer_makes_nothing);
  RUN(all_sides_see_the_same_memory);
  RUN(a_damaged_file_is_refused_by_every_side);
  RUN(a_file_that_claims_another_size_is_refused);
  RUN(a_foreign_thing_of_that_name_is_refused);
  RUN(another_version_is_told_apart_from_damage);
  RUN(any_minor_layout_is_as_good_as_ours);
  RUN(a_row_says_which_minor_its_owner_writes);
  RUN(a_removed_file_is_noticed);
  RUN(another_time_namespace_is_refused);
  RUN(what_another_boot_left_is_replaced_by_an_owner_only);
  RUN(a_file_in_use_is_never_replaced);
  RUN(racers_that_all_find_no_file_share_one);
  RUN(racers_that_all_find_a_stale_file_share_one);
  RUN(no_descriptor_survives_an_exec);
  RUN(the_layout_is_told_as_data);
  return 0;
}
