/* valve/node.h - the node segment: everything that the parties on one machine share.
 *
 * Two files in one runtime directory, because permissions are per file:
 *   holders   written by sidecars, mapped read-only by tenants
 *   tenants   each tenant's agent writes its own row, sidecars map it read-only
 *
 * The rule. A tenant's gate is closed iff some holder with a live lease that shares a device with it says
 * closed. Every tenant agent evaluates it for itself; nothing else decides. A holder that changes its claim
 * stores the claim, bumps `generation`, then wakes the waiters; an agent reads `generation`, evaluates,
 * applies, acknowledges with the generation that it had read, and sleeps on that value. So no update is lost,
 * whatever the interleaving.
 *
 * Liveness. A holder is live while now < lease_expiry_ns; a live holder renews every 0.5 s. Each row of
 * either file is owned by whoever holds the OFD write lock on the row's byte of the file itself (byte offset
 * = the row's offset), so a death is also noticed at once. Owner tests use F_RDLCK, which read locks of
 * others cannot forge. A forked child does not have these locks and its copies of the handles go dead:
 * calls on them change nothing, and it registers anew if it wants a row. Closing every descriptor of the
 * process does not lose them.
 *
 * Calls on one handle must not overlap; different handles are independent.
 *
 * All times are CLOCK_MONOTONIC nanoseconds. Rows of the other side are untrusted input: readers bound every
 * index. Every function returns 0 (or a documented non-negative value) or -errno; none exits, aborts or logs.
 */
#ifndef VALVE_NODE_H
#define VALVE_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#include <atomic>
#define VLV_ATOMIC(type) std::atomic<type>
#define VLV_ALIGNED alignas(64)
extern "C" {
#else
#include <stdatomic.h>
#define VLV_ATOMIC(type) _Atomic(type)
#define VLV_ALIGNED _Alignas(64)
#endif

#define VLV_API __attribute__((visibility("default")))

#define VLV_HOLDERS_MAGIC 0x31444c4845564c56ull /* "VLVEHLD1" */
#define VLV_TENANTS_MAGIC 0x31544e5445564c56ull /* "VLVETNT1" */
#define VLV_LAYOUT_VERSION 2u                   /* another one is refused */
/* Counts what was added where bytes were reserved. All minors of a version work together; a test builds other
 * ones. */
#ifndef VLV_LAYOUT_MINOR
#define VLV_LAYOUT_MINOR 1u
#endif

#define VLV_HOLDERS_MAX 64u
#define VLV_TENANTS_MAX 256u
#define VLV_DEVICES_MAX 64u        /* bits of a device mask */
#define VLV_TENANT_DEVICES_MAX 32u /* devices of one tenant row */
#define VLV_ACK_RING 64u
#define VLV_NAME_SIZE 48u /* NUL-terminated UTF-8 */

#define VLV_LEASE_NS 3000000000ull
#define VLV_RENEW_NS 500000000ull
#define VLV_GUARD_NS 20000000ull      /* how often a stopped tenant is looked at */
#define VLV_BREATHER_NS 2000000000ull /* how long one that may not stay stopped for ever runs then */

/* A device: the 16 bytes of a GPU UUID, or "cpu" padded with zeros. */
struct vlv_device_id {
  uint8_t bytes[16];
};

enum vlv_mechanism_id {
  VLV_MECHANISM_NONE = 0,
  VLV_MECHANISM_FREEZER_CGROUP = 1,
  VLV_MECHANISM_FREEZER_SIGNAL = 2,
  VLV_MECHANISM_LAUNCH = 3,
  VLV_MECHANISM_CHANNELS = 4,
};

/* What an acknowledgement promises. Only COMPUTE_HALTED counts as preemption latency. */
enum vlv_level {
  VLV_LEVEL_RUNNING = 0,
  VLV_LEVEL_SUBMISSION_STOPPED = 1,
  VLV_LEVEL_COMPUTE_HALTED = 2,
};

enum vlv_ack_kind {
  VLV_ACK_STOPPED = 1,
  VLV_ACK_RESUMED = 2,
  VLV_ACK_BREATHER = 3, /* let run although the gate is closed; followed by one of the others */
};

enum vlv_tenant_state {
  VLV_TENANT_RUNNING = 0,
  VLV_TENANT_STOPPING = 1, /* asked, not yet seen stopped: see unstopped_threads */
  VLV_TENANT_STOPPED = 2,
  VLV_TENANT_BREATHING = 3, /* let run although the gate is closed, until breathes_until_ns */
};

struct vlv_header { /* 64 bytes, written once before the file gets its name */
  uint64_t magic;
  uint32_t layout_version;
  uint32_t file_size;
  uint8_t boot_id[16];         /* /proc/sys/kernel/random/boot_id */
  int64_t monotonic_offset_ns; /* /proc/self/timens_offsets of the creator; another value is refused */
  uint32_t layout_minor;       /* the creator's; what a row has, its owner says in `speaks` */
  uint8_t reserved[20];
};

struct vlv_holder_row {           /* 192 bytes */
  VLV_ATOMIC(uint64_t) owner_pid; /* 0 = free */
  VLV_ATOMIC(uint64_t) device_mask;
  VLV_ATOMIC(uint64_t) lease_expiry_ns;
  VLV_ATOMIC(uint32_t) closed; /* the decision of the holder's policy: 0 or 1 */
  VLV_ATOMIC(uint32_t) in_flight;
  VLV_ATOMIC(uint64_t) closed_since_ns;
  VLV_ATOMIC(uint64_t) closes; /* times the claim went open -> closed */
  VLV_ATOMIC(uint64_t) lapses; /* leases that ran out before their renewal */
  char name[VLV_NAME_SIZE];
  VLV_ATOMIC(uint64_t) speaks; /* since minor 1: the owner's, as vlv_row_minor() reads it */
  uint8_t reserved[80];
};

struct vlv_holders_file {
  struct vlv_header header;
  VLV_ALIGNED
  VLV_ATOMIC(uint32_t) generation; /* futex word; wraps: compare for equality or by signed difference */
  VLV_ALIGNED VLV_ATOMIC(uint32_t) device_count; /* entries of devices[] that are valid; only grows */
  struct vlv_device_id devices[VLV_DEVICES_MAX]; /* index = bit of every device mask */
  VLV_ALIGNED struct vlv_holder_row rows[VLV_HOLDERS_MAX];
};

struct vlv_ack {
  uint32_t generation; /* stopped: when done; resumed: read before the evaluation that led to it */
  uint16_t kind;       /* enum vlv_ack_kind */
  uint16_t level;      /* enum vlv_level */
  uint64_t woken_ns;   /* the agent came out of its wait */
  uint64_t done_ns;    /* every thread seen stopped, or resume issued (by the gate or for a breather) */
};

struct vlv_tenant_row {           /* 2304 bytes */
  VLV_ATOMIC(uint64_t) owner_pid; /* 0 = free */
  uint64_t owner_start_ticks;     /* field 22 of /proc/PID/stat: tells a reused pid */
  char job[VLV_NAME_SIZE];
  uint32_t rank;
  uint32_t device_count;
  struct vlv_device_id devices[VLV_TENANT_DEVICES_MAX];
  VLV_ATOMIC(uint32_t) mechanism; /* enum vlv_mechanism_id in use now */
  VLV_ATOMIC(uint32_t) state;     /* enum vlv_tenant_state */
  VLV_ATOMIC(uint32_t) ack_generation;
  VLV_ATOMIC(uint32_t) ack_level;
  VLV_ATOMIC(uint64_t) ack_ns;
  VLV_ATOMIC(uint32_t)
  unstopped_threads;              /* while STOPPING: threads that have not stopped (uninterruptible sleep) */
  VLV_ATOMIC(uint32_t) processes; /* processes of the tenant when it was last stopped */
  VLV_ATOMIC(uint64_t) stops;
  VLV_ATOMIC(uint64_t) slow_stops;      /* stops that took over 10 ms to be seen */
  VLV_ATOMIC(uint64_t) foreign_resumes; /* something else continued a stopped process; it was stopped again */
  VLV_ATOMIC(uint64_t) escalations;     /* a mechanism failed and the next one was used */
  VLV_ATOMIC(uint64_t) errors;
  VLV_ATOMIC(uint64_t) ack_head;     /* acknowledgements that this owner ever wrote */
  struct vlv_ack acks[VLV_ACK_RING]; /* number i is in acks[i % VLV_ACK_RING]: read by vlv_tenant_acks() */
  /* What the preload shim of a GPU process tells; all 0 elsewhere. */
  VLV_ATOMIC(uint64_t) runner_pid;        /* this row is a rank: pid of the `valve run` that it belongs to */
  VLV_ATOMIC(uint64_t) channels;          /* GPU channels known now */
  VLV_ATOMIC(uint64_t) refusals;          /* controls that the driver refused */
  VLV_ATOMIC(uint64_t) unknown;           /* driver calls passed through without being understood */
  VLV_ATOMIC(uint64_t) held;              /* launches that waited for the gate (mechanism launch) */
  VLV_ATOMIC(uint64_t) max_stopped_ns;    /* how long it may stay stopped; 0: for ever */
  VLV_ATOMIC(uint64_t) breathers;         /* times it was let run although its gate was closed */
  VLV_ATOMIC(uint64_t) breathes_until_ns; /* the present breather ends then; 0: none. Ranks read it too */
  VLV_ATOMIC(uint64_t) speaks;            /* since minor 1: the owner's, as vlv_row_minor() reads it */
  VLV_ATOMIC(uint64_t) tokens;            /* generated, as the job's engine tells in its own metrics */
  VLV_ATOMIC(uint64_t) input_tokens;      /* of prompts */
  VLV_ATOMIC(uint64_t) tokens_at_ns;      /* when it told that; 0: it does not */
  uint8_t reserved[8];
};

struct vlv_tenants_file {
  struct vlv_header header;
  VLV_ALIGNED struct vlv_tenant_row rows[VLV_TENANTS_MAX];
};

/* ---- opening
 * ------------------------------------------------------------------------------------------------ */

struct vlv_node;

enum vlv_side {
  VLV_SIDE_HOLDER = 1,   /* holders read-write, tenants read-only; creates both files if absent */
  VLV_SIDE_TENANT = 2,   /* the reverse; creates both files if absent */
  VLV_SIDE_OBSERVER = 3, /* both read-only; -ENOENT if absent */
};

/* Maps the segment in `directory`. A file appears whole or not at all (made under another name, then linked).
 * -ENOENT no directory (or, for an observer, no file); -EACCES; -ENOSPC disk full; -EPROTO foreign, truncated
 * or corrupted file; -EPROTONOSUPPORT another layout version; -ESTALE written under another boot (an owner
 * side replaces such a file instead if nobody owns a row of it, and returns 0); -EXDEV another time
 * namespace. */
VLV_API int vlv_node_open(const char *directory, enum vlv_side side, struct vlv_node **out);
VLV_API void vlv_node_close(struct vlv_node *node);

VLV_API const struct vlv_holders_file *vlv_node_holders(const struct vlv_node *node);
VLV_API const struct vlv_tenants_file *vlv_node_tenants(const struct vlv_node *node);

/* 1 if the row's owner is alive (holds its lock), 0 if not, -errno. */
VLV_API int vlv_holder_alive(const struct vlv_node *node, uint32_t row);
VLV_API int vlv_tenant_alive(const struct vlv_node *node, uint32_t row);

/* The minor layout that a row's owner writes. One that does not know the field leaves what its predecessor
 * wrote; so it counts only beside that one's pid, and is 0 otherwise. */
VLV_API uint32_t vlv_row_minor(uint64_t owner_pid, uint64_t speaks);
/* 1 if one of the files has lost its name (somebody removed it): those that come later make another segment,
 * and would not meet us. */
VLV_API int vlv_node_is_removed(const struct vlv_node *node);

VLV_API uint64_t vlv_now_ns(void);

/* Sizes and offsets of everything above, for a binding to compare with its own: "vlv_holder_row" with its
 * size, "vlv_holder_row.closed" with offset and size. */
struct vlv_layout_entry {
  const char *name;
  uint32_t offset;
  uint32_t size;
};
VLV_API const struct vlv_layout_entry *vlv_layout(uint32_t *count);

/* ---- holders
 * ------------------------------------------------------------------------------------------------ */

struct vlv_holder;

/* Takes a free row (also one whose owner is dead: its claim is dropped), open and with a fresh lease.
 * -ENOSPC: no free row, or the device table is full; -EINVAL: not 1 to VLV_DEVICES_MAX devices; -EPERM: not a
 * holder's node; -EBUSY: somebody sits on the device table's lock. */
VLV_API int vlv_holder_register(struct vlv_node *node, const char *name, const struct vlv_device_id *devices,
                                uint32_t device_count, struct vlv_holder **out);
/* Claims closed / open; a change bumps the generation and wakes every agent (closing begins with a whole
 * lease). Returns the generation now in force. */
VLV_API uint32_t vlv_gate_close(struct vlv_holder *holder);
VLV_API uint32_t vlv_gate_open(struct vlv_holder *holder);
/* Extends the lease. 1: it had lapsed, so the claim was dropped to open first and the lapse counted; else 0.
 */
VLV_API int vlv_holder_renew(struct vlv_holder *holder);
VLV_API void vlv_holder_set_in_flight(struct vlv_holder *holder, uint32_t in_flight);
VLV_API uint32_t vlv_holder_row_index(const struct vlv_holder *holder);
/* Opens, frees the row, drops its lock. */
VLV_API void vlv_holder_release(struct vlv_holder *holder);

/* ---- tenants
 * ------------------------------------------------------------------------------------------------ */

struct vlv_tenant;

/* Takes a free row. -ENOSPC: no free row; -EINVAL: not 1 to VLV_TENANT_DEVICES_MAX devices; -EPERM: not a
 * tenant's node. */
VLV_API int vlv_tenant_register(struct vlv_node *node, const char *job, uint32_t rank,
                                const struct vlv_device_id *devices, uint32_t device_count,
                                struct vlv_tenant **out);
VLV_API uint32_t vlv_tenant_row_index(const struct vlv_tenant *tenant);
/* How long it may stay stopped before it is let run for VLV_BREATHER_NS although its gate is closed; 0, as at
 * first: for ever. To be called before an agent is started on it. Its ranks breathe with it. */
VLV_API void vlv_tenant_set_max_stopped(struct vlv_tenant *tenant, uint64_t max_stopped_ns);
/* What the job has computed since it began, for people to look at. May overlap with the agent's calls. */
VLV_API void vlv_tenant_set_tokens(struct vlv_tenant *tenant, uint64_t tokens, uint64_t input_tokens);
VLV_API void vlv_tenant_release(struct vlv_tenant *tenant);

/* Copies acknowledgements number `since` and later (at most `capacity`, oldest first) of a row's present
 * owner; numbers begin at 0 with each owner, and a `since` beyond the last one is taken as 0. *next: the
 * number to ask for next time. Returns how many were copied; *next - since - that many were overwritten
 * unread. */
VLV_API int vlv_tenant_acks(const struct vlv_node *node, uint32_t row, uint64_t since, struct vlv_ack *out,
                            uint32_t capacity, uint64_t *next);

/* The rule, for one tenant, at `now_ns` (read from the clock before the call). If it is closed and wake_at_ns
 * is not NULL, *wake_at_ns becomes the earliest moment at which a lease that keeps it closed runs out; if
 * open, UINT64_MAX. */
VLV_API bool vlv_gate_is_closed(const struct vlv_tenant *tenant, uint64_t now_ns, uint64_t *wake_at_ns);

#ifdef __cplusplus
}
#endif
#endif
