/* A GPU process as a tenant: registers once, with what `valve run` told it, and never harms its host. */
#include <pthread.h>

#include "device_list.h"
#include "node_scratch.h"
#include "rank.h"
#include "rm_call.h"

#define HOUR_NS 3600000000000ull
#define GPU "GPU-00112233-4455-6677-8899-AAbbccddeeff"
#define RUNNER 4711

static const struct vlv_device_id GPU_ID = {
    {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}};

/* A forked child begins anew, with a thread of its own: that is what is tested. */
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void) {
  return "die_after_fork=0";
}

static int any_ioctl(int fd, unsigned long request, void *argument) {
  (void)fd;
  (void)request;
  ((struct rm_control *)argument)->status = RM_OK;
  return 0;
}

static struct ladder *make_ladder(void) {
  static struct channels channels;
  static struct registry *registry;
  static struct launch launch;
  static struct ladder ladder;
  rm_ioctl = any_ioctl;
  CHECK(registry_create(&registry) == 0);
  channels_create(&channels, registry);
  ladder = (struct ladder){.channels = &channels, .launch = &launch};
  return &ladder;
}

static _Atomic int *told; /* by children: how far they are */

static void tell(int step) {
  atomic_store(told, step);
}
static void wait_told(int step) {
  EVENTUALLY(atomic_load(told) == step);
}

static struct vlv_node *holders;

static void begin(void) {
  told = share(sizeof *told);
  holders = open_side(VLV_SIDE_HOLDER);
  struct vlv_node *tenants = open_side(VLV_SIDE_TENANT); /* makes the file */
  vlv_node_close(tenants);
  setenv("VALVE_RUNTIME_DIR", scratch, 1);
  setenv("VALVE_JOB_NAME", "batch", 1);
  setenv("VALVE_JOB", "batch-1-2", 1);
  setenv("VALVE_RUNNER", "4711", 1);
  setenv("VALVE_DEVICES", GPU, 1);
  setenv("VALVE_SHIM_LOG", scratch_path("log"), 1);
}

static void end(void) {
  vlv_node_close(holders);
  munmap((void *)told, sizeof *told);
}

static const struct vlv_tenant_row *row(uint32_t index) {
  return &vlv_node_tenants(holders)->rows[index];
}

static int alive_rows(void) {
  int count = 0;
  for (uint32_t i = 0; i < VLV_TENANTS_MAX; i++) count += vlv_tenant_alive(holders, i) == 1;
  return count;
}

static int log_lines(void) {
  FILE *file = fopen(scratch_path("log"), "r");
  int lines = 0;
  for (int c; file != NULL && (c = fgetc(file)) != EOF;) lines += c == '\n';
  if (file != NULL) fclose(file);
  return lines;
}

static void be_a_rank(void) {
  rank_begin(ladder_mechanism(), make_ladder());
  tell(1);
  for (;;) pause();
}

static pid_t start_rank(void) {
  tell(0);
  pid_t pid = spawn(be_a_rank);
  wait_told(1);
  return pid;
}

static void it_registers_what_valve_run_told(void) {
  begin();
  pid_t first = start_rank(), second = start_rank();
  CHECK(alive_rows() == 2 && row(0)->owner_pid == (uint64_t)first && row(1)->owner_pid == (uint64_t)second);
  CHECK(row(0)->rank == 0 && row(1)->rank == 1 && row(0)->runner_pid == RUNNER);
  CHECK(strcmp(row(1)->job, "batch") == 0 && row(1)->device_count == 1);
  CHECK(memcmp(&row(0)->devices[0], &GPU_ID, sizeof GPU_ID) == 0);
  EVENTUALLY(row(0)->mechanism == VLV_MECHANISM_CHANNELS);
  CHECK(log_lines() == 0);
  kill_and_wait(first);
  kill_and_wait(second);
  CHECK(alive_rows() == 0);
  end();
}

static void without_a_name_the_mark_is_the_name(void) {
  begin();
  unsetenv("VALVE_JOB_NAME");
  pid_t pid = start_rank();
  CHECK(strcmp(row(0)->job, "batch-1-2") == 0);
  kill_and_wait(pid);
  end();
}

static void it_obeys_the_gate(void) {
  struct vlv_holder *holder;
  begin();
  CHECK(vlv_holder_register(holders, "holder", &GPU_ID, 1, &holder) == 0);
  uint32_t closed = vlv_gate_close(holder);
  holder_row(holders, 0)->lease_expiry_ns = vlv_now_ns() + HOUR_NS;
  pid_t pid = start_rank();
  EVENTUALLY(row(0)->state == VLV_TENANT_STOPPED && row(0)->ack_generation == closed);
  CHECK(row(0)->ack_level == VLV_LEVEL_COMPUTE_HALTED);
  vlv_gate_open(holder);
  EVENTUALLY(row(0)->state == VLV_TENANT_RUNNING);
  kill_and_wait(pid);
  vlv_holder_release(holder);
  end();
}

static void *begin_again(void *ladder) {
  for (int i = 0; i < 100; i++) rank_begin(ladder_mechanism(), ladder);
  return NULL;
}

static void begin_from_many_threads(void) {
  struct ladder *ladder = make_ladder();
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, begin_again, ladder);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  rank_begin(ladder_mechanism(), ladder);
  tell(1);
  for (;;) pause();
}

static void many_threads_make_one_row(void) {
  begin();
  pid_t pid = spawn(begin_from_many_threads);
  wait_told(1);
  EVENTUALLY(alive_rows() == 1 && row(0)->runner_pid == RUNNER);
  kill_and_wait(pid);
  end();
}

static void publish_counters(void) {
  struct ladder *ladder = make_ladder();
  rank_publish(9, 9, 9, 9); /* there is no row yet */
  rank_publish_ladder(ladder);
  rank_begin(ladder_mechanism(), ladder);
  rank_publish(1, 2, 3, 4);
  tell(1);
  while (atomic_load(told) == 1) nap_ms(1);
  ladder->channels->refusals = 7;
  ladder->launch->held = 8;
  rank_publish_ladder(ladder);
  tell(3);
  for (;;) pause();
}

static void counters_reach_the_row(void) {
  begin();
  pid_t pid = spawn(publish_counters);
  wait_told(1);
  CHECK(row(0)->channels == 1 && row(0)->refusals == 2 && row(0)->unknown == 3 && row(0)->held == 4);
  tell(2);
  wait_told(3);
  CHECK(row(0)->channels == 0 && row(0)->refusals == 7 && row(0)->unknown == 3 && row(0)->held == 8);
  kill_and_wait(pid);
  end();
}

static void fail_often(void) {
  struct ladder *ladder = make_ladder();
  for (int i = 0; i < 10; i++) {
    errno = 77;
    rank_begin(ladder_mechanism(), ladder);
    CHECK(errno == 77);
    rank_publish(1, 1, 1, 1);
  }
  _exit(0);
}

/* Each failure is a line of the log. */
static void check_fails_twice(const char *name, const char *value) {
  begin();
  if (value != NULL)
    setenv(name, value, 1);
  else
    unsetenv(name);
  CHECK(wait_status(spawn(fail_often)) == 0);
  CHECK(alive_rows() == 0 && log_lines() == 2);
  unlink(scratch_path("log"));
  end();
}

static void what_fails_is_tried_once_more_and_then_left(void) {
  static const char *const cases[][2] = {
      {"VALVE_RUNTIME_DIR", NULL}, {"VALVE_RUNTIME_DIR", "/nowhere"},
      {"VALVE_RUNNER", NULL},      {"VALVE_RUNNER", "x"},
      {"VALVE_RUNNER", ""},        {"VALVE_RUNNER", "0"},
      {"VALVE_RUNNER", "12 "},     {"VALVE_DEVICES", NULL},
      {"VALVE_DEVICES", "GPU-1"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_fails_twice(cases[i][0], cases[i][1]);
}

static void without_a_log_nothing_is_written(void) {
  begin();
  unsetenv("VALVE_SHIM_LOG");
  unsetenv("VALVE_RUNNER");
  CHECK(wait_status(spawn(fail_often)) == 0 && log_lines() == 0);
  end();
}

static void fail_then_succeed(void) {
  struct ladder *ladder = make_ladder();
  setenv("VALVE_RUNTIME_DIR", "/nowhere", 1);
  rank_begin(ladder_mechanism(), ladder);
  setenv("VALVE_RUNTIME_DIR", scratch, 1);
  rank_begin(ladder_mechanism(), ladder);
  tell(1);
  for (;;) pause();
}

static void the_second_try_may_succeed(void) {
  begin();
  pid_t pid = spawn(fail_then_succeed);
  wait_told(1);
  CHECK(alive_rows() == 1 && log_lines() == 1);
  kill_and_wait(pid);
  end();
}

static void fork_and_begin_anew(void) {
  struct ladder *ladder = make_ladder();
  rank_begin(ladder_mechanism(), ladder);
  pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    rank_reset_after_fork();
    rank_publish(9, 9, 9, 9); /* not into the parent's row */
    tell(1);
    while (atomic_load(told) == 1) nap_ms(1);
    rank_begin(ladder_mechanism(), ladder);
    tell(3);
  }
  for (;;) pause();
}

static void a_forked_child_has_a_row_of_its_own(void) {
  begin();
  pid_t parent = spawn(fork_and_begin_anew);
  wait_told(1);
  CHECK(alive_rows() == 1 && row(0)->owner_pid == (uint64_t)parent && row(0)->channels == 0);
  tell(2);
  wait_told(3);
  CHECK(alive_rows() == 2 && row(1)->owner_pid != (uint64_t)parent && row(1)->rank == 1);
  kill_and_wait(parent);
  EVENTUALLY(alive_rows() == 0); /* the child goes with its parent */
  end();
}

static int parse(const char *text) {
  struct vlv_device_id ids[2];
  return device_list_parse(text, ids, 2);
}

static void device_lists_are_read_as_python_writes_them(void) {
  struct vlv_device_id ids[2];
  CHECK(device_list_parse("cpu," GPU, ids, 2) == 2);
  CHECK(memcmp(&ids[0], &CPU, sizeof CPU) == 0 && memcmp(&ids[1], &GPU_ID, sizeof GPU_ID) == 0);
  CHECK(parse(GPU) == 1);
  static const char *const wrong[] = {"",
                                      ",",
                                      "cpu,",
                                      ",cpu",
                                      "cp",
                                      "cpu ",
                                      "gpu",
                                      "GPU-",
                                      "GPU-0011",
                                      GPU "0",
                                      "GPU-"
                                      "00112233-4455-6677-8899-aabbccddeefg",
                                      "MIG-00112233-4455-6677-8899-aabbccddeeff",
                                      "cpu,cpu,cpu"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) CHECK(parse(wrong[i]) == -EINVAL);
}

int main(void) {
  RUN(it_registers_what_valve_run_told);
  RUN(without_a_name_the_mark_is_the_name);
  RUN(it_obeys_the_gate);
  RUN(many_threads_make_one_row);
  RUN(counters_reach_the_row);
  RUN(what_fails_is_tried_once_more_and_then_left);
  RUN(without_a_log_nothing_is_written);
  RUN(the_second_try_may_succeed);
  RUN(a_forked_child_has_a_row_of_its_own);
  RUN(device_lists_are_read_as_python_writes_them);
  return 0;
}
