/* hurry.h - the shortest way from an event to the calling thread. */
#ifndef VALVE_HURRY_H
#define VALVE_HURRY_H

/* Best effort: the thread runs as soon as it is woken, even beside a busy one on its core. Under SCHED_FIFO
 * where that is permitted, else with the shortest slices. */
void hurry(void);

#endif
