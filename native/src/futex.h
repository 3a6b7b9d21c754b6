/* futex.h - sleeping on a shared word. Not the private kind: waiters sit in other processes, and may have the
 * word mapped read-only. */
#ifndef VALVE_FUTEX_H
#define VALVE_FUTEX_H

#include "valve/node.h"

/* Sleeps while *word == expected, until a wake or until deadline_ns (UINT64_MAX: for ever). May return early.
 */
void word_wait(const VLV_ATOMIC(uint32_t) * word, uint32_t expected, uint64_t deadline_ns);
/* Wakes everybody who sleeps on the word. */
void word_wake(const VLV_ATOMIC(uint32_t) * word);

#endif
