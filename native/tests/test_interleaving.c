/* Every schedule of a few holders and agents that run the library's own protocol code (claim.c, gate.c,
 * turn.c), one shared access at a time, with crashes and the passing of time at every point between two
 * accesses. After each step: what was acknowledged is true; and whenever nothing is under way, the tenant is
 * stopped exactly when the rule says closed. Then the same with deliberate mistakes, each of which must be
 * found. */
#include "interleaving_steps.h"

#define START_NS 1000000000ull
#define NAP_NS                                                                                           \
  1000000ull            /* sleeps up to this long may end at any time: such short spans are not modelled \
                         */
#define BREATHERS_MAX 2 /* one is owed; the gate may cut it in two */

/* ---- what must hold ---- */

static const char *wrong;

static bool is_closing(const struct row_words *row) {
  return row->closed != 0 && row->lease_expiry_ns > world.clock_ns;
}

static bool rule_says_closed(bool count_dead_owners) {
  for (uint32_t i = 0; i < VLV_HOLDERS_MAX; i++) {
    if (is_closing(&world.rows[i]) && (count_dead_owners || world.rows[i].owner != 0)) return true;
  }
  return false;
}

/* It read the generation after that claim was told, so it must have seen the claim. (`world.rows` is from
 * before this step, which changes nothing in them.) */
static void check_resume(void) {
  if (atomic_load(&tenant_rows_memory[current].state) == VLV_TENANT_BREATHING) {
    if (world.clock_ns < START_NS + scenario->max_stopped_ns) wrong = "it breathes before it is due";
    if (!own_agent()->halted) wrong = "it breathes before it was seen stopped";
    return;
  }
  if (!scenario->within_lease) return;
  for (uint32_t i = 0; i < VLV_HOLDERS_MAX; i++) {
    const struct row_words *row = &world.rows[i];
    bool seen = row->announced != 0 && row->announced <= own_agent()->turn.generation;
    if (is_closing(row) && row->owner != 0 && seen) wrong = "it resumed against a claim that it had seen";
  }
}

static bool wakes_by_itself(const struct log_of_thread *log) {
  return log->status == ASLEEP && log->deadline_ns <= world.clock_ns + NAP_NS;
}

static bool nothing_is_under_way(void) {
  for (int t = 0; t < AGENTS_MAX + scenario->holders; t++) {
    const struct log_of_thread *log = &world.threads[t];
    if (is_agent(t) && t >= scenario->agents) continue;
    if (is_agent(t) && (log->status != ASLEEP || wakes_by_itself(log))) return false;
    if (!is_agent(t) && log->status != CRASHED && log->length != 0) return false;
  }
  return true;
}

/* A holder that died before its wake is the one case that takes until the agent's next look. */
static bool looks_soon(int agent) {
  return world.crashes > 0 && world.threads[agent].deadline_ns <= world.clock_ns + VLV_GUARD_NS;
}

/* A rank may have missed that its runner has ended it. */
static bool breathes(int agent) {
  const struct tenant_words *runner = &world.tenants[scenario->rank ? 0 : agent];
  bool in_time = runner->breathes_until_ns > world.clock_ns || (scenario->rank && agent == 1);
  return scenario->max_stopped_ns != 0 && world.tenants[agent].state == VLV_TENANT_BREATHING && in_time &&
         world.threads[agent].deadline_ns <= world.clock_ns + VLV_GUARD_NS;
}

/* It has looked since it was due (a rank: since its runner said so), and sleeps on. */
static bool has_missed_breather(int agent) {
  const struct private_state *state = &world.agents[agent];
  if (scenario->max_stopped_ns == 0 || !state->halted) return false;
  if (agent == 0) return state->looked_ns >= state->halted_at_ns + scenario->max_stopped_ns;
  bool runner_breathes = world.tenants[0].breathes_until_ns > world.clock_ns;
  return scenario->rank && runner_breathes && state->looked_ns > world.agents[0].told_rank_ns &&
         state->looked_ns > state->halted_at_ns;
}

static void check_quiet(int agent) {
  bool halted = world.agents[agent].halted;
  if (!halted && rule_says_closed(false) && !breathes(agent))
    wrong = "it sleeps with its tenant running and the gate closed";
  if (has_missed_breather(agent)) wrong = "it stays stopped for longer than it can bear";
  if (halted && !rule_says_closed(true) && !looks_soon(agent)) wrong = "it sleeps stopped with the gate open";
  if (halted != (world.tenants[agent].ack_level == VLV_LEVEL_COMPUTE_HALTED)) wrong = "a wrong level stays";
  bool acknowledged = world.tenants[agent].ack_generation == world.generation;
  if (!acknowledged && world.crashes == 0) wrong = "the last change stays unacknowledged";
}

static void check_agent(int agent) {
  const struct tenant_words *row = &world.tenants[agent];
  bool says_halted = row->ack_level == VLV_LEVEL_COMPUTE_HALTED || row->state == VLV_TENANT_STOPPED;
  if (says_halted && !world.agents[agent].halted) wrong = "it says halted while its tenant runs";
  if (scenario->within_lease && row->stops > world.changes + row->breathers) wrong = "more stops than closes";
  if (row->breathers > BREATHERS_MAX) wrong = "more breathers than are owed";
}

static void check_world(void) {
  for (int i = 0; i < scenario->agents; i++) check_agent(i);
  if (!nothing_is_under_way()) return;
  for (int i = 0; i < scenario->agents; i++) check_quiet(i);
}

/* ---- what can happen next ---- */

enum { CRASH = 16, TIMEOUT = 32, TICK = 48, CHOICES = 64 };

static bool can_step(int thread) {
  const struct log_of_thread *log = &world.threads[thread];
  if (log->status != READY) return false;
  if (is_agent(thread)) return thread < scenario->agents;
  if (thread - AGENTS_MAX >= scenario->holders) return false;
  enum operation next = next_operation(thread);
  bool row_is_free = world.rows[scenario->parts[thread - AGENTS_MAX].row].owner == 0;
  return next == TAKE && log->length == 0 ? row_is_free : next != END;
}

static bool can_crash(int thread) {
  if (is_agent(thread) || thread - AGENTS_MAX >= scenario->holders) return false;
  const struct part *part = &scenario->parts[thread - AGENTS_MAX];
  return part->may_crash && world.threads[thread].status != CRASHED &&
         world.rows[part->row].owner == thread + 1;
}

static bool can_happen(int choice) {
  int thread = choice % CRASH;
  if (choice == TICK) return world.ticks < TICKS_MAX && scenario->ticks_ns[world.ticks] != 0;
  if (choice > TICK || thread >= THREADS_MAX) return false;
  if (choice >= TIMEOUT) return is_agent(thread) && wakes_by_itself(&world.threads[thread]);
  return choice >= CRASH ? can_crash(thread) : can_step(thread);
}

static void crash(int thread) {
  world.threads[thread].status = CRASHED;
  world.rows[scenario->parts[thread - AGENTS_MAX].row].owner = 0;
  world.crashes++;
}

static void happen(int choice) {
  int thread = choice % CRASH;
  if (choice == TICK) {
    world.clock_ns += scenario->ticks_ns[world.ticks++];
  } else if (choice >= TIMEOUT) {
    begin_next_operation(thread);
  } else if (choice >= CRASH) {
    crash(thread);
  } else {
    step(thread);
  }
}

/* ---- depth first through all of it ---- */

#include "interleaving_search.h"

/* ---- scenarios ---- */

#define MS 1000000ull

static const struct scenario scenarios[] = {
    {.name = "two holders close and open",
     .agents = 1,
     .holders = 2,
     .within_lease = true,
     .parts = {{.row = 0, .operations = {CLOSE, OPEN, CLOSE}}, {.row = 1, .operations = {CLOSE, OPEN}}}},
    {.name = "two agents obey one holder",
     .agents = 2,
     .holders = 1,
     .within_lease = true,
     .parts = {{.row = 0, .operations = {CLOSE, OPEN}}}},
    {.name = "a holder dies at any point",
     .agents = 1,
     .holders = 1,
     .ticks_ns = {VLV_GUARD_NS, VLV_LEASE_NS},
     .parts = {{.row = 0, .may_crash = true, .operations = {CLOSE, OPEN, CLOSE}}}},
    {.name = "one of two holders dies at any point",
     .agents = 1,
     .holders = 2,
     .ticks_ns = {VLV_GUARD_NS},
     .parts = {{.row = 0, .may_crash = true, .operations = {CLOSE}}, {.row = 1, .operations = {CLOSE}}}},
    {.name = "another takes a dead one's row",
     .agents = 1,
     .holders = 2,
     .ticks_ns = {VLV_GUARD_NS},
     .parts = {{.row = 0, .may_crash = true, .operations = {CLOSE}},
               {.row = 0, .operations = {TAKE, CLOSE, RELEASE}}}},
    {.name = "a lease runs out around its renewal",
     .agents = 1,
     .holders = 1,
     .ticks_ns = {VLV_LEASE_NS - 2 * MS, 4 * MS},
     .parts = {{.row = 0, .operations = {CLOSE, RENEW, CLOSE}}}},
    {.name = "one of two holders is late with its renewal",
     .agents = 1,
     .holders = 2,
     .ticks_ns = {VLV_LEASE_NS + MS},
     .parts = {{.row = 0, .operations = {CLOSE, RENEW}}, {.row = 1, .operations = {CLOSE}}}},
    {.name = "a lease is renewed in time",
     .agents = 1,
     .holders = 1,
     .within_lease = true,
     .ticks_ns = {VLV_LEASE_NS / 2, VLV_LEASE_NS / 4},
     .parts = {{.row = 0, .operations = {CLOSE, RENEW, OPEN}}}},
    {.name = "one leaves while another closes",
     .agents = 1,
     .holders = 2,
     .within_lease = true,
     .parts = {{.row = 0, .operations = {CLOSE, RELEASE}}, {.row = 1, .operations = {CLOSE, OPEN, RELEASE}}}},
    {.name = "a guard fails while its tenant is continued",
     .agents = 1,
     .holders = 1,
     .within_lease = true,
     .guard_fails = true,
     .ticks_ns = {VLV_GUARD_NS, VLV_GUARD_NS},
     .parts = {{.row = 0, .operations = {CLOSE, OPEN, CLOSE}}}},
    {.name = "one that may not stay stopped breathes",
     .agents = 1,
     .holders = 1,
     .within_lease = true,
     .max_stopped_ns = 500 * MS,
     .ticks_ns = {500 * MS, VLV_BREATHER_NS},
     .parts = {{.row = 0, .operations = {CLOSE, OPEN, CLOSE}}}},
    {.name = "two holders close and open around a breather",
     .agents = 1,
     .holders = 2,
     .within_lease = true,
     .max_stopped_ns = 500 * MS,
     .ticks_ns = {500 * MS},
     .parts = {{.row = 0, .operations = {CLOSE, OPEN}}, {.row = 1, .operations = {CLOSE}}}},
    {.name = "a rank breathes with its runner",
     .agents = 2,
     .holders = 1,
     .within_lease = true,
     .max_stopped_ns = 500 * MS,
     .rank = true,
     .ticks_ns = {500 * MS},
     .parts = {{.row = 0, .operations = {CLOSE}}}},
};
enum { SCENARIOS = sizeof scenarios / sizeof scenarios[0] };

static void begin_holder(int number) {
  const struct part *part = &scenario->parts[number];
  holders[number] = (struct vlv_holder){.file = &file,
                                        .row = &file.rows[part->row],
                                        .index = part->row,
                                        .device_mask = 1,
                                        .owner_pid = (uint64_t)(AGENTS_MAX + number + 1)};
  if (part->operations[0] == TAKE) return;
  world.rows[part->row] = (struct row_words){.device_mask = 1,
                                             .lease_expiry_ns = START_NS + VLV_LEASE_NS,
                                             .owner_pid = (uint64_t)(AGENTS_MAX + number + 1),
                                             .owner = (uint8_t)(AGENTS_MAX + number + 1)};
}

static void begin_agent(int number) {
  tenants[number] = (struct vlv_tenant){.holders = &file,
                                        .row = &tenant_rows_memory[number],
                                        .index = (uint32_t)number,
                                        .device_count = 1,
                                        .known_devices = 1,
                                        .device_mask = 1};
  struct vlv_tenant_row *row = &tenant_rows_memory[number];
  bool is_rank = scenario->rank && number != 0;
  atomic_store(&row->owner_pid, (uint64_t)number + 1);
  atomic_store(&row->runner_pid, is_rank ? 1 : 0);
  atomic_store(&row->max_stopped_ns, is_rank ? 0 : scenario->max_stopped_ns);
  current = number;
  turn_init(&world.agents[number].turn, &tenants[number], &model_mechanism, NULL);
}

/* Whether every schedule of the scenario is right. */
static bool explore_all(const struct scenario *which, enum mutant mistake) {
  scenario = which;
  mutant = mistake;
  wrong = NULL;
  depth = 0;
  moments = 0;
  memset(table, 0, TABLE_SIZE * sizeof *table);
  memset(&world, 0, sizeof world);
  world.clock_ns = START_NS;
  for (int i = 0; i < scenario->agents; i++) begin_agent(i);
  for (int i = 0; i < scenario->holders; i++) begin_holder(i);
  explore();
  return wrong == NULL;
}

static void print_path(void) {
  static const char *const kinds[] = {"step", "crash", "timeout", "tick"};
  for (int i = 0; i <= depth; i++) {
    int thread = path[i] % CRASH;
    const char *who = is_agent(thread) ? "agent" : "holder";
    printf("  %s %s %d\n", kinds[path[i] / CRASH], who, is_agent(thread) ? thread : thread - AGENTS_MAX);
  }
}

/* One thread gives a thread sanitizer nothing to find, but it makes the search twenty times slower. */
#ifdef __SANITIZE_THREAD__
enum { SCENARIOS_TO_CHECK = 1, MUTANTS_TO_CHECK = 0 };
#else
enum { SCENARIOS_TO_CHECK = SCENARIOS, MUTANTS_TO_CHECK = MUTANTS };
#endif

static bool check_faithful(void) {
  bool right = true;
  for (int i = 0; i < SCENARIOS_TO_CHECK; i++) {
    transitions = 0;
    bool this_one = explore_all(&scenarios[i], FAITHFUL);
    printf("%-54s %8llu moments, %8llu steps: %s\n", scenarios[i].name, (unsigned long long)moments,
           (unsigned long long)transitions, this_one ? "right" : wrong);
    if (!this_one) print_path();
    right = right && this_one;
  }
  return right;
}

static bool is_found(enum mutant mistake) {
  static const char *const names[MUTANTS] = {"",
                                             "the claim stored after the bump",
                                             "no wake",
                                             "a wait that ignores the value",
                                             "no second look at the clock",
                                             "a lapse without a bump",
                                             "the level lowered after the resume",
                                             "no deadline",
                                             "the living taken as dead"};
  for (int i = 0; i < SCENARIOS; i++) {
    if (explore_all(&scenarios[i], mistake)) continue;
    printf("mistake found: %-36s in \"%s\" after %d steps: %s\n", names[mistake], scenarios[i].name,
           depth + 1, wrong);
    return true;
  }
  printf("mistake NOT found: %s\n", names[mistake]);
  return false;
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  table = calloc(TABLE_SIZE, sizeof *table);
  if (table == NULL) return 1;
  bool right = check_faithful();
  for (int mistake = FAITHFUL + 1; mistake < MUTANTS_TO_CHECK; mistake++)
    right = is_found((enum mutant)mistake) && right;
  free(table);
  return right ? 0 : 1;
}
