/* libcuda as a statically linked CUDA runtime finds it: dlopen, dlsym of one function, and that for the rest.
 */
#include <dlfcn.h>

#include "cuda.h"

typedef CUresult get_proc_address(const char *symbol, void **function, int version, uint64_t flags,
                                  int *status);

void *cuda_look_up(const char *symbol);
void *cuda_look_up(const char *symbol) {
  static get_proc_address *get;
  void *library = get == NULL ? dlopen("libcuda.so.1", RTLD_NOW) : NULL;
  if (get == NULL && library != NULL) get = (get_proc_address *)dlsym(library, "cuGetProcAddress_v2");
  void *function = NULL;
  if (get == NULL || get(symbol, &function, 12080, 0, NULL) != CUDA_SUCCESS) {
    fprintf(stderr, "no %s\n", symbol);
    exit(3);
  }
  return function;
}
