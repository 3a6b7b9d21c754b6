/* The layout of the shared files as data, so that a binding in another language can compare it with its own.
 */
#include "valve/node.h"
#include "valve/pool.h"

#define FIELD(type, field) {#type "." #field, offsetof(struct type, field), sizeof(((struct type *)0)->field)}
#define SIZE(type) {#type, 0, sizeof(struct type)}

static const struct vlv_layout_entry entries[] = {
    SIZE(vlv_header),
    FIELD(vlv_header, layout_minor),
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
    FIELD(vlv_holder_row, speaks),
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
    FIELD(vlv_tenant_row, speaks),
    FIELD(vlv_tenant_row, tokens),
    FIELD(vlv_tenant_row, input_tokens),
    FIELD(vlv_tenant_row, tokens_at_ns),
    SIZE(vlv_tenants_file),
    FIELD(vlv_tenants_file, rows),
    SIZE(vlv_party_row),
    FIELD(vlv_party_row, owner_pid),
    FIELD(vlv_party_row, role),
    FIELD(vlv_party_row, pool_pages),
    FIELD(vlv_party_row, reclaims),
    FIELD(vlv_party_row, reclaimed),
    FIELD(vlv_party_row, stops),
    FIELD(vlv_party_row, received),
    FIELD(vlv_party_row, made),
    FIELD(vlv_party_row, errors),
    FIELD(vlv_party_row, reclaim_ns),
    FIELD(vlv_party_row, stopped_ns),
    FIELD(vlv_party_row, name),
    FIELD(vlv_party_row, reclaimed_at_ns),
    SIZE(vlv_pages_file),
    FIELD(vlv_pages_file, changes),
    FIELD(vlv_pages_file, limit),
    FIELD(vlv_pages_file, reserved),
    FIELD(vlv_pages_file, wanted),
    FIELD(vlv_pages_file, rows),
    FIELD(vlv_pages_file, pages),
    SIZE(vlv_page_counts),
    FIELD(vlv_page_counts, limit),
    FIELD(vlv_page_counts, reserved),
    FIELD(vlv_page_counts, wanted),
    FIELD(vlv_page_counts, free),
    FIELD(vlv_page_counts, online),
    FIELD(vlv_page_counts, tenants),
    FIELD(vlv_page_counts, in_transit),
    FIELD(vlv_page_counts, leased),
    FIELD(vlv_page_counts, arriving),
    SIZE(vlv_pool_head),
    FIELD(vlv_pool_head, magic),
    FIELD(vlv_pool_head, version),
    FIELD(vlv_pool_head, page_bytes),
    FIELD(vlv_pool_head, pages),
    FIELD(vlv_pool_head, epoch),
    FIELD(vlv_pool_head, seen),
    FIELD(vlv_pool_head, wanted),
    FIELD(vlv_pool_head, told_ns),
};

const struct vlv_layout_entry *vlv_layout(uint32_t *count) {
  *count = sizeof entries / sizeof entries[0];
  return entries;
}

/* What docs/protocol.md promises, of every minor of this version. */
_Static_assert(sizeof(struct vlv_header) == 64, "header");
_Static_assert(sizeof(struct vlv_holder_row) == 192, "holder row");
_Static_assert(sizeof(struct vlv_tenant_row) == 2304, "tenant row");
_Static_assert(sizeof(struct vlv_holders_file) == 64 + 64 + 1088 + 64 * 192, "holders file");
_Static_assert(sizeof(struct vlv_tenants_file) == 64 + 256 * 2304, "tenants file");
_Static_assert(sizeof(struct vlv_party_row) == 192, "party row");
_Static_assert(offsetof(struct vlv_pages_file, pages) == 192 + 64 * 192, "pages");
_Static_assert(sizeof(struct vlv_pool_head) == VLV_POOL_WORDS_OFFSET, "pool table");
_Static_assert(offsetof(struct vlv_pool_head, epoch) == 64, "pool table");
