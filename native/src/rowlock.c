#include "rowlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "valve/ledger.h"
#include "valve/node.h"

const struct row_table holder_rows = {offsetof(struct vlv_holders_file, rows), sizeof(struct vlv_holder_row),
                                      VLV_HOLDERS_MAX};
const struct row_table tenant_rows = {offsetof(struct vlv_tenants_file, rows), sizeof(struct vlv_tenant_row),
                                      VLV_TENANTS_MAX};
const struct row_table party_rows = {offsetof(struct vlv_pages_file, rows), sizeof(struct vlv_party_row),
                                     VLV_PARTIES_MAX};

static struct flock byte_range(short type, size_t offset) {
  return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)offset, .l_len = 1};
}

static int set_lock(int fd, short type, size_t offset) {
  struct flock range = byte_range(type, offset);
  return fcntl(fd, F_OFD_SETLK, &range) == 0 ? 0 : -errno;
}

/* Through /proc the very same file is opened, even if its name belongs to another one by now. */
static int open_again(int fd) {
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  int again = open(path, O_RDWR | O_CLOEXEC);
  return again >= 0 ? again : -errno;
}

static int lock_any(int fd, const struct row_table *table, uint32_t *row) {
  for (uint32_t i = 0; i < table->rows; i++) {
    int error = set_lock(fd, F_WRLCK, row_offset(table, i));
    *row = i;
    if (error == 0) return 0;
    if (error != -EAGAIN && error != -EACCES) return error;
  }
  return -ENOSPC;
}

int row_take(int file_fd, const struct row_table *table, uint32_t *row, int *lock_fd) {
  int fd = open_again(file_fd);
  if (fd < 0) return fd;
  int error = lock_any(fd, table, row);
  if (error < 0) {
    close(fd);
    return error;
  }
  *lock_fd = fd;
  return 0;
}

/* Asks as a reader would: only a write lock conflicts, and that takes write permission on the file. */
static int is_locked(int fd, struct flock range) {
  if (fcntl(fd, F_OFD_GETLK, &range) != 0) return -errno;
  return range.l_type == F_UNLCK ? 0 : 1;
}

/* A host that closes descriptors which it does not know has other files under their numbers later. */
static bool is_segment_file(int fd) {
  struct stat file;
  if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode)) return false;
  return file.st_size == sizeof(struct vlv_holders_file) || file.st_size == sizeof(struct vlv_tenants_file) ||
         file.st_size == sizeof(struct vlv_pages_file);
}

int byte_is_locked(int fd, size_t offset) {
  return is_segment_file(fd) ? is_locked(fd, byte_range(F_RDLCK, offset)) : -EBADF;
}

int any_byte_is_locked(int fd) {
  return is_locked(fd, (struct flock){.l_type = F_RDLCK});
}

int byte_lock(int fd, size_t offset) {
  const struct timespec millisecond = {.tv_nsec = 1000000};
  for (int tries = 0; tries < 1000; tries++) {
    int error = set_lock(fd, F_WRLCK, offset);
    if (error != -EAGAIN && error != -EACCES) return error;
    nanosleep(&millisecond, NULL);
  }
  return -EBUSY;
}

void byte_unlock(int fd, size_t offset) {
  set_lock(fd, F_UNLCK, offset);
}
