/* A driver that refuses, is slow or changes its mind: the next mechanism stops the program, its results are
 * the same, and the better one comes back. */
#include "shim_stage.h"

static void check_mechanism(const char *refusal, uint32_t mechanism, uint32_t level, bool refuses) {
  stage_begin();
  set(refusal);
  pid_t pid = start_victim("victim_linked", "persistent", "0");
  struct vlv_tenant_row *row = wait_row(pid);
  for (int i = 0; i < 3; i++) {
    close_and_wait(row);
    CHECK(row->mechanism == mechanism && row->ack_level == level);
    if (level == VLV_LEVEL_COMPUTE_HALTED) check_that_nothing_moves();
    open_and_wait(row);
  }
  CHECK((row->refusals > 0) == refuses);
  board->go = 1;
  CHECK(wait_status(pid) == 0);
  stage_end();
}

/* A refusal of disabling takes the second way; of that too, launch. The program itself has to be scheduled,
 * so the driver refuses that from a switch on only. */
static void each_refusal_of_disabling_is_met_by_scheduling(void) {
  static const char *const refusals[] = {"FAKE_RM_REFUSE=disable=0x1b", "FAKE_RM_REFUSE=disable=0x1f",
                                         "FAKE_RM_REFUSE=disable=0x23", "FAKE_RM_REFUSE=disable=0x24",
                                         "FAKE_RM_REFUSE=disable=0x3a", "FAKE_RM_REFUSE=disable=0x56"};
  for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
    check_mechanism(refusals[i], VLV_MECHANISM_CHANNELS, VLV_LEVEL_COMPUTE_HALTED, true);
}

static void the_older_schedule_structure_is_found(void) {
  stage_begin();
  set("FAKE_RM_SCHEDULE_SIZE=2");
  set("FAKE_RM_REFUSE=disable=0x56");
  pid_t pid = start_victim("victim_linked", "persistent", "0");
  struct vlv_tenant_row *row = wait_row(pid);
  close_and_wait(row);
  CHECK(row->mechanism == VLV_MECHANISM_CHANNELS && row->ack_level == VLV_LEVEL_COMPUTE_HALTED);
  check_that_nothing_moves();
  open_and_wait(row);
  board->go = 1;
  CHECK(wait_status(pid) == 0);
  stage_end();
}

static void a_slow_driver_is_waited_for(void) {
  check_mechanism("FAKE_RM_DELAY_US=disable=3000", VLV_MECHANISM_CHANNELS, VLV_LEVEL_COMPUTE_HALTED, false);
}

static char switch_setting[600];

static void write_switch(const char *text) {
  FILE *file = fopen(scratch_path("switch.new"), "w");
  CHECK(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
  char from[400];
  snprintf(from, sizeof from, "%s", scratch_path("switch.new"));
  CHECK(rename(from, scratch_path("switch")) == 0);
}

static void use_switch(void) {
  snprintf(switch_setting, sizeof switch_setting, "FAKE_RM_SWITCH=%s", scratch_path("switch"));
  write_switch("");
  set(switch_setting);
}

/* What was submitted runs on; then nothing comes after it. */
static void check_that_submission_stops(struct vlv_tenant_row *row) {
  close_and_wait(row);
  CHECK(row->mechanism == VLV_MECHANISM_LAUNCH && row->ack_level == VLV_LEVEL_SUBMISSION_STOPPED);
  uint64_t beat;
  do beat = board->beat, nap_ms(20);
  while (board->beat != beat);
  check_that_nothing_moves();
}

static void check_launch(const char *program, const char *kind, const char *rounds) {
  stage_begin();
  uint64_t expected = undisturbed_result(program, kind, rounds);
  use_switch();
  pid_t pid = start_victim(program, kind, rounds);
  struct vlv_tenant_row *row = wait_row(pid);
  write_switch("refuse disable=0x1b,schedule=0x56\n");
  int stops = 0;
  for (; stops < 10 && find_row(pid) != NULL && !board->done; stops++) {
    check_that_submission_stops(row);
    uint64_t held = row->held;
    open_and_wait(row);
    CHECK(row->held >= held && row->refusals >= 2);
    nap_ms(1);
  }
  CHECK(result_of(pid) == expected && stops > 0);
  printf("  %s %s: %d stops, %lu held\n", program, kind, stops, (unsigned long)row->held);
  CHECK(row->held > 0 && row->unknown == 0);
  stage_end();
}

/* With a sanitizer, which has a dlsym() of its own, the shim does not stand before what is looked up. */
#ifdef SHIM_IS_LINKED
static const char *const programs[] = {"victim_linked"};
#else
static const char *const programs[] = {"victim_linked", "victim_looked_up"};
#endif

static void check_programs(const char *kind, const char *rounds) {
  for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) check_launch(programs[i], kind, rounds);
}

static void refused_in_both_ways_launches_are_held(void) {
  check_programs("short", "60000");
  check_launch("victim_linked", "default", "60000");
}

static void captures_and_graphs_survive_it(void) {
  check_programs("graphs", "6000");
}

static void channels_come_back_when_the_driver_permits_them(void) {
  stage_begin();
  use_switch();
  pid_t pid = start_victim("victim_linked", "persistent", "0");
  struct vlv_tenant_row *row = wait_row(pid);
  write_switch("refuse disable=0x1b,schedule=0x56\n");
  close_and_wait(row);
  CHECK(row->mechanism == VLV_MECHANISM_LAUNCH && row->escalations == 1);
  open_and_wait(row);
  write_switch("");
  for (int i = 0; i < 100 && row->mechanism == VLV_MECHANISM_LAUNCH; i++) {
    close_and_wait(row);
    open_and_wait(row);
  }
  close_and_wait(row);
  CHECK(row->mechanism == VLV_MECHANISM_CHANNELS && row->ack_level == VLV_LEVEL_COMPUTE_HALTED);
  check_that_nothing_moves();
  open_and_wait(row);
  CHECK(row->escalations == 1);
  board->go = 1;
  CHECK(wait_status(pid) == 0);
  stage_end();
}

/* A refused allocation is the program's own affair. */
static void what_the_program_is_refused_is_not_ours(void) {
  stage_begin();
  set("FAKE_RM_REFUSE=alloc_channel=0x51");
  CHECK(wait_status(start("victim_linked", scratch_path("board"), "short", "1")) == 3);
  CHECK(count_rows() == 0);
  stage_end();
}

int main(void) {
  RUN(each_refusal_of_disabling_is_met_by_scheduling);
  RUN(the_older_schedule_structure_is_found);
  RUN(a_slow_driver_is_waited_for);
  RUN(refused_in_both_ways_launches_are_held);
  RUN(captures_and_graphs_survive_it);
  RUN(channels_come_back_when_the_driver_permits_them);
  RUN(what_the_program_is_refused_is_not_ours);
  return 0;
}
