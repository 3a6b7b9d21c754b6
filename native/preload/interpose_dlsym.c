/* The ways to libcuda's functions that go around the dynamic linker's symbol binding: dlsym() and
 * cuGetProcAddress(). A statically linked CUDA runtime uses the one to find the other.
 *
 * dlsym() has to look to glibc as if the application had called it, since RTLD_NEXT and RTLD_DEFAULT depend
 * on the caller: so it is a few instructions that leave the stack as it was and jump.
 */
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "interpose_cuda.h"
#include "next.h"
#include "shim.h"
#include "valve/node.h"

#define NAME_SIZE 128
#define PER_THREAD_DEFAULT_STREAM 2u /* CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM */

typedef int get_proc_address(const char *, void **, int, uint64_t);
typedef int get_proc_address_v2(const char *, void **, int, uint64_t, void *);

VLV_API int cuGetProcAddress(const char *symbol, void **function, int version, uint64_t flags);
VLV_API int cuGetProcAddress_v2(const char *symbol, void **function, int version, uint64_t flags,
                                void *status);

/* ---- dlsym ---- */

bool interpose_is_submission(const char *name) {
  static const char *const prefixes[] = {"cuLaunch", "cuGraphLaunch", "cuMemcpy", "cuMemset"};
  for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
    if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0) return true;
  return false;
}

static void *find_wrapper(const char *name, void *function) {
  if (strcmp(name, "cuGetProcAddress") == 0) return (void *)cuGetProcAddress;
  if (strcmp(name, "cuGetProcAddress_v2") == 0) return (void *)cuGetProcAddress_v2;
  void *wrapper = interpose_by_name(name, function);
  if (wrapper == NULL) shim_saw_unknown_call();
  return wrapper;
}

static bool is_wanted(const char *name) {
  return strncmp(name, "cuGetProcAddress", strlen("cuGetProcAddress")) == 0 || interpose_is_submission(name);
}

/* For the instructions below: the answer, or NULL for glibc's. Only a library that has the function is
 * answered for; RTLD_NEXT is an interposer's question for what is below it, RTLD_DEFAULT finds us by itself.
 */
__attribute__((visibility("hidden"))) void *interpose_found(void *handle, const char *name);
void *interpose_found(void *handle, const char *name) {
  next_begin();
  if (handle == RTLD_NEXT || handle == RTLD_DEFAULT || name == NULL || !is_wanted(name)) return NULL;
  void *function = next_dlsym(handle, name);
  return function != NULL ? find_wrapper(name, function) : NULL;
}

#if defined(__x86_64__)
__asm__(
    ".text\n.globl dlsym\n.type dlsym, @function\ndlsym:\n"
    "  endbr64\n"
    "  push %rdi\n  push %rsi\n  sub $8, %rsp\n"
    "  call interpose_found\n"
    "  add $8, %rsp\n  pop %rsi\n  pop %rdi\n"
    "  test %rax, %rax\n  jnz 1f\n"
    "  mov next_dlsym(%rip), %rax\n"
    "  jmp *%rax\n"
    "1: ret\n"
    ".size dlsym, .-dlsym\n");
#elif defined(__aarch64__)
__asm__(
    ".text\n.globl dlsym\n.type dlsym, %function\ndlsym:\n"
    "  stp x29, x30, [sp, #-32]!\n  mov x29, sp\n  stp x0, x1, [sp, #16]\n"
    "  bl interpose_found\n"
    "  mov x16, x0\n  ldp x0, x1, [sp, #16]\n  ldp x29, x30, [sp], #32\n"
    "  cbz x16, 1f\n  mov x0, x16\n  ret\n"
    "1: adrp x16, next_dlsym\n  ldr x16, [x16, :lo12:next_dlsym]\n"
    "  br x16\n"
    ".size dlsym, .-dlsym\n");
#else
#error "the shim knows x86-64 and aarch64"
#endif

/* ---- cuGetProcAddress ---- */

/* Its versions differ in their arguments, as those of cuMemcpyBatchAsync do. */
static bool has_two_forms(const char *symbol) {
  char newer[NAME_SIZE];
  snprintf(newer, sizeof newer, "%s_v2", symbol);
  return interpose_is_listed(symbol) && interpose_is_listed(newer);
}

/* `symbol` is without version: the one that was meant is told by the address, or else is the newest. */
static void *find_by_symbol(const char *symbol, uint64_t flags, void *function) {
  static const char *const endings[][2] = {
      {"_v2_ptsz", "_v2"}, {"_v2_ptds", "_v2"}, {"_ptsz", ""}, {"_ptds", ""}};
  char name[NAME_SIZE];
  void *wrapper = NULL;
  if (has_two_forms(symbol)) return NULL;
  for (size_t i = 0; wrapper == NULL && i < sizeof endings / sizeof *endings; i++) {
    snprintf(name, sizeof name, "%s%s", symbol, endings[i][(flags & PER_THREAD_DEFAULT_STREAM) == 0]);
    wrapper = interpose_by_name(name, function);
  }
  return wrapper;
}

static void *substitute_submission(const char *symbol, uint64_t flags, void *function) {
  void *wrapper = interpose_by_address(function);
  if (wrapper == NULL) wrapper = find_by_symbol(symbol, flags, function);
  if (wrapper == NULL) shim_saw_unknown_call();
  return wrapper != NULL ? wrapper : function;
}

/* Both forms of it are asked for by the one name; which one, `version` tells. */
static void *substitute_itself(void *function) {
  if (function == next_in_libcuda("cuGetProcAddress_v2")) return (void *)cuGetProcAddress_v2;
  if (function == next_in_libcuda("cuGetProcAddress")) return (void *)cuGetProcAddress;
  return function;
}

static void substitute(const char *symbol, void **function, uint64_t flags) {
  if (symbol == NULL || function == NULL || *function == NULL) return;
  if (interpose_is_submission(symbol)) *function = substitute_submission(symbol, flags, *function);
  if (strcmp(symbol, "cuGetProcAddress") == 0) *function = substitute_itself(*function);
}

#define CUDA_ERROR_NOT_INITIALIZED 3

static void *below(const char *name) {
  void *next = next_symbol(name);
  return next != NULL ? next : next_in_libcuda(name);
}

int cuGetProcAddress(const char *symbol, void **function, int version, uint64_t flags) {
  get_proc_address *next = (get_proc_address *)below("cuGetProcAddress");
  if (next == NULL) return CUDA_ERROR_NOT_INITIALIZED;
  int result = next(symbol, function, version, flags);
  if (result == 0) substitute(symbol, function, flags);
  return result;
}

int cuGetProcAddress_v2(const char *symbol, void **function, int version, uint64_t flags, void *status) {
  get_proc_address_v2 *next = (get_proc_address_v2 *)below("cuGetProcAddress_v2");
  if (next == NULL) return CUDA_ERROR_NOT_INITIALIZED;
  int result = next(symbol, function, version, flags, status);
  if (result == 0) substitute(symbol, function, flags);
  return result;
}
