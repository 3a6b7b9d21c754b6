/* A pool is set up and taken down here. */
#include "pool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "rank.h"
#include "words.h"

#define START_PAUSE_NS 1000000
#define START_TRIES 2000
#define STREAM_NON_BLOCKING 1u

static struct {
  pthread_mutex_t lock;
  struct pool *pool; /* NULL: none now */
  int table_fd;      /* locked while this process's pool owns the table */
  uint32_t given;    /* slots that were allocated, from the first on */
  uint32_t freed;
} own = {.lock = PTHREAD_MUTEX_INITIALIZER, .table_fd = -1};

/* What `valve run` said. */
struct order {
  const char *directory, *table, *name;
  bool online;
  uint32_t start;
};

static int read_order(struct order *order) {
  const char *role = getenv("VALVE_POOL_ROLE"), *start = getenv("VALVE_POOL_START");
  order->directory = getenv("VALVE_RUNTIME_DIR");
  order->table = getenv("VALVE_POOL");
  order->name = getenv("VALVE_JOB_NAME");
  order->online = role != NULL && strcmp(role, "online") == 0;
  order->start = start != NULL ? (uint32_t)strtoul(start, NULL, 10) : 0;
  return order->directory != NULL && order->table != NULL ? 0 : -ENOENT;
}

/* ---- setting up ---- */

/* One pool per table: a second process of the job must not write into the first one's words. */
static int own_table(const char *path, struct vlv_pool_table **table) {
  own.table_fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  if (own.table_fd < 0) return -errno;
  if (flock(own.table_fd, LOCK_EX | LOCK_NB) != 0) return -EBUSY;
  return vlv_pool_table_open(path, table);
}

static int enter_context(struct pool *pool, int *device) {
  int error = vmm_find(&pool->vmm);
  if (error < 0) return error;
  if (pool->vmm.current_context(&pool->context) != 0 || pool->context == NULL) return -ENODEV;
  if (pool->vmm.current_device(device) != 0) return -ENODEV;
  return pool->vmm.device_uuid(pool->device.bytes, *device) == 0 ? 0 : -ENODEV;
}

/* Waits for the gate to open, as any work of the application's would. */
static int clear_quarantine(struct pool *pool) {
  const struct timespec pause = {.tv_nsec = START_PAUSE_NS};
  int result = pool->vmm.clear(pool->stage.base, 0, VLV_PAGE_BYTES, pool->stream);
  while (result == 0 && (result = pool->vmm.stream_query(pool->stream)) == VMM_NOT_READY) {
    nanosleep(&pause, NULL);
    result = 0;
  }
  return result == 0 ? 0 : -EIO;
}

/* The quarantine page too had another owner before: it is cleared through the stage, which shows it. */
static int make_ranges(struct pool *pool, int device, uint32_t slots) {
  if (pool->vmm.stream_create(&pool->stream, STREAM_NON_BLOCKING) != 0) return -EIO;
  if (vmm_make_page(&pool->vmm, device, &pool->quarantine) != 0) return -ENOMEM;
  int error = range_create(&pool->stage, &pool->vmm, device, POOL_STAGE_PAGES, pool->quarantine);
  if (error == 0) error = clear_quarantine(pool);
  if (error == 0) error = range_create(&pool->range, &pool->vmm, device, slots, pool->quarantine);
  pool->range.rests = !pool->online;
  return error;
}

static int make_lists(struct pool *pool, uint32_t slots) {
  pool->pages = malloc(slots * sizeof *pool->pages);
  pool->raw.items = calloc(slots, sizeof *pool->raw.items);
  pool->staged.items = calloc(POOL_STAGE_PAGES, sizeof *pool->staged.items);
  pool->asked = calloc(slots, sizeof *pool->asked);
  bool whole = pool->pages != NULL && pool->asked != NULL && pool->raw.items != NULL;
  for (uint32_t slot = 0; pool->pages != NULL && slot < slots; slot++) pool->pages[slot] = POOL_NO_PAGE;
  return whole && pool->staged.items != NULL ? 0 : -ENOMEM;
}

static int join_ledger(struct pool *pool, const struct order *order, uint32_t slots) {
  enum vlv_role role = order->online ? VLV_ROLE_ONLINE : VLV_ROLE_TENANT;
  int error = vlv_ledger_open(order->directory, &pool->device, false, &pool->ledger);
  if (error < 0) return error;
  error = vlv_party_register(pool->ledger, role, order->name != NULL ? order->name : "", slots, order->start,
                             &pool->party);
  if (error < 0) return error;
  pool->listener = handover_listen(order->directory, &pool->device, vlv_party_row_index(pool->party));
  return pool->listener < 0 ? pool->listener : handover_open_line(&pool->line);
}

/* Signals are for the application's own threads. */
static int start_thread(struct pool *pool) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&pool->thread, NULL, pool_main, pool);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error == 0) pthread_setname_np(pool->thread, "valve-pool");
  return -error;
}

static int set_up(struct pool *pool, const struct order *order) {
  int device, error = own_table(order->table, &pool->table);
  if (error == 0) error = enter_context(pool, &device);
  uint32_t slots = error == 0 ? vlv_pool_table_pages(pool->table) : 0;
  if (error == 0) error = make_lists(pool, slots);
  if (error == 0) error = make_ranges(pool, device, slots);
  if (error == 0) error = join_ledger(pool, order, slots);
  return error;
}

/* ---- taking down ---- */

static void lose_all(struct pool *pool) {
  for (uint32_t slot = 0; slot < pool->range.slots; slot++)
    if (pool->pages[slot] != POOL_NO_PAGE) vlv_pool_table_lose(pool->table, slot);
  vlv_pool_table_tell(pool->table);
}

static void release_all(struct pool *pool, struct pool_pages *pages) {
  for (; pages->count > 0; pages->count--) pool->vmm.release(pages->items[pages->count - 1].memory);
  free(pages->items);
}

/* What stands in the range is noted first: a range forgets what it showed. */
static void release_memory(struct pool *pool) {
  for (uint32_t slot = 0; slot < pool->range.slots; slot++)
    if (pool->pages[slot] != POOL_NO_PAGE) pool->vmm.release(pool->range.memory[slot]);
  release_all(pool, &pool->raw);
  release_all(pool, &pool->staged);
  if (pool->range.memory != NULL) range_destroy(&pool->range);
  if (pool->stage.memory != NULL) range_destroy(&pool->stage);
  if (pool->quarantine != 0) pool->vmm.release(pool->quarantine);
}

static void leave_ledger(struct pool *pool) {
  if (pool->listener >= 0)
    handover_unlisten(pool->listener, pool->directory, &pool->device, vlv_party_row_index(pool->party));
  handover_close_line(&pool->line);
  vlv_party_release(pool->party);
  vlv_ledger_close(pool->ledger);
}

/* Nothing is under way any more where addresses go (as cudaFree() waits). Memory first: a page is free in the
 * ledger when it has none. */
static void tear_down(struct pool *pool) {
  if (pool->range.memory != NULL) pool->vmm.synchronise();
  if (pool->table != NULL && pool->pages != NULL) lose_all(pool);
  if (pool->stream != NULL) pool->vmm.stream_destroy(pool->stream);
  release_memory(pool);
  leave_ledger(pool);
  vlv_pool_table_close(pool->table);
  if (own.table_fd >= 0) close(own.table_fd);
  own.table_fd = -1;
  free(pool->pages);
  free(pool->asked);
  free(pool);
}

static void end_pool(void) {
  atomic_store(&own.pool->ends, true);
  vlv_ledger_announce(own.pool->ledger);
  pthread_join(own.pool->thread, NULL);
  tear_down(own.pool);
  own.pool = NULL;
  own.given = own.freed = 0;
}

/* ---- what the application calls ---- */

/* Until the pages to begin with are there, or none has come for long: there are no more, or the gate is
 * closed.
 */
static void wait_for_start(struct pool *pool, uint32_t start) {
  const struct timespec pause = {.tv_nsec = START_PAUSE_NS};
  uint32_t before = 0;
  for (int tries = 0; tries < START_TRIES && atomic_load(&pool->backed) < start; tries++) {
    nanosleep(&pause, NULL);
    if (atomic_load(&pool->backed) != before) tries = 0;
    before = atomic_load(&pool->backed);
  }
}

static struct pool *begin_pool(struct halt *halt) {
  struct order order;
  if (read_order(&order) < 0) return NULL;
  struct pool *pool = calloc(1, sizeof *pool);
  if (pool == NULL) return NULL;
  pool->halt = halt;
  pool->online = order.online;
  pool->directory = order.directory;
  pool->listener = pool->line.fd = -1;
  int error = set_up(pool, &order);
  if (error == 0) error = start_thread(pool);
  if (error == 0) {
    wait_for_start(pool, order.start);
    return pool;
  }
  rank_tell("no KV pool", error);
  tear_down(pool);
  return NULL;
}

static void *take_slots(uint32_t slots) {
  if (own.given + slots > own.pool->range.slots) return NULL;
  vmm_address address = range_address(&own.pool->range, own.given);
  own.given += slots;
  return (void *)(uintptr_t)address;
}

void *pool_alloc(struct halt *halt, size_t size) {
  uint64_t slots = (size + VLV_PAGE_BYTES - 1) / VLV_PAGE_BYTES;
  pthread_mutex_lock(&own.lock);
  if (own.pool == NULL) own.pool = begin_pool(halt);
  void *memory = own.pool != NULL && slots <= VLV_PAGES_MAX ? take_slots((uint32_t)slots) : NULL;
  pthread_mutex_unlock(&own.lock);
  return memory;
}

void pool_free(void *memory, size_t size) {
  (void)memory;
  pthread_mutex_lock(&own.lock);
  if (own.pool != NULL) {
    own.freed += (uint32_t)((size + VLV_PAGE_BYTES - 1) / VLV_PAGE_BYTES);
    if (own.freed >= own.given) end_pool();
  }
  pthread_mutex_unlock(&own.lock);
}

void *pool_base(void) {
  pthread_mutex_lock(&own.lock);
  void *base = own.pool != NULL ? (void *)(uintptr_t)own.pool->range.base : NULL;
  pthread_mutex_unlock(&own.lock);
  return base;
}

/* What the parent has is neither freed nor closed: its descriptors may be other files' by now. */
void pool_reset_after_fork(void) {
  pthread_mutex_init(&own.lock, NULL);
  own.pool = NULL;
  own.table_fd = -1;
  own.given = own.freed = 0;
}
