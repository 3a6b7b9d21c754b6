/* Threads add and free channels while the gate flips: none that the application knows runs while stopped, all
 * run in the end. A thread "submits" only through channels whose addition has returned. */
#include "rm_script.h"

#define THREADS 4
#define SLOTS 24
#define CYCLES 2000

static _Atomic bool over;
static _Atomic uint32_t lives[SCRIPT_CHANNELS]; /* odd: the application has got the handle */

static bool is_known(rm_handle channel) {
  return atomic_load(&lives[channel]) % 2 == 1;
}

static void add_one(rm_handle channel) {
  struct channel found;
  script_add_channel(4, channel);
  CHECK(registry_find(registry, 1, channel, &found) == 1);
  channels_added(&channels, &found);
  lives[channel]++;
}

static void free_one(rm_handle channel) {
  lives[channel]++;
  script_free_channel(channel);
}

static void *churn(void *argument) {
  rm_handle first = 10 + (rm_handle)(uintptr_t)argument * SLOTS;
  for (unsigned seed = first; !over;) {
    rm_handle channel = first + (rm_handle)rand_r(&seed) % SLOTS;
    if (is_known(channel))
      free_one(channel);
    else
      add_one(channel);
  }
  return NULL;
}

/* In one and the same life: what is freed and added again meanwhile may run until it is known. */
static void nothing_known_runs(void) {
  for (rm_handle i = 10; i < 10 + THREADS * SLOTS; i++) {
    uint32_t life = lives[i];
    bool runs = script_runs(i);
    CHECK(life % 2 == 0 || !runs || lives[i] != life);
  }
}

static void stop_whatever_it_takes(void) {
  int rc;
  do rc = channels_stop(&channels);
  while (rc == -EIO || channels.missed);
  CHECK(rc == 0);
}

static void flip(void) {
  for (int cycle = 0; cycle < CYCLES; cycle++) {
    stop_whatever_it_takes();
    nothing_known_runs();
    while (channels_resume(&channels) == -EIO) continue;
  }
}

static void stopped_means_stopped_while_channels_come_and_go(void) {
  pthread_t threads[THREADS];
  script_begin();
  over = false;
  for (uintptr_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, churn, (void *)i);
  flip();
  over = true;
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  CHECK(channels_resume(&channels) == 0 && script_running() == registry_channels(registry));
  CHECK(channels.way == CHANNELS_BY_DISABLE);
  script_end();
}

int main(void) {
  RUN(stopped_means_stopped_while_channels_come_and_go);
  return 0;
}
