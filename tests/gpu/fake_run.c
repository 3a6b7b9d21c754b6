#include "fake_run.h"

#include <stdlib.h>

#include "figures.h"

#define NAP_NS 20000ull

bool fake_run(void) {
  static _Atomic int known; /* 1 no, 2 yes */
  if (known == 0) known = getenv("KIT_FAKE") != NULL ? 2 : 1;
  return known == 2;
}

void fake_run_yield(void) {
  if (fake_run()) sleep_ns(NAP_NS);
}

uint64_t fake_run_choose(uint64_t real, uint64_t fake) {
  return fake_run() ? fake : real;
}
