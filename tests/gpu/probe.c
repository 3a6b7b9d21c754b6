/* probe.c - part (a): which RM controls an ordinary process may issue here, through which open file, and
 * whether they do what they say. Each attempt has a process and a victim of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "controls.h"
#include "fake_run.h"
#include "isolate.h"
#include "kit.h"
#include "report.h"
#include "rescue.h"
#include "subject.h"

#define SETTLE_NS 1000000ull
#define HOLD_NS 20000000ull
#define BACK_NS 2000000000ull
#define LIMIT_S 40

enum way { WAY_INSIDE, WAY_PASSED, WAY_PIDFD, WAY_OTHER_OPEN };

struct attempt {
  const char *name;
  enum control control;
  enum way way;
  bool gates; /* it stops the victim until it is undone */
};

struct outcome {
  int off, on;
  double off_us, on_us;
  bool stood_still, came_back;
};

struct trial {
  const struct attempt *attempt;
  struct subject subject;
  struct channel channels[KIT_CHANNELS_MAX];
  uint32_t count;
};

static int apply_inside(struct trial *trial, bool enable, double *us) {
  struct order order = {.verb = ORDER_CONTROL, .control = trial->attempt->control, .enable = enable};
  struct answer answer = {0};
  int error = subject_order(&trial->subject, &order, &answer);
  *us = answer.us;
  return error != 0 ? error : answer.result;
}

static int apply_here(struct trial *trial, bool enable, double *us) {
  uint64_t begin_ns = clock_ns();
  if (!enable) rescue_arm();
  int result = controls_apply(trial->attempt->control, enable, trial->channels, trial->count);
  if (enable) rescue_disarm();
  *us = (double)(clock_ns() - begin_ns) / 1e3;
  return result;
}

static int apply(struct trial *trial, bool enable, double *us) {
  return trial->attempt->way == WAY_INSIDE ? apply_inside(trial, enable, us) : apply_here(trial, enable, us);
}

/* The subject's open files are replaced by one that allocated nothing: this process is left with no other. */
static int open_other(struct trial *trial) {
  int fd = open("/dev/nvidiactl", O_RDWR | O_CLOEXEC), rc = fd < 0 ? -errno : 0;
  for (uint32_t i = 0; rc == 0 && i < trial->count; i++)
    if (dup2(fd, trial->channels[i].fd) < 0) rc = -errno;
  return rc;
}

/* The rescuer keeps the true files: it puts back what the other open did against expectation. */
static int reach(struct trial *trial) {
  int count = subject_channels(&trial->subject, trial->attempt->way == WAY_PIDFD, trial->channels);
  if (count < 0) return count;
  trial->count = (uint32_t)count;
  if (trial->attempt->way == WAY_INSIDE) return 0;
  int error = rescue_begin(trial->channels, trial->count);
  if (error == 0 && trial->attempt->way == WAY_OTHER_OPEN) error = open_other(trial);
  return error;
}

static void observe(struct trial *trial, struct outcome *outcome) {
  struct pulse *pulse = &trial->subject.stage->pulse;
  outcome->off = apply(trial, false, &outcome->off_us);
  outcome->stood_still = pulse_is_still(pulse, SETTLE_NS, HOLD_NS);
  outcome->on = apply(trial, true, &outcome->on_us);
  outcome->came_back = pulse_beats(pulse, BACK_NS);
}

static const char *verdict(const struct attempt *attempt, const struct outcome *outcome) {
  if (!outcome->came_back) return "stuck";
  if (attempt->way == WAY_OTHER_OPEN) return outcome->off == RM_ERR_INVALID_CLIENT ? "ok" : "unexpected";
  if (outcome->off != RM_OK || outcome->on != RM_OK) return "refused";
  if (attempt->gates != outcome->stood_still) return attempt->gates ? "no effect" : "unexpected";
  return "ok";
}

static void tell(const struct trial *trial, const struct outcome *outcome) {
  struct record record;
  record_begin(&record, trial->attempt->name);
  record_text(&record, "off", rm_status_name(outcome->off));
  record_text(&record, "on", rm_status_name(outcome->on));
  record_number(&record, "off_us", outcome->off_us);
  record_number(&record, "on_us", outcome->on_us);
  record_number(&record, "channels", trial->count);
  record_number(&record, "stood_still", outcome->stood_still);
  record_number(&record, "came_back", outcome->came_back);
  record_end(&record, verdict(trial->attempt, outcome));
}

static int tell_failure(const char *name, const char *reason, int error) {
  struct record record;
  record_begin(&record, name);
  record_text(&record, "reason", *reason ? reason : strerror(-error));
  record_end(&record, "failed");
  return 1;
}

static int try(const void *argument) {
  static struct trial trial;
  struct outcome outcome = {0};
  trial.attempt = argument;
  int error = subject_start(&trial.subject, "persistent", NULL);
  if (error == 0) error = reach(&trial);
  if (error != 0) {
    subject_end(&trial.subject);
    return tell_failure(trial.attempt->name, trial.subject.stage->message, error);
  }
  observe(&trial, &outcome);
  tell(&trial, &outcome);
  subject_end(&trial.subject);
  return 0;
}

/* A tenant that dies while its channels are off must leave nothing behind: a new one runs. */
static int try_kill(const void *argument) {
  static struct subject dying, next;
  struct order off = {.verb = ORDER_CONTROL, .control = CONTROL_DISABLE, .enable = 0, .unguarded = 1};
  struct answer answer = {0};
  int error = subject_start(&dying, "persistent", NULL);
  if (error == 0) error = subject_order(&dying, &off, &answer);
  uint64_t begin_ns = clock_ns();
  subject_kill(&dying);
  double gone_us = (double)(clock_ns() - begin_ns) / 1e3;
  if (error == 0) error = subject_start(&next, "persistent", NULL);
  if (error != 0) return tell_failure(argument, "", error);
  struct record record;
  record_begin(&record, argument);
  record_text(&record, "off", rm_status_name(answer.result));
  record_number(&record, "gone_us", gone_us);
  record_end(&record, answer.result == RM_OK ? "ok" : "refused");
  subject_end(&next);
  return 0;
}

/* Who we are, and on what. */
static int describe(const void *argument) {
  static struct subject subject;
  struct record record;
  int error = subject_start(&subject, "idle", NULL);
  if (error != 0) return tell_failure(argument, subject.stage->message, error);
  record_begin(&record, argument);
  record_text(&record, "device", subject.stage->device_name);
  record_number(&record, "multiprocessors", subject.stage->multiprocessors);
  record_number(&record, "cuda", subject.stage->driver_version);
  record_number(&record, "uid", getuid());
  record_end(&record, "ok");
  subject_end(&subject);
  return 0;
}

int probe_main(void) {
  static const struct attempt attempts[] = {
      {"SET_TIMESLICE, in process", CONTROL_TIMESLICE, WAY_INSIDE, false},
      {"PREEMPT, in process", CONTROL_PREEMPT, WAY_INSIDE, false},
      {"GPFIFO_SCHEDULE, in process", CONTROL_SCHEDULE, WAY_INSIDE, true},
      {"FIFO_DISABLE_CHANNELS, in process", CONTROL_DISABLE, WAY_INSIDE, true},
      {"GPFIFO_SCHEDULE, passed descriptor", CONTROL_SCHEDULE, WAY_PASSED, true},
      {"FIFO_DISABLE_CHANNELS, passed descriptor", CONTROL_DISABLE, WAY_PASSED, true},
      {"GPFIFO_SCHEDULE, pidfd_getfd", CONTROL_SCHEDULE, WAY_PIDFD, true},
      {"FIFO_DISABLE_CHANNELS, pidfd_getfd", CONTROL_DISABLE, WAY_PIDFD, true},
      {"FIFO_DISABLE_CHANNELS, another open", CONTROL_DISABLE, WAY_OTHER_OPEN, true},
  };
  static const char killed[] = "killed while disabled, then a new victim";
  if (isolate("device", describe, "device", LIMIT_S) != 0) return 3;
  int failed = 0;
  for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++)
    failed |= isolate(attempts[i].name, try, &attempts[i], LIMIT_S);
  return failed | isolate(killed, try_kill, killed, LIMIT_S);
}
