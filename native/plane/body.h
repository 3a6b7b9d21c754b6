/* body.h - finds the end of a message's body while its bytes pass, and what of them may pass. Pure. */
#ifndef VALVE_BODY_H
#define VALVE_BODY_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "head.h"
#include "pieces.h"

enum framing {
  FRAMING_NONE,
  FRAMING_LENGTH,
  FRAMING_CHUNKED,
  FRAMING_UNTIL_CLOSE,
};

enum chunk_state {
  CHUNK_SIZE,
  CHUNK_EXTENSION,
  CHUNK_SIZE_END,
  CHUNK_DATA,
  CHUNK_DATA_CR,
  CHUNK_DATA_LF,
  CHUNK_TRAILERS,
};

struct body {
  enum framing framing;
  bool ended;
  enum chunk_state state;
  uint64_t left;         /* bytes of the body, or of the present chunk */
  uint16_t digits;       /* of the present chunk's size */
  uint16_t extension;    /* bytes of it */
  char line[20];         /* a size line that is written anew */
  struct bytes trailers; /* they pass when they are whole */
};

/* Where to put what passes: the bytes as they go on the wire, and the content among them. */
struct passing {
  struct pieces *wire, *content;
};

void body_begin(struct body *body, enum framing framing, uint64_t length);
/* Follows `len` bytes. Returns how many were followed, which is less once the body has ended or the pieces
 * are full; -1 for a malformed chunk or a trailer that may not pass. The pieces point into `data` and into
 * the body, and are good until the next call; call again while there are bytes left. Chunk extensions do not
 * pass (RFC 9112, 7.1.1). */
long body_follow(struct body *body, const char *data, size_t len, struct passing passing);
void body_free(struct body *body);

#endif
