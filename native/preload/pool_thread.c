/* The pool's thread: what is due, in its order; and the stop around a remap. */
#include <errno.h>
#include <sched.h>

#include "pool.h"
#include "urgent.h"
#include "words.h"

#define CLEARING_NS 20000ull  /* looks this often whether a clear is done */
#define WAITING_NS 2000000ull /* and whether the gate is open, or the engine has agreed */
#define IDLE_NS 20000000ull   /* and what the engine wants, and who has died */
#define ERROR_PAUSE_NS 100000000ull
#define HURRY_NS 2000000ull /* from a reclaim's beginning on */

void pool_failed(struct pool *pool) {
  count64(&pool_row(pool)->errors, 1);
  pool->retry_ns = vlv_now_ns() + ERROR_PAUSE_NS;
}

/* What was only held back at its submission may still run: it is waited for. */
static int stand_still(struct pool *pool, bool *own) {
  int level = halt_acquire(pool->halt, own);
  if (level < 0) return level;
  if (*own) count64(&pool_row(pool)->stops, 1);
  if (level == VLV_LEVEL_COMPUTE_HALTED || pool->vmm.synchronise() == 0) return 0;
  halt_release(pool->halt);
  return -EIO;
}

static struct remap part_of(const struct remap *remap, uint32_t first) {
  struct remap part = *remap;
  uint32_t rest = remap->count - first;
  part.slots += first;
  part.memories += first;
  part.leaving = remap->leaving != NULL ? remap->leaving + first : NULL;
  part.count = rest < POOL_STAGE_PAGES ? rest : POOL_STAGE_PAGES;
  return part;
}

static int remap_and_finish(struct pool *pool, const struct remap *remap) {
  for (uint32_t first = 0; first < remap->count; first += POOL_STAGE_PAGES) {
    struct remap part = part_of(remap, first);
    int error = range_remap(part.range, part.slots, part.memories, part.count);
    if (error < 0) return error;
    part.done(pool, &part);
  }
  return 0;
}

static int remap_stopped(struct pool *pool, const struct remap *remap) {
  bool own;
  uint64_t began_ns = vlv_now_ns();
  int error = stand_still(pool, &own);
  if (error < 0) return error;
  error = remap_and_finish(pool, remap);
  halt_release(pool->halt);
  store64(&pool_row(pool)->stopped_ns, vlv_now_ns() - began_ns);
  return error;
}

/* An online engine is never stopped: of it only pages are remapped that it does not use. */
int pool_remap(struct pool *pool, const struct remap *remap) {
  int error = pool->online ? remap_and_finish(pool, remap) : remap_stopped(pool, remap);
  if (error < 0) pool_failed(pool);
  return error;
}

static void look_around(struct pool *pool) {
  vlv_ledger_sweep(pool->ledger);
  if (pool->online) vlv_ledger_set_wanted(pool->ledger, load32(&vlv_pool_table_head(pool->table)->wanted));
}

static uint64_t nap_ns(const struct pool *pool) {
  if (pool->clearing == POOL_CLEAR_UNDER_WAY && halt_is_off(pool->halt)) return CLEARING_NS;
  bool waits = pool->raw.count > 0 || pool->staged.count > 0 || pool->asked_count > 0;
  return waits ? WAITING_NS : IDLE_NS;
}

static void look_for_a_reclaim(struct pool *pool) {
  uint32_t reserved = load32(&vlv_ledger_file(pool->ledger)->reserved);
  if (reserved > pool->reserved) pool->raised_ns = vlv_now_ns();
  pool->reserved = reserved;
}

/* What an online engine is owed by a reclaim comes within the time of a few calls: it does not sleep
 * meanwhile, since to be woken takes as long. */
static void wait_for_what_is_due(const struct pool *pool, uint32_t seen) {
  uint64_t end_ns = pool->raised_ns + HURRY_NS;
  bool clears = pool->clearing == POOL_CLEAR_UNDER_WAY;
  if (!pool->online || clears || vlv_now_ns() >= end_ns || !vlv_party_awaits(pool->party)) return;
  while (vlv_ledger_changes(pool->ledger) == seen && vlv_now_ns() < end_ns) sched_yield();
}

/* Somebody waits for what a tenant gives, and an online engine for what it receives: that comes first. */
static bool work(struct pool *pool) {
  bool worked = pool->online ? pool_receive(pool) : pool_give(pool);
  worked = (pool->online ? pool_give(pool) : pool_receive(pool)) || worked;
  return pool_take(pool) || worked;
}

void *pool_main(void *argument) {
  struct pool *pool = argument;
  be_urgent();
  pool->vmm.set_context(pool->context);
  vmm_spare_captures(&pool->vmm);
  while (!atomic_load(&pool->ends)) {
    uint32_t seen = vlv_ledger_changes(pool->ledger);
    look_for_a_reclaim(pool);
    if (work(pool)) continue;
    look_around(pool);
    wait_for_what_is_due(pool, seen);
    vlv_ledger_wait(pool->ledger, seen, vlv_now_ns() + nap_ns(pool));
  }
  return NULL;
}
