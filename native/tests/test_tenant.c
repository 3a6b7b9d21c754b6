/* A tenant's row: registering, ownership, the ring of acknowledgements as seen by a reader that trusts
 * nothing. */
#include "node_scratch.h"
#include "tenant.h"

static struct vlv_node *node;

static void a_new_tenant_is_alive_and_running(void) {
  struct vlv_tenant *tenant;
  struct vlv_device_id devices[] = {CPU, {"another device"}};
  node = open_side(VLV_SIDE_TENANT);
  CHECK(vlv_tenant_register(node, "batch", 3, devices, 2, &tenant) == 0);
  struct vlv_tenant_row *row = tenant_row(node, vlv_tenant_row_index(tenant));
  CHECK(row->owner_pid == (uint64_t)getpid() && row->owner_start_ticks > 0);
  CHECK(row->rank == 3 && row->device_count == 2 && strcmp(row->job, "batch") == 0);
  CHECK(memcmp(row->devices, devices, sizeof devices) == 0);
  CHECK(row->state == VLV_TENANT_RUNNING && row->mechanism == VLV_MECHANISM_NONE);
  CHECK(vlv_tenant_alive(node, 0) == 1 && vlv_tenant_alive(node, 1) == 0);
  CHECK(vlv_tenant_alive(node, VLV_TENANTS_MAX) == -EINVAL);
  vlv_tenant_release(tenant);
  CHECK(vlv_tenant_alive(node, 0) == 0 && row->owner_pid == 0);
  vlv_node_close(node);
}

static void bad_numbers_of_devices_are_refused(void) {
  struct vlv_device_id devices[VLV_TENANT_DEVICES_MAX + 1] = {CPU};
  struct vlv_tenant *tenant;
  node = open_side(VLV_SIDE_TENANT);
  CHECK(vlv_tenant_register(node, "none", 0, devices, 0, &tenant) == -EINVAL);
  CHECK(vlv_tenant_register(node, "many", 0, devices, VLV_TENANT_DEVICES_MAX + 1, &tenant) == -EINVAL);
  CHECK(vlv_tenant_register(node, "most", 0, devices, VLV_TENANT_DEVICES_MAX, &tenant) == 0);
  vlv_tenant_release(tenant);
  vlv_node_close(node);
}

static void a_holders_process_cannot_register_as_a_tenant(void) {
  struct vlv_tenant *tenant;
  node = open_side(VLV_SIDE_HOLDER);
  CHECK(vlv_tenant_register(node, "sly", 0, &CPU, 1, &tenant) == -EPERM);
  vlv_node_close(node);
}

static void a_full_table_is_told(void) {
  struct vlv_tenant *tenants[VLV_TENANTS_MAX], *one_more;
  node = open_side(VLV_SIDE_TENANT);
  for (uint32_t i = 0; i < VLV_TENANTS_MAX; i++) tenants[i] = register_tenant(node);
  CHECK(vlv_tenant_register(node, "one more", 0, &CPU, 1, &one_more) == -ENOSPC);
  for (uint32_t i = 0; i < VLV_TENANTS_MAX; i++) vlv_tenant_release(tenants[i]);
  vlv_node_close(node);
}

static void register_and_die(void) {
  register_tenant(open_side(VLV_SIDE_TENANT));
  raise(SIGKILL);
}

static void a_killed_tenant_costs_nothing(void) {
  node = open_side(VLV_SIDE_TENANT);
  CHECK(wait_status(spawn(register_and_die)) == 128 + SIGKILL);
  CHECK(tenant_row(node, 0)->owner_pid != 0 && vlv_tenant_alive(node, 0) == 0);
  struct vlv_tenant *tenant = register_tenant(node);
  CHECK(vlv_tenant_row_index(tenant) == 0 && tenant_row(node, 0)->owner_pid == (uint64_t)getpid());
  vlv_tenant_release(tenant);
  vlv_node_close(node);
}

/* 1 by the child: all is closed. 2 by its parent: the gate is, too. A pid: its child. */
static _Atomic int *told;

static int open_until(int fd) {
  int last = -1;
  while (last < fd) last = open(scratch_path("another"), O_RDWR | O_CREAT, 0600);
  return last;
}

/* Its descriptors are other files by now: nothing is locked in those. */
static void be_a_daemon(void) {
  struct vlv_tenant *tenant = register_tenant(open_side(VLV_SIDE_TENANT));
  CHECK(close_range(3, ~0u, 0) == 0 && open_until(63) == 63);
  atomic_store(told, 1);
  while (atomic_load(told) == 1) nap_ms(1);
  tenant_bury_dead_holders(tenant, vlv_now_ns());
  CHECK(vlv_gate_is_closed(tenant, vlv_now_ns(), NULL));
  pid_t child = fork();
  if (child == 0) pause();
  atomic_store(told, child);
  raise(SIGKILL);
}

static void one_that_closes_all_descriptors_keeps_its_row_and_obeys(void) {
  told = share(sizeof *told);
  node = open_side(VLV_SIDE_HOLDER);
  struct vlv_holder *holder = register_holder(node);
  pid_t pid = spawn(be_a_daemon);
  EVENTUALLY(atomic_load(told) == 1);
  vlv_gate_close(holder);
  CHECK(vlv_tenant_alive(node, 0) == 1 && tenant_row(node, 0)->owner_pid == (uint64_t)pid);
  atomic_store(told, 2);
  CHECK(wait_status(pid) == 128 + SIGKILL && vlv_tenant_alive(node, 0) == 0);
  kill(atomic_load(told), SIGKILL);
  vlv_holder_release(holder);
  vlv_node_close(node);
}

/* As an agent would have written them: number i has generation i. */
static void write_acks(struct vlv_tenant_row *row, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) row->acks[i % VLV_ACK_RING].generation = (uint32_t)i;
  row->ack_head = count;
}

static void acknowledgements_are_read_on_from_the_last_one(void) {
  struct vlv_ack acks[VLV_ACK_RING];
  uint64_t next;
  node = open_side(VLV_SIDE_TENANT);
  write_acks(tenant_row(node, 2), 5);
  CHECK(vlv_tenant_acks(node, 2, 0, acks, 3, &next) == 3 && next == 3 && acks[2].generation == 2);
  CHECK(vlv_tenant_acks(node, 2, next, acks, VLV_ACK_RING, &next) == 2 && next == 5 &&
        acks[0].generation == 3);
  CHECK(vlv_tenant_acks(node, 2, next, acks, VLV_ACK_RING, &next) == 0 && next == 5);
  CHECK(vlv_tenant_acks(node, 2, 99, acks, VLV_ACK_RING, &next) == 5 &&
        next == 5); /* a new owner began at 0 */
  CHECK(vlv_tenant_acks(node, VLV_TENANTS_MAX, 0, acks, VLV_ACK_RING, &next) == -EINVAL);
  vlv_node_close(node);
}

/* One entry less than the ring holds: the writer may be busy in the oldest one's place. */
static void overwritten_acknowledgements_are_counted(void) {
  struct vlv_ack acks[VLV_ACK_RING];
  uint64_t next;
  node = open_side(VLV_SIDE_TENANT);
  write_acks(tenant_row(node, 0), 200);
  CHECK(vlv_tenant_acks(node, 0, 100, acks, VLV_ACK_RING, &next) == VLV_ACK_RING - 1);
  CHECK(next == 200 && acks[0].generation == 137 && acks[VLV_ACK_RING - 2].generation == 199);
  vlv_node_close(node);
}

static void a_scribbled_ring_head_does_no_harm(void) {
  struct vlv_ack acks[VLV_ACK_RING];
  uint64_t next;
  node = open_side(VLV_SIDE_TENANT);
  tenant_row(node, 0)->ack_head = UINT64_MAX;
  CHECK(vlv_tenant_acks(node, 0, 0, acks, VLV_ACK_RING, &next) == VLV_ACK_RING - 1);
  CHECK(next == UINT64_MAX);
  vlv_node_close(node);
}

int main(void) {
  RUN(a_new_tenant_is_alive_and_running);
  RUN(bad_numbers_of_devices_are_refused);
  RUN(a_holders_process_cannot_register_as_a_tenant);
  RUN(a_full_table_is_told);
  RUN(a_killed_tenant_costs_nothing);
  RUN(one_that_closes_all_descriptors_keeps_its_row_and_obeys);
  RUN(acknowledgements_are_read_on_from_the_last_one);
  RUN(overwritten_acknowledgements_are_counted);
  RUN(a_scribbled_ring_head_does_no_harm);
  return 0;
}
