/* A GPU program with children: family BOARD HOW.
 *   fork   a child that does not touch CUDA lives on while the parent computes
 *   exec   after using CUDA the process becomes another GPU program (victim BOARD persistent)
 *   spawn  the parent does not use a GPU, its child does
 */
#include <libgen.h>
#include <string.h>
#include <sys/wait.h>

#include "board.h"
#include "cuda.h"

static struct board *board;

static void use_cuda(void) {
  CUcontext context;
  CHECK_CUDA(cuInit(0));
  CHECK_CUDA(cuDevicePrimaryCtxRetain(&context, 0));
  CHECK_CUDA(cuCtxSetCurrent(context));
}

static int become_victim(char *self, char *path) {
  static char victim[4096];
  snprintf(victim, sizeof victim, "%s/victim_linked", dirname(self));
  return execl(victim, victim, path, "persistent", "0", NULL);
}

static void be_a_child_without_cuda(void) {
  board->told[0] = (uint32_t)getpid();
  while (board->go == 0) {
    board->told[1]++;
    usleep(1000);
  }
  _exit(cuInit(0) == CUDA_ERROR_NOT_INITIALIZED ? 0 : 1); /* libcuda is the parent's */
}

static int fork_a_child(void) {
  int status;
  use_cuda();
  pid_t child = fork();
  if (child == 0) be_a_child_without_cuda();
  board->ready = 1;
  return waitpid(child, &status, 0) == child && status == 0 ? 0 : 1;
}

static int spawn_a_victim(char *self, char *path) {
  int status;
  pid_t child = fork();
  if (child == 0) _exit(become_victim(self, path));
  return waitpid(child, &status, 0) == child && status == 0 ? 0 : 1;
}

int main(int count, char **arguments) {
  board = count == 3 ? board_open(arguments[1]) : NULL;
  if (board == NULL) return 2;
  if (strcmp(arguments[2], "fork") == 0) return fork_a_child();
  if (strcmp(arguments[2], "spawn") == 0) return spawn_a_victim(arguments[0], arguments[1]);
  use_cuda();
  return become_victim(arguments[0], arguments[1]);
}
