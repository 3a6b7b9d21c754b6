#include "isolate.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "figures.h"
#include "report.h"

#define GRACE_NS 3000000000ull

static void tell_death(const char *name, const char *reason) {
  struct record record;
  record_begin(&record, name);
  record_text(&record, "reason", reason);
  record_end(&record, "failed");
}

static int tell_end(const char *name, int status) {
  char reason[64];
  if (WIFEXITED(status) && WEXITSTATUS(status) <= 2) return WEXITSTATUS(status);
  if (WIFEXITED(status)) {
    snprintf(reason, sizeof reason, "exit status %d", WEXITSTATUS(status));
  } else {
    snprintf(reason, sizeof reason, "%s",
             WTERMSIG(status) == SIGALRM ? "timed out" : strsignal(WTERMSIG(status)));
  }
  tell_death(name, reason);
  return 1;
}

static bool ended_by(pid_t child, uint64_t deadline_ns, int *status) {
  while (clock_ns() < deadline_ns) {
    if (waitpid(child, status, WNOHANG) == child) return true;
    sleep_ns(2000000);
  }
  return false;
}

/* The alarm comes first, and lets it put its channels back; a process stuck in the driver ends by neither. */
static int wait_for(const char *name, pid_t child, unsigned seconds) {
  int status = 0;
  uint64_t limit_ns = clock_ns() + seconds * 1000000000ull;
  if (ended_by(child, limit_ns + GRACE_NS, &status)) return tell_end(name, status);
  kill(child, SIGKILL);
  if (ended_by(child, clock_ns() + GRACE_NS, &status)) return tell_end(name, status);
  tell_death(name, "stuck in the driver: not even SIGKILL ends it");
  return 1;
}

int isolate(const char *name, int (*body)(const void *argument), const void *argument, unsigned seconds) {
  fflush(NULL);
  pid_t child = fork();
  if (child < 0) return 1;
  if (child > 0) return wait_for(name, child, seconds);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  alarm(seconds);
  exit(body(argument));
}
