/* valve/pool.h - the pool table: what a KV pool tells its engine, and the engine its pool.
 *
 * One file per job, named by VALVE_POOL in the job's environment, made by `valve run --kv-pool`. The pool (in
 * the preload shim) is a range of addresses of P pages of 2 MiB each. A page of it is backed, or what is read
 * there is worth nothing and what is written there is lost.
 *
 * The engine reads `epoch`, then the words. Another count in a word than it last saw: what was there is lost,
 * whether or not the page is backed again. Bit 0: it may be used now. Nothing has to be acknowledged by an
 * engine that can lose blocks. An online engine cannot: from it a page is taken only after its bit 0 was
 * cleared, with the count as it was, and the engine has said by `seen` that it knows and by a cost of 0 that
 * it does not use the page.
 */
#ifndef VALVE_POOL_H
#define VALVE_POOL_H

#include "valve/ledger.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VLV_POOL_MAGIC 0x314c4f4f50564c56ull /* "VLVPOOL1" */
#define VLV_POOL_VERSION 1u
#define VLV_POOL_WORDS_OFFSET 128u

#define VLV_POOL_BACKED 1u /* bit 0 of a page's word */
#define VLV_POOL_LOST 2u   /* added to it: one more loss */

struct vlv_pool_head { /* 128 bytes; then `pages` words of the pool, then as many costs of the engine */
  uint64_t magic;
  uint32_t version;
  uint32_t page_bytes;
  uint32_t pages;
  uint8_t rest[44];
  VLV_ATOMIC(uint32_t) epoch;  /* futex word: bumped after words have changed, before kernels run again */
  VLV_ATOMIC(uint32_t) seen;   /* by the engine: up to which epoch it has acted and written its costs */
  VLV_ATOMIC(uint32_t) wanted; /* by the engine: pages that it would use now if it had them; informs */
  uint32_t rest1;
  VLV_ATOMIC(uint64_t) told_ns; /* when the pool last bumped the epoch, CLOCK_MONOTONIC */
  uint8_t rest2[40];
};

struct vlv_pool_table;

/* Makes the file (mode 0600) for `pages` pages, none of them backed. -EEXIST: there is one; -EINVAL: not 1 to
 * VLV_PAGES_MAX; -ENOSPC. */
VLV_API int vlv_pool_table_make(const char *path, uint32_t pages);
/* Maps it. -EPROTO: not whole or not a pool table; -EPROTONOSUPPORT: another version. */
VLV_API int vlv_pool_table_open(const char *path, struct vlv_pool_table **out);
VLV_API void vlv_pool_table_close(struct vlv_pool_table *table);

VLV_API struct vlv_pool_head *vlv_pool_table_head(const struct vlv_pool_table *table);
VLV_API uint32_t vlv_pool_table_pages(const struct vlv_pool_table *table); /* as checked when it was opened */
VLV_API VLV_ATOMIC(uint32_t) * vlv_pool_table_words(const struct vlv_pool_table *table);
VLV_API VLV_ATOMIC(uint32_t) * vlv_pool_table_costs(const struct vlv_pool_table *table);

/* For the pool. Each changes one word; vlv_pool_table_tell() makes it known. */
VLV_API void vlv_pool_table_back(struct vlv_pool_table *table, uint32_t page);
VLV_API void vlv_pool_table_withdraw(struct vlv_pool_table *table, uint32_t page); /* bit 0 only */
VLV_API void vlv_pool_table_lose(struct vlv_pool_table *table, uint32_t page);
/* Bumps the epoch and wakes. Returns the epoch now in force. */
VLV_API uint32_t vlv_pool_table_tell(struct vlv_pool_table *table);

#ifdef __cplusplus
}
#endif
#endif
