#include "next.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>

#define NAMES(name, variant, arity, stream) #name, #name #variant,
const char *const interposed_names[INTERPOSED_COUNT] = {INTERPOSED(NAMES)};

void *(*next_dlsym)(void *handle, const char *name);

static _Atomic(void *) next_calls[INTERPOSED_COUNT], lowest_calls[INTERPOSED_COUNT];

/* By version, since the name alone is ours. The versions are those of x86-64 and aarch64. */
void next_begin(void) {
  static const char *const versions[] = {"GLIBC_2.34", "GLIBC_2.2.5", "GLIBC_2.17"};
  for (size_t i = 0; next_dlsym == NULL && i < sizeof versions / sizeof *versions; i++)
    next_dlsym = (void *(*)(void *, const char *))dlvsym(RTLD_NEXT, "dlsym", versions[i]);
}

void *next_symbol(const char *name) {
  next_begin();
  return next_dlsym != NULL ? next_dlsym(RTLD_NEXT, name) : NULL;
}

void *next_in_libcuda(const char *name) {
  next_begin();
  void *library = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
  if (library == NULL || next_dlsym == NULL) return NULL;
  void *symbol = next_dlsym(library, name);
  dlclose(library);
  return symbol;
}

void *lowest_of(enum interposed_call call) {
  void *known = atomic_load_explicit(&lowest_calls[call], memory_order_relaxed);
  if (known != NULL) return known;
  void *found = next_in_libcuda(interposed_names[call]);
  atomic_store_explicit(&lowest_calls[call], found, memory_order_relaxed);
  return found;
}

void *next_of(enum interposed_call call) {
  void *known = atomic_load_explicit(&next_calls[call], memory_order_relaxed);
  if (known != NULL) return known;
  void *found = next_symbol(interposed_names[call]);
  if (found == NULL) found = lowest_of(call);
  atomic_store_explicit(&next_calls[call], found, memory_order_relaxed);
  return found;
}
