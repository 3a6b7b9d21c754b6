/* bytes.h - a queue of bytes that owns no memory while it is empty. */
#ifndef VALVE_BYTES_H
#define VALVE_BYTES_H

#include <stdbool.h>
#include <stddef.h>

struct bytes {
  char *memory;
  size_t start, len, capacity;
};

/* false: no memory; nothing was appended. */
bool bytes_append(struct bytes *bytes, const void *data, size_t len);
/* Takes the first `len` away. */
void bytes_drop(struct bytes *bytes, size_t len);
void bytes_free(struct bytes *bytes);

static inline char *bytes_at(const struct bytes *bytes) {
  return bytes->memory + bytes->start;
}

#endif
