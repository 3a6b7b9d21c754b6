/* Every schedule of a few parties of a ledger that lease, free, hand over, die and are swept, one shared
 * access at a time. At every moment: a page's memory is in one living hand at most, and whoever has it, the
 * ledger says so. When nothing is under way and all is swept: no page is lost, and no side has more than its
 * share. Then the same with deliberate mistakes, each of which must be found. */
#include "ledger_world.h"

enum { OPERATIONS_MAX = 5 };

enum operation { END, TAKE, LEASE, FREE, HAND, HAND_IN_VAIN, ACCEPT, SWEEP, GIVE_EXCESS };

struct part {
  uint8_t row;
  bool may_crash, has_no_row; /* from the beginning */
  uint8_t begins_with;        /* bits of pages */
  uint8_t to;                 /* row that it hands to */
  enum operation operations[OPERATIONS_MAX];
};

static const struct scenario {
  const char *name;
  uint32_t reserved; /* of two pages; row 0 is the online side's, the others are tenants */
  bool shares_hold;  /* also at the beginning */
  int parts_count;
  struct part parts[THREADS_MAX];
} *scenario;

/* ---- what a party does with memory, as the pool does ---- */

static uint32_t first_page(void) {
  if (happens(false)) tell((uint64_t)(unsigned)__builtin_ffs(world.memory[current]));
  return (uint32_t)told() - 1;
}

static void touch(uint32_t page, bool has) {
  if (!happens(true)) return;
  uint8_t bit = (uint8_t)(1u << page);
  world.memory[current] = (uint8_t)(has ? world.memory[current] | bit : world.memory[current] & ~bit);
  tell(0);
}

static void lease(struct vlv_party *party) {
  uint32_t pages[PAGES], count = vlv_page_lease(party, PAGES, pages);
  for (uint32_t i = 0; i < count; i++) touch(pages[i], true);
}

static void free_first(struct vlv_party *party) {
  uint32_t page = first_page();
  if (page >= PAGES) return;
  touch(page, false);
  vlv_page_free(party, page);
}

static void put_into_mail(uint32_t page, uint32_t to) {
  if (!happens(true)) return;
  world.mail_from[page] = (uint8_t)(parties[current].index + 1);
  world.mail_to[page] = (uint8_t)to;
  tell(0);
}

static void hand(struct vlv_party *party, uint32_t to, bool arrives) {
  uint32_t page = first_page();
  if (page >= PAGES) return;
  touch(page, false);
  if (vlv_page_hand(party, page, to) < 0) return;
  if (arrives)
    put_into_mail(page, to);
  else if (vlv_page_take_back(party, page, to) == 0)
    vlv_page_free(party, page);
}

static uint32_t take_out_of_mail(uint32_t page) {
  if (!happens(true)) return (uint32_t)told();
  bool mine = world.mail_from[page] != 0 && world.mail_to[page] == parties[current].index;
  uint32_t from = mine ? world.mail_from[page] : 0;
  if (mine) world.mail_from[page] = 0;
  return (uint32_t)tell(from);
}

static void accept(struct vlv_party *party) {
  for (uint32_t page = 0; page < PAGES; page++) {
    uint32_t from = mutant == ORPHANS_IN_THE_MAIL ? 0 : take_out_of_mail(page);
    if (from != 0 && vlv_page_accept(party, page, from - 1) == 0) touch(page, true);
  }
  vlv_party_drop_orphans(party);
}

static void take(struct vlv_party *party) {
  if (happens(true)) {
    world.owner[party->index] = (uint8_t)(current + 1);
    tell(0);
  }
  if (mutant != KEEPS_OLD_PAGES) pages_forget_row(&shared, party->index);
}

static void give_excess(struct vlv_party *party) {
  for (uint32_t excess = vlv_party_excess(party); excess > 0; excess--) free_first(party);
}

static void run(enum operation operation, struct vlv_party *party, uint32_t to) {
  leases = operation == LEASE;
  switch (operation) {
    case TAKE:
      take(party);
      break;
    case LEASE:
      lease(party);
      break;
    case FREE:
      free_first(party);
      break;
    case HAND:
    case HAND_IN_VAIN:
      hand(party, to, operation == HAND);
      break;
    case ACCEPT:
      accept(party);
      break;
    case SWEEP:
      vlv_ledger_sweep(&shared);
      break;
    case GIVE_EXCESS:
      give_excess(party);
      break;
    case END:
      give_up("END");
  }
}

/* ---- steps ---- */

static enum operation next_operation(int thread) {
  return scenario->parts[thread].operations[world.threads[thread].operation];
}

static void begin_next_operation(int thread) {
  struct log_of_thread *log = &world.threads[thread];
  forget_log(log);
  log->operation++;
}

static void step(int thread) {
  current = thread;
  position = 0;
  moved = has_leased = false;
  memset(first_look, 0, sizeof first_look);
  if (setjmp(step_is_over) != 0) return;
  run(next_operation(thread), &parties[thread], scenario->parts[thread].to);
  begin_next_operation(thread);
}

enum { CRASH = THREADS_MAX, CHOICES = 2 * THREADS_MAX };

static bool owns_row(int thread) {
  return world.owner[scenario->parts[thread].row] == thread + 1;
}

static bool can_step(int thread) {
  if (world.threads[thread].status == CRASHED || next_operation(thread) == END) return false;
  bool begins = next_operation(thread) == TAKE && world.threads[thread].length == 0;
  return !begins || world.owner[scenario->parts[thread].row] == 0;
}

static bool can_happen(int choice) {
  int thread = choice % THREADS_MAX;
  if (thread >= scenario->parts_count) return false;
  if (choice < CRASH) return can_step(thread);
  bool lives = world.threads[thread].status != CRASHED && owns_row(thread);
  return scenario->parts[thread].may_crash && lives;
}

static void happen(int choice) {
  int thread = choice % THREADS_MAX;
  if (choice < CRASH) {
    step(thread);
    return;
  }
  begin_next_operation(thread);
  world.threads[thread].status = CRASHED;
  world.owner[scenario->parts[thread].row] = 0;
  world.memory[thread] = 0;
}

/* ---- what must hold ---- */

static bool says_leased(uint32_t page, uint32_t row) {
  struct page now = page_of(world.words[page]);
  return now.state == VLV_PAGE_LEASED && now.row == row;
}

static int hands_on(uint32_t page) {
  int hands = 0;
  for (int t = 0; t < scenario->parts_count; t++) {
    if ((world.memory[t] >> page & 1) == 0) continue;
    hands++;
    if (!says_leased(page, parties[t].index)) wrong = "one has memory that the ledger does not say is its";
  }
  return hands;
}

static void check_settled(uint32_t page) {
  struct page now = page_of(world.words[page]);
  if (now.state == VLV_PAGE_HANDED) wrong = "a page stays handed";
  if (now.state == VLV_PAGE_LEASED && hands_on(page) == 0) wrong = "a page is leased, and nobody has it";
  if (now.state == VLV_PAGE_FREE && hands_on(page) != 0) wrong = "a page is free, and somebody has it";
}

static void check_shares(void) {
  uint32_t online = 0, tenants = 0;
  for (uint32_t page = 0; page < PAGES; page++) {
    struct page now = page_of(world.words[page]);
    if (now.state != VLV_PAGE_FREE) *(now.row == 0 ? &online : &tenants) += 1;
  }
  if (online > scenario->reserved || tenants > PAGES - scenario->reserved) wrong = "a side has too much";
}

/* The living take in what is on its way to them, and one of them sweeps. */
static void settle(void) {
  direct = true;
  leases = false;
  for (current = 0; current < scenario->parts_count; current++)
    if (world.threads[current].status != CRASHED && owns_row(current)) accept(&parties[current]);
  vlv_ledger_sweep(&shared);
  direct = false;
}

static void check_world(void) {
  for (uint32_t page = 0; page < PAGES; page++)
    if (hands_on(page) > 1) wrong = "two have the same page";
  for (int t = 0; t < scenario->parts_count; t++)
    if (can_step(t)) return;
  if (scenario->shares_hold) check_shares();
  struct world here = world;
  settle();
  for (uint32_t page = 0; page < PAGES; page++) check_settled(page);
  world = here;
}

#include "interleaving_search.h"

/* ---- scenarios ---- */

static const struct scenario scenarios[] = {
    {.name = "two tenants lease at the same time",
     .reserved = 1,
     .shares_hold = true,
     .parts_count = 2,
     .parts = {{.row = 1, .operations = {LEASE, FREE, LEASE}}, {.row = 2, .operations = {LEASE}}}},
    {.name = "online and a tenant lease at the same time",
     .reserved = 1,
     .shares_hold = true,
     .parts_count = 2,
     .parts = {{.row = 0, .operations = {LEASE}}, {.row = 1, .operations = {LEASE, FREE, LEASE}}}},
    {.name = "three lease, one of them may die, one sweeps",
     .reserved = 1,
     .parts_count = 3,
     .parts = {{.row = 0, .operations = {LEASE}},
               {.row = 1, .may_crash = true, .operations = {LEASE, FREE}},
               {.row = 2, .operations = {SWEEP, LEASE}}}},
    {.name = "a tenant hands its excess over",
     .reserved = 2,
     .parts_count = 2,
     .parts = {{.row = 1, .begins_with = 3, .to = 0, .operations = {HAND, HAND}},
               {.row = 0, .operations = {ACCEPT, LEASE, ACCEPT}}}},
    {.name = "two tenants give back their excess",
     .reserved = 1,
     .shares_hold = true,
     .parts_count = 2,
     .parts = {{.row = 1, .begins_with = 1, .operations = {GIVE_EXCESS, GIVE_EXCESS}},
               {.row = 2, .begins_with = 2, .operations = {GIVE_EXCESS, GIVE_EXCESS}}}},
    {.name = "one dies while it leases, another sweeps and leases",
     .reserved = 0,
     .parts_count = 2,
     .parts = {{.row = 1, .may_crash = true, .operations = {LEASE, FREE}},
               {.row = 2, .operations = {SWEEP, LEASE}}}},
    {.name = "a giver dies at any point",
     .reserved = 2,
     .parts_count = 2,
     .parts = {{.row = 1, .may_crash = true, .begins_with = 1, .to = 0, .operations = {HAND}},
               {.row = 0, .operations = {ACCEPT, ACCEPT}}}},
    {.name = "a receiver dies at any point",
     .reserved = 2,
     .parts_count = 3,
     .parts = {{.row = 1, .begins_with = 1, .to = 0, .operations = {HAND_IN_VAIN}},
               {.row = 0, .may_crash = true, .operations = {ACCEPT}},
               {.row = 2, .operations = {SWEEP}}}},
    {.name = "another takes a dead one's row",
     .reserved = 0,
     .parts_count = 3,
     .parts = {{.row = 1, .may_crash = true, .begins_with = 1, .operations = {FREE}},
               {.row = 1, .has_no_row = true, .operations = {TAKE, LEASE}},
               {.row = 2, .operations = {SWEEP}}}},
    {.name = "another takes a dead giver's row",
     .reserved = 2,
     .parts_count = 3,
     .parts = {{.row = 1, .may_crash = true, .begins_with = 1, .to = 0, .operations = {HAND}},
               {.row = 1, .has_no_row = true, .operations = {TAKE}},
               {.row = 0, .operations = {ACCEPT}}}},
};
enum { SCENARIOS = sizeof scenarios / sizeof scenarios[0] };

static void begin_part(int number) {
  const struct part *part = &scenario->parts[number];
  parties[number] = (struct vlv_party){.ledger = &shared, .row = &file.rows[part->row], .index = part->row};
  world.memory[number] = part->begins_with;
  if (!part->has_no_row) world.owner[part->row] = (uint8_t)(number + 1);
  for (uint32_t page = 0; page < PAGES; page++)
    if ((part->begins_with >> page & 1) != 0)
      world.words[page] = successor(0, (struct page){VLV_PAGE_LEASED, part->row, 0});
}

static bool explore_all(const struct scenario *which, enum mutant mistake) {
  scenario = which;
  mutant = mistake;
  wrong = NULL;
  depth = 0;
  moments = 0;
  memset(table, 0, TABLE_SIZE * sizeof *table);
  memset(&world, 0, sizeof world);
  atomic_store(&file.limit, PAGES);
  atomic_store(&file.reserved, scenario->reserved);
  for (uint32_t row = 0; row < ROWS; row++) {
    atomic_store(&file.rows[row].role, row == 0 ? VLV_ROLE_ONLINE : VLV_ROLE_TENANT);
    atomic_store(&file.rows[row].pool_pages, PAGES);
  }
  for (int i = 0; i < scenario->parts_count; i++) begin_part(i);
  explore();
  return wrong == NULL;
}

static void print_path(void) {
  for (int i = 0; i <= depth; i++)
    printf("  %s %d\n", path[i] < CRASH ? "step" : "crash", path[i] % THREADS_MAX);
}

static bool check_faithful(void) {
  bool right = true;
  for (int i = 0; i < SCENARIOS; i++) {
    transitions = 0;
    bool this_one = explore_all(&scenarios[i], FAITHFUL);
    printf("%-54s %8llu moments, %8llu steps: %s\n", scenarios[i].name, (unsigned long long)moments,
           (unsigned long long)transitions, this_one ? "right" : wrong);
    if (!this_one) print_path();
    right = right && this_one;
  }
  return right;
}

static bool is_found(enum mutant mistake) {
  static const char *const names[MUTANTS] = {"",
                                             "a store instead of a swap",
                                             "words that do not count their changes",
                                             "no second look at the sum",
                                             "a successor that keeps old pages",
                                             "the lock looked at before the word",
                                             "the living taken as dead",
                                             "orphans freed with their memory on its way"};
  for (int i = 0; i < SCENARIOS; i++) {
    if (explore_all(&scenarios[i], mistake)) continue;
    printf("mistake found: %-42s in \"%s\" after %d steps: %s\n", names[mistake], scenarios[i].name,
           depth + 1, wrong);
    return true;
  }
  printf("mistake NOT found: %s\n", names[mistake]);
  return false;
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  table = calloc(TABLE_SIZE, sizeof *table);
  if (table == NULL) return 1;
  bool right = check_faithful();
  for (int mistake = FAITHFUL + 1; mistake < MUTANTS; mistake++)
    right = is_found((enum mutant)mistake) && right;
  free(table);
  return right ? 0 : 1;
}
