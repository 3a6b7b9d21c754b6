/* board.h - what a program on the fake GPU and the test that stops it share: a file, mapped by both. */
#ifndef VALVE_TESTS_BOARD_H
#define VALVE_TESTS_BOARD_H

#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

struct board {
  _Atomic uint64_t beat;    /* moved by kernels and copies, and by nothing else */
  _Atomic uint32_t ready;   /* the program has begun its work */
  _Atomic uint32_t done;    /* it has ended well */
  _Atomic uint64_t result;  /* of all its work: the same at each undisturbed run */
  _Atomic uint32_t go;      /* the test's word to a program that waits for it */
  _Atomic uint32_t told[8]; /* the program's to the test */
};

static inline struct board *board_open(const char *path) {
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, sizeof(struct board)) != 0) return NULL;
  void *memory = mmap(NULL, sizeof(struct board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  return memory == MAP_FAILED ? NULL : memory;
}

#endif
