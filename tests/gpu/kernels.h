/* kernels.h - the kit's GPU code: PTX text that the driver compiles (sm_70 and later), and how it is
 * launched.
 *
 * The same kernels exist as CPU functions in fake_kernels.c for the fake driver.
 */
#ifndef GPU_KIT_KERNELS_H
#define GPU_KIT_KERNELS_H

#include <stdbool.h>

#include "driver.h"

struct kernels {
  cu_object beat, walk, multiply, activate, normalise;
  unsigned blocks; /* a grid that fills the device */
};

/* Host memory that the device writes (beat) and reads (stop). */
struct beacon {
  volatile uint64_t *beat;
  volatile uint32_t *stop;
  cu_pointer device_beat, device_stop;
};

void kernels_load(struct kernels *kernels, const struct device *device);
void beacon_create(struct beacon *beacon);

/* `rounds` rounds of about 5 us on every block; each writes the beat. Ends early when *stop is not 0. */
void launch_beat(const struct kernels *kernels, const struct beacon *beacon, uint64_t rounds,
                 cu_object stream);
/* Reads and writes all of `words` 8-byte words at `range` over and over until *stop; each pass writes the
 * beat. */
void launch_walk(const struct kernels *kernels, const struct beacon *beacon, cu_pointer range, uint64_t words,
                 cu_object stream);
/* c = a b, square, `size` a multiple of 16. */
void launch_multiply(const struct kernels *kernels, cu_pointer a, cu_pointer b, cu_pointer c, unsigned size,
                     cu_object stream);
/* x = x sigmoid(x), for all size^2. */
void launch_activate(const struct kernels *kernels, cu_pointer x, unsigned size, cu_object stream);
/* x = (x + residual) / rms of its row. */
void launch_normalise(const struct kernels *kernels, cu_pointer x, cu_pointer residual, unsigned size,
                      cu_object stream);

/* How long a round of launch_beat takes, measured now. */
double beat_round_us(const struct kernels *kernels, const struct beacon *beacon);
uint64_t rounds_for(double us, double round_us);

#endif
