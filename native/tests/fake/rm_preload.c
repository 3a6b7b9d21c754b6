/* The fake's way into a process: opens of NVIDIA's device files give memory files, and ioctls on those are
 * answered. Everything else goes to the C library. Other device files are there to be opened, no more.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rm_calls.h"

#define EXPORT __attribute__((visibility("default")))

static bool is_nvidia(const char *path) {
  return path != NULL && strncmp(path, "/dev/nvidia", strlen("/dev/nvidia")) == 0;
}

static int open_nvidia(const char *path, int flags) {
  const char *name = path + strlen("/dev/");
  if (strcmp(name, "nvidiactl") == 0) return rm_file_open((flags & O_CLOEXEC) != 0);
  int fd = memfd_create(name, (flags & O_CLOEXEC) ? MFD_CLOEXEC : 0);
  if (fd >= 0 && ftruncate(fd, 4096) != 0) return -1;
  return fd;
}

static int open_any(int directory, const char *path, int flags, mode_t mode) {
  if (is_nvidia(path)) return open_nvidia(path, flags);
  return (int)syscall(SYS_openat, directory, path, flags, mode);
}

#define READ_MODE                                                   \
  mode_t mode = 0;                                                  \
  if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE) { \
    va_list arguments;                                              \
    va_start(arguments, flags);                                     \
    mode = va_arg(arguments, mode_t);                               \
    va_end(arguments);                                              \
  }

EXPORT int open(const char *path, int flags, ...) {
  READ_MODE
  return open_any(AT_FDCWD, path, flags, mode);
}

EXPORT int open64(const char *path, int flags, ...) {
  READ_MODE
  return open_any(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}

EXPORT int openat(int directory, const char *path, int flags, ...) {
  READ_MODE
  return open_any(directory, path, flags, mode);
}

EXPORT int ioctl(int fd, unsigned long request, ...) {
  va_list arguments;
  va_start(arguments, request);
  void *argument = va_arg(arguments, void *);
  va_end(arguments);
  struct rm_file *file = _IOC_TYPE(request) == RM_ESCAPE ? rm_file_of(fd) : NULL;
  if (file == NULL) return (int)syscall(SYS_ioctl, fd, request, argument);
  int error = rm_answer(file, _IOC_NR(request), _IOC_SIZE(request), argument);
  if (error < 0) errno = -error;
  return error < 0 ? -1 : 0;
}
