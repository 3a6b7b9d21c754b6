/* Every submitting call of libcuda: held back while the launch gate is closed, then passed on in the
 * application's own thread. A call within a call (an interposer below us, libcuda itself) is not held again.
 *
 * There are two wrappers of each. The exported one stands in the dynamic linker's order and passes on to the
 * next in that order; the other stands for what a lookup found, and passes on to just that.
 */
#include "interpose_cuda.h"

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "launch.h"
#include "next.h"
#include "valve/node.h"
#include "window.h"

#define CUDA_ERROR_NOT_INITIALIZED 3
#define CONFIG_STREAM_OFFSET 32 /* of hStream in CUlaunchConfig: after seven unsigned ints, aligned */

typedef uintptr_t word;

static _Thread_local int depth __attribute__((tls_model("initial-exec")));

static _Atomic(void *) found_calls[INTERPOSED_COUNT];

static void *found_of(enum interposed_call call) {
  return atomic_load_explicit(&found_calls[call], memory_order_relaxed);
}

static void *enter(enum interposed_call call, void *(*pass_on_to)(enum interposed_call call)) {
  if (depth++ > 0) return lowest_of(call);
  launch_enter(&launch_gate);
  return pass_on_to(call);
}

static void leave(word stream) {
  if (--depth > 0) return;
  launch_leave(&launch_gate);
  if (!launch_is_idle(&launch_gate)) window_passed((void *)stream);
}

static word stream_in_config(word config) {
  word stream;
  memcpy(&stream, (const char *)config + CONFIG_STREAM_OFFSET, sizeof stream);
  return stream;
}

static word find_stream(const word *arguments, int number, word otherwise) {
  word stream = number >= 0                                       ? arguments[number]
                : number == STREAM_IN_CONFIG && arguments[0] != 0 ? stream_in_config(arguments[0])
                                                                  : 0;
  return stream != 0 ? stream : otherwise;
}

#define PARAMETERS_1 word a
#define PARAMETERS_2 PARAMETERS_1, word b
#define PARAMETERS_3 PARAMETERS_2, word c
#define PARAMETERS_4 PARAMETERS_3, word d
#define PARAMETERS_5 PARAMETERS_4, word e
#define PARAMETERS_6 PARAMETERS_5, word f
#define PARAMETERS_7 PARAMETERS_6, word g
#define PARAMETERS_8 PARAMETERS_7, word h
#define PARAMETERS_9 PARAMETERS_8, word i
#define PARAMETERS_10 PARAMETERS_9, word j
#define PARAMETERS_11 PARAMETERS_10, word k
#define ARGUMENTS_1 a
#define ARGUMENTS_2 ARGUMENTS_1, b
#define ARGUMENTS_3 ARGUMENTS_2, c
#define ARGUMENTS_4 ARGUMENTS_3, d
#define ARGUMENTS_5 ARGUMENTS_4, e
#define ARGUMENTS_6 ARGUMENTS_5, f
#define ARGUMENTS_7 ARGUMENTS_6, g
#define ARGUMENTS_8 ARGUMENTS_7, h
#define ARGUMENTS_9 ARGUMENTS_8, i
#define ARGUMENTS_10 ARGUMENTS_9, j
#define ARGUMENTS_11 ARGUMENTS_10, k

#define WRAP(linkage, wrapper, call, pass_on_to, arity, stream, default_stream)             \
  linkage int wrapper(PARAMETERS_##arity);                                                  \
  linkage int wrapper(PARAMETERS_##arity) {                                                 \
    const word arguments[] = {ARGUMENTS_##arity};                                           \
    int (*next)(PARAMETERS_##arity) = (int (*)(PARAMETERS_##arity))enter(call, pass_on_to); \
    int result = next != NULL ? next(ARGUMENTS_##arity) : CUDA_ERROR_NOT_INITIALIZED;       \
    leave(find_stream(arguments, stream, default_stream));                                  \
    return result;                                                                          \
  }
#define WRAP_NAME(name, arity, stream, default_stream)                     \
  WRAP(VLV_API, name, CALL_##name, next_of, arity, stream, default_stream) \
  WRAP(static, found_##name, CALL_##name, found_of, arity, stream, default_stream)
#define WRAP_BOTH(name, variant, arity, stream) \
  WRAP_NAME(name, arity, stream, 0)             \
  WRAP_NAME(name##variant, arity, stream, (word)WINDOW_STREAM_PER_THREAD)
INTERPOSED(WRAP_BOTH)

#define FOUND(name, variant, arity, stream) (void *)found_##name, (void *)found_##name##variant,
static void *const wrappers[INTERPOSED_COUNT] = {INTERPOSED(FOUND)};

/* A wrapper stands for one function, the first that was found: what has been handed out must not change its
 * meaning. */
static void *wrap(int call, void *function) {
  void *known = NULL;
  bool first = atomic_compare_exchange_strong(&found_calls[call], &known, function);
  return first || known == function ? wrappers[call] : NULL;
}

/* INTERPOSED_COUNT if it is not in the list. */
static int number_of(const char *name) {
  int call = 0;
  while (call < INTERPOSED_COUNT && strcmp(interposed_names[call], name) != 0) call++;
  return call;
}

bool interpose_is_listed(const char *name) {
  return number_of(name) < INTERPOSED_COUNT;
}

void *interpose_by_name(const char *name, void *function) {
  int call = number_of(name);
  return call < INTERPOSED_COUNT ? wrap(call, function) : NULL;
}

void *interpose_by_address(void *function) {
  for (int call = 0; call < INTERPOSED_COUNT; call++)
    if (function == lowest_of((enum interposed_call)call)) return wrap(call, function);
  return NULL;
}
