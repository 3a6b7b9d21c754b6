/* segment.h - the two mapped files of a node segment. */
#ifndef VALVE_SEGMENT_H
#define VALVE_SEGMENT_H

#include "valve/node.h"

struct vlv_node {
  enum vlv_side side;
  int holders_fd; /* never locked themselves: they are for asking about locks, and to open again */
  int tenants_fd;
  struct vlv_holders_file *holders;
  struct vlv_tenants_file *tenants;
};

#endif
