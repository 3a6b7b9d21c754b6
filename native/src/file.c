#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "identity.h"
#include "rowlock.h"
#include "valve/node.h"

enum { NAME_SIZE = 96, LOCK_TRIES = 1000 };

static int header_now(const struct file_kind *kind, struct vlv_header *header) {
  *header = (struct vlv_header){.magic = kind->magic,
                                .layout_version = VLV_LAYOUT_VERSION,
                                .file_size = kind->size,
                                .layout_minor = VLV_LAYOUT_MINOR};
  int error = boot_id_read(header->boot_id);
  return error < 0 ? error : monotonic_offset_read(&header->monotonic_offset_ns);
}

/* The boot comes before version and size: what another boot left is replaced, whatever version wrote it. */
static int header_check(const struct vlv_header *found, const struct file_kind *kind, off_t size) {
  struct vlv_header ours;
  int error = header_now(kind, &ours);
  if (error < 0) return error;
  if (found->magic != ours.magic) return -EPROTO;
  if (memcmp(found->boot_id, ours.boot_id, sizeof ours.boot_id) != 0) return -ESTALE;
  if (found->layout_version != ours.layout_version) return -EPROTONOSUPPORT;
  if (found->file_size != kind->size || size != (off_t)kind->size) return -EPROTO;
  return found->monotonic_offset_ns == ours.monotonic_offset_ns ? 0 : -EXDEV;
}

static int file_check(int fd, const struct file_kind *kind) {
  struct stat status;
  struct vlv_header header;
  if (fstat(fd, &status) != 0) return -errno;
  if (!S_ISREG(status.st_mode)) return -EPROTO;
  ssize_t length = pread(fd, &header, sizeof header, 0);
  if (length < 0) return -errno;
  if (length != (ssize_t)sizeof header) return -EPROTO;
  return header_check(&header, kind, status.st_size);
}

/* O_NONBLOCK: a FIFO of that name must not hang us. */
static int file_open_existing(int directory_fd, const struct file_kind *kind, bool writable) {
  int flags = (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
  int fd = openat(directory_fd, kind->name, flags);
  if (fd < 0) return errno == ELOOP || errno == EISDIR || errno == ENXIO ? -EPROTO : -errno;
  int error = file_check(fd, kind);
  if (error == 0) return fd;
  close(fd);
  return error;
}

/* EPERM: we are not in that group; EINVAL: it has no number in our user namespace (rootless containers). */
static int take_group(int fd, gid_t group) {
  bool taken = fchown(fd, (uid_t)-1, group) == 0 || errno == EPERM || errno == EINVAL;
  return taken ? 0 : -errno;
}

/* Who may use the directory may use the file: 0700 -> 0600, 0770 -> 0660, 0755 -> 0644. Never world-writable.
 */
static int take_mode_of_directory(int directory_fd, int fd) {
  struct stat directory;
  if (fstat(directory_fd, &directory) != 0) return -errno;
  int error = take_group(fd, directory.st_gid);
  if (error < 0) return error;
  return fchmod(fd, (directory.st_mode & 0664) | 0600) == 0 ? 0 : -errno;
}

/* Every block is allocated now, so that a full disk is an error here and not a SIGBUS later. */
static int fill(int directory_fd, int fd, const struct file_kind *kind) {
  struct vlv_header header;
  int error = header_now(kind, &header);
  if (error < 0) return error;
  error = -posix_fallocate(fd, 0, kind->size);
  if (error < 0) return error;
  ssize_t length = pwrite(fd, &header, sizeof header, 0);
  if (length != (ssize_t)sizeof header) return length < 0 ? -errno : -ENOSPC;
  return take_mode_of_directory(directory_fd, fd);
}

static int create_temporary(int directory_fd, const struct file_kind *kind, char name[NAME_SIZE]) {
  snprintf(name, NAME_SIZE, ".%s.%d.%llx", kind->name, (int)getpid(), (unsigned long long)vlv_now_ns());
  int fd = openat(directory_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return -errno;
  int error = fill(directory_fd, fd, kind);
  close(fd);
  if (error < 0) unlinkat(directory_fd, name, 0);
  return error;
}

/* link() refuses if somebody else was first: then theirs is used. */
static int file_create(int directory_fd, const struct file_kind *kind) {
  char name[NAME_SIZE];
  int error = create_temporary(directory_fd, kind, name);
  if (error < 0) return error;
  if (linkat(directory_fd, name, directory_fd, kind->name, 0) != 0 && errno != EEXIST) error = -errno;
  unlinkat(directory_fd, name, 0);
  return error;
}

/* 0 if it may be replaced. A file that somebody owns a row of cannot be from another boot: it is damaged. */
static int check_unused(int directory_fd, const struct file_kind *kind) {
  int fd = openat(directory_fd, kind->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return -errno;
  int locked = any_byte_is_locked(fd);
  close(fd);
  return locked > 0 ? -EPROTO : locked;
}

static bool is_stale(int directory_fd, const struct file_kind *kind) {
  int fd = file_open_existing(directory_fd, kind, false);
  if (fd >= 0) close(fd);
  return fd == -ESTALE;
}

static int replace(int directory_fd, const struct file_kind *kind) {
  char name[NAME_SIZE];
  int error = check_unused(directory_fd, kind);
  if (error < 0) return error;
  error = create_temporary(directory_fd, kind, name);
  if (error < 0) return error;
  if (renameat(directory_fd, name, directory_fd, kind->name) == 0) return 0;
  error = -errno;
  unlinkat(directory_fd, name, 0);
  return error;
}

static int lock_directory(int directory_fd) {
  const struct timespec millisecond = {.tv_nsec = 1000000};
  for (int tries = 0; tries < LOCK_TRIES; tries++) {
    if (flock(directory_fd, LOCK_EX | LOCK_NB) == 0) return 0;
    if (errno != EWOULDBLOCK && errno != EINTR) return -errno;
    nanosleep(&millisecond, NULL);
  }
  return -EBUSY;
}

/* Under a lock, and looked at again: the second of two that find a stale file must not replace the first
 * one's new file, which already has users. */
static int replace_stale(int directory_fd, const struct file_kind *kind) {
  int error = lock_directory(directory_fd);
  if (error < 0) return error;
  if (is_stale(directory_fd, kind)) error = replace(directory_fd, kind);
  flock(directory_fd, LOCK_UN);
  return error;
}

int file_open(int directory_fd, const struct file_kind *kind, bool writable, bool create) {
  int fd = -EAGAIN;
  for (int tries = 0; tries < 8; tries++) { /* again only if others create and remove under our eyes */
    fd = file_open_existing(directory_fd, kind, writable);
    if (!create || (fd != -ENOENT && fd != -ESTALE)) return fd;
    int error = fd == -ENOENT ? file_create(directory_fd, kind) : replace_stale(directory_fd, kind);
    if (error < 0) return error;
  }
  return fd;
}

/* Populated at once: no page fault later on the way of a request. */
int file_map(int fd, const struct file_kind *kind, bool writable, void **out) {
  int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  void *address = mmap(NULL, kind->size, protection, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (address == MAP_FAILED) return -errno;
  *out = address;
  return 0;
}
