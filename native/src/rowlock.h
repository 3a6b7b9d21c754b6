/* rowlock.h - who owns a row: an OFD write lock on the row's first byte of the file. */
#ifndef VALVE_ROWLOCK_H
#define VALVE_ROWLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct row_table { /* where the rows of one file lie */
  size_t first_offset;
  size_t row_size;
  uint32_t rows;
};

extern const struct row_table holder_rows;
extern const struct row_table tenant_rows;
extern const struct row_table party_rows;

static inline size_t row_offset(const struct row_table *table, uint32_t row) {
  return table->first_offset + (size_t)row * table->row_size;
}

/* Locks a row that nobody owns. *row and *lock_fd: the row, and a descriptor of the open file description
 * that has the lock (one of its own, because locks of one description never conflict with each other).
 * -ENOSPC when every row is owned. */
int row_take(int file_fd, const struct row_table *table, uint32_t *row, int *lock_fd);

/* 1 if somebody else's description holds a write lock on that byte, 0 if not, -errno; -EBADF: `fd` is not a
 * segment's file (any more). */
int byte_is_locked(int fd, size_t offset);
int any_byte_is_locked(int fd);
/* For moments only (the device table): waits up to a second, then -EBUSY. */
int byte_lock(int fd, size_t offset);
void byte_unlock(int fd, size_t offset);

#endif
