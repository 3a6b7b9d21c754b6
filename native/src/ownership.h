/* ownership.h - what keeps a row's lock, and for no longer than its owner lives. An OFD lock lives as long as
 * anything refers to its open file description. Here that is a mapping and no descriptor: a host that closes
 * every descriptor it finds does not lose its row. A forked child does not have the mapping, so one that
 * outlives its parent does not keep a dead owner's row alive; its handles go dead. (exec drops the mapping; a
 * vfork child has it until its exec.) */
#ifndef VALVE_OWNERSHIP_H
#define VALVE_OWNERSHIP_H

#include <stdbool.h>

struct ownership {
  void *lock; /* the mapping */
  bool lost;  /* this is a forked child: the row belongs to the parent */
  struct ownership *next;
};

/* Takes over the descriptor of row_take(), also when it fails: -errno. */
int ownership_begin(struct ownership *ownership, int lock_fd);
/* Gives the row up. */
void ownership_end(struct ownership *ownership);

#endif
