/* What our share permits comes: leased, made, cleared, placed. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "handover.h"
#include "pool.h"
#include "words.h"

#define CLEAR_SPINS \
  2000 /* looks whether a clear is done before the thread sleeps; a page takes microseconds */

static uint32_t coming(const struct pool *pool) {
  return pool->raw.count + pool->staged.count + pool->clean.count;
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

static void nothing(void *context) {
  (void)context;
}

/* A batch at a time, and only when it can be cleared: memory that waits is of use to nobody. */
static bool lease(struct pool *pool) {
  uint32_t pages[POOL_STAGE_PAGES], wanted = empty_slots(pool), made = 0;
  if (wanted == 0 || coming(pool) > 0 || !may_try(pool)) return false;
  if (!halt_if_running(pool->halt, nothing, NULL)) return false;
  uint32_t count = vlv_page_lease(pool->party, wanted < POOL_STAGE_PAGES ? wanted : POOL_STAGE_PAGES, pages);
  while (made < count && make(pool, pages[made])) made++;
  free_pages(pool, &pages[made], count - made);
  if (made < count) pool_failed(pool);
  return made > 0;
}

/* ---- cleared, where nobody else can see it ---- */

static void unstage(struct pool *pool, struct pool_pages *into) {
  for (uint32_t i = 0; i < pool->staged.count; i++) {
    pool->vmm.unmap(pool->stage + i * VLV_PAGE_BYTES, VLV_PAGE_BYTES);
    pool_add(into, pool->staged.items[i]);
  }
  pool->staged.count = 0;
}

static bool map_staged(struct pool *pool) {
  while (pool->raw.count > 0 && pool->staged.count < POOL_STAGE_PAGES) {
    struct pool_page page = pool->raw.items[pool->raw.count - 1];
    vmm_address address = pool->stage + pool->staged.count * VLV_PAGE_BYTES;
    if (pool->vmm.map(address, VLV_PAGE_BYTES, 0, page.memory, 0) != 0) return false;
    pool->raw.count--;
    pool_add(&pool->staged, page);
  }
  size_t size = pool->staged.count * VLV_PAGE_BYTES;
  return vmm_permit(&pool->vmm, pool->range.device, pool->stage, size) == 0;
}

struct clearing {
  struct pool *pool;
  int result;
};

static void clear(void *context) {
  struct clearing *clearing = context;
  struct pool *pool = clearing->pool;
  clearing->result = pool->vmm.clear(pool->stage, 0, pool->staged.count * VLV_PAGE_BYTES, pool->stream);
}

/* With the gate closed nothing is submitted; it is tried again when it is open. */
static bool begin_clearing(struct pool *pool) {
  struct clearing clearing = {.pool = pool};
  bool busy = pool->staged.count + pool->clean.count > 0;
  if (pool->raw.count == 0 || busy || !may_try(pool)) return false;
  if (!halt_if_running(pool->halt, nothing, NULL)) return false;
  bool mapped = map_staged(pool);
  bool submitted = mapped && halt_if_running(pool->halt, clear, &clearing);
  if (submitted && clearing.result == 0) return true;
  unstage(pool, &pool->raw);
  if (!mapped || submitted) pool_failed(pool);
  return false;
}

static int ask_whether_clear(const struct pool *pool) {
  int result = VMM_NOT_READY;
  for (int spins = 0; spins < CLEAR_SPINS && result == VMM_NOT_READY; spins++)
    result = pool->vmm.stream_query(pool->stream);
  return result;
}

static bool end_clearing(struct pool *pool) {
  if (pool->staged.count == 0 || !may_try(pool)) return false;
  int result = ask_whether_clear(pool);
  if (result == 0) unstage(pool, &pool->clean);
  if (result != 0 && result != VMM_NOT_READY) pool_failed(pool);
  return result == 0;
}

/* ---- placed ---- */

static uint32_t find_slots(const struct pool *pool, uint32_t wanted, uint32_t *slots) {
  uint32_t count = 0;
  for (uint32_t slot = 0; slot < pool->range.slots && count < wanted; slot++)
    if (pool->pages[slot] == POOL_NO_PAGE) slots[count++] = slot;
  return count;
}

static void show(struct pool *pool, const uint32_t *slots, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    pool->pages[slots[i]] = pool->clean.items[i].page;
    vlv_pool_table_back(pool->table, slots[i]);
  }
  pool->clean.count = 0;
  atomic_fetch_add(&pool->backed, count);
  vlv_pool_table_tell(pool->table);
}

static bool place(struct pool *pool) {
  uint32_t slots[POOL_STAGE_PAGES];
  vmm_memory memories[POOL_STAGE_PAGES];
  if (pool->clean.count == 0 || !may_try(pool)) return false;
  uint32_t count = find_slots(pool, pool->clean.count, slots);
  for (uint32_t i = 0; i < count; i++) memories[i] = pool->clean.items[i].memory;
  return pool_remap(pool, slots, memories, count, show) == 0;
}

bool pool_take(struct pool *pool) {
  bool worked = place(pool);
  worked = lease(pool) || worked;
  worked = begin_clearing(pool) || worked;
  return end_clearing(pool) || worked;
}
