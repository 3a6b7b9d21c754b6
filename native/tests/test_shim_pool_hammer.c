/* Three engines hammer their pools while the share of the online side moves at random, the gate opens and
 * closes, and one of them is killed now and then. No address may be unmapped under a kernel (it would kill
 * the engine), nobody may see another's bytes, contents may go only if the table says so (online: never), and
 * whenever it comes to rest, every page and descriptor is accounted for.
 *
 * For eight seconds and until pages have been given back a few times, or HAMMER_RECLAIMS times. */
#include "pool_stage.h"

enum { ENGINES = 3, LIMIT = 32, TENANT_PAGES = 24, SETTLE_EVERY = 100, KILL_EVERY = 150 };

#define HAMMER_NS 8000000000ull
#define RECLAIMS_MIN 10 /* however slow the machine is */

static struct engine engines[ENGINES] = {{.number = 0, .online = true, .pages = LIMIT},
                                         {.number = 1, .pages = TENANT_PAGES},
                                         {.number = 2, .pages = TENANT_PAGES}};
static int descriptors[ENGINES]; /* of each engine, but for those of its pages; -1: not counted yet */
static uint64_t reclaims_of_dead, reclaimed_of_dead;
static uint32_t random_state = 0x2545f491;

static uint32_t next_random(uint32_t below) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 17;
  random_state ^= random_state << 5;
  return random_state % below;
}

/* ---- counting ---- */

static const struct vlv_party_row *party_of(const struct engine *engine) {
  for (uint32_t i = 0; i < VLV_PARTIES_MAX; i++) {
    const struct vlv_party_row *row = &vlv_ledger_file(ledger)->rows[i];
    if (row->owner_pid == (uint64_t)engine->pid && vlv_party_alive(ledger, i) == 1) return row;
  }
  return NULL;
}

static uint64_t reclaims(void) {
  uint64_t sum = reclaims_of_dead;
  for (int i = 0; i < ENGINES; i++)
    if (party_of(&engines[i]) != NULL) sum += party_of(&engines[i])->reclaims;
  return sum;
}

static int count_descriptors(pid_t pid) {
  char path[64];
  int count = 0;
  snprintf(path, sizeof path, "/proc/%d/fd", pid);
  DIR *directory = opendir(path);
  CHECK(directory != NULL);
  while (readdir(directory) != NULL) count++;
  closedir(directory);
  return count;
}

/* A page in the range is one descriptor of the fake driver's. */
static bool has_no_more_descriptors(int i) {
  int now = count_descriptors(engines[i].pid) - (int)backed(&engines[i]);
  if (descriptors[i] < 0) descriptors[i] = now;
  return now == descriptors[i];
}

/* ---- what the judge does ---- */

static void begin(int i) {
  engine_start(&engines[i], 8);
  EVENTUALLY(engines[i].hammer->ready == 1);
  CHECK(party_of(&engines[i]) != NULL);
  descriptors[i] = -1;
}

static void nap_a_little(void) {
  const struct timespec pause = {.tv_nsec = next_random(2000000)};
  nanosleep(&pause, NULL);
}

/* Up and down. Mostly what has to be given back is waited for, sometimes the next word comes in its midst. */
static void move_shares(uint32_t move) {
  uint32_t reserved = next_random(LIMIT / 2) + (move % 2 == 0 ? LIMIT / 2 : 0);
  atomic_store(&engines[0].hammer->demand, next_random(reserved + 1));
  if (next_random(8) == 0) next_random(2) == 0 ? (void)close_gate() : (void)vlv_gate_open(holder);
  CHECK(vlv_ledger_set_reserved(ledger, reserved) == 0);
  if (next_random(4) != 0) EVENTUALLY(counts().tenants <= LIMIT - reserved);
  if (next_random(16) == 0) EVENTUALLY(counts().online <= reserved);
  nap_a_little();
}

static void kill_one(void) {
  struct engine *victim = &engines[next_random(ENGINES)];
  reclaims_of_dead += party_of(victim)->reclaims;
  reclaimed_of_dead += party_of(victim)->reclaimed;
  engine_kill(victim);
  vlv_gate_open(holder); /* one that starts while it is closed waits */
  begin(victim->number);
}

/* Online uses less than its share then, so each side comes to what it may have. */
static bool has_its_share(void) {
  struct vlv_page_counts now = counts();
  uint32_t tenants = LIMIT - now.reserved;
  if (tenants > 2 * TENANT_PAGES) tenants = 2 * TENANT_PAGES;
  return backed(&engines[0]) == now.reserved && backed(&engines[1]) + backed(&engines[2]) == tenants;
}

static void settle(void) {
  vlv_gate_open(holder);
  atomic_store(&engines[0].hammer->demand, next_random(counts().reserved + 1));
  EVENTUALLY(has_its_share());
  EVENTUALLY(is_settled(ENGINES));
  for (int i = 0; i < ENGINES; i++) {
    EVENTUALLY(has_no_more_descriptors(i));
    check_sound(&engines[i]);
  }
}

static void report(void) {
  uint64_t pages = reclaimed_of_dead;
  for (int i = 0; i < ENGINES; i++) pages += party_of(&engines[i])->reclaimed;
  printf("  %llu times %llu pages were given back; online checked %llu kernels, the tenants %llu and %llu\n",
         (unsigned long long)reclaims(), (unsigned long long)pages,
         (unsigned long long)engines[0].hammer->rounds, (unsigned long long)engines[1].hammer->rounds,
         (unsigned long long)engines[2].hammer->rounds);
}

static bool is_over(uint64_t began_ns) {
  const char *wanted = getenv("HAMMER_RECLAIMS");
  if (wanted != NULL) return reclaims() >= strtoull(wanted, NULL, 10);
  return vlv_now_ns() >= began_ns + HAMMER_NS && reclaims() >= RECLAIMS_MIN;
}

static void nothing_is_touched_seen_or_leaked(void) {
  uint64_t began_ns = vlv_now_ns();
  pool_stage_begin(LIMIT + ENGINES + 1);
  for (int i = 0; i < ENGINES; i++) begin(i);
  for (uint32_t move = 1; !is_over(began_ns); move++) {
    move_shares(move);
    for (int i = 0; i < ENGINES; i++) check_sound(&engines[i]);
    if (move % SETTLE_EVERY == 0) settle();
    if (move % KILL_EVERY == 0) kill_one();
  }
  settle();
  report();
  for (int i = 0; i < ENGINES; i++) engine_leave(&engines[i]);
  EVENTUALLY(is_settled(0) && counts().free == LIMIT);
  pool_stage_end();
}

int main(void) {
  RUN(nothing_is_touched_seen_or_leaked);
  return 0;
}
