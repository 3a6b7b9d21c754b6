/* Another process that gates a GPU program by itself: the sidecar-direct path. It gets the program's
 * /dev/nvidiactl by pidfd_getfd(2), and nothing else from it: stranger PID FD CLIENT SUBDEVICE CYCLES
 * FIRST_CHANNEL CHANNELS. Prints nanoseconds of each closing call, one per line; with FD -1 an open file of
 * its own is tried, and RM's answer printed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "rm.h"

static int borrow(pid_t pid, int fd) {
  int process = (int)syscall(SYS_pidfd_open, pid, 0);
  return process < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, process, fd, 0);
}

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint32_t disable(int fd, struct rm_control *control, struct rm_disable_channels *params, bool off) {
  params->disable = off;
  return ioctl(fd, RM_IOCTL_CONTROL, control) == 0 ? control->status : UINT32_MAX;
}

static uint32_t cycle(int fd, struct rm_control *control, struct rm_disable_channels *params) {
  uint64_t begin_ns = now_ns();
  uint32_t status = disable(fd, control, params, true);
  printf("%lu\n", (unsigned long)(now_ns() - begin_ns));
  return status != RM_OK ? status : disable(fd, control, params, false);
}

int main(int count, char **arguments) {
  long number[8] = {0};
  for (int i = 1; i < count && i < 8; i++) number[i] = strtol(arguments[i], NULL, 0);
  int fd = number[2] < 0 ? open("/dev/nvidiactl", O_RDWR) : borrow((pid_t)number[1], (int)number[2]);
  if (count != 8 || fd < 0) return fprintf(stderr, "stranger: error %d\n", errno), 2;
  struct rm_disable_channels params = {.channel_count = (uint32_t)number[7]};
  for (uint32_t i = 0; i < params.channel_count; i++) {
    params.clients[i] = (rm_handle)number[3];
    params.channels[i] = (rm_handle)number[6] + i;
  }
  struct rm_control control = {.client = (rm_handle)number[3],
                               .object = (rm_handle)number[4],
                               .command = RM_CONTROL_DISABLE_CHANNELS,
                               .params = (uintptr_t)&params,
                               .params_size = sizeof params};
  uint32_t status = RM_OK;
  for (long i = 0; i < number[5] && status == RM_OK; i++) status = cycle(fd, &control, &params);
  fprintf(stderr, "0x%x\n", status);
  return status == RM_OK ? 0 : 1;
}
