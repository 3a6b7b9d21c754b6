/* routes.h - remembers what requests make the engine compute: the adapter's word, asked for once. */
#ifndef VALVE_ROUTES_H
#define VALVE_ROUTES_H

#include "valve/intake.h"

#define ROUTES_MAX 512
#define ROUTE_KEY_MAX 120 /* longer ones are asked for each time */

struct route {
  uint8_t len;             /* 0: free */
  uint8_t operation;       /* see vlv_intake_options */
  char key[ROUTE_KEY_MAX]; /* method, a blank, path; before them a mark for an upgrade */
};

struct routes {
  uint8_t (*ask)(const char *method, size_t method_len, const char *path, size_t path_len, bool upgrade);
  unsigned count;
  struct route table[2 * ROUTES_MAX]; /* open addressing; emptied when it is half full */
};

uint8_t routes_ask(struct routes *routes, const struct vlv_request *request);
void routes_forget(struct routes *routes);

#endif
