/* A range of addresses on a driver that fails wherever the test says: all or none, and never an address
 * without memory. */
#include <errno.h>

#include "node_scratch.h"
#include "range.h"
#include "valve/ledger.h"

enum { SLOTS = 8, BASE = 64, QUARANTINE = 99 };

/* What the driver has mapped, and whether it may be used. */
static vmm_memory mapped[SLOTS];
static bool usable[SLOTS];
static int calls, failing_call, failures, access_calls, unmap_calls;

static bool fails(void) {
  calls++;
  return calls >= failing_call && calls < failing_call + failures;
}

static uint32_t slot_of(vmm_address address) {
  return (uint32_t)(address / VLV_PAGE_BYTES - BASE);
}

static int reserve(vmm_address *address, size_t size, size_t alignment, vmm_address wanted, uint64_t flags) {
  (void)alignment, (void)wanted, (void)flags;
  CHECK(size == SLOTS * VLV_PAGE_BYTES);
  *address = BASE * VLV_PAGE_BYTES;
  return fails() ? 2 : 0;
}

static int unreserve(vmm_address address, size_t size) {
  CHECK(slot_of(address) == 0 && size == SLOTS * VLV_PAGE_BYTES);
  for (int i = 0; i < SLOTS; i++) CHECK(mapped[i] == 0);
  return 0;
}

static int map(vmm_address address, size_t size, size_t offset, vmm_memory memory, uint64_t flags) {
  (void)flags;
  CHECK(size == VLV_PAGE_BYTES && offset == 0);
  if (fails() || mapped[slot_of(address)] != 0) return 1;
  mapped[slot_of(address)] = memory;
  usable[slot_of(address)] = false;
  return 0;
}

static bool unmaps_singly; /* refuses several at once */

/* One that fails has done half of it. */
static int unmap(vmm_address address, size_t size) {
  uint32_t first = slot_of(address), count = (uint32_t)(size / VLV_PAGE_BYTES);
  if (unmaps_singly && count > 1) return 1;
  bool failed = fails();
  unmap_calls++;
  if (count == 1 && mapped[first] == 0) return 1;
  for (uint32_t i = 0; i < count; i++) CHECK(mapped[first + i] != 0);
  for (uint32_t i = 0; i < (failed ? count / 2 : count); i++) mapped[first + i] = 0;
  return failed;
}

static int set_access(vmm_address address, size_t size, const struct vmm_access *access, size_t count) {
  CHECK(count == 1 && access->flags == 3);
  access_calls++;
  uint32_t first = slot_of(address), pages = (uint32_t)(size / VLV_PAGE_BYTES);
  if (fails()) return 1;
  for (uint32_t i = 0; i < pages; i++)
    if (mapped[first + i] == 0) return 1;
  for (uint32_t i = 0; i < pages; i++) usable[first + i] = true;
  return 0;
}

static const struct vmm driver = {
    .reserve = reserve, .unreserve = unreserve, .map = map, .unmap = unmap, .set_access = set_access};

static void fail(int first, int count) {
  calls = 0;
  failing_call = first;
  failures = count;
}

static struct range make(void) {
  struct range range;
  fail(0, 0);
  CHECK(range_create(&range, &driver, 0, SLOTS, QUARANTINE) == 0);
  return range;
}

static void check_all_usable(void) {
  for (int i = 0; i < SLOTS; i++) CHECK(mapped[i] != 0 && usable[i]);
}

static void every_address_shows_the_quarantine_page_at_first(void) {
  struct range range = make();
  for (int i = 0; i < SLOTS; i++) CHECK(mapped[i] == QUARANTINE);
  check_all_usable();
  range_destroy(&range);
}

static void a_run_takes_one_call_to_unmap_and_one_to_permit(void) {
  const uint32_t slots[] = {0, 1, 2, 5, 7};
  const vmm_memory memories[] = {10, 11, 12, 15, 17};
  struct range range = make();
  access_calls = unmap_calls = 0;
  CHECK(range_remap(&range, slots, memories, 5) == 0);
  CHECK(access_calls == 3 && unmap_calls == 3);
  CHECK(mapped[1] == 11 && mapped[5] == 15 && mapped[3] == QUARANTINE);
  check_all_usable();
  range_destroy(&range);
}

static void where_nothing_runs_near_runs_share_a_call(void) {
  const uint32_t slots[] = {0, 2, 5};
  const vmm_memory memories[] = {10, 12, 15};
  struct range range = make();
  range.rests = true;
  access_calls = unmap_calls = 0;
  CHECK(range_remap(&range, slots, memories, 3) == 0 && access_calls == 1 && unmap_calls == 3);
  check_all_usable();
  CHECK(range_unmap(&range, 3, 1) == 0 && range_remap(&range, slots, memories, 3) == 0);
  CHECK(access_calls == 3 && mapped[3] == 0);
  range_destroy(&range);
}

static void what_was_left_empty_is_filled_without_unmapping(void) {
  const uint32_t slots[] = {0, 1, 2, 3};
  const vmm_memory memories[] = {10, 11, 12, 13};
  struct range range = make();
  CHECK(range_unmap(&range, 1, 2) == 0 && mapped[0] == QUARANTINE && mapped[1] == 0 && mapped[2] == 0);
  unmap_calls = 0;
  CHECK(range_remap(&range, slots, memories, 4) == 0);
  CHECK(unmap_calls == 2 && mapped[0] == 10 && mapped[2] == 12 && mapped[3] == 13);
  check_all_usable();
  range_destroy(&range);
}

/* At every call of a remap, one failure, or so many that the undoing fails at first too. */
static void a_failure_leaves_everything_as_it_was(void) {
  const uint32_t slots[] = {1, 2, 4};
  const vmm_memory before[] = {10, 20, 40}, after[] = {11, 21, 41};
  for (int count = 1; count <= 2; count++) {
    for (int call = 1; call <= 7; call++) {
      struct range range = make();
      CHECK(range_remap(&range, slots, before, 3) == 0);
      fail(call, count);
      int result = range_remap(&range, slots, after, 3);
      const vmm_memory *now = result == 0 ? after : before;
      fail(0, 0);
      CHECK(result == (call == 1 ? 0 : -EIO)); /* the first unmaps two, and each is tried alone then */
      CHECK(mapped[1] == now[0] && mapped[2] == now[1] && mapped[4] == now[2]);
      check_all_usable();
      CHECK(range_remap(&range, slots, after, 3) == 0 && mapped[4] == 41);
      range_destroy(&range);
    }
  }
}

/* The first slot's memory is gone and cannot be had back: the quarantine page stands there, and its neighbour
 * is as it was. */
static void a_hole_does_not_spoil_its_neighbours(void) {
  const uint32_t slots[] = {1, 2, 4};
  const vmm_memory before[] = {10, 20, 40}, after[] = {11, 21, 41};
  struct range range = make();
  CHECK(range_remap(&range, slots, before, 3) == 0);
  fail(1, 11); /* unmapping both, mapping each anew, and the same with the first alone */
  CHECK(range_remap(&range, slots, after, 3) == -EIO);
  CHECK(mapped[1] == QUARANTINE && mapped[2] == 20 && mapped[4] == 40);
  check_all_usable();
  range_destroy(&range);
}

static void a_driver_that_unmaps_no_two_at_once_will_do(void) {
  const uint32_t slots[] = {1, 2, 4};
  const vmm_memory memories[] = {10, 20, 40};
  struct range range = make();
  unmaps_singly = true;
  CHECK(range_remap(&range, slots, memories, 3) == 0 && mapped[1] == 10 && mapped[2] == 20);
  check_all_usable();
  range_destroy(&range);
  unmaps_singly = false;
}

static void what_cannot_be_made_leaves_nothing_behind(void) {
  for (int call = 1; call <= SLOTS + 2; call++) {
    struct range range;
    fail(call, 1);
    CHECK(range_create(&range, &driver, 0, SLOTS, QUARANTINE) < 0);
    for (int i = 0; i < SLOTS; i++) CHECK(mapped[i] == 0);
  }
}

int main(void) {
  RUN(every_address_shows_the_quarantine_page_at_first);
  RUN(a_run_takes_one_call_to_unmap_and_one_to_permit);
  RUN(where_nothing_runs_near_runs_share_a_call);
  RUN(what_was_left_empty_is_filled_without_unmapping);
  RUN(a_failure_leaves_everything_as_it_was);
  RUN(a_hole_does_not_spoil_its_neighbours);
  RUN(a_driver_that_unmaps_no_two_at_once_will_do);
  RUN(what_cannot_be_made_leaves_nothing_behind);
  return 0;
}
