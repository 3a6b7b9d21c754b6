/* next.h - the functions below ours: what the application would have called without the shim.
 *
 * There may be two. "Next" is the next one in the dynamic linker's order, which may be another interposer's;
 * "lowest" is libcuda's own. An interposer below us that asks libcuda for its function gets ours (through
 * dlsym or cuGetProcAddress), so a call within a call goes to the lowest.
 */
#ifndef VALVE_PRELOAD_NEXT_H
#define VALVE_PRELOAD_NEXT_H

#include "interposed.h"

/* glibc's dlsym, since ours hides it. Set by next_begin(); its callers in interpose_dlsym.c jump to it. */
extern void *(*next_dlsym)(void *handle, const char *name);

/* Idempotent; every function here calls it. */
void next_begin(void);

/* Below us in the dynamic linker's order, NULL if there is none. */
void *next_symbol(const char *name);
/* libcuda's own, NULL where it is not loaded (it is never loaded by this). */
void *next_in_libcuda(const char *name);

/* The same for the interposed calls, remembered once found. */
void *next_of(enum interposed_call call);
void *lowest_of(enum interposed_call call);

#endif
