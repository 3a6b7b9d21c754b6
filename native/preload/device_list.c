#include "device_list.h"

#include <errno.h>
#include <string.h>

#define UUID_DIGITS 32u

static int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* 32 hexadecimal digits; hyphens between them say nothing. */
static int parse_uuid(const char *text, size_t length, struct vlv_device_id *out) {
  uint32_t digits = 0;
  memset(out, 0, sizeof *out);
  for (size_t i = 0; i < length; i++) {
    if (text[i] == '-') continue;
    int value = digit_value(text[i]);
    if (value < 0 || digits == UUID_DIGITS) return -EINVAL;
    out->bytes[digits / 2] |= (uint8_t)(digits % 2 == 0 ? value << 4 : value);
    digits++;
  }
  return digits == UUID_DIGITS ? 0 : -EINVAL;
}

static int parse_one(const char *text, size_t length, struct vlv_device_id *out) {
  static const struct vlv_device_id cpu = {"cpu"};
  if (length == 3 && memcmp(text, "cpu", 3) == 0) {
    *out = cpu;
    return 0;
  }
  if (length <= 4 || memcmp(text, "GPU-", 4) != 0) return -EINVAL;
  return parse_uuid(text + 4, length - 4, out);
}

int device_list_parse(const char *text, struct vlv_device_id *out, uint32_t capacity) {
  for (uint32_t count = 0; count < capacity; count++) {
    size_t length = strcspn(text, ",");
    int error = parse_one(text, length, &out[count]);
    if (error < 0) return error;
    if (text[length] == '\0') return (int)count + 1;
    text += length + 1;
  }
  return -EINVAL;
}
