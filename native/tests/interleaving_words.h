/* The accesses of words.h, for the interleaving test: each of them is a step that can be told and repeated.
 */
#ifndef VALVE_TESTS_INTERLEAVING_WORDS_H
#define VALVE_TESTS_INTERLEAVING_WORDS_H

#include "valve/node.h"

uint32_t load32(const VLV_ATOMIC(uint32_t) * word);
void store32(VLV_ATOMIC(uint32_t) * word, uint32_t value);
uint32_t add32(VLV_ATOMIC(uint32_t) * word, uint32_t by);
uint64_t load64(const VLV_ATOMIC(uint64_t) * word);
void store64(VLV_ATOMIC(uint64_t) * word, uint64_t value);

#endif
