/* fake_run.h - whether the kit itself is being tested, on the fake driver: smaller work, and no spinning. */
#ifndef GPU_KIT_FAKE_RUN_H
#define GPU_KIT_FAKE_RUN_H

#include <stdbool.h>
#include <stdint.h>

/* KIT_FAKE is set. */
bool fake_run(void);
/* On a GPU machine a thread that measures spins; two processors that play a GPU as well cannot afford it. */
void fake_run_yield(void);
/* `real` on a GPU, `fake` here. */
uint64_t fake_run_choose(uint64_t real, uint64_t fake);

#endif
