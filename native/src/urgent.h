/* urgent.h - a thread that others wait for. */
#ifndef VALVE_URGENT_H
#define VALVE_URGENT_H

/* Of the calling thread, as far as it is permitted: the shortest way from a wake to it, without slack in its
 * naps. */
void be_urgent(void);

#endif
