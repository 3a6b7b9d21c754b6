/* What an engine asks the KV pool by: the functions that torch.cuda.memory.CUDAPluggableAllocator takes. */
#include <sys/types.h>

#include "pool.h"
#include "shim.h"
#include "valve/node.h"

/* NULL: there is no pool here, or it is full. */
VLV_API void *vlv_pool_alloc(ssize_t size, int device, void *stream);
VLV_API void *vlv_pool_alloc(ssize_t size, int device, void *stream) {
  (void)device, (void)stream;
  return size > 0 ? shim_pool_alloc((size_t)size) : NULL;
}

VLV_API void vlv_pool_free(void *memory, ssize_t size, int device, void *stream);
VLV_API void vlv_pool_free(void *memory, ssize_t size, int device, void *stream) {
  (void)device, (void)stream;
  if (memory != NULL && size > 0) pool_free(memory, (size_t)size);
}

/* Of page 0; NULL before the first allocation. */
VLV_API void *vlv_pool_base(void);
VLV_API void *vlv_pool_base(void) {
  return pool_base();
}
