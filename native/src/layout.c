/* The layout of the shared files as data, so that a binding in another language can compare it with its own.
 */
#include "valve/node.h"

#define FIELD(type, field) {#type "." #field, offsetof(struct type, field), sizeof(((struct type *)0)->field)}
#define SIZE(type) {#type, 0, sizeof(struct type)}

static const struct vlv_layout_entry entries[] = {
    SIZE(vlv_header),
    SIZE(vlv_holder_row),
    FIELD(vlv_holder_row, owner_pid),
    FIELD(vlv_holder_row, device_mask),
    FIELD(vlv_holder_row, lease_expiry_ns),
    FIELD(vlv_holder_row, closed),
    FIELD(vlv_holder_row, in_flight),
    FIELD(vlv_holder_row, closed_since_ns),
    FIELD(vlv_holder_row, closes),
    FIELD(vlv_holder_row, lapses),
    FIELD(vlv_holder_row, name),
    SIZE(vlv_holders_file),
    FIELD(vlv_holders_file, generation),
    FIELD(vlv_holders_file, device_count),
    FIELD(vlv_holders_file, devices),
    FIELD(vlv_holders_file, rows),
    SIZE(vlv_ack),
    FIELD(vlv_ack, generation),
    FIELD(vlv_ack, kind),
    FIELD(vlv_ack, level),
    FIELD(vlv_ack, woken_ns),
    FIELD(vlv_ack, done_ns),
    SIZE(vlv_tenant_row),
    FIELD(vlv_tenant_row, owner_pid),
    FIELD(vlv_tenant_row, owner_start_ticks),
    FIELD(vlv_tenant_row, job),
    FIELD(vlv_tenant_row, rank),
    FIELD(vlv_tenant_row, device_count),
    FIELD(vlv_tenant_row, devices),
    FIELD(vlv_tenant_row, mechanism),
    FIELD(vlv_tenant_row, state),
    FIELD(vlv_tenant_row, ack_generation),
    FIELD(vlv_tenant_row, ack_level),
    FIELD(vlv_tenant_row, ack_ns),
    FIELD(vlv_tenant_row, unstopped_threads),
    FIELD(vlv_tenant_row, processes),
    FIELD(vlv_tenant_row, stops),
    FIELD(vlv_tenant_row, slow_stops),
    FIELD(vlv_tenant_row, foreign_resumes),
    FIELD(vlv_tenant_row, escalations),
    FIELD(vlv_tenant_row, errors),
    FIELD(vlv_tenant_row, ack_head),
    FIELD(vlv_tenant_row, acks),
    FIELD(vlv_tenant_row, runner_pid),
    FIELD(vlv_tenant_row, channels),
    FIELD(vlv_tenant_row, refusals),
    FIELD(vlv_tenant_row, unknown),
    FIELD(vlv_tenant_row, held),
    FIELD(vlv_tenant_row, max_stopped_ns),
    FIELD(vlv_tenant_row, breathers),
    FIELD(vlv_tenant_row, breathes_until_ns),
    SIZE(vlv_tenants_file),
    FIELD(vlv_tenants_file, rows),
};

const struct vlv_layout_entry *vlv_layout(uint32_t *count) {
  *count = sizeof entries / sizeof entries[0];
  return entries;
}

/* What docs/protocol.md and version 1 promise. */
_Static_assert(sizeof(struct vlv_header) == 64, "header");
_Static_assert(sizeof(struct vlv_holder_row) == 192, "holder row");
_Static_assert(sizeof(struct vlv_tenant_row) == 2304, "tenant row");
_Static_assert(sizeof(struct vlv_holders_file) == 64 + 64 + 1088 + 64 * 192, "holders file");
_Static_assert(sizeof(struct vlv_tenants_file) == 64 + 256 * 2304, "tenants file");
