/* The accesses of words.h, for the ledger's interleaving test. */
#ifndef VALVE_TESTS_LEDGER_WORDS_H
#define VALVE_TESTS_LEDGER_WORDS_H

#include "valve/node.h"

uint32_t load32(const VLV_ATOMIC(uint32_t) * word);
uint64_t load64(const VLV_ATOMIC(uint64_t) * word);
void store64(VLV_ATOMIC(uint64_t) * word, uint64_t value);
bool swap64(VLV_ATOMIC(uint64_t) * word, uint64_t expected, uint64_t value);

#endif
