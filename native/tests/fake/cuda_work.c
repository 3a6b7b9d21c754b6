#include "cuda_work.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "costs.h"
#include "cuda_channel.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

void work_lock(void) {
  pthread_mutex_lock(&lock);
}

void work_unlock(void) {
  pthread_mutex_unlock(&lock);
}

void work_wait(void) {
  pthread_cond_wait(&changed, &lock);
}

void work_wake(void) {
  pthread_cond_broadcast(&changed);
}

bool dependency_is_met(struct dependency dependency) {
  return dependency.stream->done >= dependency.number;
}

/* ---- doing ---- */

#define LARGE_PAGE (2ull << 20)

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void run_kernel(struct task *task) {
  void *own[ARGUMENTS_MAX];
  for (int i = 0; i < ARGUMENTS_MAX; i++) own[i] = &task->arguments[i];
  task->function->run(own, task->grid);
}

/* Whole pages of a device's memory file: a hole shows zeros, and is made as quickly as a GPU clears. */
static bool clear_pages(const struct task *task) {
  bool whole = (uintptr_t)task->to % LARGE_PAGE == 0 && task->size % LARGE_PAGE == 0;
  return whole && task->value == 0 && madvise(task->to, task->size, MADV_REMOVE) == 0;
}

static void fill(struct task *task) {
  if (clear_pages(task)) return;
  for (size_t at = 0; at < task->size; at += task->width) memcpy(task->to + at, &task->value, task->width);
}

/* From its submission on: what lies between is the device's time too. */
static void fill_for_its_price(struct task *task) {
  fill(task);
  cost_end("clear", task->submitted_ns);
}

void task_run(struct task *task) {
  if (task->kind == WORK_KERNEL) run_kernel(task);
  if (task->kind == WORK_COPY) memmove(task->to, task->from, task->size);
  if (task->kind == WORK_FILL) fill_for_its_price(task);
  if (task->kind == WORK_MARK) atomic_store(task->mark, now_ns());
}

/* ---- submitting ---- */

static void depend(struct work *work, struct dependency dependency) {
  if (dependency_is_met(dependency) || work->dependency_count == DEPENDENCIES_MAX) return;
  work->dependencies[work->dependency_count++] = dependency;
}

static void depend_on_stream(struct work *work, struct stream *stream) {
  if (stream != work->stream) depend(work, (struct dependency){stream, stream->submitted});
}

/* The legacy default stream and the blocking ones wait for each other. */
static void depend_on_others(struct work *work) {
  struct context *context = work->stream->context;
  if (work->stream == context->legacy)
    for (struct stream *other = context->streams; other != NULL; other = other->next)
      if (other->blocking) depend_on_stream(work, other);
  if (work->stream->blocking && context->legacy != NULL) depend_on_stream(work, context->legacy);
}

static void depend_on_events(struct work *work) {
  struct stream *stream = work->stream;
  for (uint32_t i = 0; i < stream->pending_count; i++) depend(work, stream->pending[i]);
  stream->pending_count = 0;
}

static struct channel_thread *choose_channel(const struct work *work) {
  struct stream *stream = work->stream;
  return work->task.kind == WORK_COPY ? channel_for_copies(stream->context) : stream->channel;
}

static void enqueue(struct work *work) {
  struct stream *stream = work->stream;
  depend(work, (struct dependency){stream, stream->submitted});
  depend_on_events(work);
  depend_on_others(work);
  work->number = ++stream->submitted;
  channel_submit(choose_channel(work), work);
}

CUresult work_submit(struct stream *stream, const struct task *task) {
  if (stream->capture != NULL) return graph_append(stream->capture, task);
  struct work *work = calloc(1, sizeof *work);
  if (work == NULL) return CUDA_ERROR_OUT_OF_MEMORY;
  work->stream = stream;
  work->task = *task;
  work->task.submitted_ns = cost_begin();
  work_lock();
  enqueue(work);
  work_wake();
  work_unlock();
  return CUDA_SUCCESS;
}

/* ---- which stream ---- */

struct stream *stream_make(struct context *context, bool blocking) {
  struct stream *stream = calloc(1, sizeof *stream);
  if (stream == NULL) return NULL;
  uint32_t computing = context->channel_count > 1 ? context->channel_count - 1 : 1;
  stream->context = context;
  stream->blocking = blocking;
  stream->channel = context->channels[context->next++ % computing];
  work_lock();
  stream->next = context->streams;
  context->streams = stream;
  work_unlock();
  return stream;
}

static struct stream *per_thread(struct context *context) {
  static _Thread_local struct stream *own;
  if (own == NULL || own->context != context) own = stream_make(context, true);
  return own;
}

struct stream *stream_of(CUstream named) {
  struct context *context = context_current();
  if (named != NULL && named != CU_STREAM_LEGACY && named != CU_STREAM_PER_THREAD) return named;
  if (context == NULL) return NULL;
  return named == CU_STREAM_PER_THREAD ? per_thread(context) : context->legacy;
}
