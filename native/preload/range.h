/* range.h - a pool's range of addresses: what memory stands where.
 *
 * Every address is mapped, always: a slot without a page of its own shows the quarantine page, one for the
 * whole pool. What stray kernels read there is of no use, what they write there is lost.
 *
 * Between the two halves of a remap an address is unmapped, so the caller keeps the channels of the process
 * off the hardware meanwhile, or knows that nothing uses these slots.
 */
#ifndef VALVE_PRELOAD_RANGE_H
#define VALVE_PRELOAD_RANGE_H

#include <stdbool.h>

#include "vmm.h"

struct range {
  const struct vmm *vmm;
  int device;
  vmm_address base;
  uint32_t slots;
  vmm_memory quarantine;
  bool rests;         /* nothing that knows its addresses runs while it is remapped */
  vmm_memory *memory; /* what is mapped in each slot; 0: nothing */
};

/* Reserves `slots` pages of addresses and maps `quarantine` to all, which must show nobody's bytes. 0,
 * -ENOMEM, -EIO (then nothing is left behind, and the page is released). */
int range_create(struct range *range, const struct vmm *vmm, int device, uint32_t slots,
                 vmm_memory quarantine);
/* Unmaps everything; all memory is the caller's to release. */
void range_destroy(struct range *range);

vmm_address range_address(const struct range *range, uint32_t slot);
/* Maps `memories[i]` in `slots[i]` (ascending) in the place of what is there, `count` of them; each run of
 * neighbours is unmapped by one call, and by one call its access is set, or that of several near runs. All or
 * none: -EIO, and everything stands as before. */
int range_remap(struct range *range, const uint32_t *slots, const vmm_memory *memories, uint32_t count);
/* Leaves nothing at these addresses, which no kernel may know, until they are remapped. -EIO: some are still
 * mapped. */
int range_unmap(struct range *range, uint32_t slot, uint32_t count);

#endif
