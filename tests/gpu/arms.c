/* arms.c - parts (d) and (f): the two engines of roles.c side by side, in interleaved arms.
 *
 * (d) what sharing costs without Valve: alone, default time-slicing of two processes, stream priority in one.
 * (f) end to end: alone, offline alone, time-slicing, and Valve (a holder closes; the shim stops the offline
 * one).
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_run.h"
#include "gatekeeper.h"
#include "isolate.h"
#include "kit.h"
#include "nvml.h"
#include "report.h"
#include "stage.h"
#include "subject.h"

#define READY_NS 20000000000ull
#define RANK_NS 5000000000ull
#define LIMIT_S 140
#define ARMS_MAX 4

struct arm {
  const char *name;
  bool online, offline, gated, neighbour;
};

struct outcome {
  struct figures first_us, step_us, step_mean_us; /* pooled over rounds; the means are a round's each */
  double work_per_s, busy_share, utilisation;
  uint64_t closes, requests;
  uint32_t rounds, failures;
};

struct play {
  const struct arm *arms;
  uint32_t arm_count, rounds;
  uint64_t duration_ns;
  struct gatekeeper keeper;
  struct outcome outcomes[ARMS_MAX];
};

struct role {
  pid_t pid;
  struct stage *stage;
};

static void become_role(const char *name, int stage_fd, const struct gatekeeper *keeper, bool shimmed) {
  if (dup2(stage_fd, STAGE_FD) < 0) _exit(3);
  setenv("VALVE_RUNTIME_DIR", keeper->directory, 1);
  if (shimmed) gatekeeper_export(keeper);
  execl("/proc/self/exe", "kit", "role", name, (char *)NULL);
  _exit(3);
}

static bool wait_ready(const struct role *role) {
  uint64_t deadline_ns = clock_ns() + READY_NS;
  while (!role->stage->ready && clock_ns() < deadline_ns) {
    if (waitpid(role->pid, NULL, WNOHANG) == role->pid) return false;
    sleep_ns(1000000);
  }
  return role->stage->ready;
}

static bool start(struct role *role, const char *name, const struct role_plan *plan,
                  const struct gatekeeper *keeper, bool shimmed) {
  int stage_fd;
  role->stage = stage_create(&stage_fd);
  if (role->stage == NULL) return false;
  role->stage->plan = *plan;
  role->pid = fork();
  if (role->pid == 0) become_role(name, stage_fd, keeper, shimmed);
  close(stage_fd);
  return role->pid > 0 && wait_ready(role);
}

static void end(struct role *role, uint64_t grace_ns) {
  if (role->pid <= 0 || role->stage == NULL) return;
  uint64_t deadline_ns = clock_ns() + grace_ns;
  role->stage->end = 1;
  while (waitpid(role->pid, NULL, WNOHANG) == 0 && clock_ns() < deadline_ns) sleep_ns(1000000);
  if (kill(role->pid, 0) == 0 && clock_ns() >= deadline_ns) {
    kill(role->pid, SIGKILL);
    waitpid(role->pid, NULL, 0);
  }
  munmap(role->stage, sizeof *role->stage);
}

static void pool_online(struct outcome *outcome, const struct stage *stage) {
  figures_append(&outcome->first_us, &stage->first_us);
  figures_append(&outcome->step_us, &stage->step_us);
  figures_add(&outcome->step_mean_us, figures_mean(&stage->step_us));
  outcome->busy_share += stage->busy_share;
  outcome->closes += stage->closes;
  outcome->requests += stage->requests;
}

static bool let_online_serve(struct role *online, uint64_t duration_ns) {
  uint64_t deadline_ns = clock_ns() + 4 * duration_ns + 2000000000ull;
  online->stage->go = 1;
  while (!online->stage->end && clock_ns() < deadline_ns) sleep_ns(1000000);
  return online->stage->end;
}

static void measure(struct play *play, const struct arm *arm, struct role *online, struct role *offline,
                    struct outcome *outcome) {
  uint64_t work = arm->offline ? offline->stage->work : 0, begin_ns = clock_ns();
  utilisation_begin();
  if (!arm->online) sleep_ns(play->duration_ns);
  if (arm->online && !let_online_serve(online, play->duration_ns)) outcome->failures++;
  double seconds = (double)(clock_ns() - begin_ns) / 1e9;
  const struct stage *worker = arm->neighbour ? online->stage : offline->stage;
  if (arm->offline || arm->neighbour) outcome->work_per_s += (double)(worker->work - work) / seconds;
  outcome->utilisation += utilisation_end();
  if (arm->online) pool_online(outcome, online->stage);
  outcome->rounds++;
}

static bool start_roles(struct play *play, const struct arm *arm, uint32_t round, struct role *online,
                        struct role *offline) {
  struct role_plan plan = {.duration_ns = play->duration_ns,
                           .seed = 1000 + round,
                           .arrivals_per_s = fake_run() ? 20 : 5,
                           .gated = arm->gated,
                           .neighbour = arm->neighbour};
  if (arm->offline && !start(offline, "offline", &plan, &play->keeper, arm->gated)) return false;
  if (arm->gated && gatekeeper_find_rank(&play->keeper, offline->pid, RANK_NS) != 0) return false;
  return !arm->online || start(online, "online", &plan, &play->keeper, false);
}

static void play_arm(struct play *play, uint32_t index, uint32_t round) {
  const struct arm *arm = &play->arms[index];
  struct role online = {0}, offline = {0};
  if (start_roles(play, arm, round, &online, &offline)) {
    measure(play, arm, &online, &offline, &play->outcomes[index]);
  } else {
    play->outcomes[index].failures++;
  }
  end(&online, 3000000000ull);
  end(&offline, 3000000000ull);
}

static double ratio(double value, double base) {
  return base > 0 ? value / base : 0;
}

static void add_online(struct record *record, struct outcome *outcome, struct outcome *alone) {
  record_figures(record, "first_us", &outcome->first_us);
  record_figures(record, "step_us", &outcome->step_us);
  record_number(
      record, "first_p50_over_alone",
      ratio(figures_percentile(&outcome->first_us, 0.5), figures_percentile(&alone->first_us, 0.5)));
  record_number(
      record, "first_p99_over_alone",
      ratio(figures_percentile(&outcome->first_us, 0.99), figures_percentile(&alone->first_us, 0.99)));
  record_number(record, "step_mean_over_alone",
                ratio(figures_mean(&outcome->step_mean_us), figures_mean(&alone->step_mean_us)));
  record_number(record, "busy_share", outcome->busy_share / outcome->rounds);
  record_number(record, "requests", (double)outcome->requests);
}

static double alone_work(const struct play *play) {
  for (uint32_t i = 0; i < play->arm_count; i++)
    if (!play->arms[i].online) return play->outcomes[i].work_per_s / play->outcomes[i].rounds;
  return 0;
}

static void add_offline(struct record *record, const struct play *play, const struct outcome *outcome) {
  double work_per_s = outcome->work_per_s / outcome->rounds;
  record_number(record, "products_per_s", work_per_s);
  if (alone_work(play) > 0) record_number(record, "harvested_share", ratio(work_per_s, alone_work(play)));
}

/* arms[0] is the online engine alone. */
static void tell(struct play *play, uint32_t index) {
  const struct arm *arm = &play->arms[index];
  struct outcome *outcome = &play->outcomes[index];
  struct record record;
  record_begin(&record, arm->name);
  if (outcome->rounds != 0 && arm->online) add_online(&record, outcome, &play->outcomes[0]);
  if (outcome->rounds != 0 && (arm->offline || arm->neighbour)) add_offline(&record, play, outcome);
  if (arm->gated) record_number(&record, "closes", (double)outcome->closes);
  if (arm->gated) record_text(&record, "mechanism", gatekeeper_mechanism(&play->keeper));
  if (outcome->rounds != 0 && outcome->utilisation >= 0)
    record_number(&record, "utilisation", outcome->utilisation / outcome->rounds);
  record_number(&record, "failures", outcome->failures);
  record_end(&record, outcome->failures == 0 && outcome->rounds != 0 ? "ok" : "failed");
}

static int begin_keeper(struct play *play) {
  static struct subject subject;
  int error = subject_start(&subject, "idle", NULL);
  subject_end(&subject);
  return error == 0 ? gatekeeper_begin(&play->keeper, subject.stage->uuid) : error;
}

static int play_all(struct play *play) {
  if (begin_keeper(play) != 0) return 3;
  for (uint32_t round = 0; round < play->rounds; round++)
    for (uint32_t i = 0; i < play->arm_count; i++) play_arm(play, i, round);
  int failed = 0;
  for (uint32_t i = 0; i < play->arm_count; i++) {
    tell(play, i);
    failed |= play->outcomes[i].failures != 0;
  }
  gatekeeper_end(&play->keeper);
  return failed;
}

static int share(const void *unused) {
  static const struct arm arms[] = {{"online alone", true, false, false, false},
                                    {"two processes, default time-slicing", true, true, false, false},
                                    {"one process, stream priority", true, false, false, true}};
  static struct play play = {.arms = arms, .arm_count = 3};
  (void)unused;
  play.rounds = (uint32_t)fake_run_choose(2, 1);
  play.duration_ns = fake_run_choose(4000000000ull, 300000000ull);
  return play_all(&play);
}

static int end_to_end(const void *unused) {
  static const struct arm arms[] = {{"online alone", true, false, false, false},
                                    {"offline alone", false, true, false, false},
                                    {"both, default time-slicing", true, true, false, false},
                                    {"both, Valve", true, true, true, false}};
  static struct play play = {.arms = arms, .arm_count = 4};
  (void)unused;
  play.rounds = (uint32_t)fake_run_choose(3, 1);
  play.duration_ns = fake_run_choose(4000000000ull, 300000000ull);
  return play_all(&play);
}

int sharing_main(void) {
  return isolate("sharing", share, NULL, LIMIT_S);
}

int end_to_end_main(void) {
  return isolate("end to end", end_to_end, NULL, LIMIT_S);
}
