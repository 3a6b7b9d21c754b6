/* interpose_cuda.h - wrappers for functions of libcuda that somebody has looked up. Each passes on to the one
 * function that was found first under its name. All return NULL where we have none, also for another function
 * of that name: it is left to its caller as it is. */
#ifndef VALVE_PRELOAD_INTERPOSE_CUDA_H
#define VALVE_PRELOAD_INTERPOSE_CUDA_H

#include <stdbool.h>

/* By the exported name: "cuMemcpyHtoD_v2". */
void *interpose_by_name(const char *name, void *function);
/* By libcuda's own address of it. */
void *interpose_by_address(void *function);
/* Whether a function of this exported name is in the list of interposed.h. */
bool interpose_is_listed(const char *name);
/* Whether a function of this name submits work, in the list or not. */
bool interpose_is_submission(const char *name);

#endif
