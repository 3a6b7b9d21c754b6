/* file.h - one shared file: made whole, checked, mapped. */
#ifndef VALVE_FILE_H
#define VALVE_FILE_H

#include <stdbool.h>
#include <stdint.h>

struct file_kind {
  const char *name;
  uint64_t magic;
  uint32_t size;
};

/* Opens (and if `create` makes, or replaces when left from another boot) one file in `directory_fd`. The
 * descriptor, or an error as vlv_node_open documents. */
int file_open(int directory_fd, const struct file_kind *kind, bool writable, bool create);
/* Maps the whole of it. 0 or -errno. */
int file_map(int fd, const struct file_kind *kind, bool writable, void **out);

#endif
