/* Every submitting call of libcuda: held back while the launch gate is closed, then passed on in the
 * application's own thread. A call within a call (an interposer below us, libcuda itself) is not held again.
 */
#include "interpose_cuda.h"

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

static void *enter(enum interposed_call call) {
  if (depth++ > 0) return lowest_of(call);
  launch_enter(&launch_gate);
  return next_of(call);
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

#define WRAP(name, arity, stream, default_stream)                                      \
  VLV_API int name(PARAMETERS_##arity);                                                \
  VLV_API int name(PARAMETERS_##arity) {                                               \
    const word arguments[] = {ARGUMENTS_##arity};                                      \
    int (*next)(PARAMETERS_##arity) = (int (*)(PARAMETERS_##arity))enter(CALL_##name); \
    int result = next != NULL ? next(ARGUMENTS_##arity) : CUDA_ERROR_NOT_INITIALIZED;  \
    leave(find_stream(arguments, stream, default_stream));                             \
    return result;                                                                     \
  }
#define WRAP_BOTH(name, variant, arity, stream) \
  WRAP(name, arity, stream, 0)                  \
  WRAP(name##variant, arity, stream, (word)WINDOW_STREAM_PER_THREAD)
INTERPOSED(WRAP_BOTH)

#define ADDRESSES(name, variant, arity, stream) (void *)name, (void *)name##variant,
static void *const wrappers[INTERPOSED_COUNT] = {INTERPOSED(ADDRESSES)};

void *interpose_by_name(const char *name) {
  for (int call = 0; call < INTERPOSED_COUNT; call++)
    if (strcmp(interposed_names[call], name) == 0) return wrappers[call];
  return NULL;
}

void *interpose_by_address(const void *function) {
  for (int call = 0; call < INTERPOSED_COUNT; call++)
    if (function == lowest_of((enum interposed_call)call)) return wrappers[call];
  return NULL;
}
