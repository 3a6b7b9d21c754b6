/* What becomes of the shim when processes fork, exec and die. */
#include "shim_stage.h"

static void touch_a_file(void) {
  put_settings();
  execl("/bin/sh", "sh", "-c", "cp /dev/null \"$VALVE_RUNTIME_DIR/mark\"", NULL);
}

static void a_program_without_cuda_has_no_row(void) {
  stage_begin();
  CHECK(wait_status(spawn(touch_a_file)) == 0 && access(scratch_path("mark"), F_OK) == 0);
  for (uint32_t i = 0; i < VLV_TENANTS_MAX; i++) CHECK(tenant_row(holders, i)->owner_pid == 0);
  stage_end();
}

static void a_forked_child_runs_on_while_its_parent_is_closed(void) {
  stage_begin();
  static char path[400];
  snprintf(path, sizeof path, "%s", scratch_path("board"));
  pid_t pid = start("family", path, "fork", NULL);
  struct vlv_tenant_row *row = wait_row(pid);
  EVENTUALLY(board->told[0] != 0);
  close_and_wait(row);
  uint32_t beat = board->told[1];
  EVENTUALLY(board->told[1] > beat);
  CHECK(count_rows() == 1);
  board->go = 1;
  CHECK(wait_status(pid) == 0);
  stage_end();
}

static void a_program_that_execs_after_cuda_begins_anew(void) {
  stage_begin();
  static char path[400];
  snprintf(path, sizeof path, "%s", scratch_path("board"));
  pid_t pid = start("family", path, "exec", NULL);
  EVENTUALLY(board->beat > 0);
  struct vlv_tenant_row *row = wait_row(pid);
  close_and_wait(row);
  CHECK(count_rows() == 1 && row->ack_level == VLV_LEVEL_COMPUTE_HALTED);
  check_that_nothing_moves();
  open_and_wait(row);
  board->go = 1;
  CHECK(wait_status(pid) == 0);
  stage_end();
}

static void a_childs_gpu_work_is_its_own_row(void) {
  stage_begin();
  static char path[400];
  snprintf(path, sizeof path, "%s", scratch_path("board"));
  pid_t pid = start("family", path, "spawn", NULL);
  EVENTUALLY(board->beat > 0);
  CHECK(find_row(pid) == NULL);
  EVENTUALLY(count_rows() == 1);
  uint32_t closed = close_gate();
  EVENTUALLY(tenant_row(holders, 0)->ack_generation == closed);
  check_that_nothing_moves();
  vlv_gate_open(holder);
  board->go = 1;
  CHECK(wait_status(pid) == 0);
  stage_end();
}

static void one_that_is_killed_while_closed_leaves_nothing(void) {
  stage_begin();
  pid_t pid = start_victim("victim_linked", "persistent", "0");
  close_and_wait(wait_row(pid));
  kill_and_wait(pid);
  CHECK(count_rows() == 0);
  pid = start("victim_linked", scratch_path("board"), "default", "10"); /* waits for the gate */
  struct vlv_tenant_row *row = wait_row(pid);
  EVENTUALLY(row->state == VLV_TENANT_STOPPED && row->channels > 0);
  CHECK(board->beat == 0);
  vlv_gate_open(holder);
  result_of(pid);
  stage_end();
}

static void be_a_holder_that_dies(void) {
  struct vlv_node *node = open_side(VLV_SIDE_HOLDER);
  struct vlv_holder *own;
  CHECK(vlv_holder_register(node, "mortal", &GPU_ID, 1, &own) == 0);
  vlv_gate_close(own);
  board->told[7] = 1;
  for (;;) {
    vlv_holder_renew(own);
    nap_ms(100);
  }
}

static void a_dead_holder_closes_nothing(void) {
  stage_begin();
  pid_t pid = start_victim("victim_linked", "persistent", "0");
  struct vlv_tenant_row *row = wait_row(pid);
  pid_t mortal = spawn(be_a_holder_that_dies);
  EVENTUALLY(board->told[7] == 1);
  EVENTUALLY(row->state == VLV_TENANT_STOPPED);
  check_that_nothing_moves();
  kill_and_wait(mortal);
  EVENTUALLY(row->state == VLV_TENANT_RUNNING);
  uint64_t beat = board->beat;
  EVENTUALLY(board->beat > beat);
  board->go = 1;
  CHECK(wait_status(pid) == 0);
  stage_end();
}

#ifndef SHIM_IS_LINKED
static void check_interposer(const char *program, uint32_t launches) {
  static char setting[600];
  stage_begin();
  with_interposer = true;
  snprintf(setting, sizeof setting, "INTERPOSER_BOARD=%s", scratch_path("board"));
  set(setting);
  uint64_t expected = undisturbed_result(program, "short", "100");
  pid_t pid = start_victim(program, "short", "100");
  CHECK(result_of(pid) == expected && board->told[2] == launches);
  set("INTERPOSER_BY_HANDLE=1");
  pid = start_victim(program, "short", "100");
  CHECK(result_of(pid) == expected && board->told[2] == launches);
  stage_end();
}

/* As without the shim: a linked program's launches go through the library, those of one that asks libcuda
 * past it. */
static void other_preloaded_libraries_stay_in_place(void) {
  check_interposer("victim_linked", 200);
  check_interposer("victim_looked_up", 0);
}
#endif

int main(void) {
  RUN(a_program_without_cuda_has_no_row);
  RUN(a_forked_child_runs_on_while_its_parent_is_closed);
  RUN(a_program_that_execs_after_cuda_begins_anew);
  RUN(a_childs_gpu_work_is_its_own_row);
  RUN(one_that_is_killed_while_closed_leaves_nothing);
  RUN(a_dead_holder_closes_nothing);
#ifndef SHIM_IS_LINKED
  RUN(other_preloaded_libraries_stay_in_place);
#endif
  return 0;
}
