/* What a holder says. Always in this order: store the claim, bump the generation, wake. */
#include "futex.h"
#include "holder.h"
#include "words.h"

static uint32_t announce(struct vlv_holder *holder) {
  uint32_t generation = add32(&holder->file->generation, 1);
  word_wake(&holder->file->generation);
  return generation;
}

static void renew_lease(struct vlv_holder *holder, uint64_t now_ns) {
  store64(&holder->row->lease_expiry_ns, now_ns + VLV_LEASE_NS);
}

static uint32_t drop(struct vlv_holder *holder) {
  if (load32(&holder->row->closed) == 0) return load32(&holder->file->generation);
  store32(&holder->row->closed, 0);
  return announce(holder);
}

/* The lease is renewed while the claim is still open, when no agent cares about it: so a close always begins
 * with a whole lease, even after the owner hung for long. */
static uint32_t claim_closed(struct vlv_holder *holder) {
  uint64_t now_ns = vlv_now_ns();
  renew_lease(holder, now_ns);
  store64(&holder->row->closed_since_ns, now_ns);
  count64(&holder->row->closes, 1);
  store32(&holder->row->closed, 1);
  return announce(holder);
}

uint32_t vlv_gate_close(struct vlv_holder *holder) {
  bool changes = !holder->ownership.lost && load32(&holder->row->closed) == 0;
  return changes ? claim_closed(holder) : load32(&holder->file->generation);
}

uint32_t vlv_gate_open(struct vlv_holder *holder) {
  return holder->ownership.lost ? load32(&holder->file->generation) : drop(holder);
}

static bool ran_out(uint64_t expiry_ns) {
  return vlv_now_ns() + VLV_LEASE_MARGIN_NS >= expiry_ns;
}

static int lapse(struct vlv_holder *holder) {
  drop(holder);
  count64(&holder->row->lapses, 1);
  renew_lease(holder, vlv_now_ns());
  return 1;
}

/* A row that somebody scribbled over would spare its tenants, or hold others', for as long as its owner
 * lives. */
static void mend(struct vlv_holder *holder) {
  struct vlv_holder_row *row = holder->row;
  if (load64(&row->device_mask) == holder->device_mask && load64(&row->owner_pid) == holder->owner_pid)
    return;
  store64(&row->device_mask, holder->device_mask);
  store64(&row->owner_pid, holder->owner_pid);
  announce(holder);
}

/* The clock is read again after the store. An agent that read the old lease and took it as run out did so
 * before the store; then the second look sees it run out as well, and the bump makes the agent look again.
 * Without it, the claim could stay closed under a live lease while that agent sleeps with its tenant running.
 */
int vlv_holder_renew(struct vlv_holder *holder) {
  if (holder->ownership.lost) return 0;
  mend(holder);
  uint64_t old_expiry_ns = load64(&holder->row->lease_expiry_ns);
  if (ran_out(old_expiry_ns)) return lapse(holder);
  renew_lease(holder, vlv_now_ns());
  return ran_out(old_expiry_ns) ? lapse(holder) : 0;
}

void vlv_holder_set_in_flight(struct vlv_holder *holder, uint32_t in_flight) {
  if (!holder->ownership.lost) store32(&holder->row->in_flight, in_flight);
}

void claim_begin(struct vlv_holder *holder, uint64_t device_mask, uint64_t owner_pid) {
  drop(holder);
  holder->device_mask = device_mask;
  holder->owner_pid = owner_pid;
  store64(&holder->row->device_mask, device_mask);
  store64(&holder->row->closed_since_ns, 0);
  store64(&holder->row->closes, 0);
  store64(&holder->row->lapses, 0);
  store32(&holder->row->in_flight, 0);
  renew_lease(holder, vlv_now_ns());
  store64(&holder->row->owner_pid, owner_pid);
}

void claim_end(struct vlv_holder *holder) {
  drop(holder);
  store64(&holder->row->owner_pid, 0);
  store64(&holder->row->lease_expiry_ns, 0);
  store64(&holder->row->device_mask, 0);
}
