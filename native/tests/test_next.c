/* Finding what lies below the shim, in a process that has no CUDA. */
#include <dlfcn.h>
#include <sys/ioctl.h>

#include "next.h"
#include "node_scratch.h"

static void glibcs_own_dlsym_is_found(void) {
  next_begin();
  CHECK(next_dlsym != NULL && next_dlsym(RTLD_DEFAULT, "getpid") == dlsym(RTLD_DEFAULT, "getpid"));
  next_begin();
  CHECK(next_dlsym != NULL);
}

static void a_function_below_is_found(void) {
  CHECK(next_symbol("ioctl") == (void *)ioctl);
  CHECK(next_symbol("valve_no_such_function") == NULL);
}

static void libcuda_is_not_loaded_by_looking(void) {
  CHECK(next_in_libcuda("cuInit") == NULL && next_of(CALL_cuLaunchKernel) == NULL);
  CHECK(lowest_of(CALL_cuGraphLaunch_ptsz) == NULL);
  CHECK(dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD) == NULL);
}

static void every_call_has_its_name(void) {
  CHECK(strcmp(interposed_names[CALL_cuLaunchKernel], "cuLaunchKernel") == 0);
  CHECK(strcmp(interposed_names[CALL_cuMemcpyHtoD_v2_ptds], "cuMemcpyHtoD_v2_ptds") == 0);
  CHECK(strcmp(interposed_names[INTERPOSED_COUNT - 1], "cuMemsetD2D32Async_ptsz") == 0);
}

int main(void) {
  RUN(glibcs_own_dlsym_is_found);
  RUN(a_function_below_is_found);
  RUN(libcuda_is_not_loaded_by_looking);
  RUN(every_call_has_its_name);
  return 0;
}
