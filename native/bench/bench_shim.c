/* Times the shim on the fake driver: bench_shim [CYCLES]. Prints JSON, all figures in nanoseconds.
 * Of a program whose GPU is idle:
 *   agent          gate closed -> every channel is off: what all but the driver takes
 * Of one with a kernel running:
 *   wake           gate closed -> the agent in the GPU process runs
 *   work           the agent runs -> every channel is off (the control's time included)
 *   close          gate closed -> every channel is off
 *   control        the control alone, issued by another process through the victim's own open file
 * Of one call that nobody stops, with the shim and without, by turns:
 *   ioctl, launch  what the shim adds
 * A figure of the fake says what our own code costs, and nothing about a GPU.
 */
#include "shim_stage.h"

#define CYCLES_MAX 20000
#define TURNS 15

static int by_value(const void *left, const void *right) {
  const uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
  return (a > b) - (a < b);
}

static void print_figures(const char *name, uint64_t *values, int count, const char *end) {
  qsort(values, (size_t)count, sizeof *values, by_value);
  printf("  \"%s\": {\"n\": %d, \"p50\": %lu, \"p99\": %lu, \"max\": %lu}%s\n", name, count,
         (unsigned long)values[count / 2], (unsigned long)values[count * 99 / 100],
         (unsigned long)values[count - 1], end);
}

/* ---- in the process ---- */

static struct {
  uint64_t wake[CYCLES_MAX], work[CYCLES_MAX], close[CYCLES_MAX];
} taken;

static struct vlv_ack last_stop(const struct vlv_tenant_row *row) {
  uint32_t index = (uint32_t)(row - tenant_row(holders, 0));
  struct vlv_ack acks[VLV_ACK_RING];
  uint64_t next;
  int count = vlv_tenant_acks(holders, index, 0, acks, VLV_ACK_RING, &next);
  CHECK(count > 0 && acks[count - 1].kind == VLV_ACK_STOPPED);
  return acks[count - 1];
}

static void time_one_stop(const struct vlv_tenant_row *row, int cycle) {
  uint64_t asked_ns = vlv_now_ns();
  close_and_wait(row);
  struct vlv_ack ack = last_stop(row);
  taken.wake[cycle] = ack.woken_ns - asked_ns;
  taken.work[cycle] = ack.done_ns - ack.woken_ns;
  taken.close[cycle] = ack.done_ns - asked_ns;
  open_and_wait(row);
}

/* ---- from outside ---- */

/* The fake's handles are the same each time: client, device, subdevice, group, channels. */
static int time_strangers(pid_t pid, int cycles, uint64_t *values) {
  char command[1024];
  snprintf(command, sizeof command, "LD_PRELOAD=%s %s/stranger %d %d 0x5c000001 0x5c000003 %d 0x5c000005 4",
           FAKE_RM, PROGRAMS, pid, find_control_fd(pid), cycles);
  FILE *output = popen(command, "r");
  int count = 0;
  while (output != NULL && count < cycles && fscanf(output, "%lu", &values[count]) == 1) count++;
  CHECK(output != NULL && pclose(output) == 0 && count == cycles);
  return count;
}

static void print_agent(int cycles) {
  pid_t pid = start_victim("victim_linked", "late", "0");
  struct vlv_tenant_row *row = wait_row(pid);
  for (int i = 0; i < cycles; i++) time_one_stop(row, i);
  print_figures("agent", taken.close, cycles, ",");
  kill_and_wait(pid);
}

static void print_stops(int cycles) {
  static uint64_t control[CYCLES_MAX];
  pid_t pid = start_victim("victim_linked", "persistent", "0");
  struct vlv_tenant_row *row = wait_row(pid);
  for (int i = 0; i < cycles; i++) time_one_stop(row, i);
  time_strangers(pid, cycles, control);
  print_figures("wake", taken.wake, cycles, ",");
  print_figures("work", taken.work, cycles, ",");
  print_figures("close", taken.close, cycles, ",");
  print_figures("control", control, cycles, ",");
  kill_and_wait(pid);
}

/* ---- calls that nobody stops ---- */

static void time_calls(bool with_shim, double *ioctl_ns, double *launch_ns) {
  char command[1024];
  snprintf(command, sizeof command, "LD_LIBRARY_PATH=%s LD_PRELOAD=%s%s %s/costs 200000", CUDA_FOLDER,
           with_shim ? SHIM ":" : "", FAKE_RM, PROGRAMS);
  FILE *output = popen(command, "r");
  CHECK(output != NULL && fscanf(output, "%lf %lf", ioctl_ns, launch_ns) == 2 && pclose(output) == 0);
}

static void print_calls(void) {
  uint64_t ioctls[TURNS], launches[TURNS];
  for (int turn = 0; turn < TURNS; turn++) {
    double with[2], without[2];
    time_calls(true, &with[0], &with[1]);
    time_calls(false, &without[0], &without[1]);
    ioctls[turn] = with[0] > without[0] ? (uint64_t)(with[0] - without[0]) : 0;
    launches[turn] = with[1] > without[1] ? (uint64_t)(with[1] - without[1]) : 0;
  }
  print_figures("ioctl_added", ioctls, TURNS, ",");
  print_figures("launch_added", launches, TURNS, "");
}

int main(int count, char **arguments) {
  int cycles = count > 1 ? atoi(arguments[1]) : 1000;
  CHECK(cycles > 0 && cycles <= CYCLES_MAX);
  scratch_make();
  stage_begin();
  printf("{\n");
  print_agent(cycles);
  print_stops(cycles);
  print_calls();
  printf("}\n");
  stage_end();
  scratch_remove();
  return 0;
}
