/* cuGetProcAddress(): a function by its name without version; the newest that we have, in the form that the
 * flags want. Ours, not what somebody has interposed: this library is linked with -Bsymbolic.
 */
#include <stdio.h>
#include <string.h>

#include "fake_cuda.h"

#define ROW(name, arguments) {#name, (void *)name},
static const struct {
  const char *name;
  void *function;
} functions[] = {FAKE_CUDA_FUNCTIONS(ROW)};

static void *find(const char *symbol, const char *ending) {
  char name[128];
  snprintf(name, sizeof name, "%s%s", symbol, ending);
  for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
    if (strcmp(functions[i].name, name) == 0) return functions[i].function;
  return NULL;
}

static void *find_newest(const char *symbol, const char *const endings[], size_t count) {
  void *found = NULL;
  for (size_t i = 0; found == NULL && i < count; i++) found = find(symbol, endings[i]);
  return found;
}

static void *find_any(const char *symbol, uint64_t flags) {
  static const char *const endings[] = {"_v2_ptsz", "_v2_ptds", "_ptsz", "_ptds", "_v2", ""};
  bool per_thread = (flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM) != 0;
  return per_thread ? find_newest(symbol, endings, 6) : find_newest(symbol, endings + 4, 2);
}

/* Both of its forms go by the one name: that with `status` since 12.0. */
static void *find_itself(int version) {
  return version < 12000 ? (void *)cuGetProcAddress : (void *)cuGetProcAddress_v2;
}

CUresult cuGetProcAddress_v2(const char *symbol, void **function, int version, uint64_t flags, int *status) {
  bool itself = strcmp(symbol, "cuGetProcAddress") == 0;
  *function = itself ? find_itself(version) : find_any(symbol, flags);
  if (status != NULL) *status = *function == NULL;
  return *function != NULL ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

/* NVIDIA's runtime wants several, which are not documented. */
CUresult cuGetExportTable(const void **table, const CUuuid *id) {
  (void)id;
  *table = NULL;
  return CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetProcAddress(const char *symbol, void **function, int version, uint64_t flags) {
  return cuGetProcAddress_v2(symbol, function, version, flags, NULL);
}
