/* vmm.c - part (e): what virtual memory costs, and whether it can be remapped under a victim whose channels
 * are off.
 *
 * The verdict decides how memory is reclaimed: "go" means that the calls complete while the gate is closed,
 * that the victim goes on without a fault, and that it no longer touches the pages that were taken away.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fake_run.h"
#include "isolate.h"
#include "kernels.h"
#include "kit.h"
#include "own_channels.h"
#include "pulse.h"
#include "report.h"
#include "rescue.h"

#define LIMIT_S 40
#define PAGES_MAX 64u
#define CLOSED_NS 2000000000ull /* how long the calls may take while the gate is closed; below RESCUE_NS */
#define BACK_NS 2000000000ull

struct memory {
  struct device device;
  struct cu_memory_properties properties;
  struct cu_access access;
  size_t page; /* the smallest mapping: 2 MiB */
  cu_pointer range;
  uint32_t pages;
  cu_memory handles[PAGES_MAX];
};

static int begin(struct memory *memory) {
  if (driver_begin(&memory->device) != 0) return -1;
  memory->properties = (struct cu_memory_properties){
      .type = CU_PINNED, .handle_types = CU_POSIX_FD, .location = {.type = CU_DEVICE, .id = 0}};
  memory->access = (struct cu_access){.location = {.type = CU_DEVICE, .id = 0}, .flags = CU_READ_WRITE};
  memory->pages = (uint32_t)fake_run_choose(PAGES_MAX, 4);
  CU(MemGranularity(&memory->page, &memory->properties, 0));
  CU(AddressReserve(&memory->range, memory->pages * memory->page, 0, 0, 0));
  return 0;
}

/* ---- costs ---- */

struct costs {
  struct figures create, map, access, unmap, release, export, import;
  double access_of_all_us, unmap_of_all_us;
};

#define TIMED(figures, call)                                        \
  do {                                                              \
    uint64_t called_ns = clock_ns();                                \
    CU(call);                                                       \
    figures_add((figures), (double)(clock_ns() - called_ns) / 1e3); \
  } while (0)

static cu_pointer page_at(const struct memory *memory, uint32_t index) {
  return memory->range + index * memory->page;
}

static void time_export(const struct memory *memory, struct costs *costs, uint32_t index) {
  int fd = -1;
  cu_memory imported = 0;
  TIMED(&costs->export, MemExport(&fd, memory->handles[index], CU_POSIX_FD, 0));
  TIMED(&costs->import, MemImport(&imported, (void *)(intptr_t)fd, CU_POSIX_FD));
  CU(MemRelease(imported));
  close(fd);
}

static void time_each_page(struct memory *memory, struct costs *costs) {
  for (uint32_t i = 0; i < memory->pages; i++) {
    TIMED(&costs->create, MemCreate(&memory->handles[i], memory->page, &memory->properties, 0));
    TIMED(&costs->map, MemMap(page_at(memory, i), memory->page, 0, memory->handles[i], 0));
    TIMED(&costs->access, MemSetAccess(page_at(memory, i), memory->page, &memory->access, 1));
    time_export(memory, costs, i);
  }
}

static void time_undoing(struct memory *memory, struct costs *costs) {
  for (uint32_t i = 0; i < memory->pages; i++)
    TIMED(&costs->unmap, MemUnmap(page_at(memory, i), memory->page));
  for (uint32_t i = 0; i < memory->pages; i++)
    CU(MemMap(page_at(memory, i), memory->page, 0, memory->handles[i], 0));
  uint64_t begin_ns = clock_ns();
  CU(MemSetAccess(memory->range, memory->pages * memory->page, &memory->access, 1));
  costs->access_of_all_us = (double)(clock_ns() - begin_ns) / 1e3;
  begin_ns = clock_ns();
  CU(MemUnmap(memory->range, memory->pages * memory->page));
  costs->unmap_of_all_us = (double)(clock_ns() - begin_ns) / 1e3;
  for (uint32_t i = 0; i < memory->pages; i++) TIMED(&costs->release, MemRelease(memory->handles[i]));
}

static void tell_costs(const char *name, const struct memory *memory, struct costs *costs) {
  struct record record;
  record_begin(&record, name);
  record_number(&record, "page_kib", (double)memory->page / 1024);
  record_figures(&record, "create_us", &costs->create);
  record_figures(&record, "map_us", &costs->map);
  record_figures(&record, "set_access_us", &costs->access);
  record_figures(&record, "unmap_us", &costs->unmap);
  record_figures(&record, "release_us", &costs->release);
  record_figures(&record, "export_us", &costs->export);
  record_figures(&record, "import_us", &costs->import);
  record_number(&record, "set_access_of_all_us", costs->access_of_all_us);
  record_number(&record, "unmap_of_all_us", costs->unmap_of_all_us);
  record_end(&record, "ok");
}

static int measure_costs(const void *name) {
  static struct memory memory;
  static struct costs costs;
  if (begin(&memory) != 0) return 3;
  time_each_page(&memory, &costs);
  time_undoing(&memory, &costs);
  tell_costs(name, &memory, &costs);
  return 0;
}

/* ---- under a closed gate ---- */

enum step { STEP_NONE, STEP_UNMAPPED, STEP_MAPPED, STEP_ACCESSIBLE };

struct remap {
  struct memory memory;
  struct kernels kernels;
  struct beacon beacon;
  struct pulse pulse;
  cu_object stream;
  cu_memory quarantine;
  cu_pointer window; /* where the first page taken away can still be seen */
  _Atomic int step, error;
  _Atomic uint64_t step_ns[STEP_ACCESSIBLE + 1];
};

static void map_all(struct remap *remap) {
  struct memory *memory = &remap->memory;
  for (uint32_t i = 0; i < memory->pages; i++) {
    CU(MemCreate(&memory->handles[i], memory->page, &memory->properties, 0));
    CU(MemMap(page_at(memory, i), memory->page, 0, memory->handles[i], 0));
  }
  CU(MemSetAccess(memory->range, memory->pages * memory->page, &memory->access, 1));
  CU(MemCreate(&remap->quarantine, memory->page, &memory->properties, 0));
  CU(AddressReserve(&remap->window, memory->page, 0, 0, 0));
  CU(MemMap(remap->window, memory->page, 0, memory->handles[0], 0));
  CU(MemSetAccess(remap->window, memory->page, &memory->access, 1));
}

static void start_victim(struct remap *remap) {
  kernels_load(&remap->kernels, &remap->memory.device);
  beacon_create(&remap->beacon);
  CU(StreamCreateWithPriority(&remap->stream, CU_STREAM_NON_BLOCKING, 0));
  pulse_begin(&remap->pulse, remap->beacon.beat);
  uint64_t words = remap->memory.pages * remap->memory.page / sizeof(uint64_t);
  launch_walk(&remap->kernels, &remap->beacon, remap->memory.range, words, remap->stream);
}

static bool reached(struct remap *remap, enum step step, cu_result result) {
  remap->error = result;
  if (result != 0) return false;
  remap->step_ns[step] = clock_ns();
  remap->step = step;
  return true;
}

static cu_result map_quarantine(struct remap *remap) {
  cu_result result = 0;
  for (uint32_t i = 0; i < remap->memory.pages && result == 0; i++)
    result = cu.MemMap(page_at(&remap->memory, i), remap->memory.page, 0, remap->quarantine, 0);
  return result;
}

/* In a thread of its own, for any of it may wait for the channels that are off. */
static void *remap_all(void *argument) {
  struct remap *remap = argument;
  uint64_t size = remap->memory.pages * remap->memory.page;
  reached(remap, STEP_NONE, cu.CtxSetCurrent(remap->memory.device.context));
  if (!reached(remap, STEP_UNMAPPED, cu.MemUnmap(remap->memory.range, size))) return NULL;
  if (!reached(remap, STEP_MAPPED, map_quarantine(remap))) return NULL;
  reached(remap, STEP_ACCESSIBLE, cu.MemSetAccess(remap->memory.range, size, &remap->memory.access, 1));
  return NULL;
}

static bool finishes_within(struct remap *remap, uint64_t timeout_ns) {
  uint64_t deadline_ns = clock_ns() + timeout_ns;
  while (remap->step != STEP_ACCESSIBLE && remap->error == 0 && clock_ns() < deadline_ns) sleep_ns(20000);
  return remap->step == STEP_ACCESSIBLE;
}

/* The victim writes every word all the time: a page that is still its own changes. */
static bool is_left_alone(const struct remap *remap) {
  uint64_t before = 0, after = 0;
  CU(MemcpyDtoH(&before, remap->window, sizeof before));
  sleep_ns(20000000);
  CU(MemcpyDtoH(&after, remap->window, sizeof after));
  return before == after;
}

struct verdict {
  bool written_before, completed, beats, contained;
  int end_result;
};

static void tell_remap(const char *name, const struct remap *remap, const struct verdict *verdict) {
  static const char *const steps[] = {"none", "unmap", "map", "set_access"};
  bool go = verdict->completed && verdict->beats && verdict->contained && verdict->end_result == 0;
  struct record record;
  record_begin(&record, name);
  record_number(&record, "pages", remap->memory.pages);
  record_text(&record, "last_call_completed_while_closed", steps[remap->step]);
  for (int i = STEP_UNMAPPED; i <= remap->step && verdict->completed; i++)
    record_number(&record, steps[i], (double)(remap->step_ns[i] - remap->step_ns[i - 1]) / 1e3);
  record_number(&record, "cuda_error", remap->error);
  record_number(&record, "ran_on", verdict->beats);
  record_number(&record, "wrote_before", verdict->written_before);
  record_number(&record, "contained", verdict->contained);
  record_number(&record, "end_result", verdict->end_result);
  record_end(&record, go ? "go" : "no-go");
}

/* A kernel that waits for the end of an unmap that waits for the kernel: only its stop flag helps. */
static void recover(struct remap *remap, bool completed) {
  channels_resume(&own_channels);
  rescue_disarm();
  if (completed) return;
  *remap->beacon.stop = 1;
  finishes_within(remap, BACK_NS);
}

static int remap_closed(const void *name) {
  static struct remap remap;
  static struct channel channels[KIT_CHANNELS_MAX];
  struct verdict verdict = {0};
  pthread_t thread;
  if (begin(&remap.memory) != 0) return 3;
  map_all(&remap);
  start_victim(&remap);
  if (!pulse_beats(&remap.pulse, 5 * BACK_NS)) return 3;
  verdict.written_before = !is_left_alone(&remap);
  if (rescue_begin(channels, own_channels_copy(channels)) != 0) return 3;
  rescue_arm();
  int stopped = channels_stop(&own_channels);
  if (stopped == 0) pthread_create(&thread, NULL, remap_all, &remap);
  verdict.completed = stopped == 0 && finishes_within(&remap, CLOSED_NS);
  recover(&remap, verdict.completed);
  verdict.beats = pulse_beats(&remap.pulse, BACK_NS);
  if (verdict.completed) verdict.contained = is_left_alone(&remap);
  *remap.beacon.stop = 1;
  verdict.end_result = cu.StreamSynchronize(remap.stream);
  tell_remap(name, &remap, &verdict);
  return verdict.completed ? 0 : 1;
}

int vmm_main(void) {
  static const char costs[] = "costs", remap[] = "unmap, map, set_access under a closed gate";
  int failed = isolate(costs, measure_costs, costs, LIMIT_S);
  return failed | isolate(remap, remap_closed, remap, LIMIT_S);
}
