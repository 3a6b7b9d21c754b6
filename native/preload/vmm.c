#include "vmm.h"

#include <errno.h>

#include "next.h"
#include "valve/ledger.h"

#define ALLOCATION_PINNED 1
#define HANDLE_POSIX_FD 1
#define LOCATION_DEVICE 1
#define ACCESS_READ_WRITE 3
#define CAPTURE_MODE_RELAXED 2

static const struct {
  const char *name;
  size_t offset;
} calls[] = {
    {"cuMemAddressReserve", offsetof(struct vmm, reserve)},
    {"cuMemAddressFree", offsetof(struct vmm, unreserve)},
    {"cuMemCreate", offsetof(struct vmm, create)},
    {"cuMemRelease", offsetof(struct vmm, release)},
    {"cuMemMap", offsetof(struct vmm, map)},
    {"cuMemUnmap", offsetof(struct vmm, unmap)},
    {"cuMemSetAccess", offsetof(struct vmm, set_access)},
    {"cuMemExportToShareableHandle", offsetof(struct vmm, export_fd)},
    {"cuMemImportFromShareableHandle", offsetof(struct vmm, import_fd)},
    {"cuMemsetD8Async", offsetof(struct vmm, clear)},
    {"cuStreamCreate", offsetof(struct vmm, stream_create)},
    {"cuStreamDestroy_v2", offsetof(struct vmm, stream_destroy)},
    {"cuStreamQuery", offsetof(struct vmm, stream_query)},
    {"cuCtxSynchronize", offsetof(struct vmm, synchronise)},
    {"cuCtxGetCurrent", offsetof(struct vmm, current_context)},
    {"cuCtxSetCurrent", offsetof(struct vmm, set_context)},
    {"cuCtxGetDevice", offsetof(struct vmm, current_device)},
    {"cuDeviceGetUuid_v2", offsetof(struct vmm, device_uuid)},
    {"cuThreadExchangeStreamCaptureMode", offsetof(struct vmm, exchange_capture_mode)},
};
enum { CALLS = sizeof calls / sizeof calls[0] };
_Static_assert(CALLS * sizeof(void *) == sizeof(struct vmm), "every call is looked up");

int vmm_find(struct vmm *vmm) {
  for (int i = 0; i < CALLS; i++) {
    void *function = next_in_libcuda(calls[i].name);
    if (function == NULL) return -ENOSYS;
    *(void **)(void *)((char *)vmm + calls[i].offset) = function;
  }
  return 0;
}

int vmm_make_page(const struct vmm *vmm, int device, vmm_memory *memory) {
  const struct vmm_properties properties = {
      .type = ALLOCATION_PINNED, .handle_types = HANDLE_POSIX_FD, .location = {LOCATION_DEVICE, device}};
  return vmm->create(memory, VLV_PAGE_BYTES, &properties, 0);
}

int vmm_permit(const struct vmm *vmm, int device, vmm_address address, size_t size) {
  const struct vmm_access access = {{LOCATION_DEVICE, device}, ACCESS_READ_WRITE};
  return vmm->set_access(address, size, &access, 1);
}

int vmm_export(const struct vmm *vmm, vmm_memory memory, int *fd) {
  return vmm->export_fd(fd, memory, HANDLE_POSIX_FD, 0);
}

int vmm_import(const struct vmm *vmm, int fd, vmm_memory *memory) {
  return vmm->import_fd(memory, (void *)(intptr_t)fd, HANDLE_POSIX_FD);
}

void vmm_spare_captures(const struct vmm *vmm) {
  int mode = CAPTURE_MODE_RELAXED;
  vmm->exchange_capture_mode(&mode);
}
