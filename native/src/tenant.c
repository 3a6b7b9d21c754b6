#include "tenant.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "identity.h"
#include "minor.h"
#include "name.h"
#include "rowlock.h"
#include "segment.h"
#include "words.h"

static int take_row(struct vlv_node *node, struct vlv_tenant *tenant) {
  int lock_fd;
  int error = row_take(node->tenants_fd, &tenant_rows, &tenant->index, &lock_fd);
  if (error < 0) return error;
  tenant->holders = node->holders;
  tenant->holders_fd = node->holders_fd;
  tenant->row = &node->tenants->rows[tenant->index];
  return ownership_begin(&tenant->ownership, lock_fd);
}

static void set_devices(struct vlv_tenant *tenant, const struct vlv_device_id *devices,
                        uint32_t device_count) {
  memcpy(tenant->devices, devices, device_count * sizeof *devices);
  tenant->device_count = device_count;
  tenant_resolve_devices(tenant);
}

static void reset_state(struct vlv_tenant_row *row) {
  store32(&row->mechanism, VLV_MECHANISM_NONE);
  store32(&row->state, VLV_TENANT_RUNNING);
  store32(&row->ack_level, VLV_LEVEL_RUNNING);
  store32(&row->ack_generation, 0);
  store64(&row->ack_ns, 0);
  store32(&row->unstopped_threads, 0);
  store32(&row->processes, 0);
  store64(&row->ack_head, 0);
}

static void reset_counters(struct vlv_tenant_row *row) {
  store64(&row->stops, 0);
  store64(&row->slow_stops, 0);
  store64(&row->foreign_resumes, 0);
  store64(&row->escalations, 0);
  store64(&row->errors, 0);
}

static void reset_breather(struct vlv_tenant_row *row) {
  store64(&row->max_stopped_ns, 0);
  store64(&row->breathers, 0);
  store64(&row->breathes_until_ns, 0);
}

static void reset_tokens(struct vlv_tenant_row *row) {
  store64(&row->tokens_at_ns, 0);
  store64(&row->tokens, 0);
  store64(&row->input_tokens, 0);
}

static void reset_shim(struct vlv_tenant_row *row) {
  store64(&row->runner_pid, 0);
  store64(&row->channels, 0);
  store64(&row->refusals, 0);
  store64(&row->unknown, 0);
  store64(&row->held, 0);
}

static void fill_row(struct vlv_tenant *tenant, const char *job, uint32_t rank) {
  struct vlv_tenant_row *row = tenant->row;
  store64(&row->owner_pid, 0);
  row->owner_start_ticks = own_start_ticks();
  name_copy(row->job, job);
  row->rank = rank;
  row->device_count = tenant->device_count;
  memcpy(row->devices, tenant->devices, sizeof row->devices);
  reset_state(row);
  reset_counters(row);
  reset_breather(row);
  reset_tokens(row);
  reset_shim(row);
  row_speak(&row->speaks);
  store64(&row->owner_pid, (uint64_t)getpid());
}

int vlv_tenant_register(struct vlv_node *node, const char *job, uint32_t rank,
                        const struct vlv_device_id *devices, uint32_t device_count, struct vlv_tenant **out) {
  if (node->side != VLV_SIDE_TENANT) return -EPERM;
  if (device_count == 0 || device_count > VLV_TENANT_DEVICES_MAX) return -EINVAL;
  struct vlv_tenant *tenant = calloc(1, sizeof *tenant);
  if (tenant == NULL) return -ENOMEM;
  int error = take_row(node, tenant);
  if (error < 0) {
    free(tenant);
    return error;
  }
  set_devices(tenant, devices, device_count);
  fill_row(tenant, job, rank);
  *out = tenant;
  return 0;
}

uint32_t vlv_tenant_row_index(const struct vlv_tenant *tenant) {
  return tenant->index;
}

void vlv_tenant_set_max_stopped(struct vlv_tenant *tenant, uint64_t max_stopped_ns) {
  store64(&tenant->row->max_stopped_ns, max_stopped_ns);
}

void vlv_tenant_set_tokens(struct vlv_tenant *tenant, uint64_t tokens, uint64_t input_tokens) {
  store64(&tenant->row->tokens, tokens);
  store64(&tenant->row->input_tokens, input_tokens);
  store64(&tenant->row->tokens_at_ns, vlv_now_ns());
}

void vlv_tenant_release(struct vlv_tenant *tenant) {
  if (tenant == NULL) return;
  if (!tenant->ownership.lost) store64(&tenant->row->owner_pid, 0);
  ownership_end(&tenant->ownership);
  free(tenant);
}

int vlv_tenant_alive(const struct vlv_node *node, uint32_t row) {
  return row < tenant_rows.rows ? byte_is_locked(node->tenants_fd, row_offset(&tenant_rows, row)) : -EINVAL;
}
