/* The fake driver itself: programs come to the same result each time, and there is no GPU without its
 * resource manager. */
#include "shim_stage.h"

static void check_kind(const char *program, const char *kind) {
  uint64_t first = undisturbed_result(program, kind, "400"),
           second = undisturbed_result(program, kind, "400");
  CHECK(first == second && board->beat > 0);
}

static void work_of_every_kind_has_one_result(void) {
  static const char *const kinds[] = {"short", "long", "default", "graphs", "copies"};
  stage_begin();
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    check_kind("victim_linked", kinds[i]);
    check_kind("victim_looked_up", kinds[i]);
  }
  stage_end();
}

static void different_work_has_different_results(void) {
  stage_begin();
  CHECK(undisturbed_result("victim_linked", "short", "400") !=
        undisturbed_result("victim_linked", "short", "401"));
  stage_end();
}

static void without_a_resource_manager_there_is_no_gpu(void) {
  stage_begin();
  set("LD_PRELOAD=");
  CHECK(wait_status(start("victim_linked", scratch_path("board"), "short", "1")) == 3);
  stage_end();
}

static void without_a_gpu_there_is_none(void) {
  stage_begin();
  set("FAKE_GPUS=0");
  CHECK(wait_status(start("victim_linked", scratch_path("board"), "short", "1")) == 3);
  stage_end();
}

int main(void) {
  RUN(work_of_every_kind_has_one_result);
  RUN(different_work_has_different_results);
  RUN(without_a_resource_manager_there_is_no_gpu);
  RUN(without_a_gpu_there_is_none);
  return 0;
}
