/* KV pools in engines on the fake GPU: what a tenant gets and gives back, what an online engine gets, what is
 * lost with whom. */
#include "pool_stage.h"

static void a_tenant_has_what_is_not_reserved(void) {
  pool_stage_begin(24);
  struct engine tenant = {.pages = 16, .number = 1};
  engine_start(&tenant, 0);
  EVENTUALLY(backed(&tenant) == 16);
  CHECK(vlv_ledger_set_reserved(ledger, 10) == 0);
  EVENTUALLY(backed(&tenant) == 6);
  EVENTUALLY(is_settled(1));
  CHECK(counts().tenants == 6 && counts().free == 10);
  CHECK(vlv_ledger_set_reserved(ledger, 0) == 0);
  EVENTUALLY(backed(&tenant) == 16);
  uint64_t rounds = tenant.hammer->rounds;
  EVENTUALLY(tenant.hammer->rounds > rounds + 10);
  check_sound(&tenant);
  engine_leave(&tenant);
  EVENTUALLY(is_settled(0) && counts().free == 16);
  pool_stage_end();
}

static void a_tenant_gives_back_while_its_gate_is_closed(void) {
  pool_stage_begin(24);
  struct engine tenant = {.pages = 16, .number = 1};
  engine_start(&tenant, 0);
  EVENTUALLY(backed(&tenant) == 16);
  close_and_wait(wait_row(tenant.pid));
  uint64_t stops = vlv_ledger_file(ledger)->rows[0].stops;
  CHECK(vlv_ledger_set_reserved(ledger, 16) == 0);
  EVENTUALLY(backed(&tenant) == 0);
  CHECK(vlv_ledger_file(ledger)->rows[0].stops == stops);
  CHECK(vlv_ledger_set_reserved(ledger, 8) == 0);
  nap_ms(5);
  CHECK(backed(&tenant) == 0); /* nothing can be cleared now */
  open_and_wait(wait_row(tenant.pid));
  EVENTUALLY(backed(&tenant) == 8);
  check_sound(&tenant);
  engine_leave(&tenant);
  pool_stage_end();
}

static void online_gets_the_very_memory_of_a_tenant(void) {
  pool_stage_begin(24);
  struct engine online = {.pages = 16, .number = 1, .online = true};
  struct engine tenant = {.pages = 16, .number = 2};
  engine_start(&online, 4);
  EVENTUALLY(backed(&online) == 4);
  engine_start(&tenant, 0);
  EVENTUALLY(backed(&tenant) == 12);
  atomic_store(&online.hammer->demand, 4);
  CHECK(vlv_ledger_set_reserved(ledger, 10) == 0);
  EVENTUALLY(backed(&online) == 10 && backed(&tenant) == 6);
  CHECK(vlv_ledger_file(ledger)->rows[0].received == 6);
  EVENTUALLY(vlv_ledger_file(ledger)->wanted == 4);
  CHECK(vlv_ledger_set_reserved(ledger, 0) == 0);
  EVENTUALLY(backed(&online) == 4 && backed(&tenant) == 12); /* what it uses, it keeps */
  atomic_store(&online.hammer->demand, 1);
  EVENTUALLY(backed(&online) == 1 && backed(&tenant) == 15);
  EVENTUALLY(is_settled(2));
  check_sound(&online);
  check_sound(&tenant);
  engine_kill(&online);
  EVENTUALLY(backed(&tenant) == 16);
  engine_kill(&tenant);
  EVENTUALLY(is_settled(0) && counts().free == 16);
  pool_stage_end();
}

/* The driver has less memory than the ledger takes it to have. */
static void memory_that_cannot_be_made_is_done_without(void) {
  pool_stage_begin(9);
  struct engine tenant = {.pages = 16, .number = 1};
  engine_start(&tenant, 0);
  EVENTUALLY(backed(&tenant) == 8);
  EVENTUALLY(vlv_ledger_file(ledger)->rows[0].errors > 0);
  check_sound(&tenant);
  engine_leave(&tenant);
  pool_stage_end();
}

int main(void) {
  RUN(a_tenant_has_what_is_not_reserved);
  RUN(a_tenant_gives_back_while_its_gate_is_closed);
  RUN(online_gets_the_very_memory_of_a_tenant);
  RUN(memory_that_cannot_be_made_is_done_without);
  return 0;
}
