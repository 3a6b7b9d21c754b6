/* Requests as they arrive: heads are read and judged, the intake hears of them, and what cannot be taken yet
 * is kept. */
#include "plane.h"
#include "writer.h"

static const char head_end[] = "\r\n\r\n";

void arrival_hold(struct client *client, const char *data, size_t len) {
  if (!bytes_append(&client->held, data, len)) return client_close(client, VLV_CLIENT_GONE, true);
  if (client->state != CLIENT_WAITING && client->held.len > HELD_MAX) endpoint_pause(&client->end, true);
}

static void *arrive(struct client *client, const struct head *head, bool websocket) {
  struct vlv_plane *plane = client->plane;
  struct span path = origin_target(head->target);
  const char *query = memchr(path.at, '?', path.len);
  if (query != NULL) path.len = (size_t)(query - path.at);
  if (path.len == 0) path = (struct span){"/", 1};
  struct vlv_request request = {
      .method = head->method.at,
      .method_len = head->method.len,
      .path = path.at,
      .path_len = path.len,
      .request_id = head->request_id.at,
      .request_id_len = head->request_id.len,
      .traceparent = head->traceparent.at,
      .traceparent_len = head->traceparent.len,
      .readable_ns = plane->now_ns,
      .body_len = head->lengths > 0 ? head->length : 0,
      .upgrade = websocket,
  };
  exchange_counted(plane, 1);
  return plane->calls.arrive(plane->intake, &request);
}

static enum framing framing_of(const struct head *head) {
  if (head->chunked) return FRAMING_CHUNKED;
  return head->lengths > 0 ? FRAMING_LENGTH : FRAMING_NONE;
}

/* Other upgrades are ignored (RFC 9110, 7.8). */
static bool is_websocket(const struct head *head) {
  bool get = head->method.len == 3 && memcmp(head->method.at, "GET", 3) == 0;
  bool bodiless = !head->chunked && (head->lengths == 0 || head->length == 0);
  return get && bodiless && head->minor == 1 && head->says_upgrade && head->upgrade_websocket;
}

/* Whether what has come of a chunked body is malformed: then nothing arrives at all. */
static bool spoiled(struct vlv_plane *plane, const struct head *head, const char *data, size_t len) {
  if (!head->chunked) return false;
  struct body body = {0};
  long took = 1;
  body_begin(&body, FRAMING_CHUNKED, 0);
  while (len > 0 && !body.ended && took > 0) {
    pieces_reset(&plane->spare);
    pieces_reset(&plane->content);
    took = body_follow(&body, data, len, (struct passing){&plane->spare, &plane->content});
    data += took > 0 ? took : 0;
    len -= took > 0 ? (size_t)took : 0;
  }
  body_free(&body);
  return took < 0;
}

static enum refusal judge(struct vlv_plane *plane, const struct head *head, const char *rest, size_t len) {
  enum refusal refusal = objection(head);
  if (refusal == REFUSAL_NONE && spoiled(plane, head, rest, len)) return REFUSAL_MALFORMED;
  return refusal;
}

static void take_flight(struct client *client, const struct head *head) {
  client->websocket = is_websocket(head);
  client->flight = client->queued ? client->next_flight : arrive(client, head, client->websocket);
  client->queued = false;
}

static void set_up(struct client *client, const struct head *head) {
  client->state = CLIENT_BUSY;
  client->status = 0;
  client->http10 = head->minor == 0;
  client->head_only = head->method.len == 4 && memcmp(head->method.at, "HEAD", 4) == 0;
  client->wants_continue = head->expects_continue && !client->http10;
  client->last = head->says_close || head->says_upgrade || (client->http10 && !head->says_keep_alive);
  client->uploaded = false;
  body_begin(&client->upload, framing_of(head), head->length);
}

void client_refuse(struct client *client, enum refusal refusal) {
  char answer[REFUSAL_SIZE];
  struct answer details = {.engine = client->plane->engine_name, .with_body = !client->head_only};
  client->plane->calls.count_error(client->plane->intake, refusal_kind(refusal));
  endpoint_write(&client->end, answer, refusal_write(answer, refusal, details));
  client_end(client);
}

/* Its head is complete: the first thing that happens is that the intake hears of it. Returns how much of what
 * follows it took. */
static size_t admit(struct client *client, struct head *head, const char *rest, size_t len) {
  struct vlv_plane *plane = client->plane;
  enum refusal refusal = judge(plane, head, rest, len);
  if (refusal != REFUSAL_NONE) {
    client->head_only = head->method.len == 4 && memcmp(head->method.at, "HEAD", 4) == 0;
    client_refuse(client, refusal);
    return len;
  }
  take_flight(client, head);
  set_up(client, head);
  list_remove(&client->end.timer);
  return request_begin(client, head, rest, len);
}

static enum refusal limit(struct client *client, const char *data, size_t len) {
  for (size_t i = client->searched; i < len; i++) client->lines += data[i] == '\n';
  client->searched = len;
  bool large = len > HEAD_MAX || client->lines > HEAD_FIELDS_MAX + 1;
  return large ? REFUSAL_TOO_LARGE : REFUSAL_NONE;
}

/* Not again from the start with every byte of a head that dribbles in. */
static bool may_be_complete(const struct client *client, const char *data, size_t len) {
  size_t from = client->searched > 3 ? client->searched - 3 : 0;
  return client->searched == 0 || memmem(data + from, len - from, head_end, 4) != NULL;
}

static long read_head(struct client *client, struct head *head, const char *data, size_t len) {
  *head = (struct head){.fields = client->plane->fields, .capacity = HEAD_FIELDS_MAX};
  if (!is_token((unsigned char)data[0])) return HEAD_MALFORMED;
  return may_be_complete(client, data, len) ? head_read_request(head, data, len) : HEAD_INCOMPLETE;
}

/* Empty lines before a request are no part of it (RFC 9112, 2.2). */
static size_t empty_line(const char *data, size_t len) {
  return len >= 2 && data[0] == '\r' && data[1] == '\n' ? 2 : 0;
}

/* One request from the front of `data`. Returns how many bytes it took; 0: its head is not complete. */
static size_t take_request(struct client *client, const char *data, size_t len) {
  struct head head;
  if (empty_line(data, len)) return 2;
  if (len == 1 && data[0] == '\r') return 0;
  long took = read_head(client, &head, data, len);
  enum refusal refusal = took == HEAD_TOO_LARGE ? REFUSAL_TOO_LARGE : REFUSAL_MALFORMED;
  if (took == HEAD_INCOMPLETE) refusal = limit(client, data, len);
  if (took == HEAD_INCOMPLETE && refusal == REFUSAL_NONE) return 0;
  client->searched = client->lines = 0;
  if (took > 0) return (size_t)took + admit(client, &head, data + took, len - (size_t)took);
  client->head_only = false;
  client_refuse(client, refusal);
  return len;
}

/* The next request arrives while this one runs: the gate hears of it now. */
void arrival_note_next(struct client *client) {
  struct head head;
  while (client->held.len >= 2 && empty_line(bytes_at(&client->held), client->held.len))
    bytes_drop(&client->held, 2);
  bool served = client->uploaded && !client->websocket && !client->last;
  if (client->held.len == 0 || client->queued || !served) return;
  const char *data = bytes_at(&client->held);
  if (memmem(data, client->held.len, head_end, 4) == NULL) return;
  long took = read_head(client, &head, data, client->held.len);
  if (took <= 0) return;
  if (judge(client->plane, &head, data + took, client->held.len - (size_t)took) != REFUSAL_NONE) return;
  client->next_flight = arrive(client, &head, is_websocket(&head));
  client->queued = true;
}

static void run(struct client *client, const char *data, size_t len) {
  client->running = true;
  while (len > 0 && client->state == CLIENT_WAITING && client->end.out.len == 0) {
    size_t took = take_request(client, data, len);
    data += took;
    len -= took;
    if (took == 0) break;
  }
  client->running = false;
  if (len == 0 || client->state == CLIENT_ENDING) return;
  arrival_hold(client, data, len);
  if (client->state == CLIENT_BUSY) arrival_note_next(client);
}

/* With what was held. */
static void run_held(struct client *client) {
  struct bytes held = client->held;
  client->held = (struct bytes){0};
  run(client, bytes_at(&held), held.len);
  bytes_free(&held);
}

void arrival_take(struct client *client, const char *data, size_t len) {
  if (client->held.len == 0) return run(client, data, len);
  arrival_hold(client, data, len);
  if (client->state == CLIENT_WAITING) run_held(client);
}

/* With the next request, but not before the answers to the last ones have been taken: they would pile up. */
void arrival_go_on(struct client *client) {
  bool full = client->end.out.len > 0;
  endpoint_pause(&client->end, full);
  list_remove(&client->end.timer);
  if (full) return;
  timer_start(client->plane, &client->plane->idle, &client->end);
  if (!client->running && client->held.len > 0) run_held(client);
}
