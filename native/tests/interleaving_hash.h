/* A hash of plain data whose size is a multiple of 8. */
#ifndef VALVE_TESTS_INTERLEAVING_HASH_H
#define VALVE_TESTS_INTERLEAVING_HASH_H

#include <stdint.h>
#include <string.h>

static uint64_t hash_more(uint64_t hash, const void *memory, size_t size) {
  const unsigned char *bytes = memory;
  for (size_t i = 0; i + sizeof(uint64_t) <= size; i += sizeof(uint64_t)) {
    uint64_t word;
    memcpy(&word, bytes + i, sizeof word);
    hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
    hash ^= hash >> 29;
  }
  return hash;
}

#endif
