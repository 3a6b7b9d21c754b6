/* mutate.h - seeded random changes to bytes: flips, copies, cuts, numbers at their limits, words of a format.
 */
#ifndef VALVE_TESTS_FUZZ_MUTATE_H
#define VALVE_TESTS_FUZZ_MUTATE_H

#include <stdint.h>
#include <string.h>

/* xorshift64*: the same seed gives the same run. */
static inline uint64_t draw(uint64_t *random) {
  *random ^= *random >> 12;
  *random ^= *random << 25;
  *random ^= *random >> 27;
  return *random * 2685821657736338717ull;
}

static inline size_t draw_below(uint64_t *random, size_t limit) {
  return limit > 0 ? (size_t)(draw(random) % limit) : 0;
}

static inline void put_word(uint64_t *random, char *data, size_t len, const char *word, size_t word_len) {
  if (word_len > len) return;
  memcpy(data + draw_below(random, len - word_len + 1), word, word_len);
}

static inline void put_number(uint64_t *random, char *data, size_t len) {
  static const uint64_t numbers[] = {0, 1, 0x7f, 0xff, 0xffff, 0x7fffffff, 0xffffffff, INT64_MAX, UINT64_MAX};
  uint64_t number = numbers[draw_below(random, sizeof numbers / sizeof *numbers)];
  size_t size = (size_t)1 << draw_below(random, 4);
  put_word(random, data, len, (const char *)&number, size);
}

static inline void move_bytes(uint64_t *random, char *data, size_t len) {
  size_t size = draw_below(random, len < 64 ? len : 64) + 1;
  memmove(data + draw_below(random, len - size + 1), data + draw_below(random, len - size + 1), size);
}

/* Changes up to eight places of `data`; `words` ends with NULL. */
static inline void mutate(uint64_t *random, char *data, size_t len, const char *const *words) {
  size_t count = 0, changes = draw_below(random, 8) + 1;
  while (words[count] != NULL) count++;
  for (size_t i = 0; len > 0 && i < changes; i++) {
    const char *word = count > 0 ? words[draw_below(random, count)] : "";
    switch (draw_below(random, 5)) {
      case 0:
        data[draw_below(random, len)] = (char)draw(random);
        break;
      case 1:
        data[draw_below(random, len)] ^= (char)(1 << draw_below(random, 8));
        break;
      case 2:
        put_number(random, data, len);
        break;
      case 3:
        move_bytes(random, data, len);
        break;
      default:
        put_word(random, data, len, word, strlen(word));
    }
  }
}

#endif
