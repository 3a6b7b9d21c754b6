#include "driver.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

struct driver cu;
static char error[200];

const char *driver_error(void) {
  return error;
}

struct entry {
  const char *symbol;
  void **place;
};

#define CU_ENTRY(name, symbol, arguments) {symbol, (void **)&cu.name},
static const struct entry entries[] = {CU_FUNCTIONS(CU_ENTRY)};
#undef CU_ENTRY

static int load(void) {
  void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
  if (library == NULL) {
    snprintf(error, sizeof error, "%s", dlerror());
    return -1;
  }
  for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
    *entries[i].place = dlsym(library, entries[i].symbol);
    if (*entries[i].place != NULL) continue;
    snprintf(error, sizeof error, "libcuda.so.1 lacks %s", entries[i].symbol);
    return -1;
  }
  return 0;
}

static int failed(const char *call, cu_result result) {
  if (result == 0) return 0;
  snprintf(error, sizeof error, "%s: CUDA error %d", call, result);
  return -1;
}

static int describe(struct device *device, cu_device number) {
  if (failed("cuDeviceGetName", cu.DeviceGetName(device->name, sizeof device->name, number)) ||
      failed("cuDeviceGetUuid", cu.DeviceGetUuid(device->uuid, number)) ||
      failed("cuDriverGetVersion", cu.DriverGetVersion(&device->driver_version)) ||
      failed("multiprocessors",
             cu.DeviceGetAttribute(&device->multiprocessors, CU_MULTIPROCESSORS, number)) ||
      failed("major", cu.DeviceGetAttribute(&device->major, CU_MAJOR, number)) ||
      failed("minor", cu.DeviceGetAttribute(&device->minor, CU_MINOR, number)))
    return -1;
  return 0;
}

int driver_begin(struct device *device) {
  cu_device number = 0;
  if (load() != 0 || failed("cuInit", cu.Init(0)) || failed("cuDeviceGet", cu.DeviceGet(&number, 0)) ||
      describe(device, number) != 0 ||
      failed("cuDevicePrimaryCtxRetain", cu.PrimaryCtxRetain(&device->context, number)))
    return -1;
  return driver_join(device);
}

int driver_join(const struct device *device) {
  return failed("cuCtxSetCurrent", cu.CtxSetCurrent(device->context));
}

void driver_check(cu_result result, const char *call, const char *file, int line) {
  if (result == 0) return;
  fprintf(stderr, "%s:%d: %s: CUDA error %d\n", file, line, call, result);
  exit(3);
}
