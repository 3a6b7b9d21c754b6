/* Times a reclaim on the fake driver, whose memory calls cost what they cost on an A100: bench_pool [ROUNDS].
 * Prints JSON. Of 1, 8 and 64 pages, in nanoseconds:
 *   usable   `reserved` raised -> the online engine's table says that the last of them is backed
 *   driver   what the driver's calls took of that: stopping the channels, memory, clearing
 *   stopped  how long the tenant's channels stood still
 * and `over`, the median of usable / driver; `polling`, how many times sooner than if somebody looked every
 * 100 ms, which is after 50 ms on the average, and then did the same. */
#include "pool_stage.h"

#define ROUNDS_MAX 2000
#define PAGES_MAX 64
#define POLL_MEAN_NS 50000000.0
#define COSTS_A100 "FAKE_VMM_US=create=193,map=1.45,access=36,unmap=25.6"

static const uint32_t sizes[] = {1, 8, 64};
static struct engine online = {.number = 0, .online = true, .pages = PAGES_MAX};
static struct engine tenant = {.number = 1, .pages = PAGES_MAX};
static _Atomic uint64_t *spent_ns;
static double usable[ROUNDS_MAX], driver[ROUNDS_MAX], stopped[ROUNDS_MAX], over[ROUNDS_MAX];

static int by_value(const void *left, const void *right) {
  const double a = *(const double *)left, b = *(const double *)right;
  return (a > b) - (a < b);
}

static double percentile(double *values, int count, int percent) {
  qsort(values, (size_t)count, sizeof *values, by_value);
  return values[count * percent / 100];
}

static void map_spent(void) {
  static char setting[512];
  const char *path = scratch_path("spent");
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  CHECK(fd >= 0 && ftruncate(fd, sizeof *spent_ns) == 0);
  spent_ns = mmap(NULL, sizeof *spent_ns, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(spent_ns != MAP_FAILED);
  close(fd);
  snprintf(setting, sizeof setting, "FAKE_VMM_SPENT=%s", path);
  set(setting);
  set(COSTS_A100);
}

static const struct vlv_party_row *tenant_party(void) {
  for (uint32_t i = 0; i < VLV_PARTIES_MAX; i++) {
    const struct vlv_party_row *row = &vlv_ledger_file(ledger)->rows[i];
    if (row->owner_pid == (uint64_t)tenant.pid) return row;
  }
  return NULL;
}

static void go_back(void) {
  CHECK(vlv_ledger_set_reserved(ledger, 0) == 0);
  EVENTUALLY(backed(&online) == 0 && backed(&tenant) == PAGES_MAX);
  nap_ms(5); /* what follows a placing is done */
}

/* The last page that comes is the one that counts. */
static void reclaim(int round, uint32_t pages) {
  uint64_t spent = atomic_load(spent_ns), asked_ns = vlv_now_ns();
  CHECK(vlv_ledger_set_reserved(ledger, pages) == 0);
  while (backed(&online) < pages) continue;
  usable[round] = (double)(vlv_now_ns() - asked_ns);
  driver[round] = (double)(atomic_load(spent_ns) - spent);
  over[round] = usable[round] / driver[round];
  EVENTUALLY(backed(&tenant) == PAGES_MAX - pages);
  stopped[round] = (double)tenant_party()->stopped_ns;
}

static void print_size(uint32_t pages, int rounds, const char *end) {
  for (int round = 0; round < rounds; round++) {
    reclaim(round, pages);
    go_back();
  }
  double p50 = percentile(usable, rounds, 50);
  printf("  \"%u\": {\"n\": %d, \"usable_p50\": %.0f, \"usable_p99\": %.0f, \"driver_p50\": %.0f, ", pages,
         rounds, p50, percentile(usable, rounds, 99), percentile(driver, rounds, 50));
  printf("\"stopped_p50\": %.0f, \"over\": %.3f, \"polling\": %.1f}%s\n", percentile(stopped, rounds, 50),
         percentile(over, rounds, 50), (POLL_MEAN_NS + p50) / p50, end);
}

/* Both engines rest, so that the processors are free for what is measured. */
static void begin(struct engine *engine) {
  engine_start(engine, 0);
  EVENTUALLY(engine->hammer->ready == 1);
  atomic_store(&engine->hammer->pause, 1);
  EVENTUALLY(engine->hammer->paused == 1);
}

int main(int count, char **arguments) {
  int rounds = count > 1 ? atoi(arguments[1]) : 100;
  CHECK(rounds > 0 && rounds <= ROUNDS_MAX);
  scratch_make();
  pool_stage_begin(PAGES_MAX + 3);
  map_spent();
  begin(&online);
  begin(&tenant);
  go_back();
  printf("{\n");
  for (int i = 0; i < 3; i++) print_size(sizes[i], rounds, i < 2 ? "," : "");
  printf("}\n");
  engine_leave(&online);
  engine_leave(&tenant);
  munmap((void *)spent_ns, sizeof *spent_ns);
  pool_stage_end();
  scratch_remove();
  return 0;
}
