/* Kernels and copies: what the shim's launch gate holds back. */
#include <string.h>

#include "cuda_channel.h"

static void copy_arguments(struct task *task, void **arguments) {
  const char *sizes = task->function->sizes;
  for (int i = 0; i < ARGUMENTS_MAX && sizes[i] != '\0'; i++)
    memcpy(&task->arguments[i], arguments[i], (size_t)(sizes[i] - '0'));
}

static CUresult launch(CUfunction function, const uint32_t grid[3], CUstream named, void **arguments) {
  struct stream *stream = stream_of(named);
  struct task task = {.kind = WORK_KERNEL, .function = function, .grid = {grid[0], grid[1], grid[2]}};
  if (stream == NULL) return CUDA_ERROR_INVALID_CONTEXT;
  if (function == NULL) return CUDA_ERROR_INVALID_HANDLE;
  copy_arguments(&task, arguments);
  return work_submit(stream, &task);
}

CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                        unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                        CUstream stream, void **arguments, void **extra) {
  const uint32_t grid[3] = {grid_x, grid_y, grid_z};
  (void)block_x, (void)block_y, (void)block_z, (void)shared_bytes, (void)extra;
  return launch(function, grid, stream, arguments);
}

CUresult cuLaunchKernel_ptsz(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                             unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                             CUstream stream, void **arguments, void **extra) {
  if (stream == NULL) stream = CU_STREAM_PER_THREAD;
  return cuLaunchKernel(function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes, stream,
                        arguments, extra);
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **arguments, void **extra) {
  const uint32_t grid[3] = {config->gridDimX, config->gridDimY, config->gridDimZ};
  (void)extra;
  return launch(function, grid, config->hStream, arguments);
}

/* ---- copies and fills ---- */

static CUresult submit(const struct task *task, CUstream named) {
  struct stream *stream = stream_of(named);
  return stream != NULL ? work_submit(stream, task) : CUDA_ERROR_INVALID_CONTEXT;
}

/* Into a capture nothing goes that has to be waited for. */
static CUresult submit_and_wait(const struct task *task) {
  struct stream *stream = stream_of(NULL);
  if (stream == NULL) return CUDA_ERROR_INVALID_CONTEXT;
  if (stream->capture != NULL) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  CUresult result = work_submit(stream, task);
  return result == CUDA_SUCCESS ? cuStreamSynchronize(NULL) : result;
}

static struct task copying(uintptr_t to, uintptr_t from, size_t size) {
  return (struct task){.kind = WORK_COPY, .to = (char *)to, .from = (const char *)from, .size = size};
}

static struct task filling(uintptr_t to, uint32_t value, uint32_t width, size_t count) {
  return (struct task){
      .kind = WORK_FILL, .to = (char *)to, .value = value, .width = width, .size = count * width};
}

CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t size) {
  struct task task = copying(to, (uintptr_t)from, size);
  return submit_and_wait(&task);
}

CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t size) {
  struct task task = copying((uintptr_t)to, from, size);
  return submit_and_wait(&task);
}

CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t size) {
  struct task task = copying(to, from, size);
  return submit_and_wait(&task);
}

CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream) {
  struct task task = copying(to, from, size);
  return submit(&task, stream);
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t size, CUstream stream) {
  struct task task = copying(to, (uintptr_t)from, size);
  return submit(&task, stream);
}

CUresult cuMemcpyHtoDAsync_v2_ptsz(CUdeviceptr to, const void *from, size_t size, CUstream stream) {
  return cuMemcpyHtoDAsync_v2(to, from, size, stream != NULL ? stream : CU_STREAM_PER_THREAD);
}

CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t size, CUstream stream) {
  struct task task = copying((uintptr_t)to, from, size);
  return submit(&task, stream);
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream) {
  return cuMemcpyAsync(to, from, size, stream);
}

CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream stream) {
  struct task task = filling(to, value, 1, count);
  return submit(&task, stream);
}

CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream stream) {
  struct task task = filling(to, value, 4, count);
  return submit(&task, stream);
}

CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t count) {
  struct task task = filling(to, value, 1, count);
  return submit_and_wait(&task);
}

CUresult cuMemsetD32_v2(CUdeviceptr to, unsigned value, size_t count) {
  struct task task = filling(to, value, 4, count);
  return submit_and_wait(&task);
}
