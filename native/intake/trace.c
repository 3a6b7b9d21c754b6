#include "trace.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define SAMPLED 1

/* ---- the client's header: version-traceid-parent-flags ---- */

static int hex_value(char byte) {
  if (byte >= '0' && byte <= '9') return byte - '0';
  return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* `digits` in lower case, at most 16. */
static bool read_hex(const char *at, int digits, uint64_t *value) {
  *value = 0;
  for (int i = 0; i < digits; i++) {
    int digit = hex_value(at[i]);
    if (digit < 0) return false;
    *value = *value << 4 | (unsigned)digit;
  }
  return true;
}

/* Later versions may have more behind a dash. */
static bool ends_well(const char *header, size_t len, uint64_t version) {
  if (len == VLV_TRACEPARENT_LEN) return true;
  return version > 0 && header[VLV_TRACEPARENT_LEN] == '-';
}

bool traceparent_read(const char *header, size_t len, struct trace *trace, unsigned *flags) {
  uint64_t version, flag_bits;
  if (len < VLV_TRACEPARENT_LEN || header[2] != '-' || header[35] != '-' || header[52] != '-') return false;
  bool hex = read_hex(header, 2, &version) && read_hex(header + 3, 16, &trace->high) &&
             read_hex(header + 19, 16, &trace->low) && read_hex(header + 36, 16, &trace->parent) &&
             read_hex(header + 53, 2, &flag_bits);
  if (!hex || version == 0xff || (trace->high | trace->low) == 0 || trace->parent == 0) return false;
  *flags = (unsigned)flag_bits;
  return ends_well(header, len, version);
}

/* ---- ids: splitmix64, which repeats nothing ---- */

static uint64_t draw(struct tracer *tracer) {
  uint64_t value = tracer->random += 0x9e3779b97f4a7c15u;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

static uint64_t draw_id(struct tracer *tracer) {
  uint64_t id = draw(tracer);
  return id != 0 ? id : 1;
}

void tracer_init(struct tracer *tracer, double share) {
  tracer->share = share;
  if (getrandom(&tracer->random, sizeof tracer->random, 0) < 0) tracer->random = vlv_now_ns();
}

static bool is_sampled(const struct tracer *tracer, uint64_t low) {
  return tracer->share >= 1 || (double)low < tracer->share * 0x1p64;
}

struct trace trace_begin(struct tracer *tracer, const char *header, size_t len) {
  struct trace trace = {0};
  unsigned flags;
  if (tracer->share < 0) return trace;
  if (traceparent_read(header, len, &trace, &flags)) {
    trace.span = flags & SAMPLED ? draw_id(tracer) : 0;
    return trace;
  }
  trace = (struct trace){.low = draw(tracer)};
  if (!is_sampled(tracer, trace.low)) return trace;
  trace.high = draw_id(tracer);
  trace.span = draw_id(tracer);
  return trace;
}

void trace_write(const struct trace *trace, char out[VLV_TRACEPARENT_LEN]) {
  char text[VLV_TRACEPARENT_LEN + 1];
  snprintf(text, sizeof text, "00-%016llx%016llx-%016llx-01", (unsigned long long)trace->high,
           (unsigned long long)trace->low, (unsigned long long)trace->span);
  memcpy(out, text, VLV_TRACEPARENT_LEN);
}
