#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "passing.h"

#define ANSWER_S 30
#define END_NS 5000000000ull

struct stage *stage_create(int *fd) {
  *fd = memfd_create("stage", MFD_CLOEXEC);
  if (*fd < 0 || ftruncate(*fd, sizeof(struct stage)) != 0) return NULL;
  void *memory = mmap(NULL, sizeof(struct stage), PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

static _Noreturn void become_victim(const char *kind, int stage_fd, int socket_fd,
                                    const struct gatekeeper *keeper) {
  if (dup2(stage_fd, STAGE_FD) < 0 || dup2(socket_fd, ORDERS_FD) < 0) _exit(3);
  if (keeper != NULL) gatekeeper_export(keeper);
  execl("/proc/self/exe", "kit", "victim", kind, (char *)NULL);
  _exit(3);
}

static int wait_answer(struct subject *subject, struct answer *answer) {
  ssize_t got = recv(subject->socket, answer, sizeof *answer, 0);
  if (got < 0) return errno == EAGAIN ? -ETIMEDOUT : -errno;
  return got == sizeof *answer ? 0 : -EPIPE;
}

static int wait_ready(struct subject *subject) {
  struct answer answer = {0};
  int error = wait_answer(subject, &answer);
  if (error != 0) strcpy(subject->stage->message, "the victim did not get ready");
  return error != 0 ? error : answer.result;
}

int subject_start(struct subject *subject, const char *kind, const struct gatekeeper *keeper) {
  int ends[2], stage_fd;
  memset(subject, 0, sizeof *subject);
  subject->stage = stage_create(&stage_fd);
  if (subject->stage == NULL || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return -ENOMEM;
  struct timeval limit = {.tv_sec = ANSWER_S};
  setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  subject->pid = fork();
  if (subject->pid == 0) become_victim(kind, stage_fd, ends[1], keeper);
  close(ends[1]);
  close(stage_fd);
  subject->socket = ends[0];
  return subject->pid < 0 ? -EAGAIN : wait_ready(subject);
}

int subject_order(struct subject *subject, const struct order *order, struct answer *answer) {
  if (send(subject->socket, order, sizeof *order, MSG_NOSIGNAL) < 0) return -errno;
  return wait_answer(subject, answer);
}

/* The descriptors come before the answer. */
int subject_channels(struct subject *subject, bool stolen, struct channel out[KIT_CHANNELS_MAX]) {
  struct order order = {.verb = ORDER_CHANNELS};
  struct answer answer = {0};
  if (send(subject->socket, &order, sizeof order, MSG_NOSIGNAL) < 0) return -errno;
  int error = passing_receive(subject->socket, subject->stage, subject->files);
  if (error == 0) error = wait_answer(subject, &answer);
  if (error == 0) error = answer.result;
  if (error == 0 && stolen) error = passing_steal(subject->pid, subject->stage, subject->files);
  if (error != 0) return error;
  passing_apply(subject->stage, subject->files, out);
  return (int)subject->stage->channel_count;
}

static bool ended_within(pid_t pid, uint64_t timeout_ns) {
  uint64_t deadline_ns = clock_ns() + timeout_ns;
  while (clock_ns() < deadline_ns) {
    if (waitpid(pid, NULL, WNOHANG) != 0) return true;
    sleep_ns(1000000);
  }
  return false;
}

void subject_kill(struct subject *subject) {
  kill(subject->pid, SIGKILL);
  ended_within(subject->pid, END_NS);
  close(subject->socket);
}

void subject_end(struct subject *subject) {
  struct order order = {.verb = ORDER_END};
  if (subject->pid <= 0) return;
  if (send(subject->socket, &order, sizeof order, MSG_NOSIGNAL) > 0 && ended_within(subject->pid, END_NS)) {
    close(subject->socket);
  } else {
    subject_kill(subject);
  }
}
