/* valve/ledger.h - who owns a device's KV memory: a file `pages.<device id in hex>` in the runtime directory.
 *
 * A row per party (an online engine or a tenant with a KV pool), owned as a row of the node segment is, by
 * the OFD lock of its byte; and a word per page of 2 MiB, which says free            no memory exists for it
 *   leased          by a row: its process has the memory
 *   handed          from one row to another: the memory is on its way
 * Words change by compare-and-swap only, and each carries a count of its changes, so a swap that succeeds is
 * about the very lease that was read, however long ago. So a page never has two owners.
 *
 * Who may have how much. `limit` pages may exist. Of these `reserved` belong to the online side, whether it
 * uses them or not; the tenants together may hold the rest. A party leases first and looks at the sum then,
 * and gives back at once what is too much; so when nobody is at it, no side holds more than its share, but
 * for what it has still to give back after `reserved` moved. Giving back is the party's own act, when it can:
 * see vlv_party_excess().
 *
 * Death. A page that a dead row leased, or that was handed to one, is swept to free by whoever looks: its
 * memory died with its process. What a dead row handed to a living one is the receiver's to settle, since the
 * memory may lie in its socket. A successor in a row frees everything that the row is named in before it
 * begins. So no page stays lost, whoever dies when.
 *
 * `changes` is a futex word, bumped after every change that somebody may wait for.
 *
 * Calls on one handle must not overlap; different handles are independent. Every function returns 0 (or a
 * documented non-negative value) or -errno; none exits, aborts or logs. The file is written by all parties:
 * they trust each other as processes of one user do (docs/protocol.md); indexes are bounded all the same.
 */
#ifndef VALVE_LEDGER_H
#define VALVE_LEDGER_H

#include "valve/node.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VLV_PAGES_MAGIC 0x3153475045564c56ull /* "VLVEPGS1" */
#define VLV_PAGE_BYTES 2097152ull
#define VLV_PAGES_MAX 131072u /* 256 GiB */
#define VLV_PARTIES_MAX 64u

enum vlv_role {
  VLV_ROLE_ONLINE = 1,
  VLV_ROLE_TENANT = 2,
};

enum vlv_page_state {
  VLV_PAGE_FREE = 0,
  VLV_PAGE_LEASED = 1,
  VLV_PAGE_HANDED = 2,
};

struct vlv_party_row {             /* 192 bytes */
  VLV_ATOMIC(uint64_t) owner_pid;  /* 0 = free */
  VLV_ATOMIC(uint32_t) role;       /* enum vlv_role */
  VLV_ATOMIC(uint32_t) pool_pages; /* what its range of addresses can hold */
  VLV_ATOMIC(uint64_t) reclaims;   /* times it gave pages back because it had to */
  VLV_ATOMIC(uint64_t) reclaimed;  /* pages given back so; their contents were lost */
  VLV_ATOMIC(uint64_t) stops;      /* of its channels, for a remap while its gate was open */
  VLV_ATOMIC(uint64_t) received;   /* pages that another party handed to it */
  VLV_ATOMIC(uint64_t) made;       /* pages whose memory it made anew */
  VLV_ATOMIC(uint64_t) errors;     /* driver calls that failed; what they were part of was undone */
  VLV_ATOMIC(uint64_t) reclaim_ns; /* how long its last reclaim took: noticed to handed over */
  VLV_ATOMIC(uint64_t) stopped_ns; /* how long its channels stood still for that */
  char name[VLV_NAME_SIZE];
  VLV_ATOMIC(uint64_t) reclaimed_at_ns; /* when its last reclaim was over; stored before `reclaims` */
  uint8_t rest[56];
};

struct vlv_pages_file {
  struct vlv_header header;
  VLV_ALIGNED VLV_ATOMIC(uint32_t) changes; /* futex word; wraps */
  VLV_ALIGNED VLV_ATOMIC(uint32_t) limit;   /* pages that may exist; only grows while the file lives */
  VLV_ATOMIC(uint32_t) reserved; /* of these, the online side's; never counts for more than limit */
  VLV_ATOMIC(uint32_t) wanted;   /* what the online engine asks for; informs, decides nothing */
  VLV_ALIGNED struct vlv_party_row rows[VLV_PARTIES_MAX];
  /* bits 0-7: row that leases or hands; 8-15: row handed to; 16-17: enum vlv_page_state; 32-63: changes */
  VLV_ALIGNED VLV_ATOMIC(uint64_t) pages[VLV_PAGES_MAX];
};

struct vlv_ledger;

/* Maps the device's ledger in `directory`; makes it if absent, unless `observe` (then it is mapped to be read
 * only). Errors as vlv_node_open(). */
VLV_API int vlv_ledger_open(const char *directory, const struct vlv_device_id *device, bool observe,
                            struct vlv_ledger **out);
VLV_API void vlv_ledger_close(struct vlv_ledger *ledger);
VLV_API const struct vlv_pages_file *vlv_ledger_file(const struct vlv_ledger *ledger);

/* Pages by owner, at about one moment. What is handed counts for the receiver. */
struct vlv_page_counts {
  uint32_t limit, reserved, wanted;
  uint32_t free;       /* of `limit`: no memory exists */
  uint32_t online;     /* leased by or handed to online parties */
  uint32_t tenants;    /* likewise tenants */
  uint32_t in_transit; /* of both: handed */
  uint32_t leased[VLV_PARTIES_MAX];
  uint32_t arriving[VLV_PARTIES_MAX]; /* handed to that row */
};
VLV_API void vlv_ledger_count(const struct vlv_ledger *ledger, struct vlv_page_counts *out);
/* 1 if the row's owner is alive (holds its lock), 0 if not, -errno. */
VLV_API int vlv_party_alive(const struct vlv_ledger *ledger, uint32_t row);

/* What the policy decides: stores, bumps, wakes. -EPERM: opened to observe. */
VLV_API int vlv_ledger_set_reserved(struct vlv_ledger *ledger, uint32_t pages);
VLV_API int vlv_ledger_set_wanted(struct vlv_ledger *ledger, uint32_t pages);

/* The value to wait on; read before looking at what is waited for. */
VLV_API uint32_t vlv_ledger_changes(const struct vlv_ledger *ledger);
/* Sleeps while `changes` is `seen`, until `deadline_ns` at most. May return early. */
VLV_API void vlv_ledger_wait(const struct vlv_ledger *ledger, uint32_t seen, uint64_t deadline_ns);
/* Bumps and wakes: whoever has freed or handed pages does it after the last of them. */
VLV_API void vlv_ledger_announce(struct vlv_ledger *ledger);
/* Frees what the dead left. How many pages. */
VLV_API uint32_t vlv_ledger_sweep(struct vlv_ledger *ledger);

/* ---- parties
 * ------------------------------------------------------------------------------------------------ */

struct vlv_party;

/* Takes a free row for a pool of `pool_pages`. An online party sets `limit` to its pool if that is more, and
 * raises `reserved` to `start_pages`; a tenant raises `limit` only where no online party lives. -ENOSPC: no
 * free row; -EINVAL: role, or not 1 to VLV_PAGES_MAX pages; -EPERM: opened to observe. */
VLV_API int vlv_party_register(struct vlv_ledger *ledger, enum vlv_role role, const char *name,
                               uint32_t pool_pages, uint32_t start_pages, struct vlv_party **out);
VLV_API uint32_t vlv_party_row_index(const struct vlv_party *party);
/* Frees its pages (their memory must be gone) and its row. */
VLV_API void vlv_party_release(struct vlv_party *party);

/* How many pages it may lease now; how many it has to give back now: its part of what its side holds beyond
 * its share, never more than it has leased. */
VLV_API uint32_t vlv_party_room(const struct vlv_party *party);
VLV_API uint32_t vlv_party_excess(const struct vlv_party *party);
/* Whether pages are about to come: some are handed to it already, or it has room and the other side holds
 * more than its share. */
VLV_API bool vlv_party_awaits(const struct vlv_party *party);
/* The living party of the other side that has most room: its row and, in *room, how many pages may be handed
 * to it; -ENOENT: there is none. */
VLV_API int vlv_party_recipient(const struct vlv_party *party, uint32_t *room);

/* Free -> leased, up to `wanted` pages whose numbers come in `pages`. How many: what the share permits. */
VLV_API uint32_t vlv_page_lease(struct vlv_party *party, uint32_t wanted, uint32_t *pages);
/* Each: 0, or -ESTALE if the page is not in the state from which this leads (any more): then it is not this
 * party's, and memory that it has for it must be dropped. */
VLV_API int vlv_page_free(struct vlv_party *party, uint32_t page);              /* leased -> free */
VLV_API int vlv_page_hand(struct vlv_party *party, uint32_t page, uint32_t to); /* leased -> handed */
VLV_API int vlv_page_take_back(struct vlv_party *party, uint32_t page,
                               uint32_t from_to);                                   /* handed -> leased */
VLV_API int vlv_page_accept(struct vlv_party *party, uint32_t page, uint32_t from); /* handed -> leased */
/* Frees what dead rows handed to this party; to be called when nothing more can come from them. How many. */
VLV_API uint32_t vlv_party_drop_orphans(struct vlv_party *party);

#ifdef __cplusplus
}
#endif
#endif
