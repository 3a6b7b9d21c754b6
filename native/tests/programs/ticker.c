/* A tenant that computes a little and says when: ticker FILE. Two processes beat every four milliseconds into
 * a ring of CLOCK_MONOTONIC stamps each. The test tells them by the file to fork a lot, or to be hard to
 * freeze.
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RING 65536u
#define PROCESSES 2

struct ring {
  _Atomic uint64_t count;
  _Atomic uint64_t beats_ns[RING];
};

struct file {
  _Atomic uint32_t hinder; /* the test's word: 1: a thread waits in the kernel where no freezer finds it */
  _Atomic uint32_t forks;  /* 1: children are born all the time */
  struct ring rings[PROCESSES];
};

static struct file *file;

static void beat(struct ring *ring) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  uint64_t count = atomic_load(&ring->count);
  atomic_store(&ring->beats_ns[count % RING], (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec);
  atomic_store(&ring->count, count + 1);
}

static void rest(void) {
  nanosleep(&(struct timespec){.tv_nsec = 4000000}, NULL);
}

/* ---- hard to freeze ---- */

static char *page;
static int faults;

/* A write(2) from a page that is not there waits for whoever fills it, in a sleep that signals do not end. */
static void *wait_in_kernel(void *unused) {
  int pipes[2];
  char drain[64];
  (void)unused;
  if (pipe(pipes) != 0) return NULL;
  for (;;) {
    while (atomic_load(&file->hinder) == 0) rest();
    madvise(page, 4096, MADV_DONTNEED);
    if (write(pipes[1], page, sizeof drain) > 0 && read(pipes[0], drain, sizeof drain) < 0) return NULL;
  }
}

static void *fill(void *unused) {
  (void)unused;
  for (;;) {
    struct uffd_msg message;
    struct pollfd waiting = {.fd = faults, .events = POLLIN};
    if (poll(&waiting, 1, -1) < 1 || read(faults, &message, sizeof message) != sizeof message) continue;
    while (atomic_load(&file->hinder) != 0) rest();
    struct uffdio_zeropage zero = {.range = {(uintptr_t)page, 4096}};
    ioctl(faults, UFFDIO_ZEROPAGE, &zero);
  }
  return NULL;
}

static void become_hard_to_freeze(void) {
  pthread_t thread;
  struct uffdio_api api = {.api = UFFD_API};
  faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
  page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct uffdio_register range = {.range = {(uintptr_t)page, 4096}, .mode = UFFDIO_REGISTER_MODE_MISSING};
  if (faults < 0 || ioctl(faults, UFFDIO_API, &api) != 0) return; /* not allowed here */
  if (ioctl(faults, UFFDIO_REGISTER, &range) != 0) return;
  pthread_create(&thread, NULL, wait_in_kernel, NULL);
  pthread_create(&thread, NULL, fill, NULL);
}

/* ---- births ---- */

static void give_birth(void) {
  pid_t child = fork();
  if (child == 0) _exit(0);
  if (child > 0) waitpid(child, NULL, 0);
}

int main(int count, char **arguments) {
  int fd = count > 1 ? open(arguments[1], O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
  if (fd < 0 || ftruncate(fd, sizeof *file) != 0) return 1;
  file = mmap(NULL, sizeof *file, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (file == MAP_FAILED) return 1;
  pid_t child = fork();
  struct ring *ring = &file->rings[child == 0];
  if (child == 0) prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (child != 0) become_hard_to_freeze();
  for (;; rest()) {
    beat(ring);
    if (atomic_load(&file->forks) != 0) give_birth();
  }
}
