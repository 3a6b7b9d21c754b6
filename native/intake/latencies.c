#include "latencies.h"

#include <stdlib.h>
#include <string.h>

#include "counter.h"

#define FIRST_BAD_STATUS 400

static const char other[] = "other";

/* A series without any counts yet. */
static struct vlv_series key_of(const struct flight *flight) {
  struct vlv_series key = {.operation = flight->operation, .outcome = flight->outcome};
  bool told = flight->outcome == VLV_COMPLETED && flight->status >= FIRST_BAD_STATUS;
  key.bad_status = told ? flight->status : 0;
  key.model_len = flight->model_len;
  memcpy(key.model, flight->texts + flight->request_id_len + flight->path_len, flight->model_len);
  return key;
}

static bool same_model(const struct vlv_series *one, const struct vlv_series *two) {
  return one->model_len == two->model_len && memcmp(one->model, two->model, one->model_len) == 0;
}

static bool same(const struct vlv_series *one, const struct vlv_series *two) {
  return one->operation == two->operation && one->outcome == two->outcome &&
         one->bad_status == two->bad_status && same_model(one, two);
}

typedef bool alike(const struct vlv_series *, const struct vlv_series *);

static struct vlv_series *find(const struct latencies *latencies, const struct vlv_series *key, alike *are) {
  struct vlv_series *series = latencies->first;
  while (series != NULL && !are(series, key)) series = series->next;
  return series;
}

/* A model that nobody has named yet has a name of its own only while there are few. */
static void bound_model(struct latencies *latencies, struct vlv_series *key) {
  if (key->model_len == 0 || find(latencies, key, same_model) != NULL) return;
  if (latencies->models++ < MODELS_MAX) return;
  key->model_len = sizeof other - 1;
  memcpy(key->model, other, sizeof other - 1);
}

static struct vlv_series *add(struct latencies *latencies, const struct vlv_series *key) {
  struct vlv_series *series = malloc(sizeof *series);
  if (series == NULL) return NULL;
  *series = *key;
  *(latencies->last != NULL ? &latencies->last->next : &latencies->first) = series; /* whole by now */
  return latencies->last = series;
}

static struct vlv_series *series_of(struct latencies *latencies, const struct flight *flight) {
  struct vlv_series key = key_of(flight);
  struct vlv_series *series = find(latencies, &key, same);
  if (series != NULL) return series;
  bound_model(latencies, &key);
  series = find(latencies, &key, same);
  return series != NULL ? series : add(latencies, &key);
}

static void observe(struct latencies *latencies, struct vlv_series *series, enum vlv_latency which,
                    uint64_t took_ns) {
  struct vlv_histogram *histogram = &series->histograms[which];
  const uint64_t *bounds_ns = latencies->bounds_ns[which];
  unsigned bucket = 0;
  while (bucket < VLV_LATENCY_BOUNDS && took_ns > bounds_ns[bucket]) bucket++;
  count_up(&histogram->counts[bucket], 1);
  count_up(&histogram->sum_ns, took_ns);
}

void latencies_count(struct latencies *latencies, const struct flight *flight) {
  struct vlv_series *series = series_of(latencies, flight);
  if (series == NULL) return;
  uint64_t took_ns = flight->finished_ns - flight->readable_ns;
  observe(latencies, series, VLV_DURATION, took_ns);
  if (flight->first_token_ns == 0 || !flight->streamed) return;
  uint64_t first_ns = flight->first_token_ns - flight->readable_ns;
  observe(latencies, series, VLV_FIRST_TOKEN, first_ns);
  if (flight->token_count > 1)
    observe(latencies, series, VLV_LATER_TOKENS, (took_ns - first_ns) / (flight->token_count - 1));
}

void latencies_free(struct latencies *latencies) {
  while (latencies->first != NULL) {
    struct vlv_series *series = latencies->first;
    latencies->first = series->next;
    free(series);
  }
}
