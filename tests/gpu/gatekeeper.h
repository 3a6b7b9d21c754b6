/* gatekeeper.h - stands in for the sidecar and for `valve run`: a holder in the node segment, and the
 * environment under which a process becomes a rank of a job.
 */
#ifndef GPU_KIT_GATEKEEPER_H
#define GPU_KIT_GATEKEEPER_H

#include <sys/types.h>

#include "valve/node.h"

struct gatekeeper {
  char directory[256]; /* of the segment: KIT_SCRATCH or /tmp, made here */
  char devices[64];    /* GPU-... */
  struct vlv_node *node;
  struct vlv_holder *holder;
  uint32_t row; /* the rank that close and open wait for: gatekeeper_find_rank() */
};

/* 0 or -errno. */
int gatekeeper_begin(struct gatekeeper *keeper, const uint8_t uuid[16]);
/* One more holder in a segment that another process keeps: VALVE_RUNTIME_DIR. */
int gatekeeper_join(struct gatekeeper *keeper, const uint8_t uuid[16]);
void gatekeeper_end(struct gatekeeper *keeper);
/* Between fork and exec of a tenant: KIT_SHIM is preloaded before what is preloaded already. */
void gatekeeper_export(const struct gatekeeper *keeper);
/* Waits until a rank with this pid has its row (pid 0: any rank of ours). 0 or -ETIMEDOUT. */
int gatekeeper_find_rank(struct gatekeeper *keeper, pid_t pid, uint64_t timeout_ns);
/* The mechanism that the rank uses now: "channels", "launch", ... */
const char *gatekeeper_mechanism(const struct gatekeeper *keeper);
const struct vlv_tenant_row *gatekeeper_rank(const struct gatekeeper *keeper);

/* For struct cycle_gate; the context is the keeper. Return when the rank has acknowledged; -ETIMEDOUT after 1
 * s. */
int gatekeeper_close(void *context);
int gatekeeper_open(void *context);

#endif
