/* The rule: closed iff some holder with a live lease that shares a device says closed. */
#include "node_scratch.h"

static struct vlv_node *holders, *tenants;

static struct vlv_device_id gpu(uint8_t number) {
  return (struct vlv_device_id){{0xff, number}};
}

static void begin(void) {
  holders = open_side(VLV_SIDE_HOLDER);
  tenants = open_side(VLV_SIDE_TENANT);
}

static void finish(void) {
  vlv_node_close(tenants);
  vlv_node_close(holders);
}

static struct vlv_holder *holder_of(uint8_t device) {
  struct vlv_device_id id = gpu(device);
  struct vlv_holder *holder = NULL;
  CHECK(vlv_holder_register(holders, "holder", &id, 1, &holder) == 0);
  return holder;
}

static struct vlv_tenant *tenant_of(uint8_t first, uint8_t second) {
  struct vlv_device_id ids[] = {gpu(first), gpu(second)};
  struct vlv_tenant *tenant = NULL;
  CHECK(vlv_tenant_register(tenants, "job", 0, ids, 2, &tenant) == 0);
  return tenant;
}

static bool closed(const struct vlv_tenant *tenant) {
  return vlv_gate_is_closed(tenant, vlv_now_ns(), NULL);
}

static void only_a_shared_device_matters(void) {
  begin();
  struct vlv_holder *one = holder_of(1), *two = holder_of(2);
  struct vlv_tenant *on_1_and_3 = tenant_of(1, 3), *on_2_and_3 = tenant_of(2, 3);
  vlv_gate_close(one);
  CHECK(closed(on_1_and_3) && !closed(on_2_and_3));
  vlv_gate_close(two);
  CHECK(closed(on_1_and_3) && closed(on_2_and_3));
  vlv_gate_open(one);
  CHECK(!closed(on_1_and_3) && closed(on_2_and_3));
  vlv_tenant_release(on_1_and_3);
  vlv_tenant_release(on_2_and_3);
  vlv_holder_release(one);
  vlv_holder_release(two);
  finish();
}

static void one_closed_holder_of_several_is_enough(void) {
  begin();
  struct vlv_holder *a = holder_of(1), *b = holder_of(1);
  struct vlv_tenant *tenant = tenant_of(1, 2);
  vlv_gate_close(a);
  vlv_gate_close(b);
  vlv_gate_open(a);
  CHECK(closed(tenant));
  vlv_holder_release(b);
  CHECK(!closed(tenant));
  vlv_tenant_release(tenant);
  vlv_holder_release(a);
  finish();
}

static void a_lease_ends_a_claim_to_the_nanosecond(void) {
  begin();
  struct vlv_holder *holder = holder_of(1);
  struct vlv_tenant *tenant = tenant_of(1, 2);
  vlv_gate_close(holder);
  holder_row(holders, 0)->lease_expiry_ns = 1000;
  CHECK(vlv_gate_is_closed(tenant, 999, NULL));
  CHECK(!vlv_gate_is_closed(tenant, 1000, NULL));
  vlv_tenant_release(tenant);
  vlv_holder_release(holder);
  finish();
}

static void it_tells_when_to_look_again(void) {
  begin();
  struct vlv_holder *a = holder_of(1), *b = holder_of(1), *open = holder_of(1), *elsewhere = holder_of(9);
  struct vlv_tenant *tenant = tenant_of(1, 2);
  uint64_t wake_at_ns;
  vlv_gate_close(a);
  vlv_gate_close(b);
  vlv_gate_close(elsewhere);
  holder_row(holders, 0)->lease_expiry_ns = 5000;
  holder_row(holders, 1)->lease_expiry_ns = 4000;
  holder_row(holders, 2)->lease_expiry_ns = 3000;
  holder_row(holders, 3)->lease_expiry_ns = 2000;
  CHECK(vlv_gate_is_closed(tenant, 1000, &wake_at_ns) && wake_at_ns == 4000);
  CHECK(vlv_gate_is_closed(tenant, 4000, &wake_at_ns) && wake_at_ns == 5000);
  CHECK(!vlv_gate_is_closed(tenant, 5000, &wake_at_ns) && wake_at_ns == UINT64_MAX);
  vlv_tenant_release(tenant);
  vlv_holder_release(a);
  vlv_holder_release(b);
  vlv_holder_release(open);
  vlv_holder_release(elsewhere);
  finish();
}

static void a_device_that_no_holder_has_named_is_open_until_one_does(void) {
  begin();
  struct vlv_tenant *tenant = tenant_of(7, 8);
  struct vlv_holder *other = holder_of(1);
  vlv_gate_close(other);
  CHECK(!closed(tenant));
  struct vlv_holder *holder = holder_of(8);
  vlv_gate_close(holder);
  CHECK(closed(tenant));
  vlv_tenant_release(tenant);
  vlv_holder_release(other);
  vlv_holder_release(holder);
  finish();
}

static void a_scribbled_device_count_does_no_harm(void) {
  begin();
  struct vlv_holder *holder = holder_of(1);
  struct vlv_tenant *tenant = tenant_of(1, 2);
  vlv_gate_close(holder);
  atomic_store((VLV_ATOMIC(uint32_t) *)&vlv_node_holders(holders)->device_count, UINT32_MAX);
  CHECK(closed(tenant));
  vlv_tenant_release(tenant);
  vlv_holder_release(holder);
  finish();
}

int main(void) {
  RUN(only_a_shared_device_matters);
  RUN(one_closed_holder_of_several_is_enough);
  RUN(a_lease_ends_a_claim_to_the_nanosecond);
  RUN(it_tells_when_to_look_again);
  RUN(a_device_that_no_holder_has_named_is_open_until_one_does);
  RUN(a_scribbled_device_count_does_no_harm);
  return 0;
}
