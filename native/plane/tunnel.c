/* An upgraded connection (WebSocket): raw bytes both ways, each at the pace of its reader. */
#include "plane.h"

static void note(struct client *client, const char *data, size_t len) {
  struct vlv_plane *plane = client->plane;
  if (client->flight != NULL) plane->calls.progress(plane->intake, client->flight, data, len);
}

void tunnel_up(struct client *client, const char *data, size_t len) {
  endpoint_write(&client->engine->end, data, len);
  note(client, data, len);
  if (client->engine->end.out.len > 0) endpoint_pause(&client->end, true);
}

void tunnel_down(struct engine *engine, const char *data, size_t len) {
  endpoint_write(&engine->client->end, data, len);
  note(engine->client, data, len);
  if (engine->client->end.out.len > 0) endpoint_pause(&engine->end, true);
}

/* What the client sent early waited for the engine's word. */
void tunnel_begin(struct engine *engine, const char *data, size_t len) {
  struct client *client = engine->client;
  struct bytes held = client->held;
  client->held = (struct bytes){0};
  client->state = CLIENT_TUNNEL;
  engine->state = ENGINE_TUNNEL;
  client->end.keeps_half = true;
  endpoint_pause(&client->end, false);
  endpoint_watch(&client->end);
  if (held.len > 0) tunnel_up(client, bytes_at(&held), held.len);
  bytes_free(&held);
  if (len > 0) tunnel_down(engine, data, len);
}

/* What it sent before still goes out. */
void tunnel_client_ended(struct client *client) {
  engine_end(client->engine);
  client_close(client, VLV_CLIENT_GONE, false);
}

void tunnel_engine_ended(struct engine *engine) {
  struct client *client = engine->client;
  engine_close(engine, false);
  exchange_finish(client, VLV_COMPLETED);
  client_end(client);
}
