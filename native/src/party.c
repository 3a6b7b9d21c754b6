/* A party's row: taken, and left. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "ledger.h"
#include "name.h"
#include "rowlock.h"
#include "words.h"

static int take_row(struct vlv_party *party) {
  int lock_fd;
  int error = row_take(party->ledger->fd, &party_rows, &party->index, &lock_fd);
  if (error < 0) return error;
  party->row = &party->ledger->file->rows[party->index];
  return ownership_begin(&party->ownership, lock_fd);
}

static void reset_counters(struct vlv_party_row *row) {
  store64(&row->reclaims, 0);
  store64(&row->reclaimed, 0);
  store64(&row->stops, 0);
  store64(&row->received, 0);
  store64(&row->made, 0);
  store64(&row->errors, 0);
  store64(&row->reclaim_ns, 0);
  store64(&row->stopped_ns, 0);
  store64(&row->reclaimed_at_ns, 0);
}

/* What the last owner left is freed before the row says who the new one is. */
static void fill_row(struct vlv_party *party, enum vlv_role role, const char *name, uint32_t pool_pages) {
  struct vlv_party_row *row = party->row;
  store64(&row->owner_pid, 0);
  pages_forget_row(party->ledger, party->index);
  store32(&row->role, role);
  store32(&row->pool_pages, pool_pages);
  reset_counters(row);
  name_copy(row->name, name);
  store64(&row->owner_pid, (uint64_t)getpid());
}

static void raise_to(VLV_ATOMIC(uint32_t) * word, uint32_t pages) {
  if (load32(word) < pages) store32(word, pages);
}

static bool online_lives(const struct vlv_ledger *ledger) {
  for (uint32_t i = 0; i < VLV_PARTIES_MAX; i++)
    if (load32(&ledger->file->rows[i].role) == VLV_ROLE_ONLINE && vlv_party_alive(ledger, i) == 1)
      return true;
  return false;
}

static void claim_share(struct vlv_party *party, uint32_t start_pages) {
  struct vlv_pages_file *file = party->ledger->file;
  bool online = load32(&party->row->role) == VLV_ROLE_ONLINE;
  if (online || !online_lives(party->ledger)) raise_to(&file->limit, load32(&party->row->pool_pages));
  if (online) raise_to(&file->reserved, start_pages);
}

static bool is_valid(enum vlv_role role, uint32_t pool_pages) {
  bool known = role == VLV_ROLE_ONLINE || role == VLV_ROLE_TENANT;
  return known && pool_pages > 0 && pool_pages <= VLV_PAGES_MAX;
}

int vlv_party_register(struct vlv_ledger *ledger, enum vlv_role role, const char *name, uint32_t pool_pages,
                       uint32_t start_pages, struct vlv_party **out) {
  if (ledger->observes) return -EPERM;
  if (!is_valid(role, pool_pages)) return -EINVAL;
  struct vlv_party *party = calloc(1, sizeof *party);
  if (party == NULL) return -ENOMEM;
  party->ledger = ledger;
  int error = take_row(party);
  if (error < 0) {
    free(party);
    return error;
  }
  fill_row(party, role, name, pool_pages);
  claim_share(party, start_pages);
  vlv_ledger_announce(ledger);
  *out = party;
  return 0;
}

uint32_t vlv_party_row_index(const struct vlv_party *party) {
  return party->index;
}

void vlv_party_release(struct vlv_party *party) {
  if (party == NULL) return;
  if (!party->ownership.lost) {
    pages_forget_row(party->ledger, party->index);
    store64(&party->row->owner_pid, 0);
    store32(&party->row->role, 0);
    vlv_ledger_announce(party->ledger);
  }
  ownership_end(&party->ownership);
  free(party);
}
