/* An engine with its KV in a pool: pooled HAMMER offline|online. It works until it is killed or told to
 * leave.
 *
 * Offline, its kernels touch every page of the pool all the time, backed or not, as those do that were under
 * way when a page went. Online, they touch pages that are backed and in use, and nothing else. Each page is
 * left with a mark that tells who wrote it and when. What the next kernel finds there must be that mark, or
 * the table must say that it was lost (online: never); and it must never be another process's.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>

#include "cuda.h"
#include "hammer.h"
#include "valve/pool.h"

#define KERNELS 16 /* in flight at once */
#define NOTHING UINT64_MAX

static struct hammer *hammer;
static bool online;
static char *base;
static uint32_t pool_pages;
static struct vlv_pool_head *head;
static _Atomic uint32_t *words, *costs;
static CUfunction kernel;
static CUstream stream;
/* Of each page: what it was marked with (0: nothing that counts), and its word then. */
static uint64_t *expected, *found;
static uint32_t *word_then, *list, *in_use;
static uint64_t sequence;

/* ---- setting up ---- */

static void *find_shim(const char *name) {
  void *function = dlsym(RTLD_DEFAULT, name);
  if (function == NULL) exit(4);
  return function;
}

static void map_table(void) {
  int fd = open(getenv("VALVE_POOL"), O_RDWR | O_CLOEXEC);
  head = mmap(NULL, VLV_POOL_WORDS_OFFSET, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (fd < 0 || head == MAP_FAILED) exit(4);
  pool_pages = head->pages;
  size_t size = VLV_POOL_WORDS_OFFSET + 8ul * pool_pages;
  head = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  words = (void *)((char *)head + VLV_POOL_WORDS_OFFSET);
  costs = words + pool_pages;
  close(fd);
}

static void set_up_cuda(void) {
  CUcontext context;
  CUmodule module;
  CHECK_CUDA(cuInit(0));
  CHECK_CUDA(cuDevicePrimaryCtxRetain(&context, 0));
  CHECK_CUDA(cuCtxSetCurrent(context));
  CHECK_CUDA(cuModuleLoadData(&module, "an image"));
  CHECK_CUDA(cuModuleGetFunction(&kernel, module, "hammer"));
  CHECK_CUDA(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
}

static void allocate_pool(void) {
  void *(*allocate)(ssize_t, int, void *) = (void *(*)(ssize_t, int, void *))find_shim("vlv_pool_alloc");
  void *(*base_of)(void) = (void *(*)(void))find_shim("vlv_pool_base");
  base = allocate((ssize_t)(pool_pages * VLV_PAGE_BYTES), 0, NULL);
  if (base == NULL || base != base_of()) exit(5);
  expected = calloc(pool_pages, sizeof *expected);
  found = calloc(pool_pages, sizeof *found);
  for (uint32_t i = 0; i < pool_pages; i++) found[i] = NOTHING;
  word_then = calloc(pool_pages, sizeof *word_then);
  list = calloc(pool_pages, sizeof *list);
  in_use = calloc(pool_pages, sizeof *in_use);
}

/* ---- one round ---- */

static uint64_t own_mark(void) {
  return (uint64_t)getpid() << 32 | (++sequence & 0xffffffff);
}

static bool is_lost(uint32_t page) {
  return (atomic_load(&words[page]) ^ word_then[page]) >= VLV_POOL_LOST;
}

/* A page that was lost since it was marked may show anything. */
static void look_at_table(void) {
  for (uint32_t i = 0; i < pool_pages; i++) {
    if (is_lost(i)) expected[i] = 0;
    word_then[i] = atomic_load(&words[i]);
  }
}

static bool is_backed(uint32_t page) {
  return (atomic_load(&words[page]) & VLV_POOL_BACKED) != 0;
}

/* An online engine takes what it needs of what is backed, says what that would cost, and then that it has
 * seen this epoch. */
static void use_pages(void) {
  uint32_t epoch = atomic_load(&head->epoch), used = 0, demand = atomic_load(&hammer->demand);
  for (uint32_t i = 0; i < pool_pages; i++) {
    bool keeps = in_use[i] && used < demand;
    in_use[i] = keeps || (used < demand && is_backed(i));
    used += in_use[i];
    atomic_store(&costs[i], in_use[i] ? 1 + i : 0);
    if (!in_use[i]) expected[i] = 0;
  }
  atomic_store(&head->wanted, demand);
  atomic_store(&head->seen, epoch);
}

/* Costs of an offline engine change as its requests go on. */
static void set_costs(void) {
  for (uint32_t i = 0; i < pool_pages; i++)
    atomic_store(&costs[i], is_backed(i) ? (i * 2654435761u + (uint32_t)sequence) % 64 : 0);
}

static uint32_t list_pages(void) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < pool_pages; i++)
    if (!online || in_use[i]) list[count++] = i;
  return count;
}

static void launch(uint32_t count, uint64_t *mark) {
  void *expects = expected, *finds = found, *pages = list;
  void *arguments[] = {&base, &pages, &count, &expects, mark, &finds};
  CHECK_CUDA(cuLaunchKernel(kernel, 1, 1, 1, 1, 1, 1, 0, stream, arguments, NULL));
}

static void judge(uint32_t page, uint64_t mark) {
  uint64_t seen = found[page];
  bool told = is_lost(page), is_other = seen != NOTHING && seen != expected[page];
  if (seen != NOTHING && seen >> 32 != 0 && seen >> 32 != (uint64_t)getpid())
    atomic_fetch_add(&hammer->foreign, 1);
  if (is_other && expected[page] != 0)
    atomic_fetch_add(online || !told ? &hammer->silent : &hammer->losses, 1);
  bool stays = online || (word_then[page] & VLV_POOL_BACKED) != 0;
  expected[page] = stays && !told ? mark : 0;
  found[page] = NOTHING;
}

/* The first kernel looks for what the last round left, those behind it for what it left itself; so its marks
 * are its own last value all the way. */
static void round_of_kernels(void) {
  look_at_table();
  if (online) use_pages();
  uint32_t count = list_pages();
  uint64_t mark = own_mark();
  launch(count, &mark);
  CHECK_CUDA(cuStreamSynchronize(stream));
  for (uint32_t i = 0; i < count; i++) judge(list[i], mark);
  for (int i = 0; i < KERNELS; i++) launch(count, &mark);
  CHECK_CUDA(cuStreamSynchronize(stream));
  for (uint32_t i = 0; i < count; i++) judge(list[i], mark);
  if (!online) set_costs();
  atomic_fetch_add(&hammer->rounds, 1);
  usleep(100); /* the processors are the judge's too */
}

/* It still does what the table asks. */
static void rest(void) {
  if (online) {
    look_at_table();
    use_pages();
  }
  atomic_store(&hammer->paused, 1);
  usleep(500);
}

static void leave_pool(void) {
  void (*release)(void *, ssize_t, int, void *) =
      (void (*)(void *, ssize_t, int, void *))find_shim("vlv_pool_free");
  release(base, (ssize_t)(pool_pages * VLV_PAGE_BYTES), 0, NULL);
  atomic_store(&hammer->paused, 1);
}

int main(int count, char **arguments) {
  hammer = count == 3 ? hammer_open(arguments[1]) : NULL;
  if (hammer == NULL) return 2;
  online = strcmp(arguments[2], "online") == 0;
  map_table();
  set_up_cuda();
  allocate_pool();
  atomic_store(&hammer->ready, 1);
  while (atomic_load(&hammer->leave) == 0) {
    if (atomic_load(&hammer->pause) != 0) {
      rest();
    } else {
      atomic_store(&hammer->paused, 0);
      round_of_kernels();
    }
  }
  leave_pool();
  return 0;
}
