/* The freezer as a mechanism: the cgroup way while it works, the signal way from its first refusal on. */
#include <errno.h>
#include <stdlib.h>

#include "freezer_cgroup.h"
#include "freezer_signal.h"
#include "valve/freezer.h"

#define COUNT_EVERY_NS 2000000ull
#define SEARCH_PAUSE 50 /* so many times as long as a search for escaped processes there is no other */

struct vlv_freezer {
  struct vlv_cgroup cgroup; /* open as long as it may have to be thawed, also after the escalation */
  struct vlv_tree tree;
  bool by_signals; /* from the beginning or since the escalation */
  bool stopped;    /* a stop was asked for and no resume since */
  uint32_t unstopped;
  uint64_t count_at_ns;   /* when unstopped threads of the cgroup are counted next */
  uint64_t search_at_ns;  /* no search for escaped processes before */
  uint64_t search_cursor; /* pid cursor when none was found since the last stop; 0: not yet */
};

/* The descriptors are the way back for what is frozen: they are kept until it is thawed. */
static int let_cgroup_go(struct vlv_freezer *freezer) {
  if (!vlv_cgroup_is_open(&freezer->cgroup)) return 0;
  int rc = vlv_cgroup_set_frozen(&freezer->cgroup, false);
  if (rc && !vlv_cgroup_has_vanished(rc)) return rc;
  vlv_cgroup_close(&freezer->cgroup);
  return 0;
}

/* The cgroup may be frozen although it refuses now, so it is thawed: the signals alone hold the tree from
 * here on. They go first, so that nothing runs in between. What fails here is done by the next call. */
static int escalate(struct vlv_freezer *freezer) {
  freezer->by_signals = true;
  int rc = freezer->stopped ? vlv_signal_stop(&freezer->tree) : 0;
  return rc ? rc : let_cgroup_go(freezer);
}

static int freezer_stop(void *context) {
  struct vlv_freezer *freezer = context;
  freezer->stopped = true;
  freezer->unstopped = 0;
  freezer->count_at_ns = vlv_now_ns() + COUNT_EVERY_NS;
  freezer->search_cursor = 0;
  if (freezer->by_signals) return vlv_signal_stop(&freezer->tree);
  return vlv_cgroup_set_frozen(&freezer->cgroup, true) ? escalate(freezer) : 0;
}

/* An empty cgroup is frozen at once; that promises nothing while the tree lives elsewhere. 1, 0 or -errno. */
static int tree_lives_outside(struct vlv_freezer *freezer) {
  int rc = vlv_tree_scan(&freezer->tree);
  if (rc < 0 && rc != -EAGAIN) return rc;
  return vlv_tree_alive(&freezer->tree) > 0;
}

static int confirm_cgroup(struct vlv_freezer *freezer) {
  struct vlv_cgroup_events events;
  int rc = vlv_cgroup_read_events(&freezer->cgroup, &events);
  if (rc) return escalate(freezer);
  if (!events.populated) rc = tree_lives_outside(freezer);
  if (rc) return rc < 0 ? rc : escalate(freezer);
  return events.frozen ? VLV_LEVEL_COMPUTE_HALTED : 0;
}

/* What is still frozen does not show as stopped, so a thaw that failed comes first. */
static int freezer_confirm(void *context) {
  struct vlv_freezer *freezer = context;
  if (!freezer->by_signals) return confirm_cgroup(freezer);
  int rc = let_cgroup_go(freezer);
  return rc ? rc : vlv_signal_confirm(&freezer->tree);
}

static int freezer_resume(void *context) {
  struct vlv_freezer *freezer = context;
  freezer->stopped = false;
  if (freezer->by_signals) {
    int thawed = let_cgroup_go(freezer), rc = vlv_signal_resume(&freezer->tree);
    return rc ? rc : thawed;
  }
  int rc = vlv_cgroup_set_frozen(&freezer->cgroup, false);
  return vlv_cgroup_has_vanished(rc) ? escalate(freezer) : rc;
}

/* Processes leave while they run: so once after each stop. One that was on its way when the tree was frozen
 * has children before long: so again when any process was born. */
static bool is_search_due(struct vlv_freezer *freezer, uint64_t now_ns, uint64_t cursor) {
  if (now_ns < freezer->search_at_ns) return false;
  return !freezer->search_cursor || cursor != freezer->search_cursor;
}

/* 1: a process of the tree is in another cgroup, 0: none is, -errno: not all could be looked at. */
static int find_escaped(struct vlv_freezer *freezer) {
  int error = vlv_tree_scan(&freezer->tree);
  for (size_t i = 0; i < freezer->tree.count; i++) {
    const struct vlv_process *process = &freezer->tree.processes[i];
    int rc = vlv_cgroup_contains(&freezer->cgroup, process->directory);
    if (rc == 0 && vlv_process_is_alive(process)) return 1;
    if (rc < 0) error = rc;
  }
  return error < 0 ? error : 0;
}

/* `su` and `systemd-run --scope` move what they start into another cgroup, where the freeze does not reach.
 * What cannot be looked at is left to the next search: the rest is frozen, whatever can be read. A search
 * takes its time in a large tree, so it gets a share of it only. */
static bool has_escaped(struct vlv_freezer *freezer) {
  uint64_t begun_ns = vlv_now_ns(), cursor = vlv_tree_cursor(&freezer->tree);
  if (!is_search_due(freezer, begun_ns, cursor)) return false;
  int found = find_escaped(freezer);
  uint64_t now_ns = vlv_now_ns();
  if (found == 0) freezer->search_cursor = cursor;
  freezer->search_at_ns = now_ns + SEARCH_PAUSE * (now_ns - begun_ns);
  return found > 0;
}

static int guard_cgroup(struct vlv_freezer *freezer) {
  int rc = vlv_cgroup_asks_for_freeze(&freezer->cgroup);
  if (rc == 1 && !has_escaped(freezer)) return 0;
  if (rc == 0 && vlv_cgroup_set_frozen(&freezer->cgroup, true) == 0) return 1;
  rc = escalate(freezer);
  return rc ? rc : 1;
}

static int freezer_guard(void *context) {
  struct vlv_freezer *freezer = context;
  if (!freezer->by_signals) return guard_cgroup(freezer);
  return vlv_signal_guard(&freezer->tree);
}

static uint32_t freezer_id(void *context) {
  const struct vlv_freezer *freezer = context;
  return freezer->by_signals ? VLV_MECHANISM_FREEZER_SIGNAL : VLV_MECHANISM_FREEZER_CGROUP;
}

static uint32_t freezer_processes(void *context) {
  const struct vlv_freezer *freezer = context;
  if (!freezer->by_signals) return vlv_cgroup_processes(&freezer->cgroup);
  return vlv_tree_alive(&freezer->tree);
}

/* To count costs more than the whole of a normal stop, and is asked for between two confirms: so only now and
 * then. */
static uint32_t unstopped_in_cgroup(struct vlv_freezer *freezer) {
  uint64_t now_ns = vlv_now_ns();
  if (now_ns < freezer->count_at_ns) return freezer->unstopped;
  freezer->count_at_ns = now_ns + COUNT_EVERY_NS;
  freezer->unstopped = vlv_cgroup_unstopped_threads(&freezer->cgroup);
  return freezer->unstopped;
}

static uint32_t freezer_unstopped_threads(void *context) {
  struct vlv_freezer *freezer = context;
  if (!freezer->by_signals) return unstopped_in_cgroup(freezer);
  return vlv_signal_unstopped_threads(&freezer->tree);
}

const struct vlv_mechanism *vlv_freezer_mechanism(void) {
  static const struct vlv_mechanism mechanism = {
      .stop = freezer_stop,
      .confirm = freezer_confirm,
      .resume = freezer_resume,
      .guard = freezer_guard,
      .id = freezer_id,
      .processes = freezer_processes,
      .unstopped_threads = freezer_unstopped_threads,
  };
  return &mechanism;
}

void vlv_freezer_destroy(struct vlv_freezer *freezer) {
  if (!freezer) return;
  vlv_cgroup_close(&freezer->cgroup);
  vlv_tree_free(&freezer->tree);
  free(freezer);
}

int vlv_freezer_create(const char *cgroup_directory, pid_t reaper, pid_t spare, struct vlv_freezer **out) {
  struct vlv_freezer *freezer = calloc(1, sizeof *freezer);
  if (!freezer) return -ENOMEM;
  freezer->cgroup = (struct vlv_cgroup){.directory = -1, .freeze = -1, .events = -1};
  freezer->by_signals = cgroup_directory == NULL;
  int rc = vlv_tree_init(&freezer->tree, reaper, spare);
  if (rc) {
    free(freezer);
    return rc;
  }
  if (cgroup_directory) rc = vlv_cgroup_open(&freezer->cgroup, cgroup_directory);
  if (rc)
    vlv_freezer_destroy(freezer);
  else
    *out = freezer;
  return rc;
}
