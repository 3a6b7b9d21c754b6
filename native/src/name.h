/* name.h - names in rows. */
#ifndef VALVE_NAME_H
#define VALVE_NAME_H

#include <string.h>

#include "valve/node.h"

/* Cut at a UTF-8 boundary if too long; the rest is zeros, so there is always a NUL. */
static inline void name_copy(char out[VLV_NAME_SIZE], const char *name) {
  size_t length = strnlen(name, VLV_NAME_SIZE);
  if (length == VLV_NAME_SIZE) {
    length = VLV_NAME_SIZE - 1;
    while (length > 0 && ((unsigned char)name[length] & 0xc0) == 0x80) length--;
  }
  memset(out, 0, VLV_NAME_SIZE);
  memcpy(out, name, length);
}

#endif
