/* gate.h - carries out what the controller decides: the claim, the lease, the timers, the engine's word. */
#ifndef VALVE_GATE_STATE_H
#define VALVE_GATE_STATE_H

#include "cooldown.h"
#include "counter.h"
#include "flight.h"
#include "latencies.h"
#include "log.h"
#include "routes.h"

#define RENEW_NS VLV_RENEW_NS
#define DOUBT_LIMIT_NS                                                                \
  30000000000ull /* busy for longer with nothing of ours: it is busy for someone else \
                  */
#define PATIENCE_NS \
  5000000000ull                 /* whoever asks the engine for us does not answer: as if it could not tell */
#define STALL_NS 30000000000ull /* a hold without progress for so long makes us ask the engine */
#define BLIND_STALL_NS \
  300000000000ull /* the same for engines that cannot tell: a long prefill looks like it */

struct vlv_intake {
  struct vlv_intake_options options;
  struct vlv_intake_stats stats;
  struct controller controller;
  struct cooldown cooldown;
  struct budget budget; /* unused unless `budgeted` */
  bool budgeted;
  uint64_t look_ns;          /* when the budget is to be asked again */
  uint64_t slice_ended_ns;   /* the last one, and its tenants' stop */
  struct vlv_holder *holder; /* NULL: nothing is really closed */
  uint32_t generation;
  uint64_t renewed_ns, signalled_ns, asked_since_ns;
  uint64_t guard_ns, ask_again_ns; /* the engine's: vlv_intake_set_engine() */
  uint64_t timer_ns, timer_epoch;  /* UINT64_MAX: none */
  bool awaits_answer;              /* that is what the timer is for */
  uint64_t numbers;                /* of requests without an id */
  struct routes routes;
  struct tracer tracer;
  struct latencies latencies;
  struct log log;
};

/* The first thing on an arrival: the claim is stored and the agents woken, if the gate is open.
 * gate_arrived() or gate_withdraw() must follow. */
void gate_signal(struct vlv_intake *intake);
void gate_withdraw(struct vlv_intake *intake);
void gate_arrived(struct vlv_intake *intake, struct flight *flight);
/* A released request (an idle WebSocket, say) moves again: it is held as if it had just arrived. */
void gate_progressed(struct vlv_intake *intake, struct flight *flight);
void gate_finished(struct vlv_intake *intake, struct flight *flight, bool sure);
/* A token came, or a client stopped taking what comes: the budget may decide otherwise. */
void gate_look(struct vlv_intake *intake);
/* Timers and lease. Returns when to be called again. */
uint64_t gate_tick(struct vlv_intake *intake, uint64_t now_ns);

#endif
