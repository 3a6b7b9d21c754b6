/* A response on its way to the client: its head, written anew, and its body as it comes. */
#include <stdio.h>

#include "plane.h"
#include "writer.h"

#define CLOSE_FIELD "Connection: close\r\n"
#define KEEP_ALIVE_FIELD "Connection: keep-alive\r\n" /* HTTP/1.1 need not say so */

static void send_wire(struct engine *engine) {
  struct vlv_plane *plane = engine->plane;
  endpoint_send(&engine->client->end, &plane->wire);
  pieces_reset(&plane->wire);
}

/* ---- the head ---- */

static bool has_no_body(const struct client *client, const struct head *head) {
  return client->head_only || head->status == 204 || head->status == 304 || head->status < 200;
}

static enum framing framing_of(const struct client *client, const struct head *head) {
  if (has_no_body(client, head)) return FRAMING_NONE;
  if (head->chunked) return FRAMING_CHUNKED;
  return head->lengths > 0 ? FRAMING_LENGTH : FRAMING_UNTIL_CLOSE;
}

/* How to send on what the engine framed its own way, to a client that may speak HTTP/1.0 only. */
static enum framing framing_for(const struct client *client, enum framing framing) {
  if (framing == FRAMING_NONE || framing == FRAMING_LENGTH) return framing;
  return client->http10 ? FRAMING_UNTIL_CLOSE : FRAMING_CHUNKED;
}

static const char *connection_field(const struct client *client) {
  if (client->last) return CLOSE_FIELD;
  return client->http10 ? KEEP_ALIVE_FIELD : "";
}

static void write_head(struct engine *engine, const struct head *head, struct own own) {
  struct vlv_plane *plane = engine->plane;
  size_t len = write_response(plane->output, head, own);
  pieces_reset(&plane->wire);
  pieces_add(&plane->wire, plane->output, len);
}

/* Whether the engine's connection may be used again. Not always after a stream: llama.cpp closes it right
 * then, without saying so. */
static bool lives_on(const struct vlv_plane *plane, const struct head *head) {
  if (head->says_close || (head->codings > 0 && !plane->reuses_streams)) return false;
  return head->minor > 0 || head->says_keep_alive;
}

/* No request can follow an early response: what follows it is the rest of this one. */
static void begin_body(struct engine *engine, const struct head *head) {
  struct client *client = engine->client;
  enum framing framing = framing_of(client, head);
  engine->sent_as = framing_for(client, framing);
  client->last = client->last || !client->uploaded || engine->sent_as == FRAMING_UNTIL_CLOSE;
  client->last = client->last || engine->plane->retiring;
  engine->ends = !lives_on(engine->plane, head);
  body_begin(&engine->download, framing, head->length);
  write_head(engine, head, (struct own){.framing = engine->sent_as, .connection = connection_field(client)});
  client->status = head->status;
  engine->answered = true;
}

static void pass_interim(struct engine *engine, const struct head *head) {
  struct client *client = engine->client;
  bool expected = head->status != 100 || client->wants_continue;
  if (!expected || client->http10) return;
  write_head(engine, head, (struct own){.framing = FRAMING_NONE, .connection = ""});
  send_wire(engine);
  if (client->end.out.len > 0) endpoint_pause(&engine->end, true);
}

static void switch_protocols(struct engine *engine, const struct head *head) {
  write_head(engine, head, (struct own){.framing = FRAMING_NONE, .connection = WEBSOCKET_FIELDS});
  send_wire(engine);
  engine->client->status = 101;
  engine->answered = true;
}

static bool is_sound(const struct head *head) {
  bool codings = head->codings == 0 || (head->chunked && head->minor > 0);
  return codings && !(head->lengths_differ && !head->chunked);
}

/* A final response, an interim one, or a refusal in its stead. */
static void take_head(struct engine *engine, const struct head *head) {
  struct client *client = engine->client;
  if (!is_sound(head)) return request_refuse(client, REFUSAL_ANSWER, 0);
  if (head->status >= 200) return begin_body(engine, head);
  if (head->status != 101) return pass_interim(engine, head);
  if (client->websocket) return switch_protocols(engine, head);
  request_refuse(client, REFUSAL_SWITCH, 0);
}

static bool begins_well(const char *data, size_t len) {
  return memcmp(data, "HTTP/1.", len < 7 ? len : 7) == 0;
}

static long read_head(struct engine *engine, struct head *head, const char *data, size_t len) {
  *head = (struct head){.fields = engine->plane->fields, .capacity = ENGINE_HEAD_FIELDS_MAX};
  return begins_well(data, len) ? head_read_response(head, data, len) : HEAD_MALFORMED;
}

/* ---- the body ---- */

void response_hold_back(struct engine *engine, bool held) {
  struct vlv_plane *plane = engine->plane;
  bool told = engine->client->flight != NULL && plane->calls.hold_back != NULL;
  if (told && engine->end.paused != held) plane->calls.hold_back(plane->intake, engine->client->flight, held);
  endpoint_pause(&engine->end, held);
}

static void tell_content(struct engine *engine, const struct pieces *content) {
  struct client *client = engine->client;
  struct vlv_plane *plane = engine->plane;
  if (client->flight == NULL) return;
  for (int i = 0; i < content->count; i++)
    plane->calls.progress(plane->intake, client->flight, content->vectors[i].iov_base,
                          content->vectors[i].iov_len);
}

/* Content that the client gets in another framing. */
static void reframe(struct engine *engine, char *line, size_t size) {
  struct vlv_plane *plane = engine->plane;
  bool chunked = engine->sent_as == FRAMING_CHUNKED && plane->content.total > 0;
  if (chunked) pieces_add(&plane->wire, line, (size_t)snprintf(line, size, "%zx\r\n", plane->content.total));
  for (int i = 0; i < plane->content.count; i++)
    pieces_add(&plane->wire, plane->content.vectors[i].iov_base, plane->content.vectors[i].iov_len);
  if (chunked) pieces_add(&plane->wire, "\r\n", 2);
}

/* Takes the next bytes of the body into the pieces. Returns how many, or -1. */
static long follow(struct engine *engine, const char *data, size_t len, char *line, size_t size) {
  struct vlv_plane *plane = engine->plane;
  bool same = engine->sent_as == engine->download.framing;
  pieces_reset(&plane->content);
  pieces_reset(&plane->spare);
  struct passing passing = {same ? &plane->wire : &plane->spare, &plane->content};
  long took = body_follow(&engine->download, data, len, passing);
  if (took >= 0 && !same) reframe(engine, line, size);
  return took;
}

static void complete(struct engine *engine, bool surplus) {
  struct client *client = engine->client;
  bool reusable = client->uploaded && !engine->ends && !surplus;
  engine_leave(engine, reusable);
  exchange_finish(client, VLV_COMPLETED);
  client_done(client, !client->last);
}

/* It must not look complete; where the client cannot tell by the framing, a reset does. */
static void broken(struct engine *engine) {
  struct client *client = engine->client;
  bool unframed = engine->sent_as == FRAMING_UNTIL_CLOSE;
  engine_close(engine, true);
  client->plane->calls.count_error(client->plane->intake, VLV_UPSTREAM_RESET);
  if (unframed) return client_close(client, VLV_UPSTREAM_FAILED, true);
  exchange_finish(client, VLV_UPSTREAM_FAILED);
  client_end(client);
}

/* Sends what `plane->wire` holds already, and the body. */
static void send_body(struct engine *engine, const char *data, size_t len) {
  char line[20];
  do {
    long took = follow(engine, data, len, line, sizeof line);
    send_wire(engine);
    if (took < 0) return broken(engine);
    tell_content(engine, &engine->plane->content);
    data += took;
    len -= (size_t)took;
  } while (len > 0 && !engine->download.ended);
  if (engine->download.ended) return complete(engine, len > 0);
  if (engine->client->end.out.len > 0) response_hold_back(engine, true);
}

/* ---- what comes ---- */

static void hold(struct engine *engine, const char *data, size_t len) {
  if (!bytes_append(&engine->held, data, len)) request_refuse(engine->client, REFUSAL_INTERNAL, 0);
}

static void take(struct engine *engine, const char *data, size_t len) {
  struct client *client = engine->client;
  struct head head;
  while (client->engine == engine && !engine->answered) {
    if (len == 0) return;
    long took = read_head(engine, &head, data, len);
    if (took == HEAD_INCOMPLETE) return hold(engine, data, len);
    if (took < 0) return request_refuse(client, REFUSAL_ANSWER, 0);
    data += took;
    len -= (size_t)took;
    take_head(engine, &head);
  }
  if (client->engine != engine) return;
  if (client->status == 101) return tunnel_begin(engine, data, len);
  send_body(engine, data, len);
}

void response_follow(struct engine *engine, const char *data, size_t len) {
  struct bytes held = engine->held;
  engine->held = (struct bytes){0};
  if (engine->answered) pieces_reset(&engine->plane->wire);
  if (held.len == 0) return take(engine, data, len);
  if (bytes_append(&held, data, len))
    take(engine, bytes_at(&held), held.len);
  else
    request_refuse(engine->client, REFUSAL_INTERNAL, 0);
  bytes_free(&held);
}

static void end_chunks(struct engine *engine) {
  if (engine->sent_as == FRAMING_CHUNKED) endpoint_write(&engine->client->end, "0\r\n\r\n", 5);
}

void response_ended(struct engine *engine, bool reset) {
  if (!engine->answered) return request_refuse(engine->client, REFUSAL_RESET, 0);
  if (engine->download.framing != FRAMING_UNTIL_CLOSE || reset) return broken(engine);
  end_chunks(engine);
  engine->ends = true;
  complete(engine, false);
}
