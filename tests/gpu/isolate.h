/* isolate.h - runs one attempt in a process of its own, with a time limit, so that it cannot spoil the next.
 */
#ifndef GPU_KIT_ISOLATE_H
#define GPU_KIT_ISOLATE_H

/* Forks, calls `body`, whose result (0 to 3) becomes the exit status. A process that outlives `seconds` or
 * dies otherwise leaves a record named `name` with the verdict "failed". Returns the status, 1 for such a
 * death. The caller must not have used CUDA. */
int isolate(const char *name, int (*body)(const void *argument), const void *argument, unsigned seconds);

#endif
