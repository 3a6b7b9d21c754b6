/* The ledger of one device: shares, transitions, what is refused, and two seconds of parties that are killed
 * while they lease, free and hand over as fast as they can. */
#include "node_scratch.h"
#include "valve/ledger.h"

enum { LIMIT = 64, PARTIES = 4, KILL_EVERY_MS = 20 };
#define STRESS_NS 2000000000ull

static const struct vlv_device_id GPU = {{0xfa}};

static struct vlv_ledger *open_ledger(void) {
  struct vlv_ledger *ledger = NULL;
  CHECK(vlv_ledger_open(scratch, &GPU, false, &ledger) == 0);
  return ledger;
}

static struct vlv_party *join(struct vlv_ledger *ledger, enum vlv_role role, uint32_t pool, uint32_t start) {
  struct vlv_party *party = NULL;
  CHECK(vlv_party_register(ledger, role, "party", pool, start, &party) == 0);
  return party;
}

static struct vlv_page_counts count(struct vlv_ledger *ledger) {
  struct vlv_page_counts counts;
  vlv_ledger_count(ledger, &counts);
  return counts;
}

static void a_page_goes_from_hand_to_hand(void) {
  uint32_t page;
  struct vlv_ledger *ledger = open_ledger();
  struct vlv_party *online = join(ledger, VLV_ROLE_ONLINE, 4, 0),
                   *tenant = join(ledger, VLV_ROLE_TENANT, 4, 0);
  uint32_t to = vlv_party_row_index(online), from = vlv_party_row_index(tenant), room;
  CHECK(vlv_page_lease(tenant, 1, &page) == 1 && vlv_party_excess(tenant) == 0);
  CHECK(vlv_party_recipient(tenant, &room) == -ENOENT);
  CHECK(vlv_ledger_set_reserved(ledger, 4) == 0);
  CHECK(vlv_party_excess(tenant) == 1 && vlv_party_recipient(tenant, &room) == (int)to && room == 4);
  CHECK(vlv_page_accept(online, page, from) == -ESTALE);
  CHECK(vlv_page_hand(tenant, page, to) == 0 && vlv_page_hand(tenant, page, to) == -ESTALE);
  CHECK(count(ledger).in_transit == 1 && count(ledger).online == 1 && count(ledger).arriving[to] == 1);
  CHECK(vlv_page_take_back(tenant, page, to) == 0 && vlv_page_hand(tenant, page, to) == 0);
  CHECK(vlv_page_accept(online, page, from) == 0 && vlv_page_free(tenant, page) == -ESTALE);
  CHECK(vlv_page_free(online, page) == 0 && count(ledger).free == 4);
  vlv_party_release(online);
  vlv_party_release(tenant);
  vlv_ledger_close(ledger);
}

static void the_limit_is_the_online_engines_pool(void) {
  struct vlv_ledger *ledger = open_ledger();
  struct vlv_party *first = join(ledger, VLV_ROLE_TENANT, 3, 0);
  CHECK(count(ledger).limit == 3);
  struct vlv_party *online = join(ledger, VLV_ROLE_ONLINE, 8, 5),
                   *second = join(ledger, VLV_ROLE_TENANT, 99, 0);
  CHECK(count(ledger).limit == 8 && count(ledger).reserved == 5);
  vlv_party_release(first);
  vlv_party_release(online);
  vlv_party_release(second);
  vlv_ledger_close(ledger);
}

static void excess_is_shared_out(void) {
  uint32_t pages[9];
  struct vlv_ledger *ledger = open_ledger();
  struct vlv_party *small = join(ledger, VLV_ROLE_TENANT, 9, 0), *large = join(ledger, VLV_ROLE_TENANT, 9, 0);
  CHECK(vlv_page_lease(small, 3, pages) == 3 && vlv_page_lease(large, 9, pages) == 6);
  CHECK(vlv_ledger_set_reserved(ledger, 3) == 0);
  CHECK(vlv_party_excess(small) == 1 && vlv_party_excess(large) == 2);
  vlv_party_release(small);
  vlv_party_release(large);
  CHECK(count(ledger).free == 9);
  vlv_ledger_close(ledger);
}

static void what_makes_no_sense_is_refused(void) {
  struct vlv_party *party;
  struct vlv_ledger *ledger = open_ledger(), *observer;
  CHECK(vlv_party_register(ledger, VLV_ROLE_TENANT, "", 0, 0, &party) == -EINVAL);
  CHECK(vlv_party_register(ledger, VLV_ROLE_TENANT, "", VLV_PAGES_MAX + 1, 0, &party) == -EINVAL);
  CHECK(vlv_party_register(ledger, (enum vlv_role)3, "", 1, 0, &party) == -EINVAL);
  CHECK(vlv_ledger_open(scratch, &GPU, true, &observer) == 0);
  CHECK(vlv_ledger_set_reserved(observer, 1) == -EPERM);
  CHECK(vlv_party_register(observer, VLV_ROLE_TENANT, "", 1, 0, &party) == -EPERM);
  CHECK(vlv_party_alive(ledger, VLV_PARTIES_MAX) == -EINVAL);
  vlv_ledger_close(observer);
  vlv_ledger_close(ledger);
}

/* Whoever changes a reservation wakes those that wait. */
static void sleeper(void) {
  struct vlv_ledger *ledger = open_ledger();
  for (uint32_t seen = vlv_ledger_changes(ledger); count(ledger).reserved != 7;
       seen = vlv_ledger_changes(ledger))
    if (count(ledger).reserved != 7) vlv_ledger_wait(ledger, seen, UINT64_MAX);
  _exit(0);
}

static void a_change_wakes(void) {
  struct vlv_ledger *ledger = open_ledger();
  pid_t child = spawn(sleeper);
  nap_ms(5);
  CHECK(vlv_ledger_set_reserved(ledger, 7) == 0);
  CHECK(wait_status(child) == 0);
  vlv_ledger_close(ledger);
}

/* ---- stress ---- */

static struct control {
  _Atomic uint32_t holder[LIMIT]; /* pid of whoever has the page's memory */
  _Atomic uint32_t collisions;
  _Atomic uint64_t leases;
} *control;

/* One that dies has lost its memory, and then its locks, before it is gone as a process. */
static bool has_memory(uint32_t pid) {
  char path[32];
  long size = 0;
  snprintf(path, sizeof path, "/proc/%u/statm", pid);
  FILE *file = fopen(path, "re");
  bool known = file != NULL && fscanf(file, "%ld", &size) == 1;
  if (file != NULL) fclose(file);
  return known && size > 0;
}

static void have(uint32_t page) {
  uint32_t other = 0;
  if (!atomic_compare_exchange_strong(&control->holder[page], &other, (uint32_t)getpid()))
    if (has_memory(other)) atomic_fetch_add(&control->collisions, 1);
  atomic_store(&control->holder[page], (uint32_t)getpid());
}

static void let_go(struct vlv_party *party, uint32_t page) {
  atomic_store(&control->holder[page], 0);
  CHECK(vlv_page_free(party, page) == 0);
}

/* Each page is freed, or handed to itself and accepted, which is as much as two parties without a socket can
 * do. */
static void use(struct vlv_party *party, uint32_t page, uint32_t choice) {
  uint32_t own = vlv_party_row_index(party);
  have(page);
  if (choice % 3 == 0) {
    CHECK(vlv_page_hand(party, page, own) == 0);
    CHECK(vlv_page_accept(party, page, own) == 0);
  }
  let_go(party, page);
}

static void be_party(void) {
  uint32_t pages[8], choice = (uint32_t)getpid();
  struct vlv_ledger *ledger = open_ledger();
  struct vlv_party *party = join(ledger, VLV_ROLE_TENANT, LIMIT, 0);
  for (uint64_t end_ns = vlv_now_ns() + 2 * STRESS_NS; vlv_now_ns() < end_ns; choice++) {
    uint32_t got = vlv_page_lease(party, 1 + choice % 8, pages);
    atomic_fetch_add(&control->leases, got);
    for (uint32_t i = 0; i < got; i++) use(party, pages[i], choice + i);
    vlv_ledger_announce(ledger);
    if (choice % 16 == 0) vlv_ledger_sweep(ledger);
  }
  pause();
}

static void nobody_has_anothers_page_whoever_dies(void) {
  pid_t children[PARTIES];
  struct vlv_ledger *ledger = open_ledger();
  control = share(sizeof *control);
  for (int i = 0; i < PARTIES; i++) children[i] = spawn(be_party);
  uint64_t end_ns = vlv_now_ns() + STRESS_NS;
  for (uint32_t kills = 0; vlv_now_ns() < end_ns; kills++) {
    nap_ms(KILL_EVERY_MS);
    kill_and_wait(children[kills % PARTIES]);
    children[kills % PARTIES] = spawn(be_party);
    CHECK(atomic_load(&control->collisions) == 0);
  }
  for (int i = 0; i < PARTIES; i++) kill_and_wait(children[i]);
  vlv_ledger_sweep(ledger);
  CHECK(count(ledger).free == LIMIT && count(ledger).tenants == 0);
  printf("  %llu leases\n", (unsigned long long)atomic_load(&control->leases));
  CHECK(atomic_load(&control->leases) > 0);
  vlv_ledger_close(ledger);
}

int main(void) {
  RUN(a_page_goes_from_hand_to_hand);
  RUN(the_limit_is_the_online_engines_pool);
  RUN(excess_is_shared_out);
  RUN(what_makes_no_sense_is_refused);
  RUN(a_change_wakes);
  RUN(nobody_has_anothers_page_whoever_dies);
  return 0;
}
