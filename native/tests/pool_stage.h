/* What the tests of whole pools share: engines on the fake GPU with a device of a few pages, and its ledger.
 */
#ifndef VALVE_TESTS_POOL_STAGE_H
#define VALVE_TESTS_POOL_STAGE_H

#include "programs/hammer.h"
#include "shim_stage.h"
#include "valve/pool.h"

#define ENGINES_MAX 4

struct engine {
  pid_t pid;
  bool online;
  uint32_t pages;
  int number;
  struct hammer *hammer;
  struct vlv_pool_table *table;
};

static char device_path[64];
static struct vlv_ledger *ledger;
static uint32_t device_pages;

/* A test that fails leaves nothing behind. */
static inline void remove_device(void) {
  unlink(device_path);
}

/* The device's memory lies on /dev/shm: no disk is written. */
static inline void pool_stage_begin(uint32_t pages) {
  stage_begin();
  device_pages = pages;
  snprintf(device_path, sizeof device_path, "/dev/shm/valve-gpu-XXXXXX");
  int fd = mkstemp(device_path);
  CHECK(fd >= 0 && ftruncate(fd, (off_t)(pages * VLV_PAGE_BYTES)) == 0);
  close(fd);
  atexit(remove_device);
  CHECK(vlv_ledger_open(scratch, &GPU_ID, false, &ledger) == 0);
}

static inline void pool_stage_end(void) {
  vlv_ledger_close(ledger);
  remove_device();
  stage_end();
}

/* ---- engines ---- */

static inline const char *engine_path(const char *kind, int number) {
  static char path[128];
  snprintf(path, sizeof path, "%s/%s.%d", scratch, kind, number);
  return path;
}

static inline void put_pool_settings(const struct engine *engine, uint32_t start) {
  char text[32];
  snprintf(text, sizeof text, "%u", start);
  setenv("VALVE_POOL_START", text, 1);
  setenv("VALVE_POOL", engine_path("pool", engine->number), 1);
  setenv("VALVE_POOL_ROLE", engine->online ? "online" : "offline", 1);
  setenv("FAKE_GPU_MEMORY", device_path, 1);
  put_settings();
  if (engine->online) unsetenv("VALVE_RUNNER"); /* no gate for it */
}

static inline void engine_start(struct engine *engine, uint32_t start) {
  static char hammer_path[128];
  snprintf(hammer_path, sizeof hammer_path, "%s", engine_path("hammer", engine->number));
  unlink(hammer_path);
  unlink(engine_path("pool", engine->number));
  CHECK(vlv_pool_table_make(engine_path("pool", engine->number), engine->pages) == 0);
  CHECK(vlv_pool_table_open(engine_path("pool", engine->number), &engine->table) == 0);
  engine->hammer = hammer_open(hammer_path);
  fflush(NULL);
  pid_t parent = getpid();
  engine->pid = fork();
  CHECK(engine->pid >= 0);
  if (engine->pid > 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(9);
  put_pool_settings(engine, start);
  execl(PROGRAMS "/pooled", "pooled", hammer_path, engine->online ? "online" : "offline", NULL);
  _exit(127);
}

static inline void engine_forget(struct engine *engine) {
  vlv_pool_table_close(engine->table);
  munmap((void *)engine->hammer, sizeof *engine->hammer);
}

static inline void engine_kill(struct engine *engine) {
  kill_and_wait(engine->pid);
  engine_forget(engine);
}

static inline void engine_leave(struct engine *engine) {
  atomic_store(&engine->hammer->leave, 1);
  int status = wait_status(engine->pid);
  if (status != 0) fprintf(stderr, "engine %d ended with %d\n", engine->number, status);
  CHECK(status == 0);
  engine_forget(engine);
}

static inline uint32_t backed(const struct engine *engine) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < engine->pages; i++)
    count += vlv_pool_table_words(engine->table)[i] & VLV_POOL_BACKED;
  return count;
}

static inline void check_sound(const struct engine *engine) {
  CHECK(kill(engine->pid, 0) == 0 && waitpid(engine->pid, NULL, WNOHANG) == 0); /* no fault has killed it */
  CHECK(atomic_load(&engine->hammer->foreign) == 0);
  CHECK(atomic_load(&engine->hammer->silent) == 0);
}

/* ---- the device ---- */

static inline struct vlv_page_counts counts(void) {
  struct vlv_page_counts counts;
  vlv_ledger_count(ledger, &counts);
  return counts;
}

/* Pages of the device's memory that exist, as the driver knows it. */
static inline uint32_t pages_in_use(void) {
  uint32_t used = 0;
  int fd = open(device_path, O_RDWR | O_CLOEXEC);
  CHECK(fd >= 0);
  for (uint32_t i = 0; i < device_pages; i++) {
    struct flock page = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = i, .l_len = 1};
    CHECK(fcntl(fd, F_OFD_GETLK, &page) == 0);
    used += page.l_type != F_UNLCK;
  }
  close(fd);
  return used;
}

/* Memory exists for what is leased, and one quarantine page for each living pool. */
static inline bool is_settled(uint32_t pools) {
  struct vlv_page_counts now = counts();
  vlv_ledger_sweep(ledger);
  return now.in_transit == 0 && pages_in_use() == now.online + now.tenants + pools;
}

#endif
