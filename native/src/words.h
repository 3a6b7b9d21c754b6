/* words.h - every access to a word that parties share. All are sequentially consistent, so interleavings are
 * all there is: what the exhaustive interleaving test explores is what the machine can do. That test brings
 * its own version of these functions (VLV_WORDS_HEADER). */
#ifndef VALVE_WORDS_H
#define VALVE_WORDS_H

#ifdef VLV_WORDS_HEADER
#include VLV_WORDS_HEADER
#else

#include "valve/node.h"

static inline uint32_t load32(const VLV_ATOMIC(uint32_t) * word) {
  return atomic_load(word);
}
static inline void store32(VLV_ATOMIC(uint32_t) * word, uint32_t value) {
  atomic_store(word, value);
}
static inline uint32_t add32(VLV_ATOMIC(uint32_t) * word, uint32_t by) {
  return atomic_fetch_add(word, by) + by;
}
static inline uint64_t load64(const VLV_ATOMIC(uint64_t) * word) {
  return atomic_load(word);
}
static inline void store64(VLV_ATOMIC(uint64_t) * word, uint64_t value) {
  atomic_store(word, value);
}
/* Whether the word was `expected` and is `value` now. */
static inline bool swap64(VLV_ATOMIC(uint64_t) * word, uint64_t expected, uint64_t value) {
  return atomic_compare_exchange_strong(word, &expected, value);
}

#endif

/* A counter that only its row's owner writes. */
static inline void count64(VLV_ATOMIC(uint64_t) * counter, uint64_t by) {
  store64(counter, load64(counter) + by);
}

#endif
