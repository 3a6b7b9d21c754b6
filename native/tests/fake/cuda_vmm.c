/* Memory and addresses apart. A program that touches an address where nothing is mapped dies of it.
 *
 * The device's memory is one file, FAKE_GPU_MEMORY, as large as the device and shared by all processes; a
 * handle is an open file description of it that has a lock on the bytes of its pages, and their place as its
 * offset. So memory is free when the last descriptor and mapping of it are gone, whoever died when; it keeps
 * what was written; and a page that somebody has, nobody else gets. Without FAKE_GPU_MEMORY each handle is a
 * memory file of its own, without end.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "costs.h"
#include "fake_cuda.h"

#define PAGE (2ull << 20)
#define RESERVATIONS_MAX 64

/* ---- handles: the descriptor, and one ---- */

static CUmemGenericAllocationHandle handle_of(int fd) {
  return (CUmemGenericAllocationHandle)fd + 1;
}

static int fd_of(CUmemGenericAllocationHandle memory) {
  return (int)memory - 1;
}

static bool lock_pages(int fd, off_t first, off_t count) {
  struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = first, .l_len = count};
  return fcntl(fd, F_OFD_SETLK, &range) == 0;
}

static int find_pages(int fd, off_t count) {
  off_t pages = lseek(fd, 0, SEEK_END) / (off_t)PAGE;
  for (off_t first = 0; first + count <= pages; first++)
    if (lock_pages(fd, first, count)) return lseek(fd, first * (off_t)PAGE, SEEK_SET) >= 0 ? fd : -1;
  return -1;
}

static int open_pages(const char *device, size_t size) {
  int fd = open(device, O_RDWR | O_CLOEXEC);
  if (fd >= 0 && find_pages(fd, (off_t)(size / PAGE)) < 0) {
    close(fd);
    return -1;
  }
  return fd;
}

static int make_memory(size_t size) {
  const char *device = getenv("FAKE_GPU_MEMORY");
  if (device != NULL) return open_pages(device, size);
  int fd = memfd_create("fake-memory", MFD_CLOEXEC);
  return fd >= 0 && ftruncate(fd, (off_t)size) == 0 ? fd : -1;
}

CUresult cuMemCreate(CUmemGenericAllocationHandle *memory, size_t size, const CUmemAllocationProp *properties,
                     unsigned long long flags) {
  (void)properties, (void)flags;
  uint64_t began_ns = cost_begin();
  if (size == 0 || size % PAGE != 0) return CUDA_ERROR_INVALID_VALUE;
  int fd = make_memory(size);
  cost_end("create", began_ns);
  if (fd < 0) return CUDA_ERROR_OUT_OF_MEMORY;
  *memory = handle_of(fd);
  return CUDA_SUCCESS;
}

CUresult cuMemRelease(CUmemGenericAllocationHandle memory) {
  uint64_t began_ns = cost_begin();
  int error = close(fd_of(memory));
  cost_end("release", began_ns);
  return error == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemExportToShareableHandle(void *handle, CUmemGenericAllocationHandle memory, int type,
                                      unsigned long long flags) {
  (void)type, (void)flags;
  uint64_t began_ns = cost_begin();
  *(int *)handle = fcntl(fd_of(memory), F_DUPFD_CLOEXEC, 0);
  cost_end("export", began_ns);
  return *(int *)handle >= 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemImportFromShareableHandle(CUmemGenericAllocationHandle *memory, void *handle, int type) {
  (void)type;
  uint64_t began_ns = cost_begin();
  int fd = fcntl((int)(intptr_t)handle, F_DUPFD_CLOEXEC, 0);
  cost_end("import", began_ns);
  *memory = handle_of(fd);
  return fd >= 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* ---- addresses ---- */

static struct {
  pthread_mutex_t lock;
  struct reservation {
    CUdeviceptr base;
    size_t pages;
    bool *mapped;
  } all[RESERVATIONS_MAX];
} reservations = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct reservation *find(CUdeviceptr pointer, size_t size) {
  for (int i = 0; i < RESERVATIONS_MAX; i++) {
    struct reservation *each = &reservations.all[i];
    bool within = pointer >= each->base && pointer + size <= each->base + each->pages * PAGE;
    if (each->mapped != NULL && within) return each;
  }
  return NULL;
}

/* Whether all of these pages were in the state from which they go to `mapped`. */
static bool change(CUdeviceptr pointer, size_t size, bool mapped) {
  pthread_mutex_lock(&reservations.lock);
  struct reservation *reservation = find(pointer, size);
  size_t first = reservation != NULL ? (pointer - reservation->base) / PAGE : 0;
  bool right = reservation != NULL && size > 0 && size % PAGE == 0 && pointer % PAGE == 0;
  for (size_t i = 0; right && i < size / PAGE; i++) right = reservation->mapped[first + i] != mapped;
  for (size_t i = 0; right && i < size / PAGE; i++) reservation->mapped[first + i] = mapped;
  pthread_mutex_unlock(&reservations.lock);
  return right;
}

static bool enter(CUdeviceptr base, size_t pages) {
  bool *mapped = calloc(pages, sizeof *mapped);
  pthread_mutex_lock(&reservations.lock);
  int i = 0;
  while (i < RESERVATIONS_MAX && reservations.all[i].mapped != NULL) i++;
  if (i < RESERVATIONS_MAX) reservations.all[i] = (struct reservation){base, pages, mapped};
  pthread_mutex_unlock(&reservations.lock);
  return i < RESERVATIONS_MAX && mapped != NULL;
}

static bool leave(CUdeviceptr base, size_t size) {
  pthread_mutex_lock(&reservations.lock);
  struct reservation *reservation = find(base, size);
  bool empty = reservation != NULL && reservation->base == base && reservation->pages * PAGE == size;
  for (size_t i = 0; empty && i < reservation->pages; i++) empty = !reservation->mapped[i];
  if (empty) {
    free(reservation->mapped);
    reservation->mapped = NULL;
  }
  pthread_mutex_unlock(&reservations.lock);
  return empty;
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
  return enter(*pointer, size / PAGE) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuMemAddressFree(CUdeviceptr pointer, size_t size) {
  if (!leave(pointer, size)) return CUDA_ERROR_INVALID_VALUE;
  return munmap((void *)(uintptr_t)pointer, size) == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static bool map_fixed(CUdeviceptr pointer, size_t size, int flags, int fd, off_t offset) {
  void *wanted = (void *)(uintptr_t)pointer;
  return mmap(wanted, size, PROT_NONE, flags | MAP_FIXED, fd, offset) == wanted;
}

CUresult cuMemMap(CUdeviceptr pointer, size_t size, size_t offset, CUmemGenericAllocationHandle memory,
                  unsigned long long flags) {
  (void)flags;
  uint64_t began_ns = cost_begin();
  off_t place = lseek(fd_of(memory), 0, SEEK_CUR);
  if (place < 0 || !change(pointer, size, true)) return CUDA_ERROR_INVALID_VALUE;
  bool mapped = map_fixed(pointer, size, MAP_SHARED, fd_of(memory), place + (off_t)offset);
  cost_end("map", began_ns);
  return mapped ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemUnmap(CUdeviceptr pointer, size_t size) {
  uint64_t began_ns = cost_begin();
  if (!change(pointer, size, false)) return CUDA_ERROR_INVALID_VALUE;
  bool unmapped = map_fixed(pointer, size, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  cost_end_of_pages("unmap", "unmap_page", size / PAGE, began_ns);
  return unmapped ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemSetAccess(CUdeviceptr pointer, size_t size, const CUmemAccessDesc *access, size_t count) {
  uint64_t began_ns = cost_begin();
  int protection = count > 0 && access[0].flags == 3 ? PROT_READ | PROT_WRITE : PROT_READ;
  int error = mprotect((void *)(uintptr_t)pointer, size, protection);
  cost_end("access", began_ns);
  return error == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
