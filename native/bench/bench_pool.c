/* Times a reclaim on the fake driver, whose memory calls cost what they cost on an A100: bench_pool [ROUNDS].
 * Prints JSON. What a call costs that unmaps several pages is not known: `by_call` takes it for 25.6 us, as
 * for one, `by_page` for 25.6 us a page. Of 1, 8, 64 and 512 pages, in nanoseconds: usable   `reserved`
 * raised -> the online engine's table says that the last of them is backed driver   sum of what the driver's
 * calls took until then: stopping the channels, memory, clearing idle     of `usable`, when no call was under
 * way in either process stopped  how long the tenant's channels stood still and `over`, the median of usable
 * / driver; `polling`, how many times sooner than if somebody looked every 100 ms, which is after 50 ms on
 * the average, and then did the same. */
#include "fake/costs.h"
#include "pool_stage.h"

#define ROUNDS_MAX 2000
#define PAGES_MAX 512
#define POLL_MEAN_NS 50000000.0
#define COSTS_A100 "FAKE_VMM_US=create=193,map=1.45,access=36,"

static const uint32_t sizes[] = {1, 8, 64, 512};
enum { SIZES = sizeof sizes / sizeof sizes[0] };
static struct engine online = {.number = 0, .online = true, .pages = PAGES_MAX};
static struct engine tenant = {.number = 1, .pages = PAGES_MAX};
static struct cost_calls *calls;
static double usable[ROUNDS_MAX], driver[ROUNDS_MAX], idle[ROUNDS_MAX], stopped[ROUNDS_MAX], over[ROUNDS_MAX];

static int by_value(const void *left, const void *right) {
  const double a = *(const double *)left, b = *(const double *)right;
  return (a > b) - (a < b);
}

static double percentile(double *values, int count, int percent) {
  qsort(values, (size_t)count, sizeof *values, by_value);
  return values[count * percent / 100];
}

static void map_calls(void) {
  static char setting[512];
  const char *path = scratch_path("calls");
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  CHECK(fd >= 0 && ftruncate(fd, sizeof *calls) == 0);
  calls = mmap(NULL, sizeof *calls, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(calls != MAP_FAILED);
  close(fd);
  snprintf(setting, sizeof setting, "FAKE_VMM_CALLS=%s", path);
  set(setting);
}

static int by_begin(const void *left, const void *right) {
  const struct cost_call *a = left, *b = right;
  return (a->began_ns > b->began_ns) - (a->began_ns < b->began_ns);
}

/* Of calls from one moment to another: their sum, and the time without any. */
static void add_up(uint64_t from_ns, uint64_t until_ns, double *sum_ns, double *none_ns) {
  uint64_t reached_ns = from_ns;
  CHECK(calls->count <= COST_CALLS_MAX);
  qsort(calls->calls, calls->count, sizeof *calls->calls, by_begin);
  *sum_ns = *none_ns = 0;
  for (uint32_t i = 0; i < calls->count && calls->calls[i].ended_ns <= until_ns; i++) {
    const struct cost_call *call = &calls->calls[i];
    *sum_ns += (double)(call->ended_ns - call->began_ns);
    if (call->began_ns > reached_ns) *none_ns += (double)(call->began_ns - reached_ns);
    if (call->ended_ns > reached_ns) reached_ns = call->ended_ns;
  }
  *none_ns += (double)(until_ns - reached_ns);
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

static const struct vlv_pool_head *told(void) {
  return vlv_pool_table_head(online.table);
}

/* The last page that comes is the one that counts. */
static void reclaim(int round, uint32_t pages) {
  calls->count = 0;
  uint64_t asked_ns = vlv_now_ns();
  CHECK(vlv_ledger_set_reserved(ledger, pages) == 0);
  EVENTUALLY(backed(&online) == pages && backed(&tenant) == PAGES_MAX - pages);
  nap_ms(5); /* what follows is done, too */
  usable[round] = (double)(told()->told_ns - asked_ns);
  add_up(asked_ns, told()->told_ns, &driver[round], &idle[round]);
  over[round] = usable[round] / driver[round];
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
  printf("\"idle_p50\": %.0f, \"stopped_p50\": %.0f, \"over\": %.3f, \"polling\": %.1f}%s\n",
         percentile(idle, rounds, 50), percentile(stopped, rounds, 50), percentile(over, rounds, 50),
         (POLL_MEAN_NS + p50) / p50, end);
}

/* Both engines rest, so that the processors are free for what is measured. */
static void begin(struct engine *engine) {
  engine_start(engine, 0);
  EVENTUALLY(engine->hammer->ready == 1);
  atomic_store(&engine->hammer->pause, 1);
  EVENTUALLY(engine->hammer->paused == 1);
}

static void measure(const char *name, const char *costs, int rounds, const char *end) {
  scratch_make();
  pool_stage_begin(PAGES_MAX + 3);
  map_calls();
  set(costs);
  set("FAKE_GPU_URGENT=1");
  begin(&online);
  begin(&tenant);
  go_back();
  printf("\"%s\": {\n", name);
  for (int i = 0; i < SIZES; i++) print_size(sizes[i], rounds, i < SIZES - 1 ? "," : "");
  printf("}%s\n", end);
  engine_leave(&online);
  engine_leave(&tenant);
  munmap(calls, sizeof *calls);
  pool_stage_end();
  scratch_remove();
}

int main(int count, char **arguments) {
  int rounds = count > 1 ? atoi(arguments[1]) : 100;
  CHECK(rounds > 0 && rounds <= ROUNDS_MAX);
  printf("{\n");
  measure("by_call", COSTS_A100 "unmap=25.6", rounds, ",");
  measure("by_page", COSTS_A100 "unmap_page=25.6", rounds, "");
  printf("}\n");
  return 0;
}
