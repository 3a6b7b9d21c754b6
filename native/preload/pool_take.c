/* What our share permits comes: leased, made, cleared, placed. */
#include <unistd.h>

#include "pool.h"
#include "words.h"

#define CLEAR_SPINS \
  2000 /* looks whether a clear is done before the thread sleeps; a page takes microseconds */

static uint32_t coming(const struct pool *pool) {
  return pool->raw.count + pool->staged.count;
}

static uint32_t empty_slots(const struct pool *pool) {
  return pool->range.slots - atomic_load(&pool->backed) - coming(pool);
}

static bool may_try(const struct pool *pool) {
  return vlv_now_ns() >= pool->retry_ns;
}

/* ---- from another pool ---- */

/* What the ledger does not say is on its way to us from there is not ours. */
static void take_in(struct pool *pool, uint32_t page, uint32_t from, int fd) {
  struct pool_page came = {.page = page};
  bool imported = vmm_import(&pool->vmm, fd, &came.memory) == 0;
  bool ours = vlv_page_accept(pool->party, page, from) == 0;
  close(fd);
  if (imported && ours && empty_slots(pool) > 0) {
    pool_add(&pool->raw, came);
    count64(&pool_row(pool)->received, 1);
    return;
  }
  if (imported) pool->vmm.release(came.memory);
  if (ours) vlv_page_free(pool->party, page);
}

/* When nothing lies there, nothing of the dead can come any more. */
bool pool_receive(struct pool *pool) {
  struct parcel parcel;
  bool any = false;
  for (; handover_receive(pool->listener, &parcel) == 1; any = true)
    for (uint32_t i = 0; i < parcel.count; i++) take_in(pool, parcel.pages[i], parcel.from, parcel.fds[i]);
  return vlv_party_drop_orphans(pool->party) > 0 || any;
}

/* ---- made anew ---- */

static bool make(struct pool *pool, uint32_t page) {
  struct pool_page made = {.page = page};
  if (vmm_make_page(&pool->vmm, pool->range.device, &made.memory) != 0) return false;
  pool_add(&pool->raw, made);
  count64(&pool_row(pool)->made, 1);
  return true;
}

static void free_pages(struct pool *pool, const uint32_t *pages, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) vlv_page_free(pool->party, pages[i]);
  if (count > 0) vlv_ledger_announce(pool->ledger);
}

/* A batch at a time, and only when it can be cleared: memory that waits is of use to nobody. */
static bool lease(struct pool *pool) {
  uint32_t pages[POOL_STAGE_PAGES], wanted = empty_slots(pool), made = 0;
  if (wanted == 0 || coming(pool) > 0 || !may_try(pool)) return false;
  if (!halt_is_off(pool->halt)) return false;
  uint32_t count = vlv_page_lease(pool->party, wanted < POOL_STAGE_PAGES ? wanted : POOL_STAGE_PAGES, pages);
  while (made < count && make(pool, pages[made])) made++;
  free_pages(pool, &pages[made], count - made);
  if (made < count) pool_failed(pool);
  return made > 0;
}

/* ---- cleared, where nobody else can see it ---- */

static int remap_stage(struct pool *pool, const vmm_memory *memories, uint32_t count) {
  uint32_t slots[POOL_STAGE_PAGES] = {0};
  for (uint32_t i = 0; i < count; i++) slots[i] = i;
  int error = range_remap(&pool->stage, slots, memories, count);
  if (error < 0) pool_failed(pool);
  return error;
}

/* What was there is in the range by now. If this fails, it is also in the stage, until that is filled anew.
 */
static void empty_stage(struct pool *pool) {
  if (range_unmap(&pool->stage, 0, pool->staged.count) < 0) pool_failed(pool);
  pool->staged.count = 0;
  pool->clearing = POOL_CLEAR_NONE;
}

static bool fill_stage(struct pool *pool) {
  vmm_memory memories[POOL_STAGE_PAGES] = {0};
  uint32_t count = pool->raw.count < POOL_STAGE_PAGES ? pool->raw.count : POOL_STAGE_PAGES;
  const struct pool_page *last = &pool->raw.items[pool->raw.count - count];
  for (uint32_t i = 0; i < count; i++) memories[i] = last[i].memory;
  if (remap_stage(pool, memories, count) < 0) return false;
  for (uint32_t i = 0; i < count; i++) pool_add(&pool->staged, last[i]);
  pool->raw.count -= count;
  return true;
}

struct clearing {
  struct pool *pool;
  int result;
};

static void clear(void *context) {
  struct clearing *clearing = context;
  struct pool *pool = clearing->pool;
  clearing->result = pool->vmm.clear(pool->stage.base, 0, pool->staged.count * VLV_PAGE_BYTES, pool->stream);
}

/* With the gate closed nothing is submitted; it is tried again when it is open. */
static bool submit_clear(struct pool *pool) {
  struct clearing clearing = {.pool = pool};
  if (!halt_if_running(pool->halt, clear, &clearing)) return false;
  if (clearing.result == 0) pool->clearing = POOL_CLEAR_UNDER_WAY;
  if (clearing.result != 0) pool_failed(pool);
  return clearing.result == 0;
}

static bool begin_clearing(struct pool *pool) {
  if (pool->clearing != POOL_CLEAR_NONE || !may_try(pool) || !halt_is_off(pool->halt)) return false;
  if (pool->staged.count == 0 && (pool->raw.count == 0 || !fill_stage(pool))) return false;
  return submit_clear(pool);
}

static int ask_whether_clear(const struct pool *pool) {
  int result = VMM_NOT_READY, looks = halt_is_off(pool->halt) ? CLEAR_SPINS : 1;
  for (int spins = 0; spins < looks && result == VMM_NOT_READY; spins++)
    result = pool->vmm.stream_query(pool->stream);
  return result;
}

/* Even of an empty stage: what it was begun with may have been given away meanwhile. */
static bool end_clearing(struct pool *pool) {
  if (pool->clearing != POOL_CLEAR_UNDER_WAY || !may_try(pool)) return false;
  int result = ask_whether_clear(pool);
  if (result == 0) pool->clearing = POOL_CLEAR_DONE;
  if (result != 0 && result != VMM_NOT_READY) pool_failed(pool);
  return result == 0;
}

/* ---- placed ---- */

static void find_slots(const struct pool *pool, uint32_t wanted, uint32_t *slots) {
  uint32_t count = 0;
  for (uint32_t slot = 0; count < wanted; slot++)
    if (pool->pages[slot] == POOL_NO_PAGE) slots[count++] = slot;
}

static void show(struct pool *pool, const struct remap *remap) {
  for (uint32_t i = 0; i < remap->count; i++) {
    pool->pages[remap->slots[i]] = pool->staged.items[i].page;
    vlv_pool_table_back(pool->table, remap->slots[i]);
  }
  atomic_fetch_add(&pool->backed, remap->count);
  vlv_pool_table_tell(pool->table);
}

static bool place(struct pool *pool) {
  uint32_t slots[POOL_STAGE_PAGES];
  vmm_memory memories[POOL_STAGE_PAGES] = {0};
  if (pool->clearing != POOL_CLEAR_DONE || !may_try(pool)) return false;
  find_slots(pool, pool->staged.count, slots);
  for (uint32_t i = 0; i < pool->staged.count; i++) memories[i] = pool->staged.items[i].memory;
  struct remap remap = {
      .range = &pool->range, .slots = slots, .memories = memories, .count = pool->staged.count, .done = show};
  if (pool->staged.count > 0 && pool_remap(pool, &remap) < 0) return false;
  empty_stage(pool);
  return true;
}

bool pool_take(struct pool *pool) {
  bool worked = begin_clearing(pool);
  worked = end_clearing(pool) || worked;
  worked = place(pool) || worked;
  return lease(pool) || worked;
}
