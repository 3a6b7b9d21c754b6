/* rm_settings.h - what a test wants of the fake RM, by environment:
 *   FAKE_RM_REFUSE    "disable=0x1b,schedule=0x56": these calls fail with this status
 *   FAKE_RM_DELAY_US  "disable=300": these calls take that much longer
 *   FAKE_RM_IGNORE    "disable": this call succeeds and does nothing
 *   FAKE_RM_SWITCH    a file with both, read at each call: "refuse disable=0x1b\ndelay disable=300\n"
 *   FAKE_RM_LOG       a file that gets a line for every call that was refused, unknown or faulty
 *   FAKE_RM_SCHEDULE_SIZE  bytes of the schedule call's structure that this driver takes (3)
 * Calls: disable, schedule, alloc_channel.
 */
#ifndef FAKE_RM_SETTINGS_H
#define FAKE_RM_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

/* 0: not refused. */
uint32_t rm_refusal(const char *call);
bool rm_ignores(const char *call);
void rm_delay(const char *call);
uint32_t rm_schedule_size(void);
void rm_log(const char *what, uint32_t number);

#endif
