/* Memory. Device addresses are the process's own; physical memory of the VMM calls is a memory file, so it
 * can be mapped twice and handed to another process.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake_cuda.h"

#define PAGE (2ull << 20)
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

/* ---- VMM: a handle is the memory file's descriptor, and one ---- */

static CUmemGenericAllocationHandle handle_of(int fd) {
  return (CUmemGenericAllocationHandle)fd + 1;
}

static int fd_of(CUmemGenericAllocationHandle memory) {
  return (int)memory - 1;
}

static CUresult map_fixed(CUdeviceptr pointer, size_t size, int protection, int flags, int fd,
                          size_t offset) {
  void *wanted = (void *)(uintptr_t)pointer;
  void *got = mmap(wanted, size, protection, flags | MAP_FIXED, fd, (off_t)offset);
  return got == wanted ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemGetAllocationGranularity(size_t *size, const CUmemAllocationProp *properties, int option) {
  (void)properties, (void)option;
  *size = PAGE;
  return CUDA_SUCCESS;
}

CUresult cuMemAddressReserve(CUdeviceptr *pointer, size_t size, size_t alignment, CUdeviceptr wanted,
                             unsigned long long flags) {
  (void)alignment, (void)wanted, (void)flags;
  if (size == 0 || size % PAGE != 0) return CUDA_ERROR_INVALID_VALUE;
  char *memory = mmap(NULL, size + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
  size_t before = (PAGE - (uintptr_t)memory % PAGE) % PAGE;
  if (before > 0) munmap(memory, before);
  munmap(memory + before + size, PAGE - before);
  *pointer = (uintptr_t)memory + before;
  return CUDA_SUCCESS;
}

CUresult cuMemAddressFree(CUdeviceptr pointer, size_t size) {
  return munmap((void *)(uintptr_t)pointer, size) == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemCreate(CUmemGenericAllocationHandle *memory, size_t size, const CUmemAllocationProp *properties,
                     unsigned long long flags) {
  (void)properties, (void)flags;
  int fd = memfd_create("fake-memory", MFD_CLOEXEC);
  if (fd < 0 || size % PAGE != 0 || ftruncate(fd, (off_t)size) != 0) return CUDA_ERROR_OUT_OF_MEMORY;
  *memory = handle_of(fd);
  return CUDA_SUCCESS;
}

CUresult cuMemRelease(CUmemGenericAllocationHandle memory) {
  return close(fd_of(memory)) == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemMap(CUdeviceptr pointer, size_t size, size_t offset, CUmemGenericAllocationHandle memory,
                  unsigned long long flags) {
  (void)flags;
  return map_fixed(pointer, size, PROT_NONE, MAP_SHARED, fd_of(memory), offset);
}

CUresult cuMemUnmap(CUdeviceptr pointer, size_t size) {
  return map_fixed(pointer, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

CUresult cuMemSetAccess(CUdeviceptr pointer, size_t size, const CUmemAccessDesc *access, size_t count) {
  int protection = count > 0 && access[0].flags == 3 ? PROT_READ | PROT_WRITE : PROT_READ;
  int error = mprotect((void *)(uintptr_t)pointer, size, protection);
  return error == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemExportToShareableHandle(void *handle, CUmemGenericAllocationHandle memory, int type,
                                      unsigned long long flags) {
  (void)type, (void)flags;
  *(int *)handle = dup(fd_of(memory));
  return *(int *)handle >= 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemImportFromShareableHandle(CUmemGenericAllocationHandle *memory, void *handle, int type) {
  (void)type;
  int fd = dup((int)(intptr_t)handle);
  *memory = handle_of(fd);
  return fd >= 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
