/* shim.h - the parts of the shim wired together; what the interposed functions report to. */
#ifndef VALVE_PRELOAD_SHIM_H
#define VALVE_PRELOAD_SHIM_H

#include <stddef.h>

/* A finished ioctl whose number observer_wants(). Leaves errno as it was. */
void shim_saw_ioctl(int fd, unsigned long request, const void *argument, int result);
/* The application asked for a function that submits work and is not in the list of interposed.h. */
void shim_saw_unknown_call(void);
/* Memory of this process's KV pool, as pool_alloc(). */
void *shim_pool_alloc(size_t size);

#endif
