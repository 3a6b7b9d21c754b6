#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "futex.h"
#include "turn.h"
#include "urgent.h"
#include "words.h"

#define LEAVE_TRIES 50
#define LEAVE_PAUSE_NS 10000000ull
#define STOP_PAUSE_NS 1000000ull

struct vlv_agent {
  struct turn turn;
  pthread_t thread;
  pid_t process;
  VLV_ATOMIC(uint32_t) leaving;
  VLV_ATOMIC(uint32_t) ready;
  VLV_ATOMIC(uint32_t) finished;
};

static void raise_flag(VLV_ATOMIC(uint32_t) * flag) {
  store32(flag, 1);
  word_wake(flag);
}

static void leave(struct vlv_agent *agent) {
  for (int tries = 0; tries < LEAVE_TRIES && !turn_leave(&agent->turn); tries++)
    word_wait(&agent->leaving, 1, vlv_now_ns() + LEAVE_PAUSE_NS);
}

/* The clock is read right after the wait: that is the moment which "woken" means. */
static void *agent_main(void *argument) {
  struct vlv_agent *agent = argument;
  const VLV_ATOMIC(uint32_t) *generation = &agent->turn.tenant->holders->generation;
  be_urgent();
  uint64_t now_ns = vlv_now_ns();
  while (load32(&agent->leaving) == 0) {
    uint64_t until_ns = turn_take(&agent->turn, now_ns);
    if (load32(&agent->ready) == 0 && turn_is_settled(&agent->turn)) raise_flag(&agent->ready);
    if (until_ns > now_ns) word_wait(generation, agent->turn.generation, until_ns);
    now_ns = vlv_now_ns();
  }
  leave(agent);
  raise_flag(&agent->finished);
  return NULL;
}

/* Signals are for the job's own threads. */
static int start_thread(struct vlv_agent *agent) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&agent->thread, NULL, agent_main, agent);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error == 0) pthread_setname_np(agent->thread, "valve-agent");
  return -error;
}

int vlv_agent_start(struct vlv_tenant *tenant, const struct vlv_mechanism *mechanism, void *context,
                    struct vlv_agent **out) {
  struct vlv_agent *agent = calloc(1, sizeof *agent);
  if (agent == NULL) return -ENOMEM;
  turn_init(&agent->turn, tenant, mechanism, context);
  agent->process = getpid();
  int error = start_thread(agent);
  if (error < 0) {
    free(agent);
    return error;
  }
  *out = agent;
  return 0;
}

int vlv_agent_wait_ready(struct vlv_agent *agent, uint64_t timeout_ns) {
  uint64_t now_ns = vlv_now_ns();
  uint64_t deadline_ns = timeout_ns > UINT64_MAX - now_ns ? UINT64_MAX : now_ns + timeout_ns;
  while (load32(&agent->ready) == 0) {
    if (vlv_now_ns() >= deadline_ns) return -ETIMEDOUT;
    word_wait(&agent->ready, 0, deadline_ns);
  }
  return 0;
}

/* The generation belongs to the holders, so it cannot be bumped to end the thread's wait: wake it until it
 * has seen the flag. Other agents that this wakes look around and sleep again. */
static void wake_until_finished(struct vlv_agent *agent) {
  while (load32(&agent->finished) == 0) {
    word_wake(&agent->turn.tenant->holders->generation);
    word_wait(&agent->finished, 0, vlv_now_ns() + STOP_PAUSE_NS);
  }
}

/* In a forked child there is no such thread to wait for. */
void vlv_agent_stop(struct vlv_agent *agent) {
  if (agent == NULL) return;
  if (agent->process == getpid()) {
    store32(&agent->leaving, 1);
    wake_until_finished(agent);
    pthread_join(agent->thread, NULL);
  }
  free(agent);
}
