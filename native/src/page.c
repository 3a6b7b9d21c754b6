/* The words of a ledger: their transitions, and what they add up to. */
#include <errno.h>
#include <string.h>

#include "ledger.h"
#include "rowlock.h"
#include "words.h"

struct page { /* a word, read */
  enum vlv_page_state state;
  uint32_t row, to;
};

static struct page page_of(uint64_t word) {
  uint32_t row = word & 0xff, to = word >> 8 & 0xff, state = word >> 16 & 3;
  bool valid = row < VLV_PARTIES_MAX && to < VLV_PARTIES_MAX;
  return (struct page){valid ? state : VLV_PAGE_FREE, row, to};
}

/* Every change counts, so that a word never comes back. */
static uint64_t successor(uint64_t word, struct page page) {
  return ((word >> 32) + 1) << 32 | (uint64_t)page.state << 16 | page.to << 8 | page.row;
}

static bool change(struct vlv_ledger *ledger, uint32_t index, uint64_t word, struct page page) {
  return swap64(&ledger->file->pages[index], word, successor(word, page));
}

static const struct page free_page = {VLV_PAGE_FREE, 0, 0};

static uint32_t limit_of(const struct vlv_ledger *ledger) {
  uint32_t limit = load32(&ledger->file->limit);
  return limit < VLV_PAGES_MAX ? limit : VLV_PAGES_MAX;
}

/* ---- sums ---- */

static void add(struct vlv_page_counts *counts, const struct vlv_ledger *ledger, struct page page) {
  if (page.state == VLV_PAGE_FREE) {
    counts->free++;
    return;
  }
  bool handed = page.state == VLV_PAGE_HANDED;
  uint32_t owner = handed ? page.to : page.row;
  bool online = load32(&ledger->file->rows[owner].role) == VLV_ROLE_ONLINE;
  *(online ? &counts->online : &counts->tenants) += 1;
  (handed ? counts->arriving : counts->leased)[owner]++;
  counts->in_transit += handed;
}

void vlv_ledger_count(const struct vlv_ledger *ledger, struct vlv_page_counts *out) {
  memset(out, 0, sizeof *out);
  out->limit = limit_of(ledger);
  out->reserved = load32(&ledger->file->reserved);
  out->wanted = load32(&ledger->file->wanted);
  for (uint32_t i = 0; i < out->limit; i++) add(out, ledger, page_of(load64(&ledger->file->pages[i])));
}

static bool is_online(const struct vlv_party *party) {
  return load32(&party->row->role) == VLV_ROLE_ONLINE;
}

static uint32_t share(const struct vlv_page_counts *counts, bool online) {
  uint32_t reserved = counts->reserved < counts->limit ? counts->reserved : counts->limit;
  return online ? reserved : counts->limit - reserved;
}

static uint32_t held(const struct vlv_page_counts *counts, bool online) {
  return online ? counts->online : counts->tenants;
}

static uint32_t beyond(uint32_t a, uint32_t b) {
  return a > b ? a - b : 0;
}

static uint32_t room_of(const struct vlv_ledger *ledger, const struct vlv_page_counts *counts, uint32_t row,
                        bool online) {
  uint32_t pool = load32(&ledger->file->rows[row].pool_pages);
  uint32_t own = beyond(pool, counts->leased[row] + counts->arriving[row]);
  uint32_t side = beyond(share(counts, online), held(counts, online));
  return own < side ? own : side;
}

uint32_t vlv_party_room(const struct vlv_party *party) {
  struct vlv_page_counts counts;
  vlv_ledger_count(party->ledger, &counts);
  return room_of(party->ledger, &counts, party->index, is_online(party));
}

/* In proportion, rounded up: together never too little, and too much by less than a page each. */
uint32_t vlv_party_excess(const struct vlv_party *party) {
  struct vlv_page_counts counts;
  vlv_ledger_count(party->ledger, &counts);
  uint32_t all = held(&counts, is_online(party)), own = counts.leased[party->index];
  uint64_t excess = beyond(all, share(&counts, is_online(party)));
  return all == 0 ? 0 : (uint32_t)((excess * own + all - 1) / all);
}

bool vlv_party_awaits(const struct vlv_party *party) {
  struct vlv_page_counts counts;
  vlv_ledger_count(party->ledger, &counts);
  bool online = is_online(party), owed = held(&counts, !online) > share(&counts, !online);
  bool has_room = room_of(party->ledger, &counts, party->index, online) > 0;
  return counts.arriving[party->index] > 0 || (owed && has_room);
}

int vlv_party_recipient(const struct vlv_party *party, uint32_t *room) {
  struct vlv_page_counts counts;
  int found = -ENOENT;
  bool online = !is_online(party);
  vlv_ledger_count(party->ledger, &counts);
  *room = 0;
  for (uint32_t i = 0; i < VLV_PARTIES_MAX; i++) {
    uint32_t role = load32(&party->ledger->file->rows[i].role);
    if (role != (online ? VLV_ROLE_ONLINE : VLV_ROLE_TENANT)) continue;
    uint32_t its_room = room_of(party->ledger, &counts, i, online);
    if (its_room <= *room || vlv_party_alive(party->ledger, i) != 1) continue;
    *room = its_room;
    found = (int)i;
  }
  return found;
}

/* ---- transitions ---- */

static uint32_t take_free(struct vlv_party *party, uint32_t wanted, uint32_t *pages) {
  const struct page mine = {VLV_PAGE_LEASED, party->index, 0};
  uint32_t limit = limit_of(party->ledger), got = 0;
  for (uint32_t i = 0; i < limit && got < wanted; i++) {
    uint64_t word = load64(&party->ledger->file->pages[i]);
    if (page_of(word).state == VLV_PAGE_FREE && change(party->ledger, i, word, mine)) pages[got++] = i;
  }
  return got;
}

/* Others may have leased at the same moment: of two that were too many both see it. */
static uint32_t give_back_excess(struct vlv_party *party, uint32_t got, uint32_t *pages) {
  struct vlv_page_counts counts;
  vlv_ledger_count(party->ledger, &counts);
  uint32_t excess = beyond(held(&counts, is_online(party)), share(&counts, is_online(party)));
  if (excess == 0) return got;
  for (; got > 0 && excess > 0; excess--) vlv_page_free(party, pages[--got]);
  vlv_ledger_announce(party->ledger);
  return got;
}

uint32_t vlv_page_lease(struct vlv_party *party, uint32_t wanted, uint32_t *pages) {
  if (party->ownership.lost) return 0;
  uint32_t room = vlv_party_room(party);
  uint32_t got = take_free(party, wanted < room ? wanted : room, pages);
  return got > 0 ? give_back_excess(party, got, pages) : 0;
}

static bool is_same(struct page a, struct page b) {
  return a.state == b.state && a.row == b.row && a.to == b.to;
}

static int move(struct vlv_party *party, uint32_t index, struct page from, struct page to) {
  if (party->ownership.lost || index >= VLV_PAGES_MAX) return -ESTALE;
  uint64_t word = load64(&party->ledger->file->pages[index]);
  if (!is_same(page_of(word), from) || !change(party->ledger, index, word, to)) return -ESTALE;
  return 0;
}

int vlv_page_free(struct vlv_party *party, uint32_t page) {
  return move(party, page, (struct page){VLV_PAGE_LEASED, party->index, 0}, free_page);
}

int vlv_page_hand(struct vlv_party *party, uint32_t page, uint32_t to) {
  return move(party, page, (struct page){VLV_PAGE_LEASED, party->index, 0},
              (struct page){VLV_PAGE_HANDED, party->index, to});
}

int vlv_page_take_back(struct vlv_party *party, uint32_t page, uint32_t to) {
  return move(party, page, (struct page){VLV_PAGE_HANDED, party->index, to},
              (struct page){VLV_PAGE_LEASED, party->index, 0});
}

int vlv_page_accept(struct vlv_party *party, uint32_t page, uint32_t from) {
  return move(party, page, (struct page){VLV_PAGE_HANDED, from, party->index},
              (struct page){VLV_PAGE_LEASED, party->index, 0});
}

/* ---- what the dead left ---- */

/* The word is read before the lock is looked at. Whoever takes a row over has the lock before it writes a
 * word, so a free lock means that this very word is a dead owner's. */
static bool is_left_by_dead(const struct vlv_ledger *ledger, struct page page, const bool *suspects) {
  uint32_t owner = page.state == VLV_PAGE_HANDED ? page.to : page.row;
  return page.state != VLV_PAGE_FREE && suspects[owner] && vlv_party_alive(ledger, owner) == 0;
}

/* Only to spare the living a look per page. */
static bool find_suspects(const struct vlv_ledger *ledger, bool *suspects) {
  bool any = false;
  for (uint32_t i = 0; i < VLV_PARTIES_MAX; i++) {
    bool taken = load32(&ledger->file->rows[i].role) != 0;
    suspects[i] = taken && vlv_party_alive(ledger, i) == 0;
    any = any || suspects[i];
  }
  return any;
}

uint32_t vlv_ledger_sweep(struct vlv_ledger *ledger) {
  bool suspects[VLV_PARTIES_MAX];
  uint32_t freed = 0, limit = find_suspects(ledger, suspects) ? limit_of(ledger) : 0;
  for (uint32_t i = 0; i < limit; i++) {
    uint64_t word = load64(&ledger->file->pages[i]);
    if (is_left_by_dead(ledger, page_of(word), suspects)) freed += change(ledger, i, word, free_page);
  }
  if (freed > 0) vlv_ledger_announce(ledger);
  return freed;
}

static bool is_named(struct page page, uint32_t row) {
  if (page.state == VLV_PAGE_FREE) return false;
  return page.row == row || (page.state == VLV_PAGE_HANDED && page.to == row);
}

void pages_forget_row(struct vlv_ledger *ledger, uint32_t row) {
  uint32_t limit = limit_of(ledger);
  for (uint32_t i = 0; i < limit; i++) {
    uint64_t word = load64(&ledger->file->pages[i]);
    while (is_named(page_of(word), row) && !change(ledger, i, word, free_page))
      word = load64(&ledger->file->pages[i]);
  }
}

uint32_t vlv_party_drop_orphans(struct vlv_party *party) {
  uint32_t freed = 0, limit = limit_of(party->ledger);
  for (uint32_t i = 0; i < limit && !party->ownership.lost; i++) {
    uint64_t word = load64(&party->ledger->file->pages[i]);
    struct page page = page_of(word);
    bool mine = page.state == VLV_PAGE_HANDED && page.to == party->index;
    if (mine && vlv_party_alive(party->ledger, page.row) == 0)
      freed += change(party->ledger, i, word, free_page);
  }
  if (freed > 0) vlv_ledger_announce(party->ledger);
  return freed;
}
