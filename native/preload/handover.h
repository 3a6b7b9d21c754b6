/* handover.h - memory on its way from one pool to another: exported handles over a unix socket.
 *
 * The receiver listens on `pages.<device id>.<row>` in the runtime directory, for datagrams of up to
 * HANDOVER_PAGES pages, each with its number in the ledger and its descriptor. A giver keeps its line to the
 * row that it gave to last: so a parcel is one call of each. Each side looks who the other is: another user's
 * process is not spoken to, but for root's.
 */
#ifndef VALVE_PRELOAD_HANDOVER_H
#define VALVE_PRELOAD_HANDOVER_H

#include <stdint.h>
#include <sys/stat.h>

#include "valve/ledger.h"

#define HANDOVER_PAGES 64u
#define HANDOVER_NOBODY UINT32_MAX

struct parcel {
  uint32_t from; /* row of the giver */
  uint32_t count;
  uint32_t pages[HANDOVER_PAGES];
  int fds[HANDOVER_PAGES];
};

/* A socket to receive at; -errno. What a dead owner of the row left in its place is removed. */
int handover_listen(const char *directory, const struct vlv_device_id *device, uint32_t row);
void handover_unlisten(int listener, const char *directory, const struct vlv_device_id *device, uint32_t row);

struct handover_line {
  int fd;
  uint32_t row;     /* HANDOVER_NOBODY: it leads nowhere yet */
  struct stat file; /* of the socket that it leads to: a child of a dead receiver may keep that one alive */
};

/* One that leads nowhere. -errno. */
int handover_open_line(struct handover_line *line);
void handover_close_line(struct handover_line *line);
/* Sends a parcel to that row's socket; its descriptors stay the caller's. 0; -errno: -ECONNREFUSED or -ENOENT
 * nobody listens, -EPERM another user, -ETIMEDOUT it did not take it within 100 ms. */
int handover_send(struct handover_line *line, const char *directory, const struct vlv_device_id *device,
                  uint32_t row, const struct parcel *parcel);
/* The next parcel that lies there, from any giver; its descriptors are the caller's. 1; 0: there is none. */
int handover_receive(int listener, struct parcel *parcel);

#endif
