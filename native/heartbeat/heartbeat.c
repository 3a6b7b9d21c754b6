/* heartbeat.c - an independent witness: threads inside a tenant that log every moment in which they did not
 * run.
 *
 * Each thread does nothing but read CLOCK_MONOTONIC. Whenever two successive readings lie further apart than
 * `gap_ns`, it writes both to its ring in a shared file. A thread that was stopped from S to R has read the
 * clock before S and after R and never between, so one logged interval covers [S, R]; if instead it made any
 * progress in there, no interval does. It shares no code with the runtime whose work it witnesses, and it
 * stands alone so that the load generator can load it with ctypes into any process.
 *
 * The file: struct heartbeat_header, then per thread struct heartbeat_thread followed by `ring_size` times
 * struct heartbeat_gap. Native byte order. Read it from outside at any time: `gaps` is stored after the
 * entry.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))
#define HEARTBEAT_MAGIC 0x31425248564c56ull /* "VLVHRB1" */
#define HEARTBEAT_THREADS_MAX 64u
#define HEARTBEAT_RING 65536u

struct heartbeat_header { /* 64 bytes */
  uint64_t magic;         /* stored last: a reader that sees it sees the rest */
  uint32_t thread_count;
  uint32_t ring_size;
  uint64_t gap_ns; /* shorter intervals are not logged */
  uint8_t reserved[40];
};

struct heartbeat_thread {   /* 64 bytes */
  _Atomic uint64_t beat_ns; /* the latest reading */
  _Atomic uint64_t gaps;    /* intervals ever logged; ring[i % ring_size] */
  uint64_t tid;
  uint8_t reserved[40];
};

struct heartbeat_gap {
  uint64_t start_ns, end_ns; /* the readings on both sides */
};

_Static_assert(sizeof(struct heartbeat_header) == 64, "layout");
_Static_assert(sizeof(struct heartbeat_thread) == 64, "layout");

static uint64_t threshold_ns;

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static void log_gap(struct heartbeat_thread *thread, uint64_t start_ns, uint64_t end_ns) {
  struct heartbeat_gap *ring = (struct heartbeat_gap *)(thread + 1);
  uint64_t index = atomic_load_explicit(&thread->gaps, memory_order_relaxed);
  ring[index % HEARTBEAT_RING] = (struct heartbeat_gap){start_ns, end_ns};
  atomic_store_explicit(&thread->gaps, index + 1, memory_order_release);
}

static void *beat(void *argument) {
  struct heartbeat_thread *thread = argument;
  thread->tid = (uint64_t)syscall(SYS_gettid);
  for (uint64_t last_ns = now_ns();;) {
    uint64_t next_ns = now_ns();
    if (next_ns - last_ns > threshold_ns) log_gap(thread, last_ns, next_ns);
    atomic_store_explicit(&thread->beat_ns, next_ns, memory_order_release);
    last_ns = next_ns;
  }
  return NULL;
}

/* Creates the file at `path`, maps it whole. 0 or -errno. */
static int map_file(const char *path, size_t size, void **out) {
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return -errno;
  int error = posix_fallocate(fd, 0, (off_t)size); /* a full disk must fail here, not as SIGBUS later */
  void *map = error ? MAP_FAILED : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (!error && map == MAP_FAILED) error = errno;
  close(fd);
  *out = map;
  return -error;
}

/* Starts `threads` beating threads that log into the file `path`; they run until the process ends. Returns
 * once each has read the clock, so that it witnesses every later stop.
 * 0 or -errno (-EINVAL: threads not in 1..64). To be called once in a process. */
API int vlv_heartbeat_start(const char *path, uint32_t threads, uint64_t gap_ns) {
  const size_t stride = sizeof(struct heartbeat_thread) + HEARTBEAT_RING * sizeof(struct heartbeat_gap);
  if (threads < 1 || threads > HEARTBEAT_THREADS_MAX) return -EINVAL;
  void *map;
  int error = map_file(path, sizeof(struct heartbeat_header) + threads * stride, &map);
  if (error) return error;
  threshold_ns = gap_ns;
  for (uint32_t i = 0; i < threads; i++) {
    pthread_t thread;
    char *block = (char *)map + sizeof(struct heartbeat_header) + i * stride;
    error = pthread_create(&thread, NULL, beat, block);
    if (error) return -error;
    pthread_detach(thread);
    while (atomic_load_explicit(&((struct heartbeat_thread *)block)->beat_ns, memory_order_acquire) == 0)
      usleep(50);
  }
  struct heartbeat_header *header = map;
  header->thread_count = threads;
  header->ring_size = HEARTBEAT_RING;
  header->gap_ns = gap_ns;
  atomic_thread_fence(memory_order_release);
  header->magic = HEARTBEAT_MAGIC;
  return 0;
}
