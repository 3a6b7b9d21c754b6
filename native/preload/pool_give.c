/* What is beyond our share goes. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "pool.h"
#include "victims.h"
#include "words.h"

#define AGREE_NS 5000000000ull /* an engine that says nothing for so long has not agreed */

static uint32_t min32(uint32_t a, uint32_t b) {
  return a < b ? a : b;
}

/* ---- where it goes ---- */

static void drop(struct pool *pool, struct pool_page page) {
  pool->vmm.release(page.memory);
  vlv_page_free(pool->party, page.page);
}

struct sending { /* a parcel, and what its descriptors keep: released when it has gone, since somebody waits
                  */
  struct parcel parcel;
  vmm_memory memories[HANDOVER_PAGES];
};

/* A page that cannot be enclosed is dropped. */
static void enclose(struct pool *pool, struct pool_page page, uint32_t to, struct sending *sending) {
  struct parcel *parcel = &sending->parcel;
  int fd;
  if (vmm_export(&pool->vmm, page.memory, &fd) != 0) {
    drop(pool, page);
    return;
  }
  if (vlv_page_hand(pool->party, page.page, to) == 0) {
    sending->memories[parcel->count] = page.memory;
    parcel->pages[parcel->count] = page.page;
    parcel->fds[parcel->count++] = fd;
  } else {
    close(fd);
    pool->vmm.release(page.memory);
  }
}

static void let_go(struct pool *pool, const struct sending *sending) {
  for (uint32_t i = 0; i < sending->parcel.count; i++) {
    close(sending->parcel.fds[i]);
    pool->vmm.release(sending->memories[i]);
  }
}

/* Nobody has it: its memory has gone with its descriptor. */
static void take_back(struct pool *pool, const struct parcel *parcel, uint32_t to) {
  for (uint32_t i = 0; i < parcel->count; i++)
    if (vlv_page_take_back(pool->party, parcel->pages[i], to) == 0)
      vlv_page_free(pool->party, parcel->pages[i]);
}

static void send_parcel(struct pool *pool, const struct pool_page *pages, uint32_t count, uint32_t to) {
  struct sending sending = {.parcel.from = vlv_party_row_index(pool->party)};
  for (uint32_t i = 0; i < count; i++) enclose(pool, pages[i], to, &sending);
  bool any = sending.parcel.count > 0;
  bool sent = any && handover_send(&pool->line, pool->directory, &pool->device, to, &sending.parcel) == 0;
  if (sent) vlv_ledger_announce(pool->ledger);
  let_go(pool, &sending);
  if (!sent) take_back(pool, &sending.parcel, to);
}

void pool_pass_on(struct pool *pool, const struct pool_page *pages, uint32_t count) {
  for (uint32_t room, part; count > 0; pages += part, count -= part) {
    int to = vlv_party_recipient(pool->party, &room);
    part = to < 0 ? count : min32(count, min32(room, HANDOVER_PAGES));
    if (to >= 0) send_parcel(pool, pages, part, (uint32_t)to);
    for (uint32_t i = 0; to < 0 && i < part; i++) drop(pool, pages[i]);
  }
  vlv_ledger_announce(pool->ledger);
}

/* ---- out of the range ---- */

static void pass_leaving_on(struct pool *pool, const struct remap *remap) {
  pool_pass_on(pool, remap->leaving, remap->count);
}

/* Memory first, since somebody waits for it. */
static void give_up(struct pool *pool, const struct remap *remap) {
  pass_leaving_on(pool, remap);
  for (uint32_t i = 0; i < remap->count; i++) {
    pool->pages[remap->slots[i]] = POOL_NO_PAGE;
    vlv_pool_table_lose(pool->table, remap->slots[i]);
  }
  atomic_fetch_sub(&pool->backed, remap->count);
  vlv_pool_table_tell(pool->table);
}

/* Shows the quarantine page in these slots. */
static int quarantine(struct pool *pool, struct remap remap) {
  vmm_memory *memories = malloc(remap.count * sizeof *memories);
  for (uint32_t i = 0; memories != NULL && i < remap.count; i++) memories[i] = pool->quarantine;
  remap.memories = memories;
  int error = memories != NULL ? pool_remap(pool, &remap) : -ENOMEM;
  free(memories);
  return error;
}

/* How many have gone: all, or those of the parts before the one that failed. */
static uint32_t quarantine_slots(struct pool *pool, const uint32_t *slots, uint32_t count) {
  uint32_t before = atomic_load(&pool->backed);
  struct pool_page *leaving = malloc(count * sizeof *leaving);
  for (uint32_t i = 0; leaving != NULL && i < count; i++)
    leaving[i] = (struct pool_page){pool->pages[slots[i]], pool->range.memory[slots[i]]};
  struct remap remap = {
      .range = &pool->range, .slots = slots, .leaving = leaving, .count = count, .done = give_up};
  if (leaving != NULL) quarantine(pool, remap);
  free(leaving);
  return before - atomic_load(&pool->backed);
}

/* ---- pages that have not come into the range yet: they cost nobody anything ---- */

static uint32_t give_raw(struct pool *pool, uint32_t wanted) {
  uint32_t count = min32(wanted, pool->raw.count);
  pool->raw.count -= count;
  if (count > 0) pool_pass_on(pool, &pool->raw.items[pool->raw.count], count);
  return count;
}

/* The clear may have been stopped in its midst by the gate: it goes on, on the quarantine page. */
static uint32_t give_staged(struct pool *pool, uint32_t wanted) {
  uint32_t slots[POOL_STAGE_PAGES], count = min32(wanted, pool->staged.count);
  uint32_t first = pool->staged.count - count;
  if (count == 0 || (pool->online && pool->clearing == POOL_CLEAR_UNDER_WAY)) return 0;
  for (uint32_t i = 0; i < count; i++) slots[i] = first + i;
  struct remap remap = {.range = &pool->stage,
                        .slots = slots,
                        .leaving = &pool->staged.items[first],
                        .count = count,
                        .done = pass_leaving_on};
  if (quarantine(pool, remap) < 0) return 0;
  pool->staged.count = first;
  return count;
}

static uint32_t give_waiting(struct pool *pool, uint32_t wanted) {
  uint32_t count = give_raw(pool, wanted);
  return count + give_staged(pool, wanted - count);
}

/* `reclaims` last: who sees it move finds the rest. */
static void account(struct pool *pool, uint32_t count, uint64_t began_ns) {
  struct vlv_party_row *row = pool_row(pool);
  uint64_t now_ns = vlv_now_ns();
  count64(&row->reclaimed, count);
  store64(&row->reclaim_ns, now_ns - began_ns);
  store64(&row->reclaimed_at_ns, now_ns);
  count64(&row->reclaims, 1);
}

/* ---- a tenant: what costs least ---- */

static uint32_t choose(const struct pool *pool, uint32_t wanted, bool only_unused, uint32_t *slots) {
  uint32_t count = pool->range.slots;
  uint32_t *costs = malloc(count * sizeof *costs);
  bool *may = calloc(count, sizeof *may);
  for (uint32_t i = 0; costs != NULL && may != NULL && i < count; i++) {
    costs[i] = load32(vlv_pool_table_costs(pool->table) + i);
    may[i] = pool->pages[i] != POOL_NO_PAGE && (!only_unused || costs[i] == 0);
  }
  count = costs != NULL && may != NULL ? victims_choose(costs, may, count, wanted, slots) : 0;
  free(costs);
  free(may);
  return count;
}

static bool reclaim(struct pool *pool, uint32_t wanted) {
  uint64_t began_ns = vlv_now_ns();
  uint32_t *slots = malloc(wanted * sizeof *slots);
  uint32_t count = slots != NULL ? choose(pool, wanted, false, slots) : 0;
  if (count > 0) count = quarantine_slots(pool, slots, count);
  if (count > 0) account(pool, count, began_ns);
  free(slots);
  return count > 0;
}

/* ---- an online engine: what it does not use and has agreed to lose ---- */

static bool ask(struct pool *pool, uint32_t wanted) {
  pool->asked_count = choose(pool, wanted, true, pool->asked);
  if (pool->asked_count == 0) return false;
  for (uint32_t i = 0; i < pool->asked_count; i++) vlv_pool_table_withdraw(pool->table, pool->asked[i]);
  pool->asked_epoch = vlv_pool_table_tell(pool->table);
  pool->asked_ns = vlv_now_ns();
  return true;
}

/* Of those asked for, the ones to keep are backed again; the others stay, `agreed` of them. */
static uint32_t settle(struct pool *pool, bool agrees, uint32_t wanted) {
  uint32_t agreed = 0;
  for (uint32_t i = 0; i < pool->asked_count; i++) {
    uint32_t slot = pool->asked[i];
    bool unused = load32(vlv_pool_table_costs(pool->table) + slot) == 0;
    if (agrees && unused && agreed < wanted)
      pool->asked[agreed++] = slot;
    else
      vlv_pool_table_back(pool->table, slot);
  }
  if (agreed < pool->asked_count) vlv_pool_table_tell(pool->table);
  pool->asked_count = 0;
  return agreed;
}

static void back_again(struct pool *pool, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    if (pool->pages[pool->asked[i]] != POOL_NO_PAGE) vlv_pool_table_back(pool->table, pool->asked[i]);
  vlv_pool_table_tell(pool->table);
}

/* What the engine had submitted before it agreed may still write there. */
static bool take_from_online(struct pool *pool, uint32_t count) {
  uint64_t began_ns = vlv_now_ns();
  uint32_t gone = pool->vmm.synchronise() == 0 ? quarantine_slots(pool, pool->asked, count) : 0;
  if (gone > 0) account(pool, gone, began_ns);
  if (gone < count) back_again(pool, count);
  return gone > 0;
}

static bool shrink(struct pool *pool, uint32_t wanted) {
  if (pool->asked_count == 0) return wanted > 0 && vlv_now_ns() >= pool->retry_ns && ask(pool, wanted);
  uint32_t seen = load32(&vlv_pool_table_head(pool->table)->seen);
  bool agrees = (int32_t)(seen - pool->asked_epoch) >= 0;
  bool in_vain = wanted == 0 || vlv_now_ns() >= pool->asked_ns + AGREE_NS;
  if (!agrees && !in_vain) return false;
  uint32_t count = settle(pool, agrees, wanted);
  if (count == 0) pool->retry_ns = vlv_now_ns() + AGREE_NS / 50;
  return count > 0 && take_from_online(pool, count);
}

bool pool_give(struct pool *pool) {
  uint32_t excess = vlv_party_excess(pool->party);
  uint32_t given = give_waiting(pool, excess);
  if (pool->online) return shrink(pool, excess - given) || given > 0;
  return (excess > given && reclaim(pool, excess - given)) || given > 0;
}
