/* devices.h - the device table: which bit of a mask is which device. It only grows. */
#ifndef VALVE_DEVICES_H
#define VALVE_DEVICES_H

#include "valve/node.h"

/* Entries that may be read, bounded. */
uint32_t devices_known(const struct vlv_holders_file *file);
/* The bits of those of `ids` that are in the table: a device that no holder has named has no bit. */
uint64_t devices_mask(const struct vlv_holders_file *file, const struct vlv_device_id *ids, uint32_t count);
/* The same, after adding what is missing. `lock_fd` may be any open file description of the file that can be
 * locked. -ENOSPC: the table is full. */
int devices_add(struct vlv_holders_file *file, int lock_fd, const struct vlv_device_id *ids, uint32_t count,
                uint64_t *mask);

#endif
