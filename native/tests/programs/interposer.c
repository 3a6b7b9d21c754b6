/* Another library that interposes what the shim does, as memory savers and profilers do; preloaded below it.
 * It finds libcuda's own function by RTLD_NEXT or, with INTERPOSER_BY_HANDLE, by asking libcuda. Counts on
 * the board that INTERPOSER_BOARD names.
 */
#include <dlfcn.h>
#include <stdlib.h>

#include "board.h"
#include "fake_cuda.h"

typedef CUresult launch_kernel(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                               unsigned, CUstream, void **, void **);

static launch_kernel *find_real(void) {
  bool by_handle = getenv("INTERPOSER_BY_HANDLE") != NULL;
  void *from = by_handle ? dlopen("libcuda.so.1", RTLD_NOW) : RTLD_NEXT;
  return (launch_kernel *)dlsym(from, "cuLaunchKernel");
}

static void count(void) {
  static struct board *board;
  if (board == NULL) board = board_open(getenv("INTERPOSER_BOARD"));
  if (board != NULL) board->told[2]++;
}

CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                        unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                        CUstream stream, void **arguments, void **extra) {
  count();
  return find_real()(function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes, stream,
                     arguments, extra);
}
