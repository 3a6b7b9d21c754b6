/* The channels mechanism against a scripted resource manager: both ways, chunks, what is gone, what is
 * refused. */
#include "rm_script.h"

static void fill(rm_handle group, rm_handle first, uint32_t count) {
  for (rm_handle i = 0; i < count; i++) script_add_channel(group, first + i);
}

static void all_channels_stop_in_chunks_and_run_again(void) {
  script_begin();
  fill(4, 10, 150);
  fill(7, 200, 30);
  CHECK(channels_stop(&channels) == 0 && script_running() == 0);
  CHECK(script.calls == 4 && script.largest == RM_CHANNELS_MAX);
  CHECK(channels_resume(&channels) == 0 && script_running() == 180);
  CHECK(channels.refusals == 0 && channels.way == CHANNELS_BY_DISABLE);
  script_end();
}

static void nothing_to_stop_is_stopped(void) {
  script_begin();
  CHECK(channels_stop(&channels) == 0 && registry_is_closed(registry) && script.calls == 0);
  CHECK(channels_resume(&channels) == 0 && !registry_is_closed(registry));
  script_end();
}

static const uint32_t REFUSALS[] = {
    RM_ERR_INSUFFICIENT_PERMISSIONS, RM_ERR_INVALID_ARGUMENT, RM_ERR_INVALID_COMMAND,
    RM_ERR_INVALID_PARAM_STRUCT,     RM_ERR_NOT_SUPPORTED,    RM_ERR_PRIV_SEC_VIOLATION};

static void what_is_refused_is_done_by_group(void) {
  for (size_t i = 0; i < sizeof REFUSALS / sizeof *REFUSALS; i++) {
    script_begin();
    fill(4, 10, 70);
    script_add_channel(2, 100);
    script.disable_status = REFUSALS[i];
    CHECK(channels_stop(&channels) == 0 && script_running() == 0);
    CHECK(channels.way == CHANNELS_BY_SCHEDULE && channels.refusals == 1);
    CHECK(script.calls == 3); /* the refused one, the group, the channel that has none */
    CHECK(channels_resume(&channels) == 0 && script_running() == 71);
    script_end();
  }
}

/* The size that the driver takes is found, whichever was asked with before. */
static void both_sizes_of_the_schedule_call_work(void) {
  for (uint32_t size = 2; size <= 3; size++) {
    script_begin();
    fill(4, 10, 4);
    script.disable_status = RM_ERR_NOT_SUPPORTED;
    script.schedule_size = size;
    CHECK(channels_stop(&channels) == 0 && script_running() == 0);
    CHECK(channels_resume(&channels) == 0 && script_running() == 4);
    script_end();
  }
}

static void refused_in_both_ways_leaves_all_running(void) {
  script_begin();
  fill(4, 10, 70);
  script.disable_status = RM_ERR_NOT_SUPPORTED;
  script.schedule_status = RM_ERR_INSUFFICIENT_PERMISSIONS;
  CHECK(channels_stop(&channels) == -EPERM && channels.way == CHANNELS_REFUSED);
  CHECK(script_running() == 70 && !registry_is_closed(registry) && channels.refusals == 2);
  uint32_t calls = script.calls;
  CHECK(channels_stop(&channels) == -EPERM && script.calls == calls);
  script_end();
}

/* The driver changes its mind in the middle: what was disabled in the first way is enabled in the first way.
 */
static int calls_until_refusal;
static int changing_ioctl(int fd, unsigned long request, void *argument) {
  if (calls_until_refusal-- == 0) script.disable_status = RM_ERR_INSUFFICIENT_PERMISSIONS;
  int rc = script_ioctl(fd, request, argument);
  return rc;
}

static void ways_that_were_mixed_are_undone_in_both(void) {
  script_begin();
  fill(4, 10, 100);
  rm_ioctl = changing_ioctl;
  calls_until_refusal = 1;
  CHECK(channels_stop(&channels) == 0 && script_running() == 0 && channels.way == CHANNELS_BY_SCHEDULE);
  rm_ioctl = script_ioctl;
  CHECK(channels_resume(&channels) == -EIO && script_running() == 36);
  script.disable_status = RM_OK;
  CHECK(channels_resume(&channels) == 0 && script_running() == 100);
  script_end();
}

static void a_freed_channel_does_not_stand_in_the_way(void) {
  script_begin();
  fill(4, 10, 20);
  registry_remove(registry, 1, 15); /* the registry forgets first */
  script.exists[15] = false;
  CHECK(channels_stop(&channels) == 0 && script_running() == 0 && script.calls == 1);
  CHECK(channels_resume(&channels) == 0);
  script.exists[12] = false; /* the driver forgets first: the free has not returned yet */
  CHECK(channels_stop(&channels) == -EIO && script_running() == 0);
  registry_remove(registry, 1, 12);
  CHECK(channels_stop(&channels) == 0 && channels.way == CHANNELS_BY_DISABLE && channels.refusals == 0);
  CHECK(channels_resume(&channels) == 0 && script_running() == 18);
  script_end();
}

/* A client check of the driver's that is stricter than we know looks like this. */
static void a_channel_that_is_never_known_is_a_refusal(void) {
  script_begin();
  fill(4, 10, 1);
  script.disable_status = RM_ERR_INVALID_CLIENT;
  int tries = 0;
  while (channels_stop(&channels) == -EIO) CHECK(++tries < 100);
  CHECK(tries > 0 && channels.way == CHANNELS_BY_SCHEDULE && script_running() == 0);
  CHECK(channels_resume(&channels) == 0 && script_running() == 1); /* what was not done need not be undone */
  script_end();
}

static void an_error_is_no_refusal(void) {
  script_begin();
  fill(4, 10, 3);
  script.disable_status = RM_ERR_TIMEOUT;
  CHECK(channels_stop(&channels) == -EIO && channels.way == CHANNELS_BY_DISABLE && channels.refusals == 0);
  script.disable_status = RM_OK;
  script.error = ENOMEM;
  CHECK(channels_stop(&channels) == -EIO);
  script.error = 0;
  CHECK(channels_stop(&channels) == 0 && script_running() == 0);
  script.disable_status = RM_ERR_TIMEOUT;
  CHECK(channels_resume(&channels) == -EIO && script_running() == 0);
  script.disable_status = RM_OK;
  CHECK(channels_resume(&channels) == 0 && script_running() == 3);
  script_end();
}

static int stop_in_the_end(void) {
  int rc = -EIO;
  for (int tries = 0; rc == -EIO; tries++) {
    CHECK(tries < 10);
    rc = channels_stop(&channels);
  }
  return rc;
}

static void check_status(uint32_t disable_status, uint32_t schedule_status, int error) {
  bool refused = schedule_status != RM_OK || error != 0;
  script_begin();
  fill(4, 10, 70);
  script.disable_status = disable_status;
  script.schedule_status = schedule_status;
  script.error = error;
  CHECK(stop_in_the_end() == (refused ? -EPERM : 0) && script_running() == (refused ? 70 : 0));
  CHECK(channels.way == (refused ? CHANNELS_REFUSED : CHANNELS_BY_SCHEDULE));
  channels_resume(&channels);
  CHECK(script_running() == 70);
  script.disable_status = script.schedule_status = RM_OK;
  script.error = 0;
  CHECK(channels_resume(&channels) == 0 && script_running() == 70);
  script_end();
}

/* Whatever the driver says, once or for ever: the next way is taken, and nothing stays disabled. */
static void every_status_at_every_call_leads_on(void) {
  for (uint32_t status = 1; status <= 0x90; status++) {
    check_status(status, RM_OK, 0);
    check_status(status, status, 0);
    check_status(RM_ERR_NOT_SUPPORTED, status, 0);
  }
  check_status(0xffff, 0xffff, 0);
  for (int error = 1; error < 134; error++)
    if (error != EINTR) check_status(RM_OK, RM_OK, error);
}

static void add_as_the_application_does(rm_handle parent, rm_handle channel) {
  struct channel found;
  script_add_channel(parent, channel);
  CHECK(registry_find(registry, 1, channel, &found) == 1);
  channels_added(&channels, &found);
}

static void a_channel_that_comes_while_closed_does_not_run(void) {
  script_begin();
  fill(4, 10, 3);
  add_as_the_application_does(4, 20);
  CHECK(script_runs(20) && script.calls == 0);
  CHECK(channels_stop(&channels) == 0);
  add_as_the_application_does(4, 21);
  CHECK(script_running() == 0 && !channels.missed);
  CHECK(channels_resume(&channels) == 0 && script_running() == 5);
  script_end();
}

static void a_late_channel_that_cannot_be_stopped_is_noticed(void) {
  script_begin();
  CHECK(channels_stop(&channels) == 0);
  script.disable_status = RM_ERR_TIMEOUT;
  add_as_the_application_does(4, 20);
  CHECK(script_runs(20) && channels.missed);
  script.disable_status = RM_OK;
  CHECK(channels_stop(&channels) == 0 && !script_runs(20));
  CHECK(channels_resume(&channels) == 0 && !channels.missed && script_runs(20));
  script_end();
}

static void scheduling_by_the_application_does_not_open(void) {
  script_begin();
  fill(4, 10, 3);
  fill(7, 20, 3);
  script.disable_status = RM_ERR_NOT_SUPPORTED;
  CHECK(channels_stop(&channels) == 0 && script_running() == 0);
  for (rm_handle i = 10; i < 13; i++) script.unscheduled[i] = false; /* the application's own call */
  channels_scheduled(&channels, 1, 4);
  CHECK(script_running() == 0);
  uint32_t calls = script.calls;
  channels_scheduled(&channels, 1, 99);
  CHECK(script.calls == calls && !channels.missed);
  CHECK(channels_resume(&channels) == 0 && script_running() == 6);
  channels_scheduled(&channels, 1, 4);
  CHECK(script_running() == 6);
  script_end();
}

static void a_channel_without_a_subdevice_goes_the_second_way(void) {
  script_begin();
  script_add(1, 8, RM_CLASS_CHANNEL_GROUP);
  script_add_channel(8, 30);
  CHECK(channels_stop(&channels) == 0 && channels.way == CHANNELS_BY_SCHEDULE && script_running() == 0);
  CHECK(channels_resume(&channels) == 0 && script_running() == 1);
  script_end();
}

static int pretend_nvidiactl(void) {
  int fd = memfd_create("nvidiactl", MFD_CLOEXEC);
  CHECK(fd >= 0 && dup2(fd, SCRIPT_FD) == SCRIPT_FD);
  if (fd != SCRIPT_FD) close(fd);
  return SCRIPT_FD;
}

static void another_descriptor_of_the_driver_is_found(void) {
  script_begin();
  int fd = pretend_nvidiactl();
  fill(4, 10, 3);
  registry_fd_closed(registry, SCRIPT_FD);
  CHECK(channels_stop(&channels) == 0 && script_running() == 0);
  registry_seen(registry, 9, 1); /* a number that belongs to another file now */
  CHECK(channels_resume(&channels) == 0 && script_running() == 3);
  close(fd);
  script_end();
}

static void begin_anew(void) {
  registry_reset_after_fork(registry);
  channels_reset_after_fork(&channels);
  CHECK(channels_stop(&channels) == 0 && channels_resume(&channels) == 0);
  _exit(0);
}

static void a_forked_child_has_nothing_closed(void) {
  int status;
  script_begin();
  fill(4, 10, 3);
  pthread_mutex_lock(&channels.lock); /* as another thread may hold it */
  pid_t child = fork();
  if (child == 0) begin_anew();
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  pthread_mutex_unlock(&channels.lock);
  script_end();
}

int main(void) {
  RUN(all_channels_stop_in_chunks_and_run_again);
  RUN(nothing_to_stop_is_stopped);
  RUN(what_is_refused_is_done_by_group);
  RUN(both_sizes_of_the_schedule_call_work);
  RUN(refused_in_both_ways_leaves_all_running);
  RUN(ways_that_were_mixed_are_undone_in_both);
  RUN(a_freed_channel_does_not_stand_in_the_way);
  RUN(a_channel_that_is_never_known_is_a_refusal);
  RUN(an_error_is_no_refusal);
  RUN(every_status_at_every_call_leads_on);
  RUN(a_channel_that_comes_while_closed_does_not_run);
  RUN(a_late_channel_that_cannot_be_stopped_is_noticed);
  RUN(scheduling_by_the_application_does_not_open);
  RUN(a_channel_without_a_subdevice_goes_the_second_way);
  RUN(another_descriptor_of_the_driver_is_found);
  RUN(a_forked_child_has_nothing_closed);
  return 0;
}
