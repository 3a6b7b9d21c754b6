#include "devices.h"

#include <errno.h>
#include <string.h>

#include "rowlock.h"
#include "words.h"

uint32_t devices_known(const struct vlv_holders_file *file) {
  uint32_t count = load32(&file->device_count);
  return count < VLV_DEVICES_MAX ? count : VLV_DEVICES_MAX;
}

static uint64_t bit_of(const struct vlv_holders_file *file, uint32_t known, const struct vlv_device_id *id) {
  for (uint32_t i = 0; i < known; i++) {
    if (memcmp(&file->devices[i], id, sizeof *id) == 0) return UINT64_C(1) << i;
  }
  return 0;
}

uint64_t devices_mask(const struct vlv_holders_file *file, const struct vlv_device_id *ids, uint32_t count) {
  uint32_t known = devices_known(file);
  uint64_t mask = 0;
  for (uint32_t i = 0; i < count; i++) mask |= bit_of(file, known, &ids[i]);
  return mask;
}

/* The entry first, then the count: a reader never sees an entry that is not written yet. */
static int add_one(struct vlv_holders_file *file, const struct vlv_device_id *id) {
  uint32_t known = devices_known(file);
  if (bit_of(file, known, id) != 0) return 0;
  if (known == VLV_DEVICES_MAX) return -ENOSPC;
  file->devices[known] = *id;
  store32(&file->device_count, known + 1);
  return 0;
}

static int add_all(struct vlv_holders_file *file, const struct vlv_device_id *ids, uint32_t count) {
  int error = 0;
  for (uint32_t i = 0; i < count && error == 0; i++) error = add_one(file, &ids[i]);
  return error;
}

int devices_add(struct vlv_holders_file *file, int lock_fd, const struct vlv_device_id *ids, uint32_t count,
                uint64_t *mask) {
  size_t table_byte = offsetof(struct vlv_holders_file, device_count);
  int error = byte_lock(lock_fd, table_byte);
  if (error < 0) return error;
  error = add_all(file, ids, count);
  byte_unlock(lock_fd, table_byte);
  *mask = devices_mask(file, ids, count);
  return error;
}
