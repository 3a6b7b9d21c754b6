/* fake_cuda.h - the part of cuda.h that the fake driver has, for programs that are built without a toolkit.
 * Values and layouts are those of cuda.h.
 *
 * A kernel is two symbols of the program's own, found by name when a module is asked for it:
 *   void fake_kernel_NAME(void **arguments, const uint32_t grid[3]);
 *   const char fake_arguments_NAME[] = "884";  the sizes of its arguments in bytes
 * (Link with -rdynamic.)
 */
#ifndef FAKE_CUDA_H
#define FAKE_CUDA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int CUresult, CUdevice;
typedef unsigned long long CUdeviceptr, CUmemGenericAllocationHandle;
typedef struct context *CUcontext;
typedef struct module *CUmodule;
typedef struct function *CUfunction;
typedef struct stream *CUstream;
typedef struct event *CUevent;
typedef struct graph *CUgraph, *CUgraphExec;
typedef struct {
  uint8_t bytes[16];
} CUuuid;
typedef struct {
  unsigned int gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes;
  CUstream hStream;
  void *attrs;
  unsigned int numAttrs;
} CUlaunchConfig;
typedef struct {
  int type, id;
} CUmemLocation;
typedef struct {
  int type, requestedHandleTypes;
  CUmemLocation location;
  void *win32HandleMetaData;
  uint8_t allocFlags[8];
} CUmemAllocationProp;
typedef struct {
  CUmemLocation location;
  int flags;
} CUmemAccessDesc;

enum {
  CUDA_SUCCESS = 0,
  CUDA_ERROR_INVALID_VALUE = 1,
  CUDA_ERROR_OUT_OF_MEMORY = 2,
  CUDA_ERROR_NOT_INITIALIZED = 3,
  CUDA_ERROR_NO_DEVICE = 100,
  CUDA_ERROR_INVALID_DEVICE = 101,
  CUDA_ERROR_INVALID_CONTEXT = 201,
  CUDA_ERROR_INVALID_HANDLE = 400,
  CUDA_ERROR_NOT_FOUND = 500,
  CUDA_ERROR_NOT_READY = 600,
  CUDA_ERROR_NOT_SUPPORTED = 801,
  CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900,
  CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901
};
#define CU_STREAM_NON_BLOCKING 1u
#define CU_STREAM_LEGACY ((CUstream)1)
#define CU_STREAM_PER_THREAD ((CUstream)2)
enum { CU_STREAM_CAPTURE_MODE_GLOBAL, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL, CU_STREAM_CAPTURE_MODE_RELAXED };
#define CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM 2ull

/* F(exported name, arguments) of all functions; `CALLS` below are what the arguments of a program call it by.
 */
#define FAKE_CUDA_FUNCTIONS(F)                                                                               \
  F(cuInit, (unsigned flags))                                                                                \
  F(cuDriverGetVersion, (int *version))                                                                      \
  F(cuGetErrorName, (CUresult error, const char **name))                                                     \
  F(cuGetErrorString, (CUresult error, const char **text))                                                   \
  F(cuDeviceGet, (CUdevice * device, int ordinal))                                                           \
  F(cuDeviceGetCount, (int *count))                                                                          \
  F(cuDeviceGetName, (char *name, int size, CUdevice device))                                                \
  F(cuDeviceGetUuid, (CUuuid * uuid, CUdevice device))                                                       \
  F(cuDeviceGetUuid_v2, (CUuuid * uuid, CUdevice device))                                                    \
  F(cuDeviceGetAttribute, (int *value, int attribute, CUdevice device))                                      \
  F(cuDeviceTotalMem_v2, (size_t *size, CUdevice device))                                                    \
  F(cuDevicePrimaryCtxRetain, (CUcontext * context, CUdevice device))                                        \
  F(cuDevicePrimaryCtxRelease_v2, (CUdevice device))                                                         \
  F(cuCtxCreate_v2, (CUcontext * context, unsigned flags, CUdevice device))                                  \
  F(cuCtxDestroy_v2, (CUcontext context))                                                                    \
  F(cuCtxSetCurrent, (CUcontext context))                                                                    \
  F(cuCtxGetCurrent, (CUcontext * context))                                                                  \
  F(cuCtxPushCurrent_v2, (CUcontext context))                                                                \
  F(cuCtxPopCurrent_v2, (CUcontext * context))                                                               \
  F(cuCtxGetDevice, (CUdevice * device))                                                                     \
  F(cuCtxSynchronize, (void))                                                                                \
  F(cuCtxGetStreamPriorityRange, (int *least, int *greatest))                                                \
  F(cuModuleLoadData, (CUmodule * module, const void *image))                                                \
  F(cuModuleUnload, (CUmodule module))                                                                       \
  F(cuModuleGetFunction, (CUfunction * function, CUmodule module, const char *name))                         \
  F(cuStreamCreate, (CUstream * stream, unsigned flags))                                                     \
  F(cuStreamCreateWithPriority, (CUstream * stream, unsigned flags, int priority))                           \
  F(cuStreamDestroy_v2, (CUstream stream))                                                                   \
  F(cuStreamSynchronize, (CUstream stream))                                                                  \
  F(cuStreamQuery, (CUstream stream))                                                                        \
  F(cuStreamWaitEvent, (CUstream stream, CUevent event, unsigned flags))                                     \
  F(cuStreamBeginCapture_v2, (CUstream stream, int mode))                                                    \
  F(cuStreamEndCapture, (CUstream stream, CUgraph * graph))                                                  \
  F(cuStreamIsCapturing, (CUstream stream, int *status))                                                     \
  F(cuThreadExchangeStreamCaptureMode, (int *mode))                                                          \
  F(cuEventCreate, (CUevent * event, unsigned flags))                                                        \
  F(cuEventDestroy_v2, (CUevent event))                                                                      \
  F(cuEventRecord, (CUevent event, CUstream stream))                                                         \
  F(cuEventSynchronize, (CUevent event))                                                                     \
  F(cuEventQuery, (CUevent event))                                                                           \
  F(cuEventElapsedTime, (float *ms, CUevent from, CUevent to))                                               \
  F(cuGraphInstantiateWithFlags, (CUgraphExec * executable, CUgraph graph, unsigned long long flags))        \
  F(cuGraphDestroy, (CUgraph graph))                                                                         \
  F(cuGraphExecDestroy, (CUgraphExec executable))                                                            \
  F(cuGraphLaunch, (CUgraphExec executable, CUstream stream))                                                \
  F(cuGraphLaunch_ptsz, (CUgraphExec executable, CUstream stream))                                           \
  F(cuLaunchKernel, (CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,                 \
                     unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,            \
                     CUstream stream, void **arguments, void **extra))                                       \
  F(cuLaunchKernel_ptsz, (CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,            \
                          unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,       \
                          CUstream stream, void **arguments, void **extra))                                  \
  F(cuLaunchKernelEx, (const CUlaunchConfig *config, CUfunction function, void **arguments, void **extra))   \
  F(cuMemAlloc_v2, (CUdeviceptr * pointer, size_t size))                                                     \
  F(cuMemFree_v2, (CUdeviceptr pointer))                                                                     \
  F(cuMemHostAlloc, (void **pointer, size_t size, unsigned flags))                                           \
  F(cuMemFreeHost, (void *pointer))                                                                          \
  F(cuMemHostGetDevicePointer_v2, (CUdeviceptr * pointer, void *host, unsigned flags))                       \
  F(cuMemcpyHtoD_v2, (CUdeviceptr to, const void *from, size_t size))                                        \
  F(cuMemcpyDtoH_v2, (void *to, CUdeviceptr from, size_t size))                                              \
  F(cuMemcpyDtoD_v2, (CUdeviceptr to, CUdeviceptr from, size_t size))                                        \
  F(cuMemcpyAsync, (CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream))                         \
  F(cuMemcpyHtoDAsync_v2, (CUdeviceptr to, const void *from, size_t size, CUstream stream))                  \
  F(cuMemcpyHtoDAsync_v2_ptsz, (CUdeviceptr to, const void *from, size_t size, CUstream stream))             \
  F(cuMemcpyDtoHAsync_v2, (void *to, CUdeviceptr from, size_t size, CUstream stream))                        \
  F(cuMemcpyDtoDAsync_v2, (CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream))                  \
  F(cuMemsetD8_v2, (CUdeviceptr to, unsigned char value, size_t count))                                      \
  F(cuMemsetD32_v2, (CUdeviceptr to, unsigned value, size_t count))                                          \
  F(cuMemsetD8Async, (CUdeviceptr to, unsigned char value, size_t count, CUstream stream))                   \
  F(cuMemsetD32Async, (CUdeviceptr to, unsigned value, size_t count, CUstream stream))                       \
  F(cuMemAddressReserve,                                                                                     \
    (CUdeviceptr * pointer, size_t size, size_t alignment, CUdeviceptr wanted, unsigned long long flags))    \
  F(cuMemAddressFree, (CUdeviceptr pointer, size_t size))                                                    \
  F(cuMemCreate, (CUmemGenericAllocationHandle * memory, size_t size, const CUmemAllocationProp *properties, \
                  unsigned long long flags))                                                                 \
  F(cuMemRelease, (CUmemGenericAllocationHandle memory))                                                     \
  F(cuMemMap, (CUdeviceptr pointer, size_t size, size_t offset, CUmemGenericAllocationHandle memory,         \
               unsigned long long flags))                                                                    \
  F(cuMemUnmap, (CUdeviceptr pointer, size_t size))                                                          \
  F(cuMemSetAccess, (CUdeviceptr pointer, size_t size, const CUmemAccessDesc *access, size_t count))         \
  F(cuMemGetAllocationGranularity, (size_t *size, const CUmemAllocationProp *properties, int option))        \
  F(cuMemExportToShareableHandle,                                                                            \
    (void *handle, CUmemGenericAllocationHandle memory, int type, unsigned long long flags))                 \
  F(cuMemImportFromShareableHandle, (CUmemGenericAllocationHandle * memory, void *handle, int type))         \
  F(cuGetExportTable, (const void **table, const CUuuid *id))                                                \
  F(cuGetProcAddress, (const char *symbol, void **function, int version, uint64_t flags))                    \
  F(cuGetProcAddress_v2, (const char *symbol, void **function, int version, uint64_t flags, int *status))

#define FAKE_CUDA_PROTOTYPE(name, arguments) __attribute__((visibility("default"))) CUresult name arguments;
FAKE_CUDA_FUNCTIONS(FAKE_CUDA_PROTOTYPE)

#endif
