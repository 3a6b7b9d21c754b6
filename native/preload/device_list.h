/* device_list.h - the devices of a job as VALVE_DEVICES names them. */
#ifndef VALVE_PRELOAD_DEVICE_LIST_H
#define VALVE_PRELOAD_DEVICE_LIST_H

#include "valve/node.h"

/* "cpu" or GPU-..., comma separated, as valve_runtime/device_id.py writes them. How many (1 to `capacity`),
 * or -EINVAL. */
int device_list_parse(const char *text, struct vlv_device_id *out, uint32_t capacity);

#endif
