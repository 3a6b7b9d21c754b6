/* holder.h - one holder row, seen by its owner. */
#ifndef VALVE_HOLDER_H
#define VALVE_HOLDER_H

#include "ownership.h"
#include "valve/node.h"

struct vlv_holder {
  struct ownership ownership;
  struct vlv_holders_file *file;
  struct vlv_holder_row *row;
  uint32_t index;
  uint64_t device_mask, owner_pid; /* what its row has to say */
};

/* A holder takes its lease as run out this much earlier than the agents do, which covers the nanoseconds by
 * which a clock read and a load beside it can trade places. */
#define VLV_LEASE_MARGIN_NS 1000000ull

/* claim.c: makes a row that was just taken free of its last owner's claim, then live and open. */
void claim_begin(struct vlv_holder *holder, uint64_t device_mask, uint64_t owner_pid);
/* Drops the claim and makes the row free. */
void claim_end(struct vlv_holder *holder);

#endif
