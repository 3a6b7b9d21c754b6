/* interpose_cuda.h - which of our wrappers stands for a function of libcuda. All return NULL for none. */
#ifndef VALVE_PRELOAD_INTERPOSE_CUDA_H
#define VALVE_PRELOAD_INTERPOSE_CUDA_H

#include <stdbool.h>

/* By the exported name: "cuMemcpyHtoD_v2". */
void *interpose_by_name(const char *name);
/* By libcuda's own address of it. */
void *interpose_by_address(const void *function);
/* Whether a function of this name submits work, in the list or not. */
bool interpose_is_submission(const char *name);

#endif
