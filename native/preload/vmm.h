/* vmm.h - the driver's calls that a pool makes: virtual memory, and a stream to clear pages with.
 *
 * All are libcuda's own, looked up once, so none passes through the shim's interposition. Values and layouts
 * are those of cuda.h of CUDA 13.0. A result of 0 is success.
 */
#ifndef VALVE_PRELOAD_VMM_H
#define VALVE_PRELOAD_VMM_H

#include <stddef.h>
#include <stdint.h>

#define VMM_NOT_READY 600

struct vmm_location {
  int type, id;
};

struct vmm_properties { /* CUmemAllocationProp */
  int type, handle_types;
  struct vmm_location location;
  void *win32;
  uint8_t flags[8];
};

struct vmm_access { /* CUmemAccessDesc */
  struct vmm_location location;
  int flags;
};

typedef uint64_t vmm_address, vmm_memory;

struct vmm {
  int (*reserve)(vmm_address *address, size_t size, size_t alignment, vmm_address wanted, uint64_t flags);
  int (*unreserve)(vmm_address address, size_t size);
  int (*create)(vmm_memory *memory, size_t size, const struct vmm_properties *properties, uint64_t flags);
  int (*release)(vmm_memory memory);
  int (*map)(vmm_address address, size_t size, size_t offset, vmm_memory memory, uint64_t flags);
  int (*unmap)(vmm_address address, size_t size);
  int (*set_access)(vmm_address address, size_t size, const struct vmm_access *access, size_t count);
  int (*export_fd)(void *fd, vmm_memory memory, int type, uint64_t flags);
  int (*import_fd)(vmm_memory *memory, void *fd, int type);
  int (*clear)(vmm_address address, unsigned char value, size_t size, void *stream);
  int (*stream_create)(void **stream, unsigned flags);
  int (*stream_destroy)(void *stream);
  int (*stream_query)(void *stream);
  int (*synchronise)(void);
  int (*current_context)(void **context);
  int (*set_context)(void *context);
  int (*current_device)(int *device);
  int (*device_uuid)(uint8_t uuid[16], int device);
  int (*exchange_capture_mode)(int *mode);
};

/* Calls of this process's libcuda. -ENOSYS: some are missing (no libcuda, or an old one). */
int vmm_find(struct vmm *vmm);

/* One page of memory on the device that can be exported. */
int vmm_make_page(const struct vmm *vmm, int device, vmm_memory *memory);
/* Reading and writing, for the device. */
int vmm_permit(const struct vmm *vmm, int device, vmm_address address, size_t size);
/* A descriptor of its own, which the caller closes; and back. */
int vmm_export(const struct vmm *vmm, vmm_memory memory, int *fd);
int vmm_import(const struct vmm *vmm, int fd, vmm_memory *memory);
/* For a thread of ours: it may ask while the application captures graphs, and breaks none. */
void vmm_spare_captures(const struct vmm *vmm);

#endif
