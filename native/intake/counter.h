/* counter.h - words that one thread writes and any other may read. */
#ifndef VALVE_COUNTER_H
#define VALVE_COUNTER_H

#include "valve/intake.h"

static inline void count_up(VLV_ATOMIC(uint64_t) * counter, uint64_t by) {
  atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by,
                        memory_order_relaxed);
}

static inline void set_to(VLV_ATOMIC(uint64_t) * word, uint64_t value) {
  atomic_store_explicit(word, value, memory_order_relaxed);
}

static inline uint64_t value_of(const VLV_ATOMIC(uint64_t) * word) {
  return atomic_load_explicit(word, memory_order_relaxed);
}

#endif
