/* window.h - bounds how much an application may have in flight on a stream while `launch` is the mechanism.
 *
 * After every WINDOW_SUBMISSIONS on a stream its submitting thread waits until the stream has run dry: what
 * is in flight when the gate closes is then at most that much. The wait asks again and again instead of
 * blocking, and gives up after WINDOW_PATIENCE_NS, for a kernel may wait for what this very thread does next.
 * A stream that is being captured runs nothing and is left alone.
 */
#ifndef VALVE_PRELOAD_WINDOW_H
#define VALVE_PRELOAD_WINDOW_H

#include <stdint.h>

#define WINDOW_SUBMISSIONS 32u
#define WINDOW_PATIENCE_NS 100000000ull
/* CU_STREAM_PER_THREAD of cuda.h: the per-thread default stream, as an argument. */
#define WINDOW_STREAM_PER_THREAD ((void *)2)

/* One submission to `stream` (NULL: the legacy default stream) has returned. */
void window_passed(void *stream);

#endif
