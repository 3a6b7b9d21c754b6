/* kit.c - the kit's command line: one subcommand a part. run.sh calls them in order. */
#include "kit.h"

#include <stdio.h>
#include <string.h>

#include "nvml.h"

struct command {
  const char *name;
  int (*run)(void);
};

static int run_part(const char *name) {
  static const struct command commands[] = {
      {"probe", probe_main}, {"gate", gate_main},       {"correct", correct_main}, {"sharing", sharing_main},
      {"vmm", vmm_main},     {"pair", end_to_end_main}, {"xids", xids_main}};
  for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
    if (strcmp(commands[i].name, name) == 0) return commands[i].run();
  fprintf(stderr, "kit: no such part: %s\n", name);
  return 2;
}

int main(int argc, char **argv) {
  if (argc == 2) return run_part(argv[1]);
  if (argc == 3 && strcmp(argv[1], "victim") == 0) return victim_main(argv[2]);
  if (argc == 3 && strcmp(argv[1], "role") == 0) return role_main(argv[2]);
  if (argc >= 5 && strcmp(argv[1], "flip") == 0) return flip_main(argv[2], argv[3], argv + 4);
  fprintf(stderr, "usage: kit probe|gate|correct|sharing|vmm|pair, or kit flip NAME SECONDS COMMAND...\n");
  return 2;
}
