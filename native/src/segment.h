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

struct file_kind {
  const char *name;
  uint64_t magic;
  uint32_t size;
};

/* file.c: opens (and if `create` makes, or replaces when left from another boot) one file in `directory_fd`.
 * The descriptor, or an error as vlv_node_open documents. */
int file_open(int directory_fd, const struct file_kind *kind, bool writable, bool create);

#endif
