/* NVIDIA's own CUDA runtime in a program, linked statically as nvcc does it: runtime BOARD.
 *
 * It finds libcuda with dlopen(), its lookup with dlsym(), and all the rest with that. The program is linked
 * with --wrap=dlsym, so the lookup that the runtime gets goes through here, and the board tells who answered:
 *   told[0]  submitting calls that were answered with the shim's wrapper
 *   told[1]  submitting calls that were answered with anything else
 *   told[2]  other calls that were answered with libcuda's own
 *   told[3]  other calls that were answered with anything else (the lookup itself)
 */
#include <dlfcn.h>
#include <string.h>

#include "board.h"
#include "cuda.h"

typedef CUresult look_up(const char *symbol, void **function, int version, uint64_t flags);
typedef CUresult look_up_v2(const char *symbol, void **function, int version, uint64_t flags, int *status);

int cudaGetDeviceCount(int *count);
void *__real_dlsym(void *handle, const char *name);
void *__wrap_dlsym(void *handle, const char *name);

static struct board *board;
static look_up *next;
static look_up_v2 *next_v2;

static bool is_submission(const char *symbol) {
  static const char *const prefixes[] = {"cuLaunch", "cuGraphLaunch", "cuMemcpy", "cuMemset"};
  for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
    if (strncmp(symbol, prefixes[i], strlen(prefixes[i])) == 0) return true;
  return false;
}

static bool is_in(const void *function, const char *library) {
  Dl_info info;
  return dladdr(function, &info) != 0 && strstr(info.dli_fname, library) != NULL;
}

static void tell(const char *symbol, const void *function) {
  bool submission = is_submission(symbol);
  bool right = is_in(function, submission ? "libvalve_preload" : "libcuda.so");
  board->told[2 * !submission + !right]++;
}

static look_up watch;
static look_up_v2 watch_v2;

/* The lookup is looked up itself, too. */
static void *come_between(const char *name, void *function) {
  if (strcmp(name, "cuGetProcAddress") == 0) next = (look_up *)function;
  if (strcmp(name, "cuGetProcAddress_v2") == 0) next_v2 = (look_up_v2 *)function;
  if (function == (void *)next) return (void *)watch;
  return function == (void *)next_v2 ? (void *)watch_v2 : function;
}

static void take_in(const char *symbol, int version, void **function) {
  bool itself = strcmp(symbol, "cuGetProcAddress") == 0;
  tell(symbol, *function);
  if (itself) *function = come_between(version < 12000 ? symbol : "cuGetProcAddress_v2", *function);
}

static CUresult watch(const char *symbol, void **function, int version, uint64_t flags) {
  CUresult result = next(symbol, function, version, flags);
  if (result == CUDA_SUCCESS) take_in(symbol, version, function);
  return result;
}

static CUresult watch_v2(const char *symbol, void **function, int version, uint64_t flags, int *status) {
  CUresult result = next_v2(symbol, function, version, flags, status);
  if (result == CUDA_SUCCESS) take_in(symbol, version, function);
  return result;
}

void *__wrap_dlsym(void *handle, const char *name) {
  void *function = __real_dlsym(handle, name);
  return function != NULL ? come_between(name, function) : NULL;
}

/* The runtime begins, and gives up: the fake driver has not the tables that it wants of NVIDIA's. */
int main(int arguments_count, char **arguments) {
  int count = 0;
  board = arguments_count == 2 ? board_open(arguments[1]) : NULL;
  if (board == NULL) return 2;
  board->result = (uint64_t)cudaGetDeviceCount(&count);
  board->done = 1;
  return 0;
}
