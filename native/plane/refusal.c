#include "refusal.h"

#include <stdio.h>
#include <string.h>

#include "writer.h"

/* %1$s is the engine's address, %2$s a reason, %3$g a number of seconds. */
static const struct {
  int status;
  const char *reason;
  enum vlv_error_kind kind;
  const char *message;
} refusals[] = {
    [REFUSAL_MALFORMED] = {400, "Bad Request", VLV_BAD_REQUEST,
                           "the request is not well-formed HTTP/1.1; see RFC 9112"},
    [REFUSAL_TOO_LARGE] = {431, "Request Header Fields Too Large", VLV_BAD_REQUEST,
                           "the request's head is too large; keep it below 65536 bytes"},
    [REFUSAL_VERSION] = {505, "HTTP Version Not Supported", VLV_BAD_REQUEST,
                         "the proxy speaks HTTP/1.1 and HTTP/1.0 only; use one of them"},
    [REFUSAL_CONNECT] = {501, "Not Implemented", VLV_BAD_REQUEST,
                         "CONNECT is not for a reverse proxy; send the request itself"},
    [REFUSAL_FRAGMENT] = {400, "Bad Request", VLV_BAD_REQUEST,
                          "the request target holds a fragment; remove it"},
    [REFUSAL_OLD_CODING] = {400, "Bad Request", VLV_BAD_REQUEST,
                            "HTTP/1.0 has no Transfer-Encoding; send HTTP/1.1 or a Content-Length"},
    [REFUSAL_CODING] = {501, "Not Implemented", VLV_BAD_REQUEST,
                        "the only Transfer-Encoding that passes is chunked; use Content-Encoding"},
    [REFUSAL_BODY] = {400, "Bad Request", VLV_BAD_REQUEST,
                      "the request's body is malformed; see RFC 9112, 7.1"},
    [REFUSAL_UNREACHABLE] = {502, "Bad Gateway", VLV_UPSTREAM_UNREACHABLE,
                             "the engine at %1$s cannot be reached (%2$s); start it, or correct --upstream"},
    [REFUSAL_LATE] = {504, "Gateway Timeout", VLV_UPSTREAM_TIMEOUT,
                      "the engine at %1$s did not accept a connection within %3$g s; check that it is not "
                      "overloaded"},
    [REFUSAL_RESET] = {502, "Bad Gateway", VLV_UPSTREAM_RESET,
                       "the engine at %1$s closed the connection before answering; look into its log"},
    [REFUSAL_ANSWER] = {502, "Bad Gateway", VLV_UPSTREAM_MALFORMED,
                        "the engine at %1$s sent a malformed response; look into its log"},
    [REFUSAL_SWITCH] = {502, "Bad Gateway", VLV_UPSTREAM_MALFORMED,
                        "the engine at %1$s switched protocols without being asked"},
    [REFUSAL_INTERNAL] = {502, "Bad Gateway", VLV_INTERNAL, "the proxy has no memory left; try again"},
    [REFUSAL_DESCRIPTORS] = {503, "Service Unavailable", VLV_OUT_OF_DESCRIPTORS,
                             "no file descriptor is left for a connection to the engine at %1$s; raise the "
                             "proxy's `ulimit -n`, or try again"},
};

static const char *const names[VLV_ERROR_KINDS] = {
    "bad_request", "upstream_unreachable", "upstream_timeout", "upstream_reset", "upstream_malformed",
    "internal",    "out_of_descriptors",
};

const char *vlv_error_name(enum vlv_error_kind kind) {
  return kind >= 0 && kind < VLV_ERROR_KINDS ? names[kind] : NULL;
}

int refusal_status(enum refusal refusal) {
  return refusals[refusal].status;
}

enum vlv_error_kind refusal_kind(enum refusal refusal) {
  return refusals[refusal].kind;
}

static enum refusal coding_objection(const struct head *head) {
  if (head->codings == 0) return REFUSAL_NONE;
  if (head->minor == 0) return REFUSAL_OLD_CODING;
  if (!head->chunked) return REFUSAL_CODING;
  return head->lengths > 0 ? REFUSAL_MALFORMED : REFUSAL_NONE;
}

enum refusal objection(const struct head *head) {
  if (head->foreign) return REFUSAL_VERSION;
  if (head->method.len == 7 && memcmp(head->method.at, "CONNECT", 7) == 0) return REFUSAL_CONNECT;
  if (memchr(head->target.at, '#', head->target.len) != NULL) return REFUSAL_FRAGMENT;
  if (origin_target(head->target).len == 0 || head->lengths > 1) return REFUSAL_MALFORMED;
  if (head->hosts > 1 || (head->hosts == 0 && head->minor > 0)) return REFUSAL_MALFORMED;
  return coding_objection(head);
}

static const char *reason_of(int error) {
  const char *reason = strerrordesc_np(error);
  return reason != NULL ? reason : "unknown error";
}

static int write_body(char *out, enum refusal refusal, struct answer answer) {
  char message[REFUSAL_SIZE / 2];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
  snprintf(message, sizeof message, refusals[refusal].message, answer.engine, reason_of(answer.error),
           answer.seconds);
#pragma GCC diagnostic pop
  const char *type = refusals[refusal].status < 500 ? "invalid_request_error" : "server_error";
  return snprintf(out, REFUSAL_SIZE, "{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"code\":\"%s\"}}",
                  message, type, names[refusals[refusal].kind]);
}

size_t refusal_write(char *out, enum refusal refusal, struct answer answer) {
  char body[REFUSAL_SIZE];
  int len = write_body(body, refusal, answer);
  int written = snprintf(out, REFUSAL_SIZE,
                         "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
                         "Connection: %s\r\n\r\n%s",
                         refusals[refusal].status, refusals[refusal].reason, len,
                         answer.keep ? "keep-alive" : "close", answer.with_body ? body : "");
  return (size_t)written;
}
