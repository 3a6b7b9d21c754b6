/* minor.h - which minor layout a row's owner writes. */
#ifndef VALVE_MINOR_H
#define VALVE_MINOR_H

#include "valve/node.h"

/* Says ours, of a row that this process takes; minor 0 does not know the word. */
void row_speak(VLV_ATOMIC(uint64_t) * speaks);

#endif
