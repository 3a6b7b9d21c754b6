/* The rule: a tenant's gate is closed iff some holder with a live lease that shares a device says closed. */
#include "devices.h"
#include "rowlock.h"
#include "tenant.h"
#include "words.h"

static uint64_t own_mask(const struct vlv_tenant *tenant) {
  return devices_mask(tenant->holders, tenant->devices, tenant->device_count);
}

void tenant_resolve_devices(struct vlv_tenant *tenant) {
  uint32_t known = devices_known(tenant->holders);
  if (known == tenant->known_devices) return;
  tenant->device_mask = own_mask(tenant);
  tenant->known_devices = known;
}

static uint64_t current_mask(const struct vlv_tenant *tenant) {
  bool current = devices_known(tenant->holders) == tenant->known_devices;
  return current ? tenant->device_mask : own_mask(tenant);
}

/* The lease of a claim in this row that keeps the tenant closed, or 0. */
static uint64_t closing_lease(const struct vlv_tenant *tenant, uint32_t index, uint64_t mask,
                              uint64_t now_ns) {
  const struct vlv_holder_row *row = &tenant->holders->rows[index];
  uint64_t lease_ns = load64(&row->lease_expiry_ns);
  if (lease_ns <= now_ns || lease_ns == tenant->dead_lease_ns[index]) return 0;
  if (load32(&row->closed) == 0) return 0;
  return (load64(&row->device_mask) & mask) != 0 ? lease_ns : 0;
}

/* `now_ns` was read before the rows are: see vlv_holder_renew for why that order matters. */
bool vlv_gate_is_closed(const struct vlv_tenant *tenant, uint64_t now_ns, uint64_t *wake_at_ns) {
  uint64_t mask = current_mask(tenant), earliest_ns = UINT64_MAX;
  for (uint32_t i = 0; i < VLV_HOLDERS_MAX; i++) {
    uint64_t lease_ns = closing_lease(tenant, i, mask, now_ns);
    if (lease_ns != 0 && lease_ns < earliest_ns) earliest_ns = lease_ns;
  }
  if (wake_at_ns != NULL) *wake_at_ns = earliest_ns;
  return earliest_ns != UINT64_MAX;
}

/* The lease is read before the lock: whoever takes the row over holds the lock before writing another lease,
 * so a free lock means that this very lease is a dead holder's. */
static void bury_if_dead(struct vlv_tenant *tenant, uint32_t index, uint64_t now_ns) {
  uint64_t lease_ns = closing_lease(tenant, index, tenant->device_mask, now_ns);
  if (lease_ns == 0) return;
  if (byte_is_locked(tenant->holders_fd, row_offset(&holder_rows, index)) == 0)
    tenant->dead_lease_ns[index] = lease_ns;
}

void tenant_bury_dead_holders(struct vlv_tenant *tenant, uint64_t now_ns) {
  for (uint32_t i = 0; i < VLV_HOLDERS_MAX; i++) bury_if_dead(tenant, i, now_ns);
}

uint64_t tenant_runner_breathes_until(const struct vlv_tenant *tenant) {
  const struct vlv_tenant_row *rows = tenant->row - tenant->index;
  uint64_t runner = load64(&tenant->row->runner_pid);
  for (uint32_t i = 0; i < VLV_TENANTS_MAX; i++) {
    bool is_runner = load64(&rows[i].owner_pid) == runner && load64(&rows[i].runner_pid) == 0;
    if (is_runner) return load64(&rows[i].breathes_until_ns);
  }
  return 0;
}
