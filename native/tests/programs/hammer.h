/* hammer.h - what an engine on the fake GPU tells about its KV pool, in a file that the test maps too. */
#ifndef VALVE_TESTS_HAMMER_H
#define VALVE_TESTS_HAMMER_H

#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

struct hammer {
  _Atomic uint32_t ready;  /* the pool is there */
  _Atomic uint32_t pause;  /* the test's word: launch nothing */
  _Atomic uint32_t leave;  /* free everything and end */
  _Atomic uint32_t paused; /* the program's answer to both */
  _Atomic uint32_t demand; /* online: pages to use */
  _Atomic uint64_t rounds; /* kernels that were checked */
  _Atomic uint64_t losses; /* contents that went, and the table said so */
  /* What must not be: */
  _Atomic uint64_t foreign; /* another process's bytes were seen */
  _Atomic uint64_t silent;  /* contents went, and the table said nothing */
};

static inline struct hammer *hammer_open(const char *path) {
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, sizeof(struct hammer)) != 0) return NULL;
  void *memory = mmap(NULL, sizeof(struct hammer), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  return memory == MAP_FAILED ? NULL : memory;
}

#endif
