/* The pure parts of the data plane, for tests in Python: a library of its own, not shipped. */
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "body.h"
#include "budget.h"
#include "controller.h"
#include "head.h"
#include "refusal.h"
#include "tokens.h"
#include "trace.h"
#include "valve/intake.h"
#include "writer.h"

/* ---- heads ---- */

struct probed_head {
  int64_t taken; /* or an enum head_error */
  int32_t refusal, status, minor;
  uint32_t lengths, chunked, fields, says_close, reserved;
  uint64_t length, method_len, target_at, target_len;
};

static void tell_head(struct probed_head *out, const struct head *head, const char *data, long taken) {
  *out = (struct probed_head){.taken = taken};
  if (taken <= 0) return;
  out->refusal = head->method.len > 0 ? (int32_t)objection(head) : 0;
  out->status = head->status;
  out->minor = head->minor;
  out->lengths = head->lengths;
  out->chunked = head->chunked;
  out->fields = head->count;
  out->says_close = head->says_close;
  out->length = head->length;
  if (head->method.len == 0) return;
  struct span target = origin_target(head->target);
  out->method_len = head->method.len;
  out->target_at = (uint64_t)(target.at - data);
  out->target_len = target.len;
}

VLV_API void probe_request(const char *data, size_t len, struct probed_head *out) {
  static struct field fields[HEAD_FIELDS_MAX];
  struct head head = {.fields = fields, .capacity = HEAD_FIELDS_MAX};
  tell_head(out, &head, data, head_read_request(&head, data, len));
}

VLV_API void probe_response(const char *data, size_t len, struct probed_head *out) {
  static struct field fields[ENGINE_HEAD_FIELDS_MAX];
  struct head head = {.fields = fields, .capacity = ENGINE_HEAD_FIELDS_MAX};
  tell_head(out, &head, data, head_read_response(&head, data, len));
}

/* ---- bodies ---- */

VLV_API struct body *probe_body_new(int framing, uint64_t length) {
  struct body *body = calloc(1, sizeof *body);
  body_begin(body, (enum framing)framing, length);
  return body;
}

VLV_API void probe_body_free(struct body *body) {
  body_free(body);
  free(body);
}

static size_t copy_out(char *out, const struct pieces *pieces) {
  char *at = out;
  for (int i = 0; i < pieces->count; i++) {
    memcpy(at, pieces->vectors[i].iov_base, pieces->vectors[i].iov_len);
    at += pieces->vectors[i].iov_len;
  }
  return (size_t)(at - out);
}

/* Follows all of `data`. Returns how many bytes belonged to the body, or -1. */
VLV_API int64_t probe_body_follow(struct body *body, const char *data, size_t len, char *wire,
                                  size_t *wire_len, char *content, size_t *content_len) {
  static struct pieces wires, contents;
  size_t total = 0;
  while (total < len && !body->ended) {
    wires.count = contents.count = 0;
    wires.total = contents.total = 0;
    long taken = body_follow(body, data + total, len - total, (struct passing){&wires, &contents});
    if (taken < 0) return -1;
    *wire_len += copy_out(wire + *wire_len, &wires);
    *content_len += copy_out(content + *content_len, &contents);
    total += (size_t)taken;
  }
  return (int64_t)total;
}

VLV_API bool probe_body_ended(const struct body *body) {
  return body->ended;
}

/* ---- tokens ---- */

VLV_API struct tokens *probe_tokens_new(void) {
  return calloc(1, sizeof(struct tokens));
}

VLV_API void probe_free(void *memory) {
  free(memory);
}

VLV_API uint64_t probe_tokens_feed(struct tokens *tokens, const char *data, size_t len) {
  return tokens_feed(tokens, data, len);
}

VLV_API uint64_t probe_tokens_total(const struct tokens *tokens) {
  return tokens_total(tokens);
}

/* ---- answers and traces ---- */

struct probed_facts {
  uint64_t model_len, response_id_len, finish_reasons_len, input_tokens, streamed;
  char model[VLV_ANSWER_TEXT_MAX], response_id[VLV_ANSWER_TEXT_MAX], finish_reasons[VLV_FINISH_REASONS_MAX];
};

static void tell_facts(struct probed_facts *out, const struct facts *facts) {
  out->model_len = facts->model.len;
  out->response_id_len = facts->response_id.len;
  out->finish_reasons_len = facts->finish_reasons_len;
  out->input_tokens = facts->input_tokens;
  out->streamed = facts->streamed;
  if (facts->model.len > 0) memcpy(out->model, facts->model.at, facts->model.len);
  if (facts->response_id.len > 0) memcpy(out->response_id, facts->response_id.at, facts->response_id.len);
  memcpy(out->finish_reasons, facts->finish_reasons, facts->finish_reasons_len);
}

VLV_API struct ends *probe_ends_new(void) {
  return calloc(1, sizeof(struct ends));
}

VLV_API void probe_ends_keep(struct ends *ends, const char *data, size_t len) {
  ends_keep(ends, data, len);
}

VLV_API void probe_ends_read(struct ends *ends, struct probed_facts *out) {
  struct facts facts;
  facts_read_ends(&facts, ends);
  tell_facts(out, &facts);
}

/* Whether the header is valid; what it says in trace id (two words), parent and flags. */
VLV_API bool probe_traceparent(const char *header, size_t len, uint64_t out[4]) {
  struct trace trace;
  unsigned flags;
  if (!traceparent_read(header, len, &trace, &flags)) return false;
  out[0] = trace.high;
  out[1] = trace.low;
  out[2] = trace.parent;
  out[3] = flags;
  return true;
}

/* ---- the controller, with requests by number ---- */

#define KEYS 16

struct probed_controller {
  struct controller controller;
  struct hold holds[KEYS];
};

enum probed_call {
  ARRIVED,
  PROGRESSED,
  FINISHED_SURE,
  FINISHED_IN_DOUBT,
  STALLED,
  IDLE,
  BUSY,
  TIMER,
  LAPSED
};

VLV_API struct probed_controller *probe_controller_new(void) {
  struct probed_controller *probed = calloc(1, sizeof *probed);
  controller_init(&probed->controller);
  return probed;
}

static struct step call(struct probed_controller *probed, enum probed_call what, uint64_t argument) {
  struct controller *controller = &probed->controller;
  struct hold *hold = &probed->holds[argument % KEYS];
  switch (what) {
    case ARRIVED:
      return controller_arrived(controller, hold);
    case PROGRESSED:
      return controller_progressed(controller, hold);
    case FINISHED_SURE:
    case FINISHED_IN_DOUBT:
      return controller_finished(controller, hold, what == FINISHED_SURE);
    case STALLED:
      return controller_stalled(controller);
    case IDLE:
    case BUSY:
      return controller_answered(controller, argument, what == BUSY);
    case TIMER:
      return controller_timer_fired(controller, argument);
    default:
      return controller_lapsed(controller);
  }
}

struct probed_step {
  uint64_t action, epoch, state, held, released;
};

VLV_API void probe_controller_call(struct probed_controller *probed, int what, uint64_t argument,
                                   struct probed_step *out) {
  struct step step = call(probed, (enum probed_call)what, argument);
  const struct controller *controller = &probed->controller;
  *out = (struct probed_step){step.action, step.epoch, controller->state, controller->held_count,
                              controller->released};
}

/* ---- the budget, with requests by number ---- */

struct probed_budget {
  struct budget budget;
  struct account accounts[KEYS];
  bool present[KEYS];
};

VLV_API struct probed_budget *probe_budget_new(uint64_t slo_ns, double over, uint64_t ttft_ns,
                                               uint64_t period_min_ns) {
  struct probed_budget *probed = calloc(1, sizeof *probed);
  struct goal goal = {slo_ns, over, ttft_ns, period_min_ns};
  budget_init(&probed->budget, &goal);
  return probed;
}

VLV_API void probe_budget_account(struct probed_budget *probed, int key, bool present, uint64_t since_ns,
                                  uint64_t last_ns, uint64_t tokens, bool held_back) {
  struct account *account = &probed->accounts[key];
  bool known = present && probed->present[key];
  struct account before = known ? *account : (struct account){0};
  probed->present[key] = present;
  *account = before;
  account->since_ns = since_ns;
  account->last_ns = last_ns;
  account->tokens = tokens;
  account->held_back = held_back;
}

VLV_API bool probe_budget_decide(struct probed_budget *probed, uint64_t now_ns, uint64_t *wake_ns) {
  uint64_t slices = probed->budget.slices;
  struct standing standing = standing_of_none();
  for (int i = 0; i < KEYS; i++)
    if (probed->present[i]) standing_add(&standing, &probed->budget, &probed->accounts[i]);
  struct verdict verdict = budget_decide(&probed->budget, &standing, now_ns);
  for (int i = 0; i < KEYS; i++)
    if (probed->present[i] && probed->budget.slices > slices) probed->accounts[i].sliced = true;
  *wake_ns = verdict.wake_ns;
  return verdict.open;
}

VLV_API void probe_budget_finished(struct probed_budget *probed, int key, uint64_t tokens) {
  budget_finished(&probed->budget, &probed->accounts[key], tokens);
  probed->present[key] = false;
}

VLV_API void probe_budget_decoded(struct probed_budget *probed, int key, uint64_t now_ns, uint64_t tokens,
                                  bool calm) {
  budget_decoded(&probed->budget, &probed->accounts[key], now_ns, tokens, calm);
}

enum probed_lesson { CLOSED, FIRST_TOKEN, COSTS, LOAD };

VLV_API void probe_budget_learn(struct probed_budget *probed, int what, uint64_t first, uint64_t second) {
  struct budget *budget = &probed->budget;
  if (what == CLOSED) budget_close(budget, first);
  if (what == FIRST_TOKEN) budget_first_token(budget, first, second);
  if (what == COSTS) budget_costs(budget, first, second);
  if (what == LOAD) budget_load(budget, first > 0, second);
}

struct probed_figures {
  uint64_t slices, cut, ended, missed, slo_ns, period_ns, slice_end_ns;
  double reserve_ns, base_ns, window;
};

VLV_API void probe_budget_figures(const struct probed_budget *probed, struct probed_figures *out) {
  const struct budget *budget = &probed->budget;
  *out = (struct probed_figures){budget->slices,  budget->cut,       budget->ended,        budget->missed,
                                 budget->slo_ns,  budget->period_ns, budget->slice_end_ns, budget->reserve_ns,
                                 budget->base_ns, budget->window};
}

/* ---- what the binding believes ---- */

VLV_API size_t probe_size(int which) {
  const size_t sizes[] = {sizeof(struct vlv_request),        sizeof(struct vlv_intake_calls),
                          sizeof(struct vlv_plane_options),  sizeof(struct vlv_intake_stats),
                          sizeof(struct vlv_intake_options), sizeof(struct vlv_series),
                          sizeof(struct vlv_event)};
  return sizes[which];
}
