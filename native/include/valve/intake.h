/* valve/intake.h - the native intake: classifies what arrives, closes the gate first, keeps the stamps.
 *
 * It implements vlv_intake_calls (valve/plane.h) without the interpreter. Everything runs on the plane's
 * thread, but for vlv_intake_stats(), vlv_intake_latencies() and the log, which any thread may read.
 */
#ifndef VALVE_INTAKE_H
#define VALVE_INTAKE_H

#include "valve/plane.h"

#define VLV_ARRIVAL_BUCKETS 16
#define VLV_PROMPT_BYTES_MAX 131072 /* of a body: what is longer is hardly text */

/* Written by the plane's thread only. */
struct vlv_intake_stats {
  VLV_ATOMIC(uint64_t) in_flight;
  VLV_ATOMIC(uint64_t) drained_ns; /* time with nothing in flight, up to the last arrival that ended such */
  VLV_ATOMIC(uint64_t) idle_since_ns;  /* 0: something is in flight */
  VLV_ATOMIC(uint64_t) passed_through; /* requests that are not inference */
  VLV_ATOMIC(uint64_t) tokens, input_tokens;
  VLV_ATOMIC(uint64_t) waiting;       /* requests in flight without a first token, upgrades apart */
  VLV_ATOMIC(uint64_t) waiting_bytes; /* of their bodies, at most VLV_PROMPT_BYTES_MAX each */
  VLV_ATOMIC(uint64_t) closes_per_request_max;
  VLV_ATOMIC(uint64_t) requests[4]; /* by enum vlv_outcome */
  VLV_ATOMIC(uint64_t) errors[VLV_ERROR_KINDS];
  VLV_ATOMIC(uint64_t) state; /* enum gate_state: open, closed, asking, cooling */
  VLV_ATOMIC(uint64_t) held;
  VLV_ATOMIC(uint64_t) closes, lapses, released;
  VLV_ATOMIC(uint64_t) closed_ns;    /* time spent closed, up to the last opening */
  VLV_ATOMIC(uint64_t) closed_at_ns; /* 0: open */
  VLV_ATOMIC(uint64_t) cooldown_ns;
  VLV_ATOMIC(uint64_t)
  question; /* the epoch of the last question to the engine; its asking writes notice_fd */
  /* Bytes readable to gate signalled: [i] counts up to 2^i us, the last one what is above. */
  VLV_ATOMIC(uint64_t) arrivals[VLV_ARRIVAL_BUCKETS + 1];
  VLV_ATOMIC(uint64_t) arrivals_sum_ns;
  /* of the budget policy; 0 under drain */
  VLV_ATOMIC(uint64_t) slices, slices_cut; /* opened; of those, ended before their time */
  VLV_ATOMIC(uint64_t) slice_until_ns;     /* 0: none is open */
  VLV_ATOMIC(uint64_t) slice_began_ns;     /* the last one */
  VLV_ATOMIC(uint64_t) slice_ns;           /* time in slices that have ended */
  VLV_ATOMIC(uint64_t) slo_ns, period_ns, reserve_ns, base_ns;
  VLV_ATOMIC(uint64_t) balance_ns;            /* of the request in flight that has least; UINT64_MAX: none */
  VLV_ATOMIC(uint64_t) earned_ns, spent_ns;   /* by requests that have ended */
  VLV_ATOMIC(uint64_t) sliced, sliced_missed; /* requests that a slice was taken from; above the SLO */
  /* The request that came last, upgrades apart: what follows is of it as long as this does not change; odd
   * while it does. */
  VLV_ATOMIC(uint64_t) newest_version;
  VLV_ATOMIC(uint64_t) newest_readable_ns;
  VLV_ATOMIC(uint64_t) newest_trace_high, newest_trace_low, newest_span; /* span 0: it is not traced */
};

/* ---- how long requests took: from their heads being readable ---- */

#define VLV_LATENCY_BOUNDS 16
#define VLV_ANSWER_TEXT_MAX 128

/* To the end; to the first token; from there to the end, for each further token. The last two of streams. */
enum vlv_latency { VLV_DURATION, VLV_FIRST_TOKEN, VLV_LATER_TOKENS, VLV_LATENCIES };

struct vlv_histogram {
  VLV_ATOMIC(uint64_t) counts[VLV_LATENCY_BOUNDS + 1]; /* the last one: above all bounds */
  VLV_ATOMIC(uint64_t) sum_ns;
};

/* Requests of one kind that ended alike, upgrades apart. Only the histograms change, and `next` once. */
struct vlv_series {
  VLV_ATOMIC(struct vlv_series *) next;
  uint32_t operation, outcome; /* the caller's number; enum vlv_outcome */
  uint32_t bad_status;         /* of a complete answer; 0: a good one, or none */
  uint32_t model_len;
  char model[VLV_ANSWER_TEXT_MAX];
  struct vlv_histogram histograms[VLV_LATENCIES];
};

struct vlv_intake_options {
  bool gated;                 /* the policy runs (modes enforce and observe) */
  bool measures_arrivals;     /* fills `arrivals` */
  uint64_t fixed_cooldown_ns; /* UINT64_MAX: from the decode gaps */
  int notice_fd;              /* an eventfd */
  /* The budget policy, if one of the first two is not 0: the TPOT SLO, or how far above the baseline. */
  uint64_t slo_tpot_ns;
  double tpot_over;
  uint64_t slo_ttft_ns, period_min_ns; /* 0: none */
  double trace_share; /* of the requests whose client has not decided; below 0: nothing is traced */
  uint64_t latency_bounds_ns[VLV_LATENCIES][VLV_LATENCY_BOUNDS]; /* inclusive, rising; unused: UINT64_MAX */
  /* 0: the request makes the engine compute nothing; else a number for what it asks for. Asked once for each
   * method and path, on the plane's thread; the answers are kept. */
  uint8_t (*operation)(const char *method, size_t method_len, const char *path, size_t path_len,
                       bool upgrade);
};

struct vlv_intake;

VLV_API struct vlv_intake *vlv_intake_create(const struct vlv_intake_options *options);
VLV_API void vlv_intake_destroy(struct vlv_intake *intake);
VLV_API const struct vlv_intake_calls *vlv_intake_calls(void);
VLV_API const struct vlv_intake_stats *vlv_intake_stats(const struct vlv_intake *intake);
/* The first series; NULL: none has ended yet. They live as long as the intake. */
VLV_API const struct vlv_series *vlv_intake_latencies(const struct vlv_intake *intake);

/* Tasks for vlv_plane_post(), the intake being their context. */
/* `holder`: our row in the node segment (a struct vlv_holder *), or 0. What is closed by then is closed for
 * real at once. It must live until the plane has stopped or another one is set. */
VLV_API void vlv_intake_set_holder(void *intake, uint64_t holder, uint64_t unused);
/* The engine's load. `epoch`: of the question. */
enum vlv_load { VLV_LOAD_IDLE, VLV_LOAD_BUSY, VLV_LOAD_UNKNOWN };
VLV_API void vlv_intake_answer(void *intake, uint64_t epoch, uint64_t load);
/* How long an engine that does not tell its load is taken to run on after a doubtful end; the time between
 * two questions to one that does. To be set before the first request. */
VLV_API void vlv_intake_set_engine(void *intake, uint64_t guard_ns, uint64_t ask_again_ns);
/* What the tenants' mechanism takes to stop and to resume. */
VLV_API void vlv_intake_set_costs(void *intake, uint64_t stop_ns, uint64_t resume_ns);
/* The engine's word for the budget: whether requests wait, how many it runs together (0: unknown). */
VLV_API void vlv_intake_set_load(void *intake, uint64_t waiting, uint64_t capacity);
/* The engine's rules have changed. */
VLV_API void vlv_intake_forget_routes(void *intake, uint64_t unused, uint64_t also_unused);

/* ---- the log of what happened, in order; it keeps the last VLV_LOG_CAPACITY events ---- */

#define VLV_LOG_CAPACITY 65536
#define VLV_REQUEST_ID_MAX 128
#define VLV_PATH_MAX 256
#define VLV_MADE_MAX 1024
#define VLV_FINISH_REASONS_MAX 132

enum vlv_event_kind { VLV_EVENT_CLOSE, VLV_EVENT_OPEN, VLV_EVENT_LAPSE, VLV_EVENT_REQUEST, VLV_EVENT_MADE };

struct vlv_event {
  uint64_t number, t_ns;
  uint32_t kind, generation;
  /* Of a request, or of the arrival that closed the gate: its head was readable. Of a close without a request
   * id: when the slice was over. Of an opening: until when the slice goes; 0: drained. */
  uint64_t readable_ns;
  /* of a closing or a request that is traced; span_id 0: it is not */
  uint64_t trace_high, trace_low, span_id, parent_id;
  /* of a request */
  uint64_t arrival_ns, gate_ns, first_token_ns, last_token_ns, finished_ns, max_gap_ns, tokens, closes_seen,
      slices_seen;
  uint32_t closed_gate, status, outcome, upgrade;
  uint32_t input_tokens, streamed; /* what its answer tells; of the texts, 0 bytes: it does not */
  uint32_t model_len, response_id_len, finish_reasons_len;
  uint32_t request_id_len, path_len, made_len;
  char model[VLV_ANSWER_TEXT_MAX], response_id[VLV_ANSWER_TEXT_MAX];
  char finish_reasons[VLV_FINISH_REASONS_MAX]; /* with commas between them */
  char request_id[VLV_REQUEST_ID_MAX], path[VLV_PATH_MAX];
  char made[VLV_MADE_MAX]; /* what vlv_log_add() was given */
};

/* Copies events from number `since` on whose kind is in `kinds` (1 << enum vlv_event_kind), at most
 * `capacity`; those that are gone are left out. *next: where to go on. Returns how many. */
VLV_API uint64_t vlv_log_read(const struct vlv_intake *intake, uint64_t since, uint32_t kinds,
                              struct vlv_event *out, uint64_t capacity, uint64_t *next);
/* Adds an event that is made already (text, at most VLV_MADE_MAX bytes). */
VLV_API void vlv_log_add(struct vlv_intake *intake, uint64_t t_ns, const char *text, size_t len);

#endif
