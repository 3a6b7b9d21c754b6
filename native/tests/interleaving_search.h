/* Depth first through every schedule. Whoever includes it has, before: `world`, `hash_world()` (odd, never
 * 0), `CHOICES`, `can_happen(choice)`, `happen(choice)`, `check_world()` which sets `wrong`, and
 * `give_up(what)`. */
#ifndef VALVE_TESTS_INTERLEAVING_SEARCH_H
#define VALVE_TESTS_INTERLEAVING_SEARCH_H

#define TABLE_SIZE (1u << 21)
#define DEPTH_MAX 2000

static uint64_t *table; /* hashes of the moments seen; lowest bit: on the way to the present one */
static uint64_t moments, transitions;
static uint8_t path[DEPTH_MAX];
static int depth;

/* The place of this moment in the table; *known if it was there. */
static uint64_t *find(uint64_t hash, bool *known) {
  uint64_t index = hash >> 8;
  for (;; index++) {
    uint64_t *slot = &table[index % TABLE_SIZE];
    *known = (*slot | 1) == hash;
    if (*known || *slot == 0) return slot;
  }
}

static void explore(void);

static void go(int choice) {
  path[depth] = (uint8_t)choice;
  happen(choice);
  transitions++;
  if (wrong == NULL) check_world();
  if (wrong != NULL) return;
  depth++;
  if (depth == DEPTH_MAX) give_up("DEPTH_MAX");
  explore();
  if (wrong == NULL) depth--;
}

/* A moment that comes back on its own way is an agent that never sleeps. */
static void explore(void) {
  bool known;
  uint64_t hash = hash_world(), *slot = find(hash, &known);
  if (known && (*slot & 1) != 0) wrong = "it runs in circles";
  if (known) return;
  *slot = hash;
  if (++moments > TABLE_SIZE / 2) give_up("TABLE_SIZE");
  struct world here;
  memcpy(&here, &world, sizeof here);
  for (int choice = 0; choice < CHOICES && wrong == NULL; choice++) {
    if (!can_happen(choice)) continue;
    go(choice);
    if (wrong == NULL) memcpy(&world, &here, sizeof world);
  }
  *slot &= ~UINT64_C(1);
}

#endif
