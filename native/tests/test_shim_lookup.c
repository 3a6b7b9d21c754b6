/* What a lookup of a submitting call is answered with: the shim's own lookups, above a libcuda of the test's.
 */
#include "interpose_cuda.c"
#include "interpose_dlsym.c"
#include "node_scratch.h"

#define NAMES(name, variant, arity, stream) #name, #name #variant,
const char *const interposed_names[INTERPOSED_COUNT] = {INTERPOSED(NAMES)};
void *(*next_dlsym)(void *handle, const char *name);

static struct {
  const char *name;
  void *function;
} exported[4];
static void *answer; /* of the next cuGetProcAddress() */
static int unknown_calls;

static void begin(void) {
  memset(exported, 0, sizeof exported);
  memset((void *)found_calls, 0, sizeof found_calls);
  unknown_calls = 0;
}

static int answer_lookup(const char *symbol, void **function, int version, uint64_t flags, void *status) {
  (void)symbol, (void)version, (void)flags, (void)status;
  *function = answer;
  return 0;
}

void next_begin(void) {
  if (next_dlsym == NULL)
    next_dlsym = (void *(*)(void *, const char *))dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");
}
void *next_symbol(const char *name) {
  return strcmp(name, "cuGetProcAddress_v2") == 0 ? (void *)answer_lookup : NULL;
}
void *next_in_libcuda(const char *name) {
  for (size_t i = 0; i < sizeof exported / sizeof *exported; i++)
    if (exported[i].name != NULL && strcmp(exported[i].name, name) == 0) return exported[i].function;
  return NULL;
}
void *next_of(enum interposed_call call) {
  return next_in_libcuda(interposed_names[call]);
}
void *lowest_of(enum interposed_call call) {
  return next_in_libcuda(interposed_names[call]);
}
void shim_saw_unknown_call(void) {
  unknown_calls++;
}

static void *look_up(const char *symbol, void *found) {
  void *function = NULL;
  answer = found;
  CHECK(cuGetProcAddress_v2(symbol, &function, 12080, 0, NULL) == 0);
  return function;
}

/* ---- functions of libcuda, told apart by what they return ---- */

static int first_copy(word a, word b, word c) {
  return (int)(a + b + c) + 1000;
}
static int second_copy(word a, word b, word c) {
  return (int)(a + b + c) + 2000;
}
static int batch(word a, word b, word c, word d, word e, word f, word g, word h, word i) {
  (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
  return (int)i;
}
static int batch_v2(word a, word b, word c, word d, word e, word f, word g, word h) {
  (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g;
  return (int)h;
}

static int call_3(void *function) {
  return ((int (*)(word, word, word))function)(1, 2, 3);
}
static int call_8(void *function) {
  return ((int (*)(word, word, word, word, word, word, word, word))function)(1, 2, 3, 4, 5, 6, 7, 8);
}
static int call_9(void *function) {
  return ((int (*)(word, word, word, word, word, word, word, word, word))function)(1, 2, 3, 4, 5, 6, 7, 8, 9);
}

/* ---- */

static void the_address_tells_the_version(void) {
  begin();
  exported[0].name = "cuMemcpyBatchAsync", exported[0].function = (void *)batch;
  exported[1].name = "cuMemcpyBatchAsync_v2", exported[1].function = (void *)batch_v2;
  void *old = look_up("cuMemcpyBatchAsync", (void *)batch);
  void *new = look_up("cuMemcpyBatchAsync", (void *)batch_v2);
  CHECK(old != (void *)batch && new != (void *)batch_v2 && old != new);
  CHECK(call_9(old) == 9 && call_8(new) == 8 && unknown_calls == 0);
}

static void an_unknown_address_is_taken_for_the_newest(void) {
  begin();
  void *wrapper = look_up("cuMemcpyDtoD", (void *)first_copy);
  CHECK(wrapper != (void *)first_copy && call_3(wrapper) == 1006 && unknown_calls == 0);
  CHECK(wrapper == found_cuMemcpyDtoD_v2);
}

static void an_unknown_address_of_two_forms_passes(void) {
  begin();
  CHECK(look_up("cuMemcpyBatchAsync", (void *)batch) == (void *)batch);
  CHECK(look_up("cuMemcpy3DBatchAsync", (void *)batch) == (void *)batch && unknown_calls == 2);
}

static void what_was_handed_out_keeps_its_meaning(void) {
  begin();
  void *wrapper = look_up("cuMemcpyDtoD", (void *)first_copy);
  CHECK(look_up("cuMemcpyDtoD", (void *)second_copy) == (void *)second_copy && unknown_calls == 1);
  CHECK(look_up("cuMemcpyDtoD", (void *)first_copy) == wrapper && call_3(wrapper) == 1006);
}

static void a_new_call_passes_and_is_counted(void) {
  begin();
  CHECK(look_up("cuMemcpyOfTomorrow", (void *)first_copy) == (void *)first_copy && unknown_calls == 1);
  CHECK(look_up("cuMemAlloc", (void *)first_copy) == (void *)first_copy && unknown_calls == 1);
}

/* The submitting calls among the 435 that the static CUDA runtime 13.0 asks for when it begins. */
static const char *const ASKED[] = {"cuGraphLaunch",        "cuLaunchCooperativeKernel",
                                    "cuLaunchHostFunc",     "cuLaunchKernel",
                                    "cuLaunchKernelEx",     "cuMemcpy",
                                    "cuMemcpy2DAsync",      "cuMemcpy2DUnaligned",
                                    "cuMemcpy3D",           "cuMemcpy3DAsync",
                                    "cuMemcpy3DBatchAsync", "cuMemcpy3DPeer",
                                    "cuMemcpy3DPeerAsync",  "cuMemcpyAsync",
                                    "cuMemcpyBatchAsync",   "cuMemcpyDtoD",
                                    "cuMemcpyDtoDAsync",    "cuMemcpyDtoH",
                                    "cuMemcpyDtoHAsync",    "cuMemcpyHtoD",
                                    "cuMemcpyHtoDAsync",    "cuMemcpyPeer",
                                    "cuMemcpyPeerAsync",    "cuMemsetD2D8",
                                    "cuMemsetD2D8Async",    "cuMemsetD8",
                                    "cuMemsetD8Async"};

static void all_that_the_cuda_runtime_asks_for_is_interposed(void) {
  char newer[128];
  for (size_t i = 0; i < sizeof ASKED / sizeof *ASKED; i++) {
    snprintf(newer, sizeof newer, "%s_v2", ASKED[i]);
    CHECK(interpose_is_submission(ASKED[i]));
    CHECK(interpose_is_listed(ASKED[i]) || interpose_is_listed(newer));
  }
}

int main(void) {
  RUN(the_address_tells_the_version);
  RUN(an_unknown_address_is_taken_for_the_newest);
  RUN(an_unknown_address_of_two_forms_passes);
  RUN(what_was_handed_out_keeps_its_meaning);
  RUN(a_new_call_passes_and_is_counted);
  RUN(all_that_the_cuda_runtime_asks_for_is_interposed);
  return 0;
}
