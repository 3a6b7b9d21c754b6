/* A holder's row: claims, generations, the lease, ownership, the device table. */
#include "node_scratch.h"

static struct vlv_node *node;

static void open_node(void) {
  node = open_side(VLV_SIDE_HOLDER);
}

static struct vlv_holder *open_and_register(void) {
  open_node();
  return register_holder(node);
}

static void finish(struct vlv_holder *holder) {
  vlv_holder_release(holder);
  vlv_node_close(node);
}

static void a_new_holder_is_open_alive_and_has_a_lease(void) {
  struct vlv_holder *holder = open_and_register();
  struct vlv_holder_row *row = holder_row(node, vlv_holder_row_index(holder));
  CHECK(row->owner_pid == (uint64_t)getpid() && row->closed == 0 && row->device_mask == 1);
  CHECK(row->lease_expiry_ns > vlv_now_ns());
  CHECK(strcmp(row->name, "holder") == 0);
  CHECK(vlv_holder_alive(node, vlv_holder_row_index(holder)) == 1);
  CHECK(vlv_holder_alive(node, vlv_holder_row_index(holder) + 1) == 0);
  CHECK(vlv_holder_alive(node, VLV_HOLDERS_MAX) == -EINVAL);
  finish(holder);
}

static void only_a_change_bumps_the_generation(void) {
  struct vlv_holder *holder = open_and_register();
  uint32_t before = generation(node);
  CHECK(vlv_gate_open(holder) == before);
  CHECK(vlv_gate_close(holder) == before + 1);
  CHECK(vlv_gate_close(holder) == before + 1);
  CHECK(vlv_gate_open(holder) == before + 2);
  CHECK(generation(node) == before + 2);
  CHECK(holder_row(node, 0)->closes == 1);
  finish(holder);
}

static void the_generation_wraps(void) {
  struct vlv_holder *holder = open_and_register();
  atomic_store((VLV_ATOMIC(uint32_t) *)&vlv_node_holders(node)->generation, UINT32_MAX);
  CHECK(vlv_gate_close(holder) == 0);
  finish(holder);
}

static void renewing_in_time_keeps_the_claim(void) {
  struct vlv_holder *holder = open_and_register();
  struct vlv_holder_row *row = holder_row(node, 0);
  uint32_t closed = vlv_gate_close(holder);
  uint64_t lease_ns = vlv_now_ns() + 3600 * 1000000000ull; /* however slow this machine is */
  row->lease_expiry_ns = lease_ns;
  CHECK(vlv_holder_renew(holder) == 0);
  CHECK(row->lease_expiry_ns != lease_ns && row->closed == 1 && row->lapses == 0);
  CHECK(generation(node) == closed);
  finish(holder);
}

static void a_lapse_drops_the_claim_and_is_counted(void) {
  struct vlv_holder *holder = open_and_register();
  struct vlv_holder_row *row = holder_row(node, 0);
  uint32_t closed = vlv_gate_close(holder);
  row->lease_expiry_ns = vlv_now_ns() - 1;
  CHECK(vlv_holder_renew(holder) == 1);
  CHECK(row->closed == 0 && row->lapses == 1 && row->lease_expiry_ns > vlv_now_ns());
  CHECK(generation(node) == closed + 1);
  finish(holder);
}

static void a_row_that_was_scribbled_over_is_mended(void) {
  struct vlv_holder *holder = open_and_register();
  struct vlv_holder_row *row = holder_row(node, 0);
  uint64_t mask = row->device_mask, owner = row->owner_pid;
  uint32_t before = generation(node);
  row->device_mask = ~mask;
  row->owner_pid = 1;
  CHECK(vlv_holder_renew(holder) == 0);
  CHECK(row->device_mask == mask && row->owner_pid == owner && generation(node) == before + 1);
  CHECK(vlv_holder_renew(holder) == 0 && generation(node) == before + 1);
  finish(holder);
}

static void a_close_begins_with_a_whole_lease(void) {
  struct vlv_holder *holder = open_and_register();
  holder_row(node, 0)->lease_expiry_ns = 1;
  vlv_gate_close(holder);
  CHECK(holder_row(node, 0)->lease_expiry_ns > vlv_now_ns());
  finish(holder);
}

static void releasing_opens_and_frees_the_row(void) {
  struct vlv_holder *holder = open_and_register();
  uint32_t closed = vlv_gate_close(holder);
  vlv_holder_release(holder);
  CHECK(generation(node) == closed + 1);
  CHECK(holder_row(node, 0)->owner_pid == 0 && holder_row(node, 0)->closed == 0);
  CHECK(vlv_holder_alive(node, 0) == 0);
  holder = register_holder(node);
  CHECK(vlv_holder_row_index(holder) == 0);
  finish(holder);
}

static void a_full_table_is_told(void) {
  struct vlv_holder *holders[VLV_HOLDERS_MAX], *one_more;
  open_node();
  for (uint32_t i = 0; i < VLV_HOLDERS_MAX; i++) {
    holders[i] = register_holder(node);
    CHECK(vlv_holder_row_index(holders[i]) == i);
  }
  CHECK(vlv_holder_register(node, "one more", &CPU, 1, &one_more) == -ENOSPC);
  vlv_holder_release(holders[7]);
  CHECK(vlv_holder_register(node, "one more", &CPU, 1, &holders[7]) == 0);
  for (uint32_t i = 0; i < VLV_HOLDERS_MAX; i++) vlv_holder_release(holders[i]);
  vlv_node_close(node);
}

static void die_closed(void) {
  struct vlv_holder *holder = register_holder(open_side(VLV_SIDE_HOLDER));
  vlv_gate_close(holder);
  raise(SIGKILL);
}

static void a_killed_holder_is_dead_at_once_and_its_row_is_taken_over_open(void) {
  open_node();
  CHECK(wait_status(spawn(die_closed)) == 128 + SIGKILL);
  uint32_t before = generation(node);
  CHECK(holder_row(node, 0)->closed == 1 && vlv_holder_alive(node, 0) == 0);
  struct vlv_holder *holder = register_holder(node);
  CHECK(vlv_holder_row_index(holder) == 0);
  CHECK(holder_row(node, 0)->closed == 0 && generation(node) == before + 1);
  CHECK(holder_row(node, 0)->closes == 0);
  finish(holder);
}

static _Atomic int *child_of_child;

/* Leaves a child behind that has a copy of everything. */
static void fork_and_die(void) {
  struct vlv_holder *holder = register_holder(open_side(VLV_SIDE_HOLDER));
  vlv_gate_close(holder);
  pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  atomic_store(child_of_child, child);
  raise(SIGKILL);
}

static void a_child_does_not_keep_its_dead_parents_row_alive(void) {
  child_of_child = share(sizeof *child_of_child);
  open_node();
  CHECK(wait_status(spawn(fork_and_die)) == 128 + SIGKILL);
  EVENTUALLY(vlv_holder_alive(node, 0) == 0); /* the child may not have run yet */
  CHECK(kill(atomic_load(child_of_child), 0) == 0);
  CHECK(kill(atomic_load(child_of_child), SIGKILL) == 0);
  vlv_node_close(node);
}

static struct vlv_holder *inherited;

static void use_inherited(void) {
  uint32_t before = generation(node);
  bool inert = vlv_gate_close(inherited) == before && vlv_gate_open(inherited) == before;
  inert = inert && vlv_holder_renew(inherited) == 0;
  vlv_holder_release(inherited);
  struct vlv_holder *own = register_holder(node);
  _exit(inert && vlv_holder_row_index(own) == 1 ? 0 : 1);
}

static void a_forked_child_cannot_speak_for_its_parent(void) {
  inherited = open_and_register();
  CHECK(wait_status(spawn(use_inherited)) == 0);
  CHECK(vlv_holder_alive(node, 0) == 1 && holder_row(node, 0)->owner_pid == (uint64_t)getpid());
  finish(inherited);
}

static struct vlv_device_id gpu(uint8_t number) {
  return (struct vlv_device_id){{0xff, number}};
}

static void devices_get_one_bit_each_for_good(void) {
  struct vlv_device_id first[] = {gpu(1), gpu(2)}, second[] = {gpu(2), gpu(3), gpu(3)};
  struct vlv_holder *a, *b;
  open_node();
  CHECK(vlv_holder_register(node, "a", first, 2, &a) == 0);
  CHECK(vlv_holder_register(node, "b", second, 3, &b) == 0);
  CHECK(holder_row(node, 0)->device_mask == 3 && holder_row(node, 1)->device_mask == 6);
  vlv_holder_release(a);
  vlv_holder_release(b);
  CHECK(vlv_holder_register(node, "b again", second, 3, &b) == 0);
  CHECK(holder_row(node, 0)->device_mask == 6);
  finish(b);
}

static void a_full_device_table_is_told_and_costs_no_row(void) {
  struct vlv_device_id all[VLV_DEVICES_MAX], one_more = gpu(200);
  struct vlv_holder *holder, *refused;
  open_node();
  for (uint32_t i = 0; i < VLV_DEVICES_MAX; i++) all[i] = gpu((uint8_t)i);
  CHECK(vlv_holder_register(node, "all", all, VLV_DEVICES_MAX, &holder) == 0);
  CHECK(holder_row(node, 0)->device_mask == UINT64_MAX);
  CHECK(vlv_holder_register(node, "refused", &one_more, 1, &refused) == -ENOSPC);
  CHECK(vlv_holder_alive(node, 1) == 0);
  CHECK(vlv_holder_register(node, "none", all, 0, &refused) == -EINVAL);
  CHECK(vlv_holder_register(node, "many", all, VLV_DEVICES_MAX + 1, &refused) == -EINVAL);
  finish(holder);
}

static void a_tenants_process_cannot_register_as_a_holder(void) {
  struct vlv_holder *holder;
  node = open_side(VLV_SIDE_TENANT);
  CHECK(vlv_holder_register(node, "sly", &CPU, 1, &holder) == -EPERM);
  vlv_node_close(node);
}

/* 47 bytes would cut the last two-byte letter in half. */
static void a_long_name_is_cut_between_letters(void) {
  struct vlv_holder *holder;
  open_node();
  CHECK(vlv_holder_register(node,
                            "\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9"
                            "\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9",
                            &CPU, 1, &holder) == 0);
  CHECK(strlen(holder_row(node, 0)->name) == 46);
  finish(holder);
}

int main(void) {
  RUN(a_new_holder_is_open_alive_and_has_a_lease);
  RUN(only_a_change_bumps_the_generation);
  RUN(the_generation_wraps);
  RUN(renewing_in_time_keeps_the_claim);
  RUN(a_lapse_drops_the_claim_and_is_counted);
  RUN(a_row_that_was_scribbled_over_is_mended);
  RUN(a_close_begins_with_a_whole_lease);
  RUN(releasing_opens_and_frees_the_row);
  RUN(a_full_table_is_told);
  RUN(a_killed_holder_is_dead_at_once_and_its_row_is_taken_over_open);
  RUN(a_child_does_not_keep_its_dead_parents_row_alive);
  RUN(a_forked_child_cannot_speak_for_its_parent);
  RUN(devices_get_one_bit_each_for_good);
  RUN(a_full_device_table_is_told_and_costs_no_row);
  RUN(a_tenants_process_cannot_register_as_a_holder);
  RUN(a_long_name_is_cut_between_letters);
  return 0;
}
