#include "rank.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "device_list.h"
#include "tenant.h"
#include "words.h"

#define READY_NS 100000000ull
#define TRIES 2

enum phase { RANK_NONE, RANK_BEGINNING, RANK_SETTLED };

/* Whoever takes the phase from NONE to BEGINNING owns the rest, but `row`. */
static struct {
  _Atomic int phase;
  int failures;
  struct vlv_node *node;
  struct vlv_tenant *tenant;
  struct vlv_agent *agent;
  _Atomic(struct vlv_tenant_row *) row; /* what counters are published into */
} rank;

/* What `valve run` said. */
struct order {
  const char *directory, *job;
  uint64_t runner;
  struct vlv_device_id devices[VLV_TENANT_DEVICES_MAX];
  uint32_t device_count;
};

/* The line is lost if it cannot be written. */
void rank_tell(const char *what, int error) {
  const char *path = getenv("VALVE_SHIM_LOG");
  int fd = path != NULL ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
  if (fd < 0) return;
  char line[128];
  int length = snprintf(line, sizeof line, "valve shim, process %d: %s: error %d\n", getpid(), what, -error);
  if (write(fd, line, (size_t)length) < 0) length = 0;
  close(fd);
}

static int failed(const char *what, int error) {
  rank_tell(what, error);
  return error;
}

static const char *job_name(void) {
  const char *name = getenv("VALVE_JOB_NAME");
  return name != NULL ? name : getenv("VALVE_JOB");
}

static int read_runner(const char *text, uint64_t *runner) {
  char *end;
  *runner = strtoull(text, &end, 10);
  return *runner > 0 && *end == '\0' ? 0 : failed("VALVE_RUNNER", -EINVAL);
}

static int read_devices(const char *text, struct order *order) {
  int count = device_list_parse(text, order->devices, VLV_TENANT_DEVICES_MAX);
  if (count < 0) return failed("VALVE_DEVICES", count);
  order->device_count = (uint32_t)count;
  return 0;
}

/* -ENOENT: there is no `valve run` above us. */
static int read_order(struct order *order) {
  const char *runner = getenv("VALVE_RUNNER"), *devices = getenv("VALVE_DEVICES");
  order->directory = getenv("VALVE_RUNTIME_DIR");
  order->job = job_name();
  if (order->directory == NULL || order->job == NULL || runner == NULL || devices == NULL)
    return failed("VALVE_RUNTIME_DIR, VALVE_JOB, VALVE_RUNNER or VALVE_DEVICES is not set", -ENOENT);
  int error = read_runner(runner, &order->runner);
  return error < 0 ? error : read_devices(devices, order);
}

/* Two processes that begin at the same moment may get the same number: it is for people. */
static uint32_t ranks_of(const struct vlv_node *node, uint64_t runner) {
  const struct vlv_tenant_row *rows = vlv_node_tenants(node)->rows;
  uint32_t count = 0;
  for (uint32_t i = 0; i < VLV_TENANTS_MAX; i++)
    if (load64(&rows[i].runner_pid) == runner && vlv_tenant_alive(node, i) == 1) count++;
  return count;
}

/* Counters are published from here on: nothing takes the row away any more. */
static int start_agent(const struct vlv_mechanism *mechanism, void *context) {
  int error = vlv_agent_start(rank.tenant, mechanism, context, &rank.agent);
  if (error < 0) return failed("cannot start the agent's thread", error);
  atomic_store(&rank.row, rank.tenant->row);
  return 0;
}

static int take_row(const struct order *order) {
  uint32_t number = ranks_of(rank.node, order->runner);
  int error =
      vlv_tenant_register(rank.node, order->job, number, order->devices, order->device_count, &rank.tenant);
  if (error < 0) return failed("no row in the node segment", error);
  store64(&rank.tenant->row->runner_pid, order->runner);
  return 0;
}

static int enter_segment(const struct order *order) {
  int error = vlv_node_open(order->directory, VLV_SIDE_TENANT, &rank.node);
  return error < 0 ? failed("cannot open the node segment", error) : take_row(order);
}

/* Also what a fork has left of the parent's: its handles are dead here. */
static void let_go(void) {
  vlv_agent_stop(rank.agent);
  vlv_tenant_release(rank.tenant);
  vlv_node_close(rank.node);
  rank.agent = NULL;
  rank.tenant = NULL;
  rank.node = NULL;
}

static int begin(const struct vlv_mechanism *mechanism, void *context) {
  struct order order;
  let_go();
  int error = read_order(&order);
  if (error == 0) error = enter_segment(&order);
  if (error == 0) error = start_agent(mechanism, context);
  if (error < 0) let_go();
  return error;
}

static int begin_or_give_up(const struct vlv_mechanism *mechanism, void *context) {
  int error = begin(mechanism, context);
  if (error < 0) return ++rank.failures < TRIES ? RANK_NONE : RANK_SETTLED;
  error = vlv_agent_wait_ready(rank.agent, READY_NS);
  if (error < 0) rank_tell("the gate's first application takes long", error);
  return RANK_SETTLED;
}

/* open() and write() are points where a thread can be cancelled, an ioctl is not. */
void rank_begin(const struct vlv_mechanism *mechanism, void *context) {
  int phase = RANK_NONE, cancelling, error = errno;
  if (atomic_load_explicit(&rank.phase, memory_order_acquire) == RANK_SETTLED) return;
  if (!atomic_compare_exchange_strong(&rank.phase, &phase, RANK_BEGINNING)) return;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelling);
  atomic_store(&rank.phase, begin_or_give_up(mechanism, context));
  pthread_setcancelstate(cancelling, &cancelling);
  errno = error;
}

void rank_publish(uint64_t channels, uint64_t refusals, uint64_t unknown, uint64_t held) {
  struct vlv_tenant_row *row = atomic_load(&rank.row);
  if (row == NULL) return;
  store64(&row->channels, channels);
  store64(&row->refusals, refusals);
  store64(&row->unknown, unknown);
  store64(&row->held, held);
}

void rank_publish_ladder(const struct ladder *ladder) {
  struct vlv_tenant_row *row = atomic_load(&rank.row);
  if (row == NULL) return;
  store64(&row->channels, registry_channels(ladder->channels->registry));
  store64(&row->refusals, atomic_load(&ladder->channels->refusals));
  store64(&row->held, atomic_load(&ladder->launch->held));
}

/* In the child the segment is closed at once, while its descriptors are surely ours; the parent's handles are
 * freed when it begins. No lock may be taken here that a fork can find held, so the handles, whose list has
 * one, stay. */
void rank_reset_after_fork(void) {
  atomic_store(&rank.row, NULL);
  vlv_node_close(rank.node);
  rank.node = NULL;
  rank.failures = 0;
  atomic_store(&rank.phase, RANK_NONE);
}
