/* acks.h - the ring of acknowledgements in a tenant row. */
#ifndef VALVE_ACKS_H
#define VALVE_ACKS_H

#include "valve/node.h"

void acks_append(struct vlv_tenant_row *row, struct vlv_ack ack);

#endif
