#include "range.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "valve/ledger.h"

#define UNDO_TRIES 3
#define SPAN_GAP 64u /* pages: one call for so many is taken to cost less than another call */

vmm_address range_address(const struct range *range, uint32_t slot) {
  return range->base + slot * VLV_PAGE_BYTES;
}

/* ---- one slot ---- */

static int map(struct range *range, uint32_t slot, vmm_memory memory) {
  if (range->vmm->map(range_address(range, slot), VLV_PAGE_BYTES, 0, memory, 0) != 0) return -EIO;
  range->memory[slot] = memory;
  return 0;
}

/* ---- neighbours, one call for all of them ---- */

static int permit(struct range *range, uint32_t slot, uint32_t count) {
  int result = vmm_permit(range->vmm, range->device, range_address(range, slot), count * VLV_PAGE_BYTES);
  return result == 0 ? 0 : -EIO;
}

/* Where something is mapped already, the driver refuses. */
static void map_if_missing(struct range *range, uint32_t slot) {
  for (int tries = 0; tries < UNDO_TRIES; tries++)
    if (map(range, slot, range->memory[slot]) == 0) return;
}

/* A call that failed may have done a part of its work. */
static int unmap_at_once(struct range *range, uint32_t slot, uint32_t count) {
  if (range->vmm->unmap(range_address(range, slot), count * VLV_PAGE_BYTES) == 0) {
    memset(&range->memory[slot], 0, count * sizeof *range->memory);
    return 0;
  }
  for (uint32_t i = 0; i < count; i++) map_if_missing(range, slot + i);
  return -EIO;
}

/* A driver that refuses several at once may permit each. */
static int unmap_mapped(struct range *range, uint32_t slot, uint32_t count) {
  int error = unmap_at_once(range, slot, count);
  if (error == 0 || count == 1) return error;
  for (uint32_t i = 0; i < count; i++)
    if (unmap_at_once(range, slot + i, 1) < 0) return -EIO;
  return 0;
}

/* How many from the first on are mapped as it is, or are not. */
static uint32_t measure_alike(const struct range *range, uint32_t slot, uint32_t count) {
  uint32_t length = 1;
  while (length < count && (range->memory[slot + length] != 0) == (range->memory[slot] != 0)) length++;
  return length;
}

int range_unmap(struct range *range, uint32_t slot, uint32_t count) {
  for (uint32_t length; count > 0; slot += length, count -= length) {
    length = measure_alike(range, slot, count);
    if (range->memory[slot] != 0 && unmap_mapped(range, slot, length) < 0) return -EIO;
  }
  return 0;
}

/* ---- all or none ---- */

static uint32_t measure_run(const uint32_t *slots, uint32_t count) {
  uint32_t length = 1;
  while (length < count && slots[length] == slots[0] + length) length++;
  return length;
}

static bool is_mapped(const struct range *range, uint32_t slot, uint32_t end) {
  while (slot < end && range->memory[slot] != 0) slot++;
  return slot == end;
}

/* How many of them one call permits. Where nothing runs meanwhile, what stands between them may be permitted
 * once more. */
static uint32_t measure_span(const struct range *range, const uint32_t *slots, uint32_t count) {
  uint32_t length = 1, reach = range->rests ? SPAN_GAP + 1 : 1;
  while (length < count && slots[length] - slots[length - 1] <= reach &&
         is_mapped(range, slots[length - 1], slots[length]))
    length++;
  return length;
}

static int permit_all(struct range *range, const uint32_t *slots, uint32_t count) {
  int worst = 0;
  for (uint32_t length; count > 0; slots += length, count -= length) {
    length = measure_span(range, slots, count);
    if (permit(range, slots[0], slots[length - 1] - slots[0] + 1) < 0) worst = -EIO;
  }
  return worst;
}

static int replace(struct range *range, uint32_t slot, vmm_memory memory) {
  int error = range_unmap(range, slot, 1);
  return error < 0 ? error : map(range, slot, memory);
}

/* A slot that cannot have its own memory back is quarantined, so that it is mapped at least. */
static int restore(struct range *range, uint32_t slot, vmm_memory before) {
  if (range->memory[slot] == before) return 0;
  for (int tries = 0; tries < UNDO_TRIES; tries++)
    if (replace(range, slot, before) == 0) return 0;
  return replace(range, slot, range->quarantine);
}

/* A call fails for all of its slots if one of them is a hole. */
static void permit_alone(struct range *range, uint32_t slot) {
  if (permit(range, slot, 1) == 0) return;
  range->vmm->unmap(range_address(range, slot), VLV_PAGE_BYTES);
  range->memory[slot] = 0;
  if (map(range, slot, range->quarantine) == 0) permit(range, slot, 1);
}

static void undo(struct range *range, const uint32_t *slots, const vmm_memory *before, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) restore(range, slots[i], before[i]);
  for (int tries = 0; tries < UNDO_TRIES; tries++)
    if (permit_all(range, slots, count) == 0) return;
  for (uint32_t i = 0; i < count; i++) permit_alone(range, slots[i]);
}

static int replace_run(struct range *range, uint32_t slot, const vmm_memory *memories, uint32_t count) {
  if (range_unmap(range, slot, count) < 0) return -EIO;
  for (uint32_t i = 0; i < count; i++)
    if (map(range, slot + i, memories[i]) < 0) return -EIO;
  return 0;
}

static int replace_all(struct range *range, const uint32_t *slots, const vmm_memory *memories,
                       uint32_t count) {
  for (uint32_t length, done = 0; done < count; done += length) {
    length = measure_run(&slots[done], count - done);
    if (replace_run(range, slots[done], &memories[done], length) < 0) return -EIO;
  }
  return permit_all(range, slots, count);
}

int range_remap(struct range *range, const uint32_t *slots, const vmm_memory *memories, uint32_t count) {
  vmm_memory *before = malloc(count * sizeof *before);
  if (before == NULL) return count == 0 ? 0 : -ENOMEM;
  for (uint32_t i = 0; i < count; i++) before[i] = range->memory[slots[i]];
  int error = replace_all(range, slots, memories, count);
  if (error < 0) undo(range, slots, before, count);
  free(before);
  return error;
}

/* ---- the whole range ---- */

static int quarantine_all(struct range *range) {
  for (uint32_t slot = 0; slot < range->slots; slot++)
    if (map(range, slot, range->quarantine) < 0) return -EIO;
  return permit(range, 0, range->slots);
}

static int fill(struct range *range) {
  if (range->vmm->reserve(&range->base, range->slots * VLV_PAGE_BYTES, 0, 0, 0) != 0) {
    range->base = 0;
    return -EIO;
  }
  return quarantine_all(range);
}

int range_create(struct range *range, const struct vmm *vmm, int device, uint32_t slots,
                 vmm_memory quarantine) {
  *range = (struct range){.vmm = vmm, .device = device, .slots = slots, .quarantine = quarantine};
  range->memory = calloc(slots, sizeof *range->memory);
  int error = range->memory != NULL ? fill(range) : -ENOMEM;
  if (error < 0) range_destroy(range);
  return error;
}

void range_destroy(struct range *range) {
  for (uint32_t slot = 0; range->memory != NULL && slot < range->slots; slot++) range_unmap(range, slot, 1);
  if (range->base != 0) range->vmm->unreserve(range->base, range->slots * VLV_PAGE_BYTES);
  free(range->memory);
  memset(range, 0, sizeof *range);
}
