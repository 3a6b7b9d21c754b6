/* ownership.h - what a forked child must not keep. An OFD lock lives until the last copy of its descriptor is
 * closed, so a child that outlives its parent would keep a dead owner's row alive: the child closes its
 * copies and its handles go dead. (exec drops them by itself: O_CLOEXEC. A vfork child has them until its
 * exec.) */
#ifndef VALVE_OWNERSHIP_H
#define VALVE_OWNERSHIP_H

#include <stdbool.h>

struct ownership {
  int lock_fd;
  bool lost; /* this is a forked child: the row belongs to the parent */
  struct ownership *next;
};

void ownership_begin(struct ownership *ownership, int lock_fd);
/* Gives the row up: closes the lock's descriptor. */
void ownership_end(struct ownership *ownership);

#endif
