#include "rm_channel.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define STOP_SIGNAL (SIGRTMAX - 1)
#define ASK_AGAIN_NS 1000000
#define TRIES_MAX 1000

static _Thread_local struct rm_object *own __attribute__((tls_model("initial-exec")));

static void wait_word(_Atomic uint32_t *word, uint32_t value) {
  struct timespec time = {.tv_nsec = ASK_AGAIN_NS};
  syscall(SYS_futex, word, FUTEX_WAIT, value, &time, NULL, 0);
}

static void wake_word(_Atomic uint32_t *word) {
  syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* ---- the thread ---- */

static void stand_still(struct rm_object *channel, uint32_t stop) {
  atomic_store(&channel->running, 0);
  wake_word(&channel->running);
  wait_word(&channel->stop, stop);
}

static void run_when_permitted(struct rm_object *channel) {
  for (uint32_t stop;;) {
    atomic_store(&channel->running, 1);
    stop = atomic_load(&channel->stop);
    if (stop == 0) return;
    stand_still(channel, stop);
  }
}

static void on_signal(int number) {
  int error = errno;
  (void)number;
  if (own != NULL) run_when_permitted(own);
  errno = error;
}

static void set_signal(int how) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, STOP_SIGNAL);
  pthread_sigmask(how, &set, NULL);
}

void rm_channel_bind(struct rm_object *channel) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  set_signal(SIG_BLOCK);
  sigaction(STOP_SIGNAL, &action, NULL);
  own = channel;
  atomic_store(&channel->pid, getpid());
  atomic_store(&channel->tid, (int)syscall(SYS_gettid));
}

void fake_rm_enter(void) {
  run_when_permitted(own);
  set_signal(SIG_UNBLOCK);
}

void fake_rm_leave(void) {
  set_signal(SIG_BLOCK);
  atomic_store(&own->running, 0);
  wake_word(&own->running);
}

/* ---- who stops it ---- */

static bool is_standing(struct rm_object *channel) {
  if (atomic_load(&channel->running) == 0 || channel->tid == 0) return true;
  return syscall(SYS_tgkill, channel->pid, channel->tid, STOP_SIGNAL) != 0 && errno == ESRCH;
}

uint32_t rm_channel_stop(struct rm_object *channel, uint32_t reasons) {
  atomic_fetch_or(&channel->stop, reasons);
  for (int tries = 0; !is_standing(channel); tries++) {
    if (tries == TRIES_MAX) return RM_ERR_TIMEOUT;
    wait_word(&channel->running, 1);
  }
  return RM_OK;
}

void rm_channel_clear(struct rm_object *channel, uint32_t reasons) {
  atomic_fetch_and(&channel->stop, ~reasons);
  wake_word(&channel->stop);
}
