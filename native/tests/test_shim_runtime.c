/* NVIDIA's statically linked CUDA runtime looks libcuda up through the shim. Skipped where there is no
 * libcudart_static to link: it is NVIDIA's. */
#include "shim_stage.h"

#define SKIPPED 77

static void all_submitting_calls_that_it_finds_are_the_shims(void) {
  stage_begin();
  CHECK(wait_status(start("runtime", scratch_path("board"), NULL, NULL)) == 0 && board->done == 1);
  CHECK(board->told[0] >= 10 && board->told[1] == 0);
  CHECK(board->told[2] >= 40);
  stage_end();
}

static void without_the_shim_they_are_libcudas(void) {
  stage_begin();
  without_shim = true;
  CHECK(wait_status(start("runtime", scratch_path("board"), NULL, NULL)) == 0 && board->done == 1);
  CHECK(board->told[0] == 0 && board->told[1] >= 10);
  CHECK(board->told[2] >= 40 && board->told[3] == 0);
  stage_end();
}

int main(void) {
  if (access(PROGRAMS "/runtime", X_OK) != 0) {
    puts("skipped: no libcudart_static was found when this was built");
    return SKIPPED;
  }
  RUN(all_submitting_calls_that_it_finds_are_the_shims);
  RUN(without_the_shim_they_are_libcudas);
  return 0;
}
