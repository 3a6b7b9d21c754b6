/* A request on its way to the engine: its head, written anew, and its body as it comes. */
#include <errno.h>

#include "plane.h"
#include "writer.h"

void exchange_finish(struct client *client, enum vlv_outcome outcome) {
  struct vlv_plane *plane = client->plane;
  if (client->flight != NULL) plane->calls.finish(plane->intake, client->flight, outcome, client->status);
  client->flight = NULL;
  exchange_counted(plane, -1);
}

static void answer(struct client *client, enum refusal refusal, int error, bool keep) {
  char out[REFUSAL_SIZE];
  struct answer details = {
      .engine = client->plane->engine_name,
      .error = error,
      .seconds = client->plane->connect_timeout_s,
      .with_body = !client->head_only,
      .keep = keep,
  };
  endpoint_write(&client->end, out, refusal_write(out, refusal, details));
}

/* What has begun is cut: it must not look complete. */
void request_refuse(struct client *client, enum refusal refusal, int error) {
  struct vlv_plane *plane = client->plane;
  bool begun = client->status != 0, keep = client->uploaded && !client->last && !plane->retiring;
  if (client->engine != NULL) engine_close(client->engine, true);
  plane->calls.count_error(plane->intake, refusal_kind(refusal));
  if (begun) return client_close(client, VLV_UPSTREAM_FAILED, true);
  answer(client, refusal, error, keep);
  client->status = refusal_status(refusal);
  bool reached = client->status >= 500 && refusal != REFUSAL_DESCRIPTORS;
  exchange_finish(client, reached ? VLV_UPSTREAM_FAILED : VLV_REFUSED);
  client_done(client, keep);
}

/* The engine begins only now: a slow upload may have been given up as a hold without progress. */
static void note_uploaded(struct client *client, bool at_once) {
  client->uploaded = true;
  if (!at_once && client->flight != NULL)
    client->plane->calls.progress(client->plane->intake, client->flight, NULL, 0);
}

/* Sends what `plane->wire` holds already, and the body. */
static size_t send_body(struct client *client, const char *data, size_t len, bool at_once) {
  struct vlv_plane *plane = client->plane;
  size_t took = 0;
  do {
    pieces_reset(&plane->content);
    long followed = body_follow(&client->upload, data + took, len - took,
                                (struct passing){&plane->wire, &plane->content});
    if (followed < 0) {
      request_refuse(client, REFUSAL_BODY, 0);
      return len;
    }
    endpoint_send(&client->engine->end, &plane->wire);
    pieces_reset(&plane->wire);
    took += (size_t)followed;
  } while (took < len && !client->upload.ended);
  if (client->upload.ended) note_uploaded(client, at_once);
  if (client->engine->end.out.len > 0) endpoint_pause(&client->end, true);
  return took;
}

size_t request_follow(struct client *client, const char *data, size_t len) {
  pieces_reset(&client->plane->wire);
  return send_body(client, data, len, false);
}

/* HTTP/1.0 knows no 100 Continue. */
static void drop_expectation(struct head *head) {
  for (unsigned i = 0; i < head->count; i++)
    if (span_is(head->fields[i].name, "expect")) head->fields[i].dropped = true;
}

/* What the engine is told instead of the client's; .len 0: the client's. */
static struct span own_trace(struct client *client, char text[VLV_TRACEPARENT_LEN]) {
  const struct vlv_plane *plane = client->plane;
  bool traced = client->flight != NULL && plane->calls.traceparent != NULL &&
                plane->calls.traceparent(plane->intake, client->flight, text);
  return (struct span){text, traced ? VLV_TRACEPARENT_LEN : 0};
}

static void write_head(struct client *client, struct head *head) {
  struct vlv_plane *plane = client->plane;
  char trace[VLV_TRACEPARENT_LEN];
  struct own own = {
      .framing = client->upload.framing,
      .connection = client->websocket ? WEBSOCKET_FIELDS : "",
      .trace = own_trace(client, trace),
  };
  struct span host = {plane->authority, strlen(plane->authority)};
  if (client->http10) drop_expectation(head);
  size_t len = write_request(plane->output, head, origin_target(head->target), host, own);
  pieces_reset(&plane->wire);
  pieces_add(&plane->wire, plane->output, len);
}

/* There is no engine: whether another request can follow depends on how this one ends. */
static size_t refuse_unreachable(struct client *client, const char *data, size_t len) {
  struct vlv_plane *plane = client->plane;
  size_t took = 0;
  while (took < len && !client->upload.ended) {
    pieces_reset(&plane->wire);
    pieces_reset(&plane->content);
    long followed = body_follow(&client->upload, data + took, len - took,
                                (struct passing){&plane->wire, &plane->content});
    if (followed < 0) break;
    took += (size_t)followed;
  }
  client->uploaded = client->upload.ended;
  bool none_left = client->connect_error == EMFILE || client->connect_error == ENFILE;
  request_refuse(client, none_left ? REFUSAL_DESCRIPTORS : REFUSAL_UNREACHABLE, client->connect_error);
  return took;
}

size_t request_begin(struct client *client, struct head *head, const char *rest, size_t len) {
  if (engine_take(client) == NULL) return refuse_unreachable(client, rest, len);
  write_head(client, head);
  return send_body(client, rest, len, true);
}
