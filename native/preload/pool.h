/* pool.h - this process's KV pool: a range of addresses, pages of the device's ledger in it, and a thread
 * that lets them go and come.
 *
 * The application's thread that allocates first sets all of it up; from then on the pool belongs to its
 * thread (pool_thread.c), which waits on the ledger and does what is due, in this order: receive   what other
 * pools have handed over give      what is beyond our share (pool_give.c): a tenant stops its channels,
 * remaps the pages whose loss costs least to the quarantine page, hands their memory over and tells the
 * engine; an online engine gives up pages that it does not use and has agreed to lose take      what our
 * share permits (pool_take.c): leases pages, makes memory for them, clears all that came, puts it into the
 * range (a tenant: with its channels stopped) and tells the engine By environment, from `valve run
 * --kv-pool`: VALVE_POOL, VALVE_POOL_ROLE (offline, online), VALVE_POOL_START (pages to begin with) and
 * VALVE_RUNTIME_DIR, VALVE_JOB_NAME, VALVE_SHIM_LOG as in rank.h.
 */
#ifndef VALVE_PRELOAD_POOL_H
#define VALVE_PRELOAD_POOL_H

#include <pthread.h>

#include "halt.h"
#include "handover.h"
#include "range.h"
#include "valve/pool.h"

#define POOL_NO_PAGE UINT32_MAX
#define POOL_STAGE_PAGES 64u

struct pool_page { /* a page of the ledger with its memory, not in the range (yet) */
  uint32_t page;
  vmm_memory memory;
};

/* Of what is in the stage. A clear that the gate has cut short stays under way until it opens. */
enum pool_clearing { POOL_CLEAR_NONE, POOL_CLEAR_UNDER_WAY, POOL_CLEAR_DONE };

struct pool_pages { /* room for as many as the pool has slots */
  uint32_t count;
  struct pool_page *items;
};

struct pool {
  struct halt *halt;
  bool online;
  struct vmm vmm;
  void *context, *stream; /* of CUDA: the application's, and one of ours to clear with */
  struct range range;
  uint32_t *pages; /* of each slot: its page of the ledger, or POOL_NO_PAGE */
  _Atomic uint32_t backed;
  vmm_memory quarantine;
  struct range stage;       /* POOL_STAGE_PAGES of addresses that the engine does not know */
  struct pool_pages raw;    /* leased and with memory; its content may be another's */
  struct pool_pages staged; /* in the first slots of the stage, to be cleared there */
  enum pool_clearing clearing;
  uint32_t *asked; /* slots that an online engine was asked to do without, in epoch `asked_epoch` */
  uint32_t asked_count, asked_epoch;
  uint64_t asked_ns;
  struct vlv_pool_table *table;
  struct vlv_ledger *ledger;
  struct vlv_party *party;
  const char *directory;
  struct vlv_device_id device;
  int listener;
  struct handover_line line; /* to the pool that was given to last */
  pthread_t thread;
  _Atomic bool ends; /* the thread is to end */
  uint64_t retry_ns; /* after an error of the driver: no page is made, staged or placed before */
  uint32_t seen;     /* the ledger's count of changes, when it was last looked at */
  uint64_t news_ns;  /* and when it had last grown */
};

/* `size` bytes, rounded up to pages, behind what was allocated before; NULL: there is no order for a pool, it
 * cannot be set up, or it is full. */
void *pool_alloc(struct halt *halt, size_t size);
/* When all that was allocated is free again, the pool is taken down. */
void pool_free(void *memory, size_t size);
void *pool_base(void);
/* In a forked child there is none. */
void pool_reset_after_fork(void);

/* ---- between the pool's parts; all in its thread ---- */

void *pool_main(void *pool);
/* Each: whether anything was done. */
bool pool_receive(struct pool *pool);
bool pool_give(struct pool *pool);
bool pool_take(struct pool *pool);
/* Gives pages up that are not in the range: to another pool that has room, else to the driver. */
void pool_pass_on(struct pool *pool, const struct pool_page *pages, uint32_t count);
/* As range_remap(), with the channels of a tenant off the hardware, up to POOL_STAGE_PAGES at a time: what
 * was remapped first is on its way while the rest is. After each part `done` with what follows before they
 * run again. -EIO, -ETIMEDOUT: nothing has changed in the part that failed, nor in those behind it. */
struct remap {
  struct range *range;
  const uint32_t *slots;
  const vmm_memory *memories;
  const struct pool_page *leaving; /* what is in these slots, if that goes */
  uint32_t count;
  void (*done)(struct pool *pool, const struct remap *remap);
};
int pool_remap(struct pool *pool, const struct remap *remap);
/* An error of the driver: counted, and a pause. */
void pool_failed(struct pool *pool);
/* Its row in the ledger, for counters. */
static inline struct vlv_party_row *pool_row(const struct pool *pool) {
  uint32_t row = vlv_party_row_index(pool->party);
  return (struct vlv_party_row *)&vlv_ledger_file(pool->ledger)->rows[row];
}
static inline void pool_add(struct pool_pages *pages, struct pool_page page) {
  pages->items[pages->count++] = page;
}

#endif
