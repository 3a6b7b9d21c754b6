#include "identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The whole of a small /proc file as a string; its length or -errno. */
static int read_small(const char *path, char *text, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  ssize_t length = read(fd, text, size - 1);
  int error = length < 0 ? -errno : 0;
  close(fd);
  if (error < 0) return error;
  text[length] = '\0';
  return (int)length;
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

/* 32 hex digits, dashes between them ignored. */
static int parse_uuid(const char *text, uint8_t bytes[16]) {
  int digits = 0;
  for (; *text != '\0' && digits < 32; text++) {
    int value = hex_digit(*text);
    if (value < 0) continue;
    bytes[digits / 2] = (uint8_t)(digits % 2 == 0 ? value << 4 : bytes[digits / 2] | value);
    digits++;
  }
  return digits == 32 ? 0 : -EIO;
}

int boot_id_read(uint8_t boot_id[16]) {
  char text[64];
  int length = read_small("/proc/sys/kernel/random/boot_id", text, sizeof text);
  return length < 0 ? length : parse_uuid(text, boot_id);
}

int monotonic_offset_read(int64_t *offset_ns) {
  char text[256];
  long long seconds = 0, nanoseconds = 0;
  int length = read_small("/proc/self/timens_offsets", text, sizeof text);
  *offset_ns = 0;
  if (length < 0) return length == -ENOENT ? 0 : length;
  if (sscanf(text, "monotonic %lld %lld", &seconds, &nanoseconds) != 2) return -EIO;
  *offset_ns = seconds * 1000000000LL + nanoseconds;
  return 0;
}

uint64_t own_start_ticks(void) {
  char text[1024];
  if (read_small("/proc/self/stat", text, sizeof text) < 0) return 0;
  char *field = strrchr(text, ')'); /* the command's name may contain anything; field 3 follows it */
  for (int number = 2; field != NULL && number < 22; number++) field = strchr(field + 1, ' ');
  return field == NULL ? 0 : strtoull(field + 1, NULL, 10);
}
