/* Programs on the fake GPU whose channels the shim takes away and gives back at random moments: nothing moves
 * in between, and the results are those of an undisturbed run. An argument is the number of cycles per
 * program. */
#include "shim_stage.h"

#define CYCLES 20

static int cycles = CYCLES;

static const char *scaled(int rounds) {
  static char text[16];
  snprintf(text, sizeof text, "%d", rounds * (cycles < CYCLES ? 1 : cycles / CYCLES));
  return text;
}

/* One stop at some moment of the program's life; false when it has ended. */
static bool disturb(struct vlv_tenant_row *row, pid_t pid, unsigned *seed) {
  usleep((useconds_t)rand_r(seed) % 3000);
  if (board->done || kill(pid, 0) != 0 || find_row(pid) == NULL) return false;
  uint32_t closed = close_gate();
  EVENTUALLY(row->ack_generation == closed || find_row(pid) == NULL);
  bool alive = find_row(pid) != NULL;
  if (alive) check_that_nothing_moves();
  vlv_gate_open(holder);
  return alive;
}

static int disturb_until_it_ends(pid_t pid) {
  unsigned seed = 7;
  int stops = 0;
  struct vlv_tenant_row *row = find_row(pid);
  while (row != NULL && stops < cycles && disturb(row, pid, &seed)) stops++;
  return stops;
}

static void check_kind(const char *program, const char *kind, const char *rounds) {
  stage_begin();
  uint64_t expected = undisturbed_result(program, kind, rounds);
  pid_t pid = start_victim(program, kind, rounds);
  int stops = disturb_until_it_ends(pid);
  CHECK(result_of(pid) == expected);
  printf("  %s %s: %d stops\n", program, kind, stops);
  CHECK(stops > 0 && count_rows() == 0);
  stage_end();
}

static void check_program(const char *program) {
  check_kind(program, "short", scaled(4000));
  check_kind(program, "long", scaled(40000));
  check_kind(program, "default", scaled(4000));
  check_kind(program, "graphs", scaled(400));
  check_kind(program, "copies", scaled(20000));
}

static void linked_programs_stop_and_end_with_the_same_result(void) {
  check_program("victim_linked");
}

static void programs_that_look_libcuda_up_do_too(void) {
  check_program("victim_looked_up");
}

static void a_kernel_is_stopped_in_its_midst(void) {
  stage_begin();
  pid_t pid = start_victim("victim_linked", "persistent", "0");
  struct vlv_tenant_row *row = wait_row(pid);
  for (int i = 0; i < 2 * cycles; i++) {
    uint64_t beat = board->beat;
    EVENTUALLY(board->beat > beat);
    close_and_wait(row);
    CHECK(row->ack_level == VLV_LEVEL_COMPUTE_HALTED && row->mechanism == VLV_MECHANISM_CHANNELS);
    check_that_nothing_moves();
    open_and_wait(row);
  }
  CHECK(row->channels == 4 && row->refusals == 0 && row->unknown == 0 && row->errors == 0);
  board->go = 1;
  CHECK(wait_status(pid) == 0);
  stage_end();
}

static void a_program_that_starts_while_closed_does_not_compute(void) {
  stage_begin();
  uint64_t expected = undisturbed_result("victim_linked", "default", "10");
  close_gate();
  pid_t pid = start(/* its very first copy waits */ "victim_linked", scratch_path("board"), "default", "10");
  struct vlv_tenant_row *row = wait_row(pid);
  EVENTUALLY(row->state == VLV_TENANT_STOPPED && row->channels == 4);
  check_that_nothing_moves();
  CHECK(board->beat == 0 && board->ready == 0);
  vlv_gate_open(holder);
  CHECK(result_of(pid) == expected);
  stage_end();
}

static void channels_that_come_while_closed_do_not_run(void) {
  stage_begin();
  pid_t pid = start_victim("victim_linked", "late", "50");
  struct vlv_tenant_row *row = wait_row(pid);
  uint64_t channels = row->channels;
  close_and_wait(row);
  board->go = 1;
  EVENTUALLY(board->told[0] == 1);
  EVENTUALLY(row->channels == 2 * channels);
  check_that_nothing_moves();
  CHECK(board->beat == 0);
  open_and_wait(row);
  EVENTUALLY(board->beat == 50);
  result_of(pid);
  stage_end();
}

static void hundreds_of_channels_on_many_gpus_stop(void) {
  stage_begin();
  set("FAKE_GPUS=32");
  set("FAKE_CHANNELS=300");
  pid_t pid = start_victim("victim_linked", "persistent", "0");
  struct vlv_tenant_row *row = wait_row(pid);
  EVENTUALLY(board->beat > 0);
  close_and_wait(row);
  check_that_nothing_moves();
  open_and_wait(row);
  CHECK(row->channels == 300 && row->refusals == 0);
  board->go = 1;
  CHECK(wait_status(pid) == 0);
  stage_end();
}

int main(int count, char **arguments) {
  if (count > 1) cycles = atoi(arguments[1]);
  RUN(linked_programs_stop_and_end_with_the_same_result);
  RUN(programs_that_look_libcuda_up_do_too);
  RUN(a_kernel_is_stopped_in_its_midst);
  RUN(a_program_that_starts_while_closed_does_not_compute);
  RUN(channels_that_come_while_closed_do_not_run);
  RUN(hundreds_of_channels_on_many_gpus_stop);
  return 0;
}
