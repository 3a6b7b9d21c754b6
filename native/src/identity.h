/* identity.h - what tells this boot, this time namespace and this process from others. */
#ifndef VALVE_IDENTITY_H
#define VALVE_IDENTITY_H

#include <stdint.h>

int boot_id_read(uint8_t boot_id[16]);
/* CLOCK_MONOTONIC's shift in this time namespace; 0 where the kernel has none. */
int monotonic_offset_read(int64_t *offset_ns);
/* Field 22 of /proc/self/stat; 0 if it cannot be read. */
uint64_t own_start_ticks(void);

#endif
