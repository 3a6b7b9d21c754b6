/* What the tests of the whole shim share: GPU programs on the fake driver, started as `valve run` starts
 * them, and a gate to close on them. */
#ifndef VALVE_TESTS_SHIM_STAGE_H
#define VALVE_TESTS_SHIM_STAGE_H

#include "node_scratch.h"
#include "programs/board.h"

#define HOUR_NS 3600000000000ull
#define GPU "GPU-fa000000-0000-0000-0000-000000000000"
#define SETTINGS_MAX 8

static const struct vlv_device_id GPU_ID = {{0xfa}};

static struct vlv_node *holders;
static struct vlv_holder *holder;
static struct board *board;
/* "NAME=value" for the programs that are started from now on, until stage_end(). */
static const char *settings[SETTINGS_MAX];
/* Without the shim: the program undisturbed. */
static bool without_shim;
/* A third library, between the shim and the fake. */
static bool with_interposer;

static inline void stage_begin(void) {
  memset(settings, 0, sizeof settings);
  without_shim = with_interposer = false;
  holders = open_side(VLV_SIDE_HOLDER);
  vlv_node_close(open_side(VLV_SIDE_TENANT)); /* makes the file */
  CHECK(vlv_holder_register(holders, "holder", &GPU_ID, 1, &holder) == 0);
  board = board_open(scratch_path("board"));
  CHECK(board != NULL);
}

static inline void stage_end(void) {
  vlv_holder_release(holder);
  vlv_node_close(holders);
  munmap((void *)board, sizeof *board);
}

static inline void set(const char *setting) {
  int i = 0;
  while (settings[i] != NULL) CHECK(++i < SETTINGS_MAX);
  settings[i] = setting;
}

/* ---- programs ---- */

static inline void put_settings(void) {
  char runner[32];
  snprintf(runner, sizeof runner, "%d", getppid());
#ifndef SHIM_IS_LINKED
  setenv("LD_PRELOAD",
         without_shim      ? FAKE_RM
         : with_interposer ? SHIM ":" INTERPOSER ":" FAKE_RM
                           : SHIM ":" FAKE_RM,
         1);
#endif
  setenv("LD_LIBRARY_PATH", CUDA_FOLDER, 1);
  setenv("VALVE_RUNTIME_DIR", scratch, 1);
  setenv("VALVE_JOB_NAME", "batch", 1);
  setenv("VALVE_DEVICES", GPU, 1);
  setenv("VALVE_RUNNER", runner, 1);
  for (int i = 0; i < SETTINGS_MAX && settings[i] != NULL; i++) putenv((char *)settings[i]);
}

static inline pid_t start(const char *program, const char *first, const char *second, const char *third) {
  char path[512];
  snprintf(path, sizeof path, "%s/%s", PROGRAMS, program);
  memset((void *)board, 0, sizeof *board);
  fflush(NULL);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child > 0) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  put_settings();
  execl(path, path, first, second, third, NULL);
  _exit(127);
}

static inline pid_t start_victim(const char *program, const char *kind, const char *rounds) {
  static char path[512];
  snprintf(path, sizeof path, "%s", scratch_path("board"));
  pid_t pid = start(program, path, kind, rounds);
  EVENTUALLY(board->ready == 1);
  return pid;
}

static inline uint64_t result_of(pid_t pid) {
  CHECK(wait_status(pid) == 0 && board->done == 1);
  return board->result;
}

static inline uint64_t undisturbed_result(const char *program, const char *kind, const char *rounds) {
  without_shim = true;
  uint64_t result = result_of(start_victim(program, kind, rounds));
  without_shim = false;
  return result;
}

/* The number of its open /dev/nvidiactl. */
static inline int find_control_fd(pid_t pid) {
  char path[64], target[128];
  for (int fd = 0; fd < 256; fd++) {
    snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, fd);
    ssize_t length = readlink(path, target, sizeof target - 1);
    target[length > 0 ? length : 0] = '\0';
    if (strstr(target, "nvidiactl") != NULL) return fd;
  }
  return -1;
}

/* ---- rows ---- */

static inline struct vlv_tenant_row *find_row(pid_t pid) {
  for (uint32_t i = 0; i < VLV_TENANTS_MAX; i++) {
    struct vlv_tenant_row *row = tenant_row(holders, i);
    if (row->owner_pid == (uint64_t)pid && vlv_tenant_alive(holders, i) == 1) return row;
  }
  return NULL;
}

static inline int count_rows(void) {
  int count = 0;
  for (uint32_t i = 0; i < VLV_TENANTS_MAX; i++) count += vlv_tenant_alive(holders, i) == 1;
  return count;
}

static inline struct vlv_tenant_row *wait_row(pid_t pid) {
  EVENTUALLY(find_row(pid) != NULL);
  return find_row(pid);
}

/* ---- the gate ---- */

static inline uint32_t close_gate(void) {
  uint32_t closed = vlv_gate_close(holder);
  holder_row(holders, vlv_holder_row_index(holder))->lease_expiry_ns = vlv_now_ns() + HOUR_NS;
  return closed;
}

static inline void close_and_wait(const struct vlv_tenant_row *row) {
  uint32_t closed = close_gate();
  EVENTUALLY(row->ack_generation == closed && row->state == VLV_TENANT_STOPPED);
}

static inline void open_and_wait(const struct vlv_tenant_row *row) {
  uint32_t opened = vlv_gate_open(holder);
  EVENTUALLY(row->ack_generation == opened && row->state == VLV_TENANT_RUNNING);
}

/* Can only err on the good side: what runs would have to rest for just that time. */
static inline void check_that_nothing_moves(void) {
  uint64_t beat = board->beat;
  nap_ms(2);
  CHECK(board->beat == beat);
}

#endif
