#include "routes.h"

#include <string.h>

/* 0: it does not fit. */
static size_t write_key(char *key, const struct vlv_request *request) {
  size_t len = request->method_len + request->path_len + 2;
  if (len > ROUTE_KEY_MAX) return 0;
  key[0] = request->upgrade ? '+' : '-';
  memcpy(key + 1, request->method, request->method_len);
  key[1 + request->method_len] = ' ';
  memcpy(key + 2 + request->method_len, request->path, request->path_len);
  return len;
}

static uint32_t hash(const char *key, size_t len) {
  uint32_t value = 2166136261u; /* FNV-1a */
  for (size_t i = 0; i < len; i++) value = (value ^ (unsigned char)key[i]) * 16777619u;
  return value ^ (value >> 15);
}

/* The key's place, or the free one where it belongs. */
static struct route *find(struct routes *routes, const char *key, size_t len) {
  uint32_t at = hash(key, len);
  for (;; at++) {
    struct route *route = &routes->table[at % (2 * ROUTES_MAX)];
    if (route->len == 0 || (route->len == len && memcmp(route->key, key, len) == 0)) return route;
  }
}

static uint8_t ask(const struct routes *routes, const struct vlv_request *request) {
  return routes->ask(request->method, request->method_len, request->path, request->path_len,
                     request->upgrade);
}

static uint8_t learn(struct routes *routes, const struct vlv_request *request, const char *key, size_t len) {
  if (routes->count == ROUTES_MAX) routes_forget(routes);
  struct route *route = find(routes, key, len);
  route->len = (uint8_t)len;
  route->operation = ask(routes, request);
  memcpy(route->key, key, len);
  routes->count++;
  return route->operation;
}

uint8_t routes_ask(struct routes *routes, const struct vlv_request *request) {
  char key[ROUTE_KEY_MAX];
  size_t len = write_key(key, request);
  if (len == 0) return ask(routes, request);
  const struct route *route = find(routes, key, len);
  return route->len > 0 ? route->operation : learn(routes, request, key, len);
}

void routes_forget(struct routes *routes) {
  memset(routes->table, 0, sizeof routes->table);
  routes->count = 0;
}
