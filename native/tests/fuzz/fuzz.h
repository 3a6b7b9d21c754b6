/* fuzz.h - what a fuzz target offers. */
#ifndef VALVE_TESTS_FUZZ_FUZZ_H
#define VALVE_TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "mutate.h"

/* A broken rule ends the run like a sanitizer's finding. */
#define REQUIRE(condition)                                                    \
  do {                                                                        \
    if (!(condition)) {                                                       \
      fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                                \
    }                                                                         \
  } while (0)

struct target {
  const char *name;
  void (*begin)(void);
  bool (*once)(uint64_t *random); /* one execution; true: the input was accepted as whole */
  void (*end)(void);
};

/* A copy that ends where its memory does, so that a sanitizer sees a byte too much. To be freed. */
static inline char *exact(const char *data, size_t len) {
  char *copy = malloc(len > 0 ? len : 1);
  if (copy == NULL) abort();
  memcpy(copy, data, len);
  return copy;
}

extern const struct target head_target, body_target, stream_target, segment_target, observer_target;

#endif
