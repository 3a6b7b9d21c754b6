/* cuda_work.h - streams, and the work that is submitted to them.
 *
 * Work of a stream is numbered from 1 and done in that order, whatever channel does it; a dependency is a
 * stream and a number of it. Work waits for what was submitted before it only, so nothing waits in a circle.
 */
#ifndef FAKE_CUDA_WORK_H
#define FAKE_CUDA_WORK_H

#include <stdatomic.h>

#include "fake_cuda.h"

#define ARGUMENTS_MAX 16
#define DEPENDENCIES_MAX 64

typedef void kernel(void **arguments, const uint32_t grid[3]);

struct function {
  kernel *run;
  const char *sizes; /* of the arguments, a digit each */
};

enum work_kind { WORK_NOTHING, WORK_KERNEL, WORK_COPY, WORK_FILL, WORK_MARK };

/* What is to be done, without when and where: a graph's node too. */
struct task {
  enum work_kind kind;
  struct function *function;
  uint64_t arguments[ARGUMENTS_MAX];
  uint32_t grid[3];
  char *to;
  const char *from;
  size_t size;            /* bytes */
  uint32_t value, width;  /* of a fill */
  _Atomic uint64_t *mark; /* gets the time */
  uint64_t submitted_ns;
};

struct dependency {
  struct stream *stream;
  uint64_t number;
};

struct work {
  struct work *next;
  struct task task;
  struct stream *stream;
  uint64_t number;
  uint32_t dependency_count;
  struct dependency dependencies[DEPENDENCIES_MAX];
};

struct stream {
  struct stream *next;
  struct context *context;
  struct channel_thread *channel;
  bool blocking, destroyed;
  _Atomic uint64_t submitted; /* number of the latest work; read without the lock by who asks */
  _Atomic uint64_t done;
  struct graph *capture;
  bool captures; /* it began the capture itself */
  uint32_t pending_count;
  struct dependency pending[DEPENDENCIES_MAX]; /* events that the next work waits for */
};

/* Over all streams and queues. Channel threads hold it with the stop signal blocked only. */
void work_lock(void);
void work_unlock(void);
/* Waits for something to be done or submitted; the lock is held before and after. */
void work_wait(void);
void work_wake(void);

/* Under the lock. */
bool dependency_is_met(struct dependency dependency);

/* Submits a task to a stream or, if that is being captured, to its graph. The stream is a real one. */
CUresult work_submit(struct stream *stream, const struct task *task);
/* Executes a task: in a channel's thread, or in whoever's. */
void task_run(struct task *task);

/* The stream that an argument means; NULL without a context. */
struct stream *stream_of(CUstream named);
struct stream *stream_make(struct context *context, bool blocking);

/* ---- graphs: cuda_graph.c ---- */
CUresult graph_append(struct graph *graph, const struct task *task);
/* A call that no capture survives was made; false if it is permitted now. */
bool capture_is_broken_by_asking(struct stream *stream);

struct context *context_current(void);

#endif
