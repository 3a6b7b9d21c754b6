/* pulse.h - when a victim's heartbeat was last seen to change.
 *
 * A thread of the victim looks at one word that the GPU writes, all the time, and stamps every change. The
 * stamps lie in memory that other processes share.
 */
#ifndef GPU_KIT_PULSE_H
#define GPU_KIT_PULSE_H

#include <stdbool.h>
#include <stdint.h>

struct pulse {
  _Atomic uint64_t looks, beats; /* beats: changes seen */
  _Atomic uint64_t last_ns;      /* of the latest change */
  _Atomic uint64_t first_ns;     /* of the first change after `armed` was set */
  _Atomic uint32_t armed, end;
};

/* Starts the thread in the process that has `beat` mapped. 0 or -errno. It ends when `end` is set. */
int pulse_begin(struct pulse *pulse, const volatile uint64_t *beat);

/* For whoever watches. Two looks from now: every change until the call has been stamped. False: nobody looks.
 */
bool pulse_settle(struct pulse *pulse);
void pulse_arm(struct pulse *pulse);
/* Waits for a change after pulse_arm(). Its stamp, or 0 after `timeout_ns`. */
uint64_t pulse_wait_first(struct pulse *pulse, uint64_t timeout_ns);
/* No change between now + settle_ns and now + settle_ns + hold_ns. */
bool pulse_is_still(struct pulse *pulse, uint64_t settle_ns, uint64_t hold_ns);
/* A change within timeout_ns from now. */
bool pulse_beats(struct pulse *pulse, uint64_t timeout_ns);

#endif
