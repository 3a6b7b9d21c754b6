#include "bytes.h"

#include <stdlib.h>
#include <string.h>

#define SMALLEST 512

static void to_front(struct bytes *bytes) {
  if (bytes->start == 0) return;
  memmove(bytes->memory, bytes->memory + bytes->start, bytes->len);
  bytes->start = 0;
}

static bool grow(struct bytes *bytes, size_t needed) {
  size_t capacity = bytes->capacity > 0 ? bytes->capacity : SMALLEST;
  while (capacity < needed) capacity *= 2;
  if (capacity == bytes->capacity) return true;
  char *memory = realloc(bytes->memory, capacity);
  if (memory == NULL) return false;
  bytes->memory = memory;
  bytes->capacity = capacity;
  return true;
}

bool bytes_append(struct bytes *bytes, const void *data, size_t len) {
  if (len == 0) return true;
  if (bytes->start + bytes->len + len > bytes->capacity) {
    if (bytes->len > 0) to_front(bytes);
    if (!grow(bytes, bytes->len + len)) return false;
  }
  memcpy(bytes->memory + bytes->start + bytes->len, data, len);
  bytes->len += len;
  return true;
}

void bytes_drop(struct bytes *bytes, size_t len) {
  bytes->start += len;
  bytes->len -= len;
  if (bytes->len == 0) bytes_free(bytes);
}

void bytes_free(struct bytes *bytes) {
  free(bytes->memory);
  *bytes = (struct bytes){0};
}
