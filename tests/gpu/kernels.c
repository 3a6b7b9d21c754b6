#include "kernels.h"

#include "figures.h"
#include "ptx.h"

#define THREADS 256u
#define TILE 16u

static cu_object function(cu_object module, const char *name) {
  cu_object found = NULL;
  CU(ModuleGetFunction(&found, module, name));
  return found;
}

void kernels_load(struct kernels *kernels, const struct device *device) {
  cu_object module = NULL;
  CU(ModuleLoadData(&module, PTX));
  kernels->beat = function(module, "beat");
  kernels->walk = function(module, "walk");
  kernels->multiply = function(module, "multiply");
  kernels->activate = function(module, "activate");
  kernels->normalise = function(module, "normalise");
  kernels->blocks = 2 * (unsigned)device->multiprocessors;
}

void beacon_create(struct beacon *beacon) {
  void *host = NULL;
  CU(MemHostAlloc(&host, 4096, CU_HOST_PORTABLE | CU_HOST_DEVICE_MAPPED));
  CU(MemHostGetDevicePointer(&beacon->device_beat, host, 0));
  beacon->device_stop = beacon->device_beat + 64;
  beacon->beat = host;
  beacon->stop = (uint32_t *)((char *)host + 64);
  *beacon->beat = 0;
  *beacon->stop = 0;
}

/* Lets every launch's beats differ from every other's. */
static uint64_t next_salt(void) {
  static _Atomic uint64_t launches;
  return ++launches << 40;
}

void launch_beat(const struct kernels *kernels, const struct beacon *beacon, uint64_t rounds,
                 cu_object stream) {
  cu_pointer beat = beacon->device_beat, stop = beacon->device_stop;
  uint64_t salt = next_salt();
  void *arguments[] = {&beat, &stop, &rounds, &salt};
  CU(LaunchKernel(kernels->beat, kernels->blocks, 1, 1, THREADS, 1, 1, 0, stream, arguments, NULL));
}

void launch_walk(const struct kernels *kernels, const struct beacon *beacon, cu_pointer range, uint64_t words,
                 cu_object stream) {
  cu_pointer beat = beacon->device_beat, stop = beacon->device_stop;
  void *arguments[] = {&beat, &stop, &range, &words};
  CU(LaunchKernel(kernels->walk, kernels->blocks, 1, 1, THREADS, 1, 1, 0, stream, arguments, NULL));
}

void launch_multiply(const struct kernels *kernels, cu_pointer a, cu_pointer b, cu_pointer c, unsigned size,
                     cu_object stream) {
  void *arguments[] = {&a, &b, &c, &size};
  CU(LaunchKernel(kernels->multiply, size / TILE, size / TILE, 1, TILE, TILE, 1, 0, stream, arguments, NULL));
}

void launch_activate(const struct kernels *kernels, cu_pointer x, unsigned size, cu_object stream) {
  void *arguments[] = {&x};
  CU(LaunchKernel(kernels->activate, size * size / THREADS, 1, 1, THREADS, 1, 1, 0, stream, arguments, NULL));
}

void launch_normalise(const struct kernels *kernels, cu_pointer x, cu_pointer residual, unsigned size,
                      cu_object stream) {
  void *arguments[] = {&x, &residual, &size};
  CU(LaunchKernel(kernels->normalise, size, 1, 1, THREADS, 1, 1, 0, stream, arguments, NULL));
}

static double timed_beat_us(const struct kernels *kernels, const struct beacon *beacon, uint64_t rounds) {
  uint64_t begin_ns = clock_ns();
  launch_beat(kernels, beacon, rounds, NULL);
  CU(CtxSynchronize());
  return (double)(clock_ns() - begin_ns) / 1e3;
}

/* The first launch loads the code; the difference of two leaves the launch itself out. */
double beat_round_us(const struct kernels *kernels, const struct beacon *beacon) {
  timed_beat_us(kernels, beacon, 100);
  double few_us = timed_beat_us(kernels, beacon, 100), many_us = timed_beat_us(kernels, beacon, 600);
  double round_us = (many_us - few_us) / 500;
  return round_us > 0.1 ? round_us : 0.1;
}

uint64_t rounds_for(double us, double round_us) {
  return us > round_us ? (uint64_t)(us / round_us) : 1;
}
