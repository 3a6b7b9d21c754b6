/* Gating a GPU program from another process that was given its open /dev/nvidiactl: works through that file,
 * and through no other. */
#include "shim_stage.h"

/* The fake's handles are the same each time: client, device, subdevice, group, four channels. */
static int run_stranger(pid_t pid, int fd, char *said, int size) {
  char command[1024];
  snprintf(command, sizeof command,
           "LD_PRELOAD=%s %s/stranger %d %d 0x5c000001 0x5c000003 20 0x5c000005 4 2>&1 >/dev/null", FAKE_RM,
           PROGRAMS, pid, fd);
  FILE *output = popen(command, "r");
  CHECK(output != NULL && fgets(said, size, output) != NULL);
  return pclose(output);
}

static void the_programs_own_open_file_gates_it(void) {
  char said[64];
  stage_begin();
  pid_t pid = start_victim("victim_linked", "persistent", "0");
  CHECK(run_stranger(pid, find_control_fd(pid), said, sizeof said) == 0 && strcmp(said, "0x0\n") == 0);
  uint64_t beat = board->beat;
  EVENTUALLY(board->beat > beat);
  board->go = 1;
  CHECK(wait_status(pid) == 0);
  stage_end();
}

static void another_open_file_does_not(void) {
  char said[64];
  stage_begin();
  pid_t pid = start_victim("victim_linked", "persistent", "0");
  CHECK(run_stranger(pid, -1, said, sizeof said) != 0 && strcmp(said, "0x23\n") == 0);
  uint64_t beat = board->beat;
  EVENTUALLY(board->beat > beat);
  board->go = 1;
  CHECK(wait_status(pid) == 0);
  stage_end();
}

int main(void) {
  RUN(the_programs_own_open_file_gates_it);
  RUN(another_open_file_does_not);
  return 0;
}
