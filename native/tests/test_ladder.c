/* The ladder: channels while the driver permits them, launch where it does not, and back. The driver is a
 * script below the real channels mechanism. */
#include <pthread.h>

#include "ladder.h"
#include "node_scratch.h"
#include "rm_call.h"

#define CHANNELS 3
#define OTHER_STATUS RM_ERR_TIMEOUT

/* What the driver answers to every control, and what it was asked for. */
static struct {
  _Atomic uint32_t status;
  _Atomic int controls;
  _Atomic int disabled; /* balance of what succeeded */
} driver;

static void carry_out(const struct rm_control *control) {
  const struct rm_disable_channels *params = (const void *)(uintptr_t)control->params;
  if (control->command != RM_CONTROL_DISABLE_CHANNELS) return;
  driver.disabled = params->disable ? (int)params->channel_count : 0;
}

static int scripted_ioctl(int fd, unsigned long request, void *argument) {
  struct rm_control *control = argument;
  CHECK(fd == 5 && request == RM_IOCTL_CONTROL);
  driver.controls++;
  control->status = driver.status;
  if (driver.status == RM_OK) carry_out(control);
  return 0;
}

static struct registry *registry;
static struct channels channels;
static struct launch launch;
static struct ladder ladder;

static void add(rm_handle parent, rm_handle object, uint32_t class_id) {
  CHECK(registry_add(registry, 5, 1, parent, object, class_id) >= 0);
}

static void begin(void) {
  rm_ioctl = scripted_ioctl;
  memset(&driver, 0, sizeof driver);
  CHECK(registry_create(&registry) == 0);
  add(1, 1, RM_CLASS_ROOT_CLIENT);
  add(1, 2, RM_CLASS_DEVICE);
  add(2, 3, RM_CLASS_SUBDEVICE);
  add(2, 4, RM_CLASS_CHANNEL_GROUP);
  for (rm_handle i = 0; i < CHANNELS; i++) add(4, 10 + i, 0xc86f);
  memset(&launch, 0, sizeof launch);
  channels_create(&channels, registry);
  ladder = (struct ladder){.channels = &channels, .launch = &launch};
}

static void end(void) {
  registry_destroy(registry);
}

static int stop(void) {
  return ladder_mechanism()->stop(&ladder);
}
static int confirm(void) {
  return ladder_mechanism()->confirm(&ladder);
}
static void resume(void) {
  CHECK(ladder_mechanism()->resume(&ladder) == 0);
}
static int guard(void) {
  return ladder_mechanism()->guard(&ladder);
}
static uint32_t id(void) {
  return ladder_mechanism()->id(&ladder);
}

static void channels_come_first(void) {
  begin();
  CHECK(id() == VLV_MECHANISM_CHANNELS);
  for (int cycle = 0; cycle < 3; cycle++) {
    CHECK(stop() == 0 && driver.disabled == CHANNELS);
    CHECK(confirm() == VLV_LEVEL_COMPUTE_HALTED && guard() == 0);
    CHECK(registry_is_closed(registry));
    resume();
    CHECK(driver.disabled == 0 && !registry_is_closed(registry));
  }
  CHECK(launch_is_idle(&launch) && id() == VLV_MECHANISM_CHANNELS && channels.refusals == 0);
  end();
}

static _Atomic int submitted;

static void *submit(void *ignored) {
  launch_enter(&launch);
  submitted++;
  launch_leave(&launch);
  return ignored;
}

static void what_is_refused_is_done_by_launch(void) {
  pthread_t thread;
  begin();
  submitted = 0;
  driver.status = RM_ERR_INSUFFICIENT_PERMISSIONS;
  CHECK(stop() == 0 && id() == VLV_MECHANISM_LAUNCH && channels.refusals > 0);
  CHECK(confirm() == VLV_LEVEL_SUBMISSION_STOPPED && guard() == 0);
  pthread_create(&thread, NULL, submit, NULL);
  EVENTUALLY(launch.held == 1);
  CHECK(submitted == 0 && confirm() == VLV_LEVEL_SUBMISSION_STOPPED);
  resume();
  pthread_join(thread, NULL);
  CHECK(submitted == 1 && driver.disabled == 0);
  end();
}

static void a_submission_under_way_is_waited_for(void) {
  begin();
  driver.status = RM_ERR_NOT_SUPPORTED;
  CHECK(stop() == 0);
  resume();
  launch_enter(&launch);
  CHECK(stop() == 0 && confirm() == 0);
  launch_leave(&launch);
  CHECK(confirm() == VLV_LEVEL_SUBMISSION_STOPPED);
  resume();
  end();
}

/* Stops and resumes once; how many controls that took. */
static int controls_of_a_stop(void) {
  int before = driver.controls;
  CHECK(stop() == 0);
  int asked = driver.controls - before;
  resume();
  return asked;
}

static void refused_channels_are_tried_again_now_and_then(void) {
  begin();
  driver.status = RM_ERR_INSUFFICIENT_PERMISSIONS;
  CHECK(controls_of_a_stop() > 0);
  for (uint32_t i = 1; i < LADDER_RETRY; i++) CHECK(controls_of_a_stop() == 0);
  CHECK(controls_of_a_stop() > 0 && id() == VLV_MECHANISM_LAUNCH);
  for (uint32_t i = 1; i < LADDER_RETRY; i++) CHECK(controls_of_a_stop() == 0);
  driver.status = RM_OK;
  CHECK(controls_of_a_stop() > 0 && id() == VLV_MECHANISM_CHANNELS && launch_is_idle(&launch));
  CHECK(stop() == 0 && confirm() == VLV_LEVEL_COMPUTE_HALTED && driver.disabled == CHANNELS);
  resume();
  CHECK(submit(NULL) == NULL && driver.disabled == 0);
  end();
}

/* An error is no refusal: the agent calls again, and meanwhile `valve run` may freeze. */
static void an_error_is_for_the_agent(void) {
  begin();
  driver.status = OTHER_STATUS;
  CHECK(stop() == -EIO && id() == VLV_MECHANISM_CHANNELS && launch_is_idle(&launch));
  driver.status = RM_OK;
  CHECK(stop() == 0 && confirm() == VLV_LEVEL_COMPUTE_HALTED && driver.disabled == CHANNELS);
  driver.status = OTHER_STATUS;
  CHECK(ladder_mechanism()->resume(&ladder) == -EIO);
  driver.status = RM_OK;
  resume();
  CHECK(driver.disabled == 0);
  end();
}

static void a_refusal_while_closed_is_found(void) {
  begin();
  CHECK(stop() == 0 && guard() == 0);
  channels.way = CHANNELS_REFUSED; /* by a channel that was added */
  driver.status = RM_ERR_INSUFFICIENT_PERMISSIONS;
  CHECK(guard() == -EPERM);
  CHECK(stop() == 0 && confirm() == VLV_LEVEL_SUBMISSION_STOPPED && guard() == 0);
  driver.status = RM_OK;
  resume();
  end();
}

int main(void) {
  RUN(channels_come_first);
  RUN(what_is_refused_is_done_by_launch);
  RUN(a_submission_under_way_is_waited_for);
  RUN(refused_channels_are_tried_again_now_and_then);
  RUN(an_error_is_for_the_agent);
  RUN(a_refusal_while_closed_is_found);
  return 0;
}
