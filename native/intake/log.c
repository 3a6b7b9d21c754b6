#include "log.h"

#include <stdlib.h>
#include <string.h>

#include "gate.h"

/* Whoever holds it while the data plane's thread waits for it runs in that thread's stead. */
static void init_mutex(struct log *log) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
  pthread_mutex_init(&log->mutex, &attributes);
  pthread_mutexattr_destroy(&attributes);
}

bool log_init(struct log *log) {
  init_mutex(log);
  log->entries = calloc(VLV_LOG_CAPACITY, sizeof *log->entries);
  return log->entries != NULL;
}

void log_free(struct log *log) {
  for (uint64_t i = 0; log->entries != NULL && i < VLV_LOG_CAPACITY; i++) free(log->entries[i].more);
  free(log->entries);
  pthread_mutex_destroy(&log->mutex);
}

static void append(struct log *log, struct entry entry) {
  pthread_mutex_lock(&log->mutex);
  struct entry *place = &log->entries[log->next++ % VLV_LOG_CAPACITY];
  void *old = place->more;
  *place = entry;
  pthread_mutex_unlock(&log->mutex);
  free(old);
}

void log_event(struct log *log, enum vlv_event_kind kind, uint64_t t_ns, uint32_t generation) {
  append(log, (struct entry){t_ns, kind, generation, NULL});
}

void log_text(struct log *log, struct entry entry, struct cause cause, const char *text, size_t len) {
  struct note *note = malloc(sizeof *note + len);
  if (note != NULL) {
    note->cause = cause;
    note->len = len;
    memcpy(note->text, text, len);
  }
  entry.more = note;
  append(log, entry);
}

void log_flight(struct log *log, struct flight *flight) {
  append(log, (struct entry){flight->finished_ns, VLV_EVENT_REQUEST, flight->generation, flight});
}

/* ---- reading ---- */

static void copy_trace(struct vlv_event *event, const struct trace *trace) {
  event->trace_high = trace->high;
  event->trace_low = trace->low;
  event->span_id = trace->span;
  event->parent_id = trace->parent;
}

/* Returns what follows in `from`. */
static const char *copy_text(char *to, uint32_t *to_len, const char *from, uint16_t len) {
  memcpy(to, from, len);
  *to_len = len;
  return from + len;
}

static void copy_texts(struct vlv_event *event, const struct flight *flight) {
  const char *at = flight->texts;
  at = copy_text(event->request_id, &event->request_id_len, at, flight->request_id_len);
  at = copy_text(event->path, &event->path_len, at, flight->path_len);
  at = copy_text(event->model, &event->model_len, at, flight->model_len);
  at = copy_text(event->response_id, &event->response_id_len, at, flight->response_id_len);
  copy_text(event->finish_reasons, &event->finish_reasons_len, at, flight->finish_reasons_len);
}

static void copy_flight(struct vlv_event *event, const struct flight *flight) {
  event->readable_ns = flight->readable_ns;
  event->arrival_ns = flight->arrival_ns;
  event->gate_ns = flight->gate_ns;
  event->first_token_ns = flight->first_token_ns;
  event->last_token_ns = flight->last_token_ns;
  event->finished_ns = flight->finished_ns;
  event->max_gap_ns = flight->max_gap_ns;
  event->tokens = flight->token_count;
  event->closes_seen = flight->closes_seen;
  event->slices_seen = flight->slices_seen;
  event->closed_gate = flight->closed_gate;
  event->status = flight->status;
  event->outcome = flight->outcome;
  event->upgrade = flight->upgrade;
  event->input_tokens = flight->input_tokens;
  event->streamed = flight->streamed;
  copy_trace(event, &flight->trace);
  copy_texts(event, flight);
}

static void copy_note(struct vlv_event *event, const struct note *note) {
  bool made = event->kind == VLV_EVENT_MADE;
  size_t room = made ? VLV_MADE_MAX : VLV_REQUEST_ID_MAX, len = note->len < room ? note->len : room;
  event->readable_ns = note->cause.readable_ns;
  copy_trace(event, &note->cause.trace);
  memcpy(made ? event->made : event->request_id, note->text, len);
  *(made ? &event->made_len : &event->request_id_len) = (uint32_t)len;
}

static void copy_entry(struct vlv_event *event, const struct entry *entry) {
  memset(event, 0, offsetof(struct vlv_event, model));
  event->t_ns = entry->t_ns;
  event->kind = entry->kind;
  event->generation = entry->generation;
  if (entry->kind == VLV_EVENT_REQUEST)
    copy_flight(event, entry->more);
  else if (entry->more != NULL)
    copy_note(event, entry->more);
}

static uint64_t oldest_of(const struct log *log) {
  return log->next > VLV_LOG_CAPACITY ? log->next - VLV_LOG_CAPACITY : 0;
}

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high) {
  if (value < low) return low;
  return value < high ? value : high;
}

/* Returns where it stopped. */
static uint64_t copy_some(const struct log *log, uint64_t number, uint32_t kinds, struct vlv_event *out,
                          uint64_t capacity, uint64_t *count) {
  for (; *count < capacity && number < log->next; number++) {
    const struct entry *entry = &log->entries[number % VLV_LOG_CAPACITY];
    if ((kinds >> entry->kind & 1) == 0) continue;
    copy_entry(&out[*count], entry);
    out[(*count)++].number = number;
  }
  return number;
}

uint64_t vlv_log_read(const struct vlv_intake *intake, uint64_t since, uint32_t kinds, struct vlv_event *out,
                      uint64_t capacity, uint64_t *next) {
  struct log *log = (struct log *)&intake->log;
  uint64_t count = 0;
  pthread_mutex_lock(&log->mutex);
  *next = copy_some(log, clamp(since, oldest_of(log), log->next), kinds, out, capacity, &count);
  pthread_mutex_unlock(&log->mutex);
  return count;
}

void vlv_log_add(struct vlv_intake *intake, uint64_t t_ns, const char *text, size_t len) {
  struct entry entry = {.t_ns = t_ns, .kind = VLV_EVENT_MADE};
  log_text(&intake->log, entry, (struct cause){0}, text, len);
}
