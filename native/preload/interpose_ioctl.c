/* ioctl(2): the application's calls to the GPU's driver are read once they have returned. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "next.h"
#include "observer.h"
#include "shim.h"
#include "valve/node.h"

typedef int ioctl_function(int fd, unsigned long request, ...);

/* Found at the first call, which may come before any constructor. */
static ioctl_function *next_ioctl(void) {
  static _Atomic(ioctl_function *) known;
  ioctl_function *next = atomic_load_explicit(&known, memory_order_relaxed);
  if (next != NULL) return next;
  next = (ioctl_function *)next_symbol("ioctl");
  atomic_store_explicit(&known, next, memory_order_relaxed);
  return next;
}

static int pass_on(int fd, unsigned long request, void *argument) {
  ioctl_function *next = next_ioctl();
  return next != NULL ? next(fd, request, argument) : (int)syscall(SYS_ioctl, fd, request, argument);
}

VLV_API int ioctl(int fd, unsigned long request, ...) {
  va_list arguments;
  va_start(arguments, request);
  void *argument = va_arg(arguments, void *);
  va_end(arguments);
  int result = pass_on(fd, request, argument);
  if (observer_wants(request)) shim_saw_ioctl(fd, request, argument, result);
  return result;
}
