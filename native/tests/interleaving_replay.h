/* How a thread of an interleaving test is stopped between two accesses and copied: every access and its
 * result is logged. To make one step, the thread's present operation (one close, one lease, ...) is run from
 * its beginning; accesses in the log are answered from it and change nothing, the next one is done for real
 * and logged, and when the code asks for the one after that, longjmp() leaves it. So a thread is its
 * operation's number and a log: plain data.
 *
 * The access that a step does for real may be followed by silent ones: those to words that no other thread
 * reads or that nobody writes.
 *
 * Whoever includes it has, before: `TEST`, LOG_MAX, and `world.threads[]` with `operation` (how many are
 * done), `length` and `entries`. */
#ifndef VALVE_TESTS_INTERLEAVING_REPLAY_H
#define VALVE_TESTS_INTERLEAVING_REPLAY_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "interleaving_hash.h"

static int current;  /* the thread that runs */
static int position; /* accesses of its operation so far */
static bool moved;   /* its step is done: the next access ends it */
static jmp_buf step_is_over;
static bool direct; /* nothing is logged, all of an operation is done at once */
static uint64_t direct_value;

/* The test itself is too small for the scenario. */
static _Noreturn void give_up(const char *what) {
  fprintf(stderr, TEST ": %s is too small\n", what);
  exit(2);
}

/* false: it is in the log, told() has its value. */
static bool happens(bool is_step) {
  if (direct) return true;
  struct log_of_thread *log = &world.threads[current];
  if (position < log->length) {
    position++;
    return false;
  }
  if (is_step && moved) longjmp(step_is_over, 1);
  moved = moved || is_step;
  return true;
}

static uint64_t told(void) {
  return direct ? direct_value : world.threads[current].entries[position - 1];
}

static uint64_t tell(uint64_t value) {
  direct_value = value;
  if (direct) return value;
  struct log_of_thread *log = &world.threads[current];
  if (log->length == LOG_MAX) give_up("LOG_MAX");
  log->entries[log->length++] = value;
  position++;
  return value;
}

static void forget_log(struct log_of_thread *log) {
  memset(log->entries, 0, log->length * sizeof log->entries[0]);
  log->length = 0;
}

/* `world` without what the logs do not fill. Odd, never 0. */
static uint64_t hash_world(void) {
  uint64_t hash = hash_more(1, &world, offsetof(struct world, threads));
  for (int t = 0; t < THREADS_MAX; t++) {
    const struct log_of_thread *log = &world.threads[t];
    hash = hash_more(hash, log, offsetof(struct log_of_thread, entries));
    hash = hash_more(hash, log->entries, log->length * sizeof log->entries[0]);
  }
  return hash | 1;
}

#endif
