/* victim.c - the subcommand "victim": a process that keeps the GPU busy and takes orders (stage.h). */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controls.h"
#include "kit.h"
#include "passing.h"
#include "rescue.h"
#include "stage.h"
#include "workloads.h"

struct victim {
  struct stage *stage;
  struct workload_state state;
  const struct workload *workload;
  pthread_t worker;
  bool guarded;
};

static struct stage *map_stage(void) {
  void *memory = mmap(NULL, sizeof(struct stage), PROT_READ | PROT_WRITE, MAP_SHARED, STAGE_FD, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

static int fail(struct victim *victim, const char *message) {
  snprintf(victim->stage->message, sizeof victim->stage->message, "%s", message);
  return -EIO;
}

static void tell_device(struct victim *victim) {
  const struct device *device = &victim->state.device;
  memcpy(victim->stage->uuid, device->uuid, sizeof device->uuid);
  memcpy(victim->stage->device_name, device->name, sizeof device->name);
  victim->stage->driver_version = device->driver_version;
  victim->stage->multiprocessors = device->multiprocessors;
  victim->stage->kernel_us = victim->state.kernel_us;
}

static void *work(void *argument) {
  struct victim *victim = argument;
  CU(CtxSetCurrent(victim->state.device.context));
  victim->workload->run(&victim->state);
  return NULL;
}

static void prepare(struct victim *victim) {
  struct workload_state *state = &victim->state;
  kernels_load(&state->kernels, &state->device);
  beacon_create(&state->beacon);
  CU(StreamCreateWithPriority(&state->stream, CU_STREAM_NON_BLOCKING, 0));
  state->round_us = beat_round_us(&state->kernels, &state->beacon);
  victim->workload->prepare(state);
}

static int begin(struct victim *victim, const char *kind) {
  victim->workload = workload_find(kind);
  if (victim->workload == NULL) return fail(victim, "no such workload");
  if (driver_begin(&victim->state.device) != 0) return fail(victim, driver_error());
  prepare(victim);
  tell_device(victim);
  if (pulse_begin(&victim->stage->pulse, victim->state.beat) != 0) return fail(victim, "no thread");
  if (pthread_create(&victim->worker, NULL, work, victim) != 0) return fail(victim, "no thread");
  bool must_beat = strcmp(kind, "idle") != 0;
  return must_beat && !pulse_beats(&victim->stage->pulse, 10000000000ull) ? fail(victim, "no heartbeat") : 0;
}

/* Only before the first order that stops anything: the rescuer's copies of the descriptors would keep a
 * victim's GPU memory alive otherwise. */
static void guard(struct victim *victim) {
  static struct channel channels[KIT_CHANNELS_MAX];
  if (victim->guarded) return;
  victim->guarded = rescue_begin(channels, own_channels_copy(channels)) == 0;
}

static int control(struct victim *victim, const struct order *order) {
  static struct channel channels[KIT_CHANNELS_MAX];
  if (!order->unguarded) guard(victim);
  if (victim->guarded && !order->enable) rescue_arm();
  int result =
      controls_apply((enum control)order->control, order->enable, channels, own_channels_copy(channels));
  if (victim->guarded && order->enable) rescue_disarm();
  return result;
}

static int close_own(void *context) {
  rescue_arm();
  return channels_stop(context);
}

static int open_own(void *context) {
  int result = channels_resume(context);
  rescue_disarm();
  return result;
}

static int cycle(struct victim *victim, const struct order *order) {
  const struct cycle_gate gate = {close_own, open_own, &own_channels};
  guard(victim);
  if (!victim->guarded) return -ECHILD;
  cycles_run(&order->plan, &gate, &victim->stage->pulse, &victim->stage->cycles);
  return 0;
}

static int obey(struct victim *victim, const struct order *order) {
  switch (order->verb) {
    case ORDER_CHANNELS:
      return passing_send(ORDERS_FD, victim->stage);
    case ORDER_CONTROL:
      return control(victim, order);
    case ORDER_CYCLES:
      return cycle(victim, order);
    case ORDER_END:
      return 0;
    default:
      return -EINVAL;
  }
}

static void take_orders(struct victim *victim) {
  struct order order = {0};
  while (order.verb != ORDER_END && recv(ORDERS_FD, &order, sizeof order, 0) == sizeof order) {
    uint64_t begin_ns = clock_ns();
    struct answer answer = {.result = obey(victim, &order)};
    answer.us = (double)(clock_ns() - begin_ns) / 1e3;
    if (send(ORDERS_FD, &answer, sizeof answer, MSG_NOSIGNAL) < 0) return;
  }
}

static void finish(struct victim *victim) {
  victim->state.end = true;
  *victim->state.beacon.stop = 1;
  pthread_join(victim->worker, NULL);
  victim->stage->pulse.end = 1;
}

/* Its parent's death ends it, by a signal that puts its channels back first. */
int victim_main(const char *kind) {
  static struct victim victim;
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  victim.stage = map_stage();
  if (victim.stage == NULL) return 3;
  struct answer ready = {.result = begin(&victim, kind)};
  send(ORDERS_FD, &ready, sizeof ready, MSG_NOSIGNAL);
  if (ready.result != 0) return 3;
  take_orders(&victim);
  finish(&victim);
  return 0;
}
