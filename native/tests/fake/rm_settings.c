#include "rm_settings.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The number after "NAME=" in a list, 0 if it is not there. */
static uint32_t read_number(const char *list, const char *name) {
  size_t length = strlen(name);
  for (const char *at = list; at != NULL && (at = strstr(at, name)) != NULL; at += length)
    if (at[length] == '=' && (at == list || at[-1] == ',' || at[-1] == ' '))
      return (uint32_t)strtoul(at + length + 1, NULL, 0);
  return 0;
}

/* A line of the switch file: "refuse disable=0x1b". */
static uint32_t read_switch(const char *kind, const char *name) {
  const char *path = getenv("FAKE_RM_SWITCH");
  FILE *file = path != NULL ? fopen(path, "re") : NULL;
  char line[256];
  uint32_t number = 0;
  while (file != NULL && fgets(line, sizeof line, file) != NULL)
    if (strncmp(line, kind, strlen(kind)) == 0) number = read_number(line, name);
  if (file != NULL) fclose(file);
  return number;
}

uint32_t rm_refusal(const char *call) {
  uint32_t status = read_number(getenv("FAKE_RM_REFUSE"), call);
  if (status == 0) status = read_switch("refuse", call);
  if (status != 0) rm_log(call, status);
  return status;
}

bool rm_ignores(const char *call) {
  const char *ignored = getenv("FAKE_RM_IGNORE");
  return ignored != NULL && strcmp(ignored, call) == 0;
}

void rm_delay(const char *call) {
  uint32_t us = read_number(getenv("FAKE_RM_DELAY_US"), call);
  if (us == 0) us = read_switch("delay", call);
  if (us != 0) usleep(us);
}

uint32_t rm_schedule_size(void) {
  const char *text = getenv("FAKE_RM_SCHEDULE_SIZE");
  return text != NULL ? (uint32_t)atoi(text) : 3;
}

void rm_log(const char *what, uint32_t number) {
  const char *path = getenv("FAKE_RM_LOG");
  int fd = path != NULL ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
  if (fd < 0) return;
  dprintf(fd, "%s 0x%x\n", what, number);
  close(fd);
}
