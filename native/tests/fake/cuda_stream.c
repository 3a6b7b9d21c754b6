/* Streams and events. */
#include <stdlib.h>

#include "cuda_channel.h"

struct event {
  struct dependency after; /* stream NULL: never recorded */
  struct graph *capture;   /* recorded in this graph under construction */
  _Atomic uint64_t time_ns;
};

CUresult cuStreamCreate(CUstream *stream, unsigned flags) {
  struct context *context = context_current();
  if (context == NULL) return CUDA_ERROR_INVALID_CONTEXT;
  *stream = stream_make(context, (flags & CU_STREAM_NON_BLOCKING) == 0);
  return *stream != NULL ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuStreamCreateWithPriority(CUstream *stream, unsigned flags, int priority) {
  (void)priority;
  return cuStreamCreate(stream, flags);
}

/* Others may still depend on its work: it goes with its context. */
CUresult cuStreamDestroy_v2(CUstream stream) {
  stream->destroyed = true;
  return CUDA_SUCCESS;
}

static void wait_for(struct dependency dependency) {
  work_lock();
  while (!dependency_is_met(dependency)) work_wait();
  work_unlock();
}

CUresult cuStreamSynchronize(CUstream named) {
  struct stream *stream = stream_of(named);
  if (stream == NULL) return CUDA_ERROR_INVALID_CONTEXT;
  if (stream->capture != NULL) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  wait_for((struct dependency){stream, stream->submitted});
  return CUDA_SUCCESS;
}

CUresult cuCtxSynchronize(void) {
  struct context *context = context_current();
  if (context == NULL) return CUDA_ERROR_INVALID_CONTEXT;
  for (struct stream *stream = context->streams; stream != NULL; stream = stream->next)
    wait_for((struct dependency){stream, stream->submitted});
  return CUDA_SUCCESS;
}

/* Without the lock, which the channels need to get on. */
static CUresult ask(struct dependency dependency) {
  return dependency_is_met(dependency) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult cuStreamQuery(CUstream named) {
  struct stream *stream = stream_of(named);
  if (stream == NULL) return CUDA_ERROR_INVALID_CONTEXT;
  if (capture_is_broken_by_asking(stream)) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  return ask((struct dependency){stream, stream->submitted});
}

/* ---- events ---- */

CUresult cuEventCreate(CUevent *event, unsigned flags) {
  (void)flags;
  *event = calloc(1, sizeof **event);
  return *event != NULL ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

/* Its mark may not have been made yet. */
CUresult cuEventDestroy_v2(CUevent event) {
  if (event->after.stream != NULL) wait_for(event->after);
  free(event);
  return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent event, CUstream named) {
  struct stream *stream = stream_of(named);
  struct task task = {.kind = WORK_MARK, .mark = &event->time_ns};
  if (stream == NULL) return CUDA_ERROR_INVALID_CONTEXT;
  event->capture = stream->capture;
  if (stream->capture != NULL) return CUDA_SUCCESS;
  CUresult result = work_submit(stream, &task);
  event->after = (struct dependency){stream, stream->submitted};
  return result;
}

CUresult cuEventSynchronize(CUevent event) {
  if (event->after.stream != NULL) wait_for(event->after);
  return CUDA_SUCCESS;
}

CUresult cuEventQuery(CUevent event) {
  if (event->after.stream == NULL) return CUDA_SUCCESS;
  if (capture_is_broken_by_asking(event->after.stream)) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  return ask(event->after);
}

CUresult cuEventElapsedTime(float *ms, CUevent from, CUevent to) {
  if (from->time_ns == 0 || to->time_ns == 0) return CUDA_ERROR_NOT_READY;
  *ms = (float)(to->time_ns - from->time_ns) / 1e6f;
  return CUDA_SUCCESS;
}

/* Of an event in a graph under construction: this stream takes part in it. */
CUresult cuStreamWaitEvent(CUstream named, CUevent event, unsigned flags) {
  struct stream *stream = stream_of(named);
  (void)flags;
  if (stream == NULL) return CUDA_ERROR_INVALID_CONTEXT;
  if (event->capture != NULL) stream->capture = event->capture;
  if (event->capture != NULL || event->after.stream == NULL) return CUDA_SUCCESS;
  work_lock();
  if (stream->pending_count < DEPENDENCIES_MAX) stream->pending[stream->pending_count++] = event->after;
  work_unlock();
  return CUDA_SUCCESS;
}
