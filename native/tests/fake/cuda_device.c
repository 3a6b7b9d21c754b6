/* Devices, contexts, modules. As many devices as FAKE_GPUS says (1), all alike. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cuda_channel.h"

#define DRIVER_VERSION 13000
#define DEVICES_MAX 64
#define STACK_MAX 16
#define ATTRIBUTE_MULTIPROCESSORS 16
#define ATTRIBUTE_MAJOR 75

static struct {
  pthread_mutex_t lock;
  pid_t pid; /* whose libcuda this is: a forked child has none */
  int count;
  struct context *primary[DEVICES_MAX];
  uint32_t retained[DEVICES_MAX];
} machine = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local struct {
  struct context *contexts[STACK_MAX];
  int depth;
} stack;

static int wanted_devices(void) {
  const char *text = getenv("FAKE_GPUS");
  int wanted = text != NULL ? atoi(text) : 1;
  return wanted > DEVICES_MAX ? DEVICES_MAX : wanted;
}

static CUresult initialise(void) {
  if (machine.pid == getpid()) return CUDA_SUCCESS;
  if (machine.pid != 0) return CUDA_ERROR_NOT_INITIALIZED;
  int count = wanted_devices();
  CUresult result = count > 0 ? channels_connect(count) : CUDA_ERROR_NO_DEVICE;
  if (result != CUDA_SUCCESS) return result;
  machine.count = count;
  machine.pid = getpid();
  return CUDA_SUCCESS;
}

CUresult cuInit(unsigned flags) {
  (void)flags;
  pthread_mutex_lock(&machine.lock);
  CUresult result = initialise();
  pthread_mutex_unlock(&machine.lock);
  return result;
}

CUresult cuDriverGetVersion(int *version) {
  *version = DRIVER_VERSION;
  return CUDA_SUCCESS;
}

CUresult cuGetErrorName(CUresult error, const char **name) {
  *name = error == CUDA_SUCCESS ? "CUDA_SUCCESS" : "CUDA_ERROR";
  return CUDA_SUCCESS;
}

CUresult cuGetErrorString(CUresult error, const char **text) {
  *text = error == CUDA_SUCCESS ? "no error" : "an error of the fake driver";
  return CUDA_SUCCESS;
}

/* ---- devices ---- */

static CUresult check_device(int device) {
  if (machine.pid != getpid()) return CUDA_ERROR_NOT_INITIALIZED;
  return device >= 0 && device < machine.count ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  *device = ordinal;
  return check_device(ordinal);
}

CUresult cuDeviceGetCount(int *count) {
  *count = machine.count;
  return machine.pid == getpid() ? CUDA_SUCCESS : CUDA_ERROR_NOT_INITIALIZED;
}

CUresult cuDeviceGetName(char *name, int size, CUdevice device) {
  snprintf(name, (size_t)size, "Fake GPU %d", device);
  return check_device(device);
}

/* GPU-fa000000-0000-0000-0000-0000000000NN */
CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device) {
  *uuid = (CUuuid){{0xfa}};
  uuid->bytes[15] = (uint8_t)device;
  return check_device(device);
}

CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device) {
  return cuDeviceGetUuid(uuid, device);
}

CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device) {
  *value = attribute == ATTRIBUTE_MULTIPROCESSORS ? 2 : attribute == ATTRIBUTE_MAJOR ? 9 : 0;
  return check_device(device);
}

CUresult cuDeviceTotalMem_v2(size_t *size, CUdevice device) {
  *size = 1ull << 30;
  return check_device(device);
}

/* ---- contexts ---- */

static void free_context(struct context *context) {
  channels_close(context);
  for (struct stream *stream = context->streams, *next; stream != NULL; stream = next) {
    next = stream->next;
    free(stream);
  }
  free(context);
}

static CUresult make_context(struct context **out, CUdevice device) {
  struct context *context = calloc(1, sizeof *context);
  if (context == NULL) return CUDA_ERROR_OUT_OF_MEMORY;
  context->device = device;
  CUresult result = channels_open(context);
  if (result != CUDA_SUCCESS) return free_context(context), result;
  context->legacy = stream_make(context, false);
  *out = context;
  return CUDA_SUCCESS;
}

static CUresult retain(struct context **context, CUdevice device) {
  CUresult result = machine.primary[device] ? CUDA_SUCCESS : make_context(&machine.primary[device], device);
  if (result == CUDA_SUCCESS) machine.retained[device]++;
  *context = machine.primary[device];
  return result;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  CUresult result = check_device(device);
  if (result != CUDA_SUCCESS) return result;
  pthread_mutex_lock(&machine.lock);
  result = retain(context, device);
  pthread_mutex_unlock(&machine.lock);
  return result;
}

static struct context *drop_primary(CUdevice device) {
  struct context *last = --machine.retained[device] == 0 ? machine.primary[device] : NULL;
  if (last != NULL) machine.primary[device] = NULL;
  return last;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  if (check_device(device) != CUDA_SUCCESS || machine.retained[device] == 0)
    return CUDA_ERROR_INVALID_CONTEXT;
  pthread_mutex_lock(&machine.lock);
  struct context *last = drop_primary(device);
  pthread_mutex_unlock(&machine.lock);
  if (last != NULL) free_context(last);
  return CUDA_SUCCESS;
}

CUresult cuCtxCreate_v2(CUcontext *context, unsigned flags, CUdevice device) {
  (void)flags;
  CUresult result = check_device(device);
  if (result == CUDA_SUCCESS) result = make_context(context, device);
  return result == CUDA_SUCCESS ? cuCtxPushCurrent_v2(*context) : result;
}

CUresult cuCtxDestroy_v2(CUcontext context) {
  if (stack.depth > 0 && stack.contexts[stack.depth - 1] == context) stack.depth--;
  free_context(context);
  return CUDA_SUCCESS;
}

struct context *context_current(void) {
  return machine.pid == getpid() && stack.depth > 0 ? stack.contexts[stack.depth - 1] : NULL;
}

CUresult cuCtxSetCurrent(CUcontext context) {
  if (stack.depth == 0) stack.depth = 1;
  stack.contexts[stack.depth - 1] = context;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *context) {
  *context = context_current();
  return CUDA_SUCCESS;
}

CUresult cuCtxPushCurrent_v2(CUcontext context) {
  if (stack.depth == STACK_MAX) return CUDA_ERROR_INVALID_CONTEXT;
  stack.contexts[stack.depth++] = context;
  return CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent_v2(CUcontext *context) {
  if (stack.depth == 0) return CUDA_ERROR_INVALID_CONTEXT;
  struct context *top = stack.contexts[--stack.depth];
  if (context != NULL) *context = top;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice *device) {
  struct context *context = context_current();
  if (context == NULL) return CUDA_ERROR_INVALID_CONTEXT;
  *device = context->device;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
  *least = *greatest = 0;
  return CUDA_SUCCESS;
}

/* ---- modules: a kernel is looked up in the program, whatever the image says ---- */

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
  if (image == NULL) return CUDA_ERROR_INVALID_VALUE;
  *module = (CUmodule)(uintptr_t)1;
  return CUDA_SUCCESS;
}

CUresult cuModuleUnload(CUmodule module) {
  (void)module;
  return CUDA_SUCCESS;
}

static void *find_in_program(const char *prefix, const char *name) {
  char symbol[128];
  snprintf(symbol, sizeof symbol, "%s%s", prefix, name);
  return dlsym(RTLD_DEFAULT, symbol);
}

/* Stays for good: there are a handful of them. */
CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
  (void)module;
  kernel *run = (kernel *)find_in_program("fake_kernel_", name);
  const char *sizes = find_in_program("fake_arguments_", name);
  *function = run != NULL && sizes != NULL ? calloc(1, sizeof **function) : NULL;
  if (*function == NULL) return CUDA_ERROR_NOT_FOUND;
  **function = (struct function){run, sizes};
  return CUDA_SUCCESS;
}
