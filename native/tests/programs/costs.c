/* What calls cost a program that nobody stops: costs CALLS. Prints nanoseconds per ioctl to the driver and
 * per launch, both of which the fake refuses at once, so that the rest of it weighs little.
 */
#include <fcntl.h>
#include <time.h>

#include "cuda.h"
#include "rm.h"

static int control_fd;

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void make_ioctl(void) {
  struct rm_control control = {.client = 1, .object = 1, .command = 1};
  ioctl(control_fd, RM_IOCTL_CONTROL, &control);
}

static void make_launch(void) {
  cuLaunchKernel(NULL, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL);
}

static double time_calls(void (*make_call)(void), int calls) {
  uint64_t begin_ns = now_ns();
  for (int i = 0; i < calls; i++) make_call();
  return (double)(now_ns() - begin_ns) / calls;
}

int main(int count, char **arguments) {
  int calls = count > 1 ? atoi(arguments[1]) : 100000;
  control_fd = open("/dev/nvidiactl", O_RDWR);
  time_calls(make_launch, 100); /* finds the function below */
  double ioctl_ns = time_calls(make_ioctl, calls), launch_ns = time_calls(make_launch, calls);
  printf("%.1f %.1f\n", ioctl_ns, launch_ns);
  return 0;
}
