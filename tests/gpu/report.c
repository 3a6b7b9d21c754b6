#include "report.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__attribute__((format(printf, 3, 4))) static void add(char *text, size_t size, const char *format, ...) {
  size_t length = strlen(text);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text + length, size - length, format, arguments);
  va_end(arguments);
}

#define JSON(...) add(record->json, sizeof record->json, __VA_ARGS__)
#define ROW(...) add(record->row, sizeof record->row, __VA_ARGS__)

/* Names and values are the kit's own or a device's: quotes and controls become blanks. */
static void quote(struct record *record, const char *text) {
  JSON("\"");
  for (; *text; text++) JSON("%c", *text < ' ' || *text == '"' || *text == '\\' ? ' ' : *text);
  JSON("\"");
}

void record_begin(struct record *record, const char *name) {
  record->json[0] = record->row[0] = '\0';
  JSON("{\"name\":");
  quote(record, name);
  ROW("%-46s", name);
}

static void key_of(struct record *record, const char *key) {
  JSON(",\"%s\":", key);
}

void record_text(struct record *record, const char *key, const char *value) {
  key_of(record, key);
  quote(record, value);
  ROW("  %s=%s", key, value);
}

void record_number(struct record *record, const char *key, double value) {
  key_of(record, key);
  JSON("%.6g", value);
  ROW("  %s=%.4g", key, value);
}

void record_figures(struct record *record, const char *key, struct figures *figures) {
  if (figures->count == 0) return;
  double p50 = figures_percentile(figures, 0.5), p90 = figures_percentile(figures, 0.9),
         p99 = figures_percentile(figures, 0.99), max = figures_percentile(figures, 1);
  key_of(record, key);
  JSON("{\"n\":%u,\"p50\":%.6g,\"p90\":%.6g,\"p99\":%.6g,\"max\":%.6g}", figures->count, p50, p90, p99, max);
  ROW("  %s %.4g/%.4g/%.4g/%.4g", key, p50, p90, p99, max);
}

static void append(const char *variable, const char *line) {
  const char *path = getenv(variable);
  int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;
  if (fd < 0) return;
  if (write(fd, line, strlen(line)) < 0) perror(path);
  close(fd);
}

void record_end(struct record *record, const char *verdict) {
  key_of(record, "verdict");
  quote(record, verdict);
  JSON("}\n");
  ROW("  [%s]\n", verdict);
  append("KIT_RECORDS", record->json);
  append("KIT_ROWS", record->row);
  fputs(record->row, stdout);
  fflush(stdout);
}
