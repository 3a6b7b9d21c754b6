/* Graphs by stream capture. Nodes are done one after the other, in the order in which they were captured. A
 * capture is as easily broken as a real one: by asking a stream or event while the asking thread's mode
 * forbids it.
 */
#include <stdlib.h>
#include <string.h>

#include "cuda_channel.h"

struct graph {
  struct task *tasks;
  size_t count, capacity;
  bool broken;
  int mode;
};

static struct graph *global_capture; /* under way in the mode that forbids asking in every thread */
static _Thread_local int thread_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

CUresult cuThreadExchangeStreamCaptureMode(int *mode) {
  int before = thread_mode;
  thread_mode = *mode;
  *mode = before;
  return CUDA_SUCCESS;
}

static bool breaks(struct graph *graph) {
  if (graph == NULL) return false;
  graph->broken = true;
  return true;
}

bool capture_is_broken_by_asking(struct stream *stream) {
  if (stream->capture != NULL) return breaks(stream->capture);
  return thread_mode != CU_STREAM_CAPTURE_MODE_RELAXED && breaks(global_capture);
}

CUresult graph_append(struct graph *graph, const struct task *task) {
  if (graph->count == graph->capacity) {
    size_t capacity = graph->capacity ? graph->capacity * 2 : 16;
    struct task *tasks = realloc(graph->tasks, capacity * sizeof *tasks);
    if (tasks == NULL) return CUDA_ERROR_OUT_OF_MEMORY;
    graph->tasks = tasks;
    graph->capacity = capacity;
  }
  graph->tasks[graph->count++] = *task;
  return CUDA_SUCCESS;
}

CUresult cuStreamBeginCapture_v2(CUstream stream, int mode) {
  if (stream_of(stream) != stream || stream->capture != NULL) return CUDA_ERROR_INVALID_VALUE;
  stream->capture = calloc(1, sizeof *stream->capture);
  if (stream->capture == NULL) return CUDA_ERROR_OUT_OF_MEMORY;
  stream->capture->mode = mode;
  stream->captures = true;
  if (mode == CU_STREAM_CAPTURE_MODE_GLOBAL) global_capture = stream->capture;
  return CUDA_SUCCESS;
}

static void end_everywhere(struct context *context, const struct graph *graph) {
  for (struct stream *stream = context->streams; stream != NULL; stream = stream->next)
    if (stream->capture == graph) {
      stream->capture = NULL;
      stream->captures = false;
    }
  if (global_capture == graph) global_capture = NULL;
}

CUresult cuStreamEndCapture(CUstream stream, CUgraph *graph) {
  if (stream->capture == NULL || !stream->captures) return CUDA_ERROR_INVALID_VALUE;
  *graph = stream->capture;
  end_everywhere(stream->context, *graph);
  if (!(*graph)->broken) return CUDA_SUCCESS;
  cuGraphDestroy(*graph);
  *graph = NULL;
  return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
}

CUresult cuStreamIsCapturing(CUstream named, int *status) {
  struct stream *stream = stream_of(named);
  if (stream == NULL) return CUDA_ERROR_INVALID_CONTEXT;
  *status = stream->capture != NULL;
  return CUDA_SUCCESS;
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec *executable, CUgraph graph, unsigned long long flags) {
  (void)flags;
  *executable = calloc(1, sizeof **executable);
  if (*executable == NULL) return CUDA_ERROR_OUT_OF_MEMORY;
  for (size_t i = 0; i < graph->count; i++)
    if (graph_append(*executable, &graph->tasks[i]) != CUDA_SUCCESS) return CUDA_ERROR_OUT_OF_MEMORY;
  return CUDA_SUCCESS;
}

CUresult cuGraphDestroy(CUgraph graph) {
  free(graph->tasks);
  free(graph);
  return CUDA_SUCCESS;
}

CUresult cuGraphExecDestroy(CUgraphExec executable) {
  return cuGraphDestroy(executable);
}

static CUresult launch(CUgraphExec executable, struct stream *stream) {
  CUresult result = stream != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
  for (size_t i = 0; result == CUDA_SUCCESS && i < executable->count; i++)
    result = work_submit(stream, &executable->tasks[i]);
  return result;
}

CUresult cuGraphLaunch(CUgraphExec executable, CUstream stream) {
  return launch(executable, stream_of(stream));
}

CUresult cuGraphLaunch_ptsz(CUgraphExec executable, CUstream stream) {
  return launch(executable, stream_of(stream != NULL ? stream : CU_STREAM_PER_THREAD));
}
