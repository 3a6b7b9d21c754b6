/* The world of the ledger's interleaving test: two pages, three rows, and parties that run the library's own
 * page.c one shared access at a time (interleaving_replay.h). */
#ifndef VALVE_TESTS_LEDGER_WORLD_H
#define VALVE_TESTS_LEDGER_WORLD_H

#include <string.h>

#include "valve/ledger.h"

#undef VLV_PARTIES_MAX
#define VLV_PARTIES_MAX 3u
#define VLV_WORDS_HEADER "ledger_words.h"
#include "../src/page.c"

enum { PAGES = 2, ROWS = 3, THREADS_MAX = 4, LOG_MAX = 120 };

enum status { READY, CRASHED };

struct log_of_thread {
  uint8_t status, operation, length, rest[5];
  uint64_t entries[LOG_MAX];
};

struct world {
  uint64_t words[PAGES];
  uint8_t owner[ROWS];         /* who holds the row's lock: thread + 1; 0 nobody */
  uint8_t memory[THREADS_MAX]; /* bits of pages: the memory that a thread can touch */
  uint8_t mail_from[PAGES];    /* row + 1 that sent the page's memory; 0: none is on its way */
  uint8_t mail_to[PAGES];
  uint8_t rest[5];
  struct log_of_thread threads[THREADS_MAX];
};

enum mutant {
  FAITHFUL,
  STORE_INSTEAD_OF_SWAP, /* a word is changed whatever it is */
  NO_COUNT,              /* words do not tell one lease from a later one of the same row */
  NO_SECOND_SUM,         /* whoever leases does not look at the sum afterwards */
  KEEPS_OLD_PAGES,       /* a successor does not free what its row is named in */
  LOCK_BEFORE_WORD,      /* a sweeper looks at the lock first and at the word then */
  LIVING_TAKEN_AS_DEAD,
  ORPHANS_IN_THE_MAIL, /* a receiver frees what a dead one handed, although its memory is on its way */
  MUTANTS,
};

static enum mutant mutant;
static struct world world;
static const char *wrong;

static struct vlv_pages_file file;
static struct vlv_ledger shared = {.fd = -1, .file = &file};
static struct vlv_party parties[THREADS_MAX];

/* NO_SECOND_SUM: the operation is a lease, and a swap of it has succeeded. */
static bool leases, has_leased;
static int first_look[ROWS]; /* LOCK_BEFORE_WORD: what the operation's first look at the lock showed, + 1 */
const struct row_table party_rows = {0, 1, ROWS};

#define TEST "test_ledger_interleaving"
#include "interleaving_replay.h"

/* ---- shared words ---- */

static uint64_t *word_of(const VLV_ATOMIC(uint64_t) * word) {
  return &world.words[word - file.pages];
}

/* Roles, limit and shares are the scenario's and do not change. */
uint32_t load32(const VLV_ATOMIC(uint32_t) * word) {
  return atomic_load(word);
}

uint64_t load64(const VLV_ATOMIC(uint64_t) * word) {
  if (mutant == NO_SECOND_SUM && has_leased) return 0;
  return happens(true) ? tell(*word_of(word)) : told();
}

static bool may_swap(uint64_t now, uint64_t expected) {
  if (mutant == STORE_INSTEAD_OF_SWAP) return true;
  return mutant == NO_COUNT ? (uint32_t)now == (uint32_t)expected : now == expected;
}

bool swap64(VLV_ATOMIC(uint64_t) * word, uint64_t expected, uint64_t value) {
  if (happens(true)) {
    bool done = may_swap(*word_of(word), expected);
    if (done) *word_of(word) = value;
    tell(done);
  }
  has_leased = has_leased || (leases && told() != 0);
  return told() != 0;
}

int vlv_party_alive(const struct vlv_ledger *ledger, uint32_t row) {
  (void)ledger;
  if (happens(true)) tell(world.owner[row] != 0 && mutant != LIVING_TAKEN_AS_DEAD);
  if (first_look[row] == 0) first_look[row] = (int)told() + 1;
  return mutant == LOCK_BEFORE_WORD ? first_look[row] - 1 : (int)told();
}

void vlv_ledger_announce(struct vlv_ledger *ledger) {
  (void)ledger;
}

#endif
