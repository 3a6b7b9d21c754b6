/* A node segment that others scribble on while it is in use: every reader stays within its bounds, and a file
 * with a damaged header is refused. */
#include "../node_scratch.h"
#include "fuzz.h"
#include "tenant.h"

static const char *const words[] = {"cpu", "GPU-", "VLVEHLD1", NULL};
static struct vlv_node *holding, *joining;
static struct vlv_holder *holder;
static struct vlv_tenant *tenant;
static char *files[2];
static const size_t sizes[2] = {sizeof(struct vlv_holders_file), sizeof(struct vlv_tenants_file)};
static struct vlv_header headers[2];

static char *map(const char *name, size_t size) {
  int fd = open(scratch_path(name), O_RDWR | O_CLOEXEC);
  CHECK(fd >= 0);
  char *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(mapped != MAP_FAILED);
  close(fd);
  return mapped;
}

static void begin(void) {
  scratch_make();
  holding = open_side(VLV_SIDE_HOLDER);
  joining = open_side(VLV_SIDE_TENANT);
  CHECK(vlv_holder_register(holding, "holder", &CPU, 1, &holder) == 0);
  CHECK(vlv_tenant_register(joining, "job", 0, &CPU, 1, &tenant) == 0);
  files[0] = map("holders", sizes[0]);
  files[1] = map("tenants", sizes[1]);
  for (int i = 0; i < 2; i++) memcpy(&headers[i], files[i], sizeof headers[i]);
}

static void end(void) {
  for (int i = 0; i < 2; i++) CHECK(munmap(files[i], sizes[i]) == 0);
  vlv_tenant_release(tenant);
  vlv_holder_release(holder);
  vlv_node_close(joining);
  vlv_node_close(holding);
  scratch_remove();
}

/* Opens files whose headers, and only they, may have been damaged. Any minor layout is as good as ours. */
static bool open_again(uint64_t *random) {
  struct vlv_node *node = NULL;
  int which = (int)draw_below(random, 2);
  if (draw_below(random, 2) == 0)
    mutate(random, files[which], offsetof(struct vlv_header, layout_minor), words);
  bool damaged = memcmp(files[which], &headers[which], offsetof(struct vlv_header, layout_minor)) != 0;
  int error = vlv_node_open(scratch, VLV_SIDE_OBSERVER, &node);
  REQUIRE((error == 0) == !damaged);
  if (error == 0) vlv_node_close(node);
  for (int i = 0; i < 2; i++) memcpy(files[i], &headers[i], sizeof headers[i]);
  return error == 0;
}

static void use(uint64_t *random) {
  struct vlv_ack acks[VLV_ACK_RING];
  uint64_t wake_at_ns, next, now_ns = vlv_now_ns();
  uint32_t row = (uint32_t)draw_below(random, VLV_TENANTS_MAX + 2);
  vlv_gate_is_closed(tenant, now_ns, &wake_at_ns);
  tenant_resolve_devices(tenant);
  tenant_bury_dead_holders(tenant, now_ns);
  tenant_runner_breathes_until(tenant);
  vlv_tenant_alive(joining, row);
  vlv_holder_alive(holding, row % VLV_HOLDERS_MAX);
  if (row < VLV_TENANTS_MAX) vlv_tenant_acks(joining, row, draw(random), acks, VLV_ACK_RING, &next);
}

static bool once(uint64_t *random) {
  for (int i = 0; i < 2; i++) {
    size_t from = sizeof(struct vlv_header), near = from + draw_below(random, sizes[i] - from);
    size_t start = draw_below(random, 2) == 0 ? from : near, len = sizes[i] - start;
    mutate(random, files[i] + start, len < 4096 ? len : 4096, words);
  }
  use(random);
  if (draw_below(random, 4) == 0) vlv_holder_renew(holder);
  return draw_below(random, 32) == 0 && open_again(random);
}

const struct target segment_target = {"segment", begin, once, end};
