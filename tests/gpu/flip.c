/* flip.c - the subcommand "flip": runs a program under the shim and works its gate at random.
 *
 * For programs that are not ours (PyTorch, CuPy): the program writes "ready" on its standard output when the
 * flips may begin, and reads its standard input until that ends, which is when they are over; what it prints
 * afterwards goes to the log. Measured is close -> acknowledged.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_run.h"
#include "gatekeeper.h"
#include "kit.h"
#include "report.h"
#include "subject.h"

#define READY_S 120
#define RANK_NS 20000000000ull

struct program {
  pid_t pid;
  FILE *says;
  int input;
};

static _Noreturn void become_program(const struct gatekeeper *keeper, char **command, int input, int output) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  dup2(input, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  gatekeeper_export(keeper);
  execvp(command[0], command);
  _exit(127);
}

static int start(struct program *program, const struct gatekeeper *keeper, char **command) {
  int input[2], output[2];
  if (pipe(input) != 0 || pipe(output) != 0) return -errno;
  program->pid = fork();
  if (program->pid == 0) {
    close(input[1]);
    become_program(keeper, command, input[0], output[1]);
  }
  close(input[0]);
  close(output[1]);
  program->input = input[1];
  program->says = fdopen(output[0], "r");
  return program->pid < 0 ? -EAGAIN : 0;
}

static bool wait_ready(struct program *program) {
  char line[256];
  while (fgets(line, sizeof line, program->says) != NULL) {
    if (strcmp(line, "ready\n") == 0) return true;
    fputs(line, stderr);
  }
  return false;
}

struct flips {
  struct figures acknowledged_us;
  uint32_t count, errors;
};

static void flip(struct gatekeeper *keeper, struct flips *flips, uint64_t *seed) {
  uint64_t begin_ns = clock_ns();
  int error = gatekeeper_close(keeper);
  if (error == 0) figures_add(&flips->acknowledged_us, (double)(clock_ns() - begin_ns) / 1e3);
  sleep_ns(random_between(seed, 1000, 2000000));
  error |= gatekeeper_open(keeper);
  sleep_ns(random_between(seed, 1000, 2000000));
  flips->count++;
  flips->errors += error != 0;
}

static void flip_for(struct gatekeeper *keeper, struct flips *flips, double seconds) {
  uint64_t seed = 99, deadline_ns = clock_ns() + (uint64_t)(seconds * 1e9);
  while (clock_ns() < deadline_ns && flips->errors < 5) flip(keeper, flips, &seed);
}

/* What the program found: key=value words on one line, e.g. "result wrong=0 runs=12". */
static void add_result(struct record *record, struct program *program, double *wrong) {
  char line[256], key[64];
  double value;
  while (fgets(line, sizeof line, program->says) != NULL) {
    if (strncmp(line, "result ", 7) != 0) continue;
    for (char *word = strtok(line + 7, " \n"); word != NULL; word = strtok(NULL, " \n")) {
      if (sscanf(word, "%63[a-z_]=%lf", key, &value) != 2) continue;
      record_number(record, key, value);
      if (strcmp(key, "wrong") == 0) *wrong = value;
    }
  }
}

static int tell(const char *name, struct program *program, struct gatekeeper *keeper, struct flips *flips) {
  struct record record;
  int status = 0;
  double wrong = -1;
  record_begin(&record, name);
  record_figures(&record, "acknowledged_us", &flips->acknowledged_us);
  record_number(&record, "preemptions", flips->count);
  record_number(&record, "errors", flips->errors);
  record_text(&record, "mechanism", gatekeeper_mechanism(keeper));
  close(program->input);
  add_result(&record, program, &wrong);
  waitpid(program->pid, &status, 0);
  bool good = status == 0 && wrong == 0 && flips->errors == 0;
  record_end(&record, good ? "ok" : wrong > 0 ? "wrong" : "failed");
  return good ? 0 : 1;
}

static int fail(const char *name, const char *reason) {
  struct record record;
  record_begin(&record, name);
  record_text(&record, "reason", reason);
  record_end(&record, "failed");
  return 1;
}

static int begin_keeper(struct gatekeeper *keeper) {
  static struct subject subject;
  int error = subject_start(&subject, "idle", NULL);
  subject_end(&subject);
  return error == 0 ? gatekeeper_begin(keeper, subject.stage->uuid) : error;
}

int flip_main(const char *name, const char *seconds, char **command) {
  static struct gatekeeper keeper;
  static struct flips flips;
  struct program program = {0};
  if (begin_keeper(&keeper) != 0) return fail(name, "no GPU");
  alarm(READY_S);
  if (start(&program, &keeper, command) != 0 || !wait_ready(&program))
    return fail(name, "it did not get ready");
  alarm(READY_S);
  if (gatekeeper_find_rank(&keeper, 0, RANK_NS) != 0) return fail(name, "the shim did not register a rank");
  flip_for(&keeper, &flips, atof(seconds));
  int status = tell(name, &program, &keeper, &flips);
  gatekeeper_end(&keeper);
  return status;
}
