#include "minor.h"

#include <unistd.h>

#include "words.h"

#define MINOR_BITS 8 /* below the pid */

void row_speak(VLV_ATOMIC(uint64_t) * speaks) {
  if (VLV_LAYOUT_MINOR > 0) store64(speaks, (uint64_t)getpid() << MINOR_BITS | VLV_LAYOUT_MINOR);
}

uint32_t vlv_row_minor(uint64_t owner_pid, uint64_t speaks) {
  return owner_pid == speaks >> MINOR_BITS ? (uint32_t)(speaks & ((1u << MINOR_BITS) - 1)) : 0;
}
