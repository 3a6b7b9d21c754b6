/* cuda.h - how the programs call libcuda: as linked symbols, or each through cuGetProcAddress as a statically
 * linked CUDA runtime does (LOOKED_UP).
 */
#ifndef VALVE_TESTS_CUDA_H
#define VALVE_TESTS_CUDA_H

#include <stdio.h>
#include <stdlib.h>

#include "fake_cuda.h"

/* By the base name, which is what cuGetProcAddress takes. */
#ifdef LOOKED_UP
void *cuda_look_up(const char *symbol);
#define CUDA(name, version) ((__typeof__(&name##version))cuda_look_up(#name))
#else
#define CUDA(name, version) name##version
#endif

/* Ends the program with what failed. */
#define CHECK_CUDA(call)                                                            \
  do {                                                                              \
    CUresult result_ = (call);                                                      \
    if (result_ != CUDA_SUCCESS) {                                                  \
      fprintf(stderr, "%s:%d: %s: error %d\n", __FILE__, __LINE__, #call, result_); \
      exit(3);                                                                      \
    }                                                                               \
  } while (0)

#endif
