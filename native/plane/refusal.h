/* refusal.h - the answers that the proxy gives itself, in the shape that OpenAI clients understand. */
#ifndef VALVE_REFUSAL_H
#define VALVE_REFUSAL_H

#include "head.h"
#include "valve/plane.h"

enum refusal {
  REFUSAL_NONE,
  REFUSAL_MALFORMED,
  REFUSAL_TOO_LARGE,
  REFUSAL_VERSION,
  REFUSAL_CONNECT,
  REFUSAL_FRAGMENT,
  REFUSAL_OLD_CODING,
  REFUSAL_CODING,
  REFUSAL_BODY,
  REFUSAL_UNREACHABLE,
  REFUSAL_LATE,
  REFUSAL_RESET,
  REFUSAL_ANSWER,
  REFUSAL_SWITCH,
  REFUSAL_INTERNAL,
  REFUSAL_DESCRIPTORS,
};

#define REFUSAL_SIZE 2048

int refusal_status(enum refusal refusal);
enum vlv_error_kind refusal_kind(enum refusal refusal);
/* What a proxy must not pass on although it can be read; REFUSAL_NONE if nothing. */
enum refusal objection(const struct head *head);

struct answer {
  const char *engine; /* its address */
  int error;          /* errno, of REFUSAL_UNREACHABLE */
  double seconds;     /* of REFUSAL_LATE */
  bool with_body;     /* false for HEAD */
  bool keep;
};
/* Writes the whole response into `out`, of REFUSAL_SIZE bytes. Returns its length. */
size_t refusal_write(char *out, enum refusal refusal, struct answer answer);

#endif
