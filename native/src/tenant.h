/* tenant.h - one tenant row, seen by its owner. */
#ifndef VALVE_TENANT_H
#define VALVE_TENANT_H

#include "ownership.h"
#include "valve/node.h"

struct vlv_tenant {
  struct ownership ownership;
  const struct vlv_holders_file *holders;
  int holders_fd;
  struct vlv_tenant_row *row;
  uint32_t index;
  uint32_t device_count; /* own copy: the row can be scribbled on */
  struct vlv_device_id devices[VLV_TENANT_DEVICES_MAX];
  uint32_t known_devices; /* length of the device table when device_mask was worked out */
  uint64_t device_mask;
  /* The lease with which a holder was found dead; 0 none. Another lease in that row is another holder. */
  uint64_t dead_lease_ns[VLV_HOLDERS_MAX];
};

/* gate.c: works the device mask out again if the device table has grown. */
void tenant_resolve_devices(struct vlv_tenant *tenant);
/* gate.c: looks after the owners of the claims that keep this tenant's gate closed; those of the dead are
 * ignored from now on. */
void tenant_bury_dead_holders(struct vlv_tenant *tenant, uint64_t now_ns);
/* gate.c: of a rank, until when its `valve run` lets the job breathe; 0 if it does not. */
uint64_t tenant_runner_breathes_until(const struct vlv_tenant *tenant);

#endif
