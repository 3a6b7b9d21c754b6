/* Streams share counters by a hash of their handle: one that shares is only waited for earlier. */
#include "window.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "next.h"

#define SLOTS 256u
#define CUDA_SUCCESS 0
#define CUDA_ERROR_NOT_READY 600
#define CAPTURE_MODE_RELAXED 2 /* CU_STREAM_CAPTURE_MODE_RELAXED: asking breaks nobody's capture */
#define ASK_AGAIN_NS 20000

static _Atomic uint32_t counts[SLOTS];

/* libcuda's own, looked up once; all or none. */
static struct {
  _Atomic bool known;
  int (*is_capturing)(void *stream, int *status);
  int (*query)(void *stream);
  int (*exchange_mode)(int *mode);
} cuda;

static bool know_cuda(void) {
  if (atomic_load_explicit(&cuda.known, memory_order_acquire)) return true;
  cuda.is_capturing = (int (*)(void *, int *))next_in_libcuda("cuStreamIsCapturing");
  cuda.query = (int (*)(void *))next_in_libcuda("cuStreamQuery");
  cuda.exchange_mode = (int (*)(int *))next_in_libcuda("cuThreadExchangeStreamCaptureMode");
  bool known = cuda.is_capturing != NULL && cuda.query != NULL && cuda.exchange_mode != NULL;
  atomic_store_explicit(&cuda.known, known, memory_order_release);
  return known;
}

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void wait_until_dry(void *stream) {
  static const struct timespec pause = {.tv_nsec = ASK_AGAIN_NS};
  uint64_t patience_ends_ns = now_ns() + WINDOW_PATIENCE_NS;
  while (cuda.query(stream) == CUDA_ERROR_NOT_READY && now_ns() < patience_ends_ns) nanosleep(&pause, NULL);
}

static void drain(void *stream) {
  int mode = CAPTURE_MODE_RELAXED, capturing = 0;
  if (!know_cuda() || cuda.exchange_mode(&mode) != CUDA_SUCCESS) return;
  if (cuda.is_capturing(stream, &capturing) == CUDA_SUCCESS && capturing == 0) wait_until_dry(stream);
  cuda.exchange_mode(&mode);
}

void window_passed(void *stream) {
  uint32_t slot = (uint32_t)(((uintptr_t)stream >> 4) * 2654435761u) % SLOTS;
  uint32_t count = atomic_fetch_add_explicit(&counts[slot], 1, memory_order_relaxed) + 1;
  if (count % WINDOW_SUBMISSIONS == 0) drain(stream);
}
