#include "gatekeeper.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_run.h"
#include "figures.h"

#define ACK_NS 1000000000ull

static int make_directory(struct gatekeeper *keeper) {
  const char *scratch = getenv("KIT_SCRATCH");
  snprintf(keeper->directory, sizeof keeper->directory, "%.200s/gate-XXXXXX", scratch ? scratch : "/tmp");
  return mkdtemp(keeper->directory) == NULL ? -errno : 0;
}

static void name_device(struct gatekeeper *keeper, const uint8_t uuid[16]) {
  int length = snprintf(keeper->devices, sizeof keeper->devices, "GPU-");
  for (int i = 0; i < 16; i++)
    length += snprintf(keeper->devices + length, sizeof keeper->devices - (size_t)length, "%s%02x",
                       i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
}

static int hold(struct gatekeeper *keeper, const char *directory, const uint8_t uuid[16]) {
  struct vlv_device_id device;
  memcpy(device.bytes, uuid, sizeof device.bytes);
  int error = vlv_node_open(directory, VLV_SIDE_HOLDER, &keeper->node);
  return error == 0 ? vlv_holder_register(keeper->node, "kit", &device, 1, &keeper->holder) : error;
}

int gatekeeper_begin(struct gatekeeper *keeper, const uint8_t uuid[16]) {
  memset(keeper, 0, sizeof *keeper);
  name_device(keeper, uuid);
  int error = make_directory(keeper);
  return error == 0 ? hold(keeper, keeper->directory, uuid) : error;
}

int gatekeeper_join(struct gatekeeper *keeper, const uint8_t uuid[16]) {
  const char *directory = getenv("VALVE_RUNTIME_DIR");
  memset(keeper, 0, sizeof *keeper);
  return directory == NULL ? -ENOENT : hold(keeper, directory, uuid);
}

void gatekeeper_end(struct gatekeeper *keeper) {
  char path[300];
  vlv_holder_release(keeper->holder);
  vlv_node_close(keeper->node);
  snprintf(path, sizeof path, "%s/holders", keeper->directory);
  unlink(path);
  snprintf(path, sizeof path, "%s/tenants", keeper->directory);
  unlink(path);
  rmdir(keeper->directory);
}

static void preload_shim(void) {
  char list[2048];
  const char *shim = getenv("KIT_SHIM"), *before = getenv("LD_PRELOAD");
  if (shim == NULL) return;
  snprintf(list, sizeof list, "%s%s%s", shim, before && *before ? ":" : "", before ? before : "");
  setenv("LD_PRELOAD", list, 1);
}

void gatekeeper_export(const struct gatekeeper *keeper) {
  char runner[24];
  snprintf(runner, sizeof runner, "%d", getppid());
  setenv("VALVE_RUNTIME_DIR", keeper->directory, 1);
  setenv("VALVE_JOB", "kit", 1);
  setenv("VALVE_JOB_NAME", "kit", 1);
  setenv("VALVE_RUNNER", runner, 1);
  setenv("VALVE_DEVICES", keeper->devices, 1);
  preload_shim();
}

static bool is_rank(const struct vlv_tenant_row *row, pid_t pid) {
  if (row->runner_pid == 0 || row->owner_pid == 0) return false;
  return pid == 0 || row->owner_pid == (uint64_t)pid;
}

static bool find(struct gatekeeper *keeper, pid_t pid) {
  const struct vlv_tenants_file *tenants = vlv_node_tenants(keeper->node);
  for (uint32_t i = 0; i < VLV_TENANTS_MAX; i++) {
    if (!is_rank(&tenants->rows[i], pid) || vlv_tenant_alive(keeper->node, i) != 1) continue;
    keeper->row = i;
    return true;
  }
  return false;
}

int gatekeeper_find_rank(struct gatekeeper *keeper, pid_t pid, uint64_t timeout_ns) {
  uint64_t deadline_ns = clock_ns() + timeout_ns;
  while (!find(keeper, pid)) {
    if (clock_ns() > deadline_ns) return -ETIMEDOUT;
    vlv_holder_renew(keeper->holder);
    sleep_ns(2000000);
  }
  return 0;
}

const struct vlv_tenant_row *gatekeeper_rank(const struct gatekeeper *keeper) {
  return &vlv_node_tenants(keeper->node)->rows[keeper->row];
}

const char *gatekeeper_mechanism(const struct gatekeeper *keeper) {
  static const char *const names[] = {"none", "freezer_cgroup", "freezer_signal", "launch", "channels"};
  uint32_t mechanism = gatekeeper_rank(keeper)->mechanism;
  return mechanism < sizeof names / sizeof names[0] ? names[mechanism] : "?";
}

/* The generation first: whoever finds it may trust the level that it reads next (docs/protocol.md). */
static bool has_acknowledged(const struct vlv_tenant_row *row, uint32_t generation, bool stopped) {
  if ((int32_t)(row->ack_generation - generation) < 0) return false;
  return (row->ack_level != VLV_LEVEL_RUNNING) == stopped;
}

static int wait_acknowledged(const struct gatekeeper *keeper, uint32_t generation, bool stopped) {
  uint64_t deadline_ns = clock_ns() + ACK_NS;
  while (!has_acknowledged(gatekeeper_rank(keeper), generation, stopped)) {
    if (clock_ns() > deadline_ns) return -ETIMEDOUT;
    fake_run_yield();
  }
  return 0;
}

/* The lease is renewed before the clock starts to matter: a cycle is shorter than a lease. */
int gatekeeper_close(void *context) {
  struct gatekeeper *keeper = context;
  return wait_acknowledged(keeper, vlv_gate_close(keeper->holder), true);
}

int gatekeeper_open(void *context) {
  struct gatekeeper *keeper = context;
  int error = wait_acknowledged(keeper, vlv_gate_open(keeper->holder), false);
  vlv_holder_renew(keeper->holder);
  return error;
}
