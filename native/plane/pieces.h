/* pieces.h - stretches of memory to be sent in one system call; neighbours become one. */
#ifndef VALVE_PIECES_H
#define VALVE_PIECES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#define PIECES_MAX 64

struct pieces {
  struct iovec vectors[PIECES_MAX];
  int count;
  size_t total;
};

static inline bool pieces_room(const struct pieces *pieces, int needed) {
  return pieces->count + needed <= PIECES_MAX;
}

static inline void pieces_add(struct pieces *pieces, const void *data, size_t len) {
  if (len == 0) return;
  struct iovec *last = &pieces->vectors[pieces->count > 0 ? pieces->count - 1 : 0];
  bool follows = pieces->count > 0 && (const char *)last->iov_base + last->iov_len == (const char *)data;
  if (follows)
    last->iov_len += len;
  else
    pieces->vectors[pieces->count++] = (struct iovec){(void *)data, len};
  pieces->total += len;
}

#endif
