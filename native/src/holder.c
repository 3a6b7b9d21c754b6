#include "holder.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "devices.h"
#include "minor.h"
#include "name.h"
#include "rowlock.h"
#include "segment.h"
#include "words.h"

static int take_row(struct vlv_node *node, struct vlv_holder *holder, const struct vlv_device_id *devices,
                    uint32_t device_count, uint64_t *mask) {
  int lock_fd;
  int error = row_take(node->holders_fd, &holder_rows, &holder->index, &lock_fd);
  if (error < 0) return error;
  holder->file = node->holders;
  holder->row = &node->holders->rows[holder->index];
  error = devices_add(holder->file, lock_fd, devices, device_count, mask);
  if (error == 0) return ownership_begin(&holder->ownership, lock_fd);
  close(lock_fd);
  return error;
}

static int begin(struct vlv_node *node, struct vlv_holder *holder, const char *name,
                 const struct vlv_device_id *devices, uint32_t device_count) {
  uint64_t mask;
  int error = take_row(node, holder, devices, device_count, &mask);
  if (error < 0) return error;
  store64(&holder->row->owner_pid, 0);
  name_copy(holder->row->name, name);
  row_speak(&holder->row->speaks);
  claim_begin(holder, mask, (uint64_t)getpid());
  return 0;
}

int vlv_holder_register(struct vlv_node *node, const char *name, const struct vlv_device_id *devices,
                        uint32_t device_count, struct vlv_holder **out) {
  if (node->side != VLV_SIDE_HOLDER) return -EPERM;
  if (device_count == 0 || device_count > VLV_DEVICES_MAX) return -EINVAL;
  struct vlv_holder *holder = calloc(1, sizeof *holder);
  if (holder == NULL) return -ENOMEM;
  int error = begin(node, holder, name, devices, device_count);
  if (error < 0) {
    free(holder);
    return error;
  }
  *out = holder;
  return 0;
}

uint32_t vlv_holder_row_index(const struct vlv_holder *holder) {
  return holder->index;
}

void vlv_holder_release(struct vlv_holder *holder) {
  if (holder == NULL) return;
  if (!holder->ownership.lost) claim_end(holder);
  ownership_end(&holder->ownership);
  free(holder);
}

int vlv_holder_alive(const struct vlv_node *node, uint32_t row) {
  return row < holder_rows.rows ? byte_is_locked(node->holders_fd, row_offset(&holder_rows, row)) : -EINVAL;
}
