/* rm_calls.h - the escapes that the fake RM understands. */
#ifndef FAKE_RM_CALLS_H
#define FAKE_RM_CALLS_H

#include "rm_file.h"

/* Private to the fakes: makes the calling thread a channel's. Its number is one that no shim counts. */
struct rm_bind {
  rm_handle client, channel;
  uint32_t status;
};
#define RM_BIND 216
#define RM_IOCTL_BIND _IOWR(RM_ESCAPE, RM_BIND, struct rm_bind)

/* 0, or -errno of the system call; RM's own status goes into the structure. */
int rm_answer(struct rm_file *file, uint32_t number, uint32_t size, void *data);

#endif
