/* Memory that is there as soon as it has an address. Device addresses are the process's own. */
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "fake_cuda.h"

#define SIZES_MAX 4096

/* cuMemFree() is not told the size. */
static struct {
  pthread_mutex_t lock;
  void *pointers[SIZES_MAX];
  size_t sizes[SIZES_MAX];
} allocations = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int find_slot(const void *pointer) {
  for (int i = 0; i < SIZES_MAX; i++)
    if (allocations.pointers[i] == pointer) return i;
  return -1;
}

static bool remember(void *pointer, size_t size) {
  pthread_mutex_lock(&allocations.lock);
  int slot = find_slot(NULL);
  if (slot >= 0) {
    allocations.pointers[slot] = pointer;
    allocations.sizes[slot] = size;
  }
  pthread_mutex_unlock(&allocations.lock);
  return slot >= 0;
}

static size_t forget(void *pointer) {
  pthread_mutex_lock(&allocations.lock);
  int slot = pointer != NULL ? find_slot(pointer) : -1;
  size_t size = slot >= 0 ? allocations.sizes[slot] : 0;
  if (slot >= 0) allocations.pointers[slot] = NULL;
  pthread_mutex_unlock(&allocations.lock);
  return size;
}

static CUresult allocate(void **pointer, size_t size) {
  if (size == 0) return CUDA_ERROR_INVALID_VALUE;
  *pointer = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return *pointer != MAP_FAILED && remember(*pointer, size) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

static CUresult deallocate(void *pointer) {
  size_t size = forget(pointer);
  return size > 0 && munmap(pointer, size) == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemAlloc_v2(CUdeviceptr *pointer, size_t size) {
  void *memory = NULL;
  CUresult result = allocate(&memory, size);
  *pointer = (uintptr_t)memory;
  return result;
}

CUresult cuMemFree_v2(CUdeviceptr pointer) {
  return deallocate((void *)(uintptr_t)pointer);
}

CUresult cuMemHostAlloc(void **pointer, size_t size, unsigned flags) {
  (void)flags;
  return allocate(pointer, size);
}

CUresult cuMemFreeHost(void *pointer) {
  return deallocate(pointer);
}

CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *pointer, void *host, unsigned flags) {
  (void)flags;
  *pointer = (uintptr_t)host;
  return CUDA_SUCCESS;
}
