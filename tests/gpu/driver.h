/* driver.h - the part of the CUDA driver API that the kit uses, found by dlopen: no toolkit is needed to
 * build it.
 *
 * `cu.LaunchKernel(...)` and so on; numbers are those of cuda.h. Every function of the list must be there.
 */
#ifndef GPU_KIT_DRIVER_H
#define GPU_KIT_DRIVER_H

#include <stddef.h>
#include <stdint.h>

typedef int cu_result; /* 0: good */
typedef int cu_device;
typedef uint64_t cu_pointer; /* device memory */
typedef uint64_t cu_memory;  /* physical memory: CUmemGenericAllocationHandle */
typedef void *cu_object;     /* context, module, function, stream, event, graph */

struct cu_location {
  int type; /* 1: device */
  int id;
};
struct cu_memory_properties { /* CUmemAllocationProp */
  int type;                   /* 1: pinned */
  int handle_types;           /* 1: POSIX descriptor */
  struct cu_location location;
  void *win32;
  uint8_t compression, rdma, usage[2], reserved[4];
};
struct cu_access { /* CUmemAccessDesc */
  struct cu_location location;
  int flags; /* 3: read and write */
};
_Static_assert(sizeof(struct cu_memory_properties) == 32, "layout");
_Static_assert(sizeof(struct cu_access) == 12, "layout");

#define CU_DEVICE 1
#define CU_PINNED 1
#define CU_POSIX_FD 1
#define CU_READ_WRITE 3
#define CU_MULTIPROCESSORS 16 /* device attributes */
#define CU_MAJOR 75
#define CU_MINOR 76
#define CU_STREAM_NON_BLOCKING 1u
#define CU_EVENT_BLOCKING_SYNC 1u
#define CU_EVENT_NO_TIMING 2u
#define CU_HOST_PORTABLE 1u
#define CU_HOST_DEVICE_MAPPED 2u
#define CU_CAPTURE_RELAXED 2
#define CU_NOT_READY 600

/* name here, symbol in libcuda.so.1, arguments */
#define CU_FUNCTIONS(F)                                                                                   \
  F(Init, "cuInit", (unsigned flags))                                                                     \
  F(DriverGetVersion, "cuDriverGetVersion", (int *version))                                               \
  F(DeviceGet, "cuDeviceGet", (cu_device * device, int ordinal))                                          \
  F(DeviceGetName, "cuDeviceGetName", (char *name, int size, cu_device device))                           \
  F(DeviceGetUuid, "cuDeviceGetUuid", (uint8_t uuid[16], cu_device device))                               \
  F(DeviceGetAttribute, "cuDeviceGetAttribute", (int *value, int attribute, cu_device device))            \
  F(PrimaryCtxRetain, "cuDevicePrimaryCtxRetain", (cu_object * context, cu_device device))                \
  F(CtxSetCurrent, "cuCtxSetCurrent", (cu_object context))                                                \
  F(CtxSynchronize, "cuCtxSynchronize", (void))                                                           \
  F(ModuleLoadData, "cuModuleLoadData", (cu_object * module, const void *image))                          \
  F(ModuleGetFunction, "cuModuleGetFunction", (cu_object * function, cu_object module, const char *name)) \
  F(LaunchKernel, "cuLaunchKernel",                                                                       \
    (cu_object function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,             \
     unsigned block_y, unsigned block_z, unsigned shared_bytes, cu_object stream, void **arguments,       \
     void **extra))                                                                                       \
  F(StreamCreateWithPriority, "cuStreamCreateWithPriority",                                               \
    (cu_object * stream, unsigned flags, int priority))                                                   \
  F(StreamPriorityRange, "cuCtxGetStreamPriorityRange", (int *least, int *greatest))                      \
  F(StreamSynchronize, "cuStreamSynchronize", (cu_object stream))                                         \
  F(EventCreate, "cuEventCreate", (cu_object * event, unsigned flags))                                    \
  F(EventRecord, "cuEventRecord", (cu_object event, cu_object stream))                                    \
  F(EventSynchronize, "cuEventSynchronize", (cu_object event))                                            \
  F(StreamBeginCapture, "cuStreamBeginCapture_v2", (cu_object stream, int mode))                          \
  F(StreamEndCapture, "cuStreamEndCapture", (cu_object stream, cu_object * graph))                        \
  F(GraphInstantiate, "cuGraphInstantiateWithFlags",                                                      \
    (cu_object * executable, cu_object graph, unsigned long long flags))                                  \
  F(GraphLaunch, "cuGraphLaunch", (cu_object executable, cu_object stream))                               \
  F(MemAlloc, "cuMemAlloc_v2", (cu_pointer * pointer, size_t size))                                       \
  F(MemFree, "cuMemFree_v2", (cu_pointer pointer))                                                        \
  F(MemHostAlloc, "cuMemHostAlloc", (void **pointer, size_t size, unsigned flags))                        \
  F(MemHostGetDevicePointer, "cuMemHostGetDevicePointer_v2",                                              \
    (cu_pointer * pointer, void *host, unsigned flags))                                                   \
  F(MemcpyHtoD, "cuMemcpyHtoD_v2", (cu_pointer to, const void *from, size_t size))                        \
  F(MemcpyDtoH, "cuMemcpyDtoH_v2", (void *to, cu_pointer from, size_t size))                              \
  F(MemcpyHtoDAsync, "cuMemcpyHtoDAsync_v2",                                                              \
    (cu_pointer to, const void *from, size_t size, cu_object stream))                                     \
  F(MemcpyDtoHAsync, "cuMemcpyDtoHAsync_v2", (void *to, cu_pointer from, size_t size, cu_object stream))  \
  F(AddressReserve, "cuMemAddressReserve",                                                                \
    (cu_pointer * pointer, size_t size, size_t alignment, cu_pointer wanted, unsigned long long flags))   \
  F(AddressFree, "cuMemAddressFree", (cu_pointer pointer, size_t size))                                   \
  F(MemCreate, "cuMemCreate",                                                                             \
    (cu_memory * memory, size_t size, const struct cu_memory_properties *properties,                      \
     unsigned long long flags))                                                                           \
  F(MemRelease, "cuMemRelease", (cu_memory memory))                                                       \
  F(MemMap, "cuMemMap",                                                                                   \
    (cu_pointer pointer, size_t size, size_t offset, cu_memory memory, unsigned long long flags))         \
  F(MemUnmap, "cuMemUnmap", (cu_pointer pointer, size_t size))                                            \
  F(MemSetAccess, "cuMemSetAccess",                                                                       \
    (cu_pointer pointer, size_t size, const struct cu_access *access, size_t count))                      \
  F(MemGranularity, "cuMemGetAllocationGranularity",                                                      \
    (size_t *size, const struct cu_memory_properties *properties, int option))                            \
  F(MemExport, "cuMemExportToShareableHandle",                                                            \
    (void *handle, cu_memory memory, int type, unsigned long long flags))                                 \
  F(MemImport, "cuMemImportFromShareableHandle", (cu_memory * memory, void *handle, int type))

struct driver {
#define CU_MEMBER(name, symbol, arguments) cu_result(*name) arguments;
  CU_FUNCTIONS(CU_MEMBER)
#undef CU_MEMBER
};
extern struct driver cu;

struct device {
  char name[96];
  uint8_t uuid[16];
  int driver_version, multiprocessors, major, minor;
  cu_object context;
};

/* Loads libcuda.so.1 and makes device 0's primary context current. 0, or -1 with the reason in
 * driver_error(). */
int driver_begin(struct device *device);
/* The same device in another thread. */
int driver_join(const struct device *device);
const char *driver_error(void);

/* Ends the process with what failed where: for the kit's own processes only, whose exit handlers put the
 * channels back on. */
void driver_check(cu_result result, const char *call, const char *file, int line);
#define CU(call) driver_check(cu.call, #call, __FILE__, __LINE__)

#endif
