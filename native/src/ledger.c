#include "ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "file.h"
#include "futex.h"
#include "rowlock.h"
#include "words.h"

#define FILE_NAME_SIZE 48

static void name_file(const struct vlv_device_id *device, char name[FILE_NAME_SIZE]) {
  int length = snprintf(name, FILE_NAME_SIZE, "pages.");
  for (size_t i = 0; i < sizeof device->bytes; i++)
    length += snprintf(name + length, FILE_NAME_SIZE - (size_t)length, "%02x", device->bytes[i]);
}

static int open_in(int directory_fd, const struct vlv_device_id *device, struct vlv_ledger *ledger) {
  char name[FILE_NAME_SIZE];
  name_file(device, name);
  const struct file_kind kind = {name, VLV_PAGES_MAGIC, sizeof(struct vlv_pages_file)};
  ledger->fd = file_open(directory_fd, &kind, !ledger->observes, !ledger->observes);
  if (ledger->fd < 0) return ledger->fd;
  return file_map(ledger->fd, &kind, !ledger->observes, (void **)&ledger->file);
}

static int open_ledger(const char *directory, const struct vlv_device_id *device, struct vlv_ledger *ledger) {
  int directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory_fd < 0) return -errno;
  int error = open_in(directory_fd, device, ledger);
  close(directory_fd);
  return error;
}

int vlv_ledger_open(const char *directory, const struct vlv_device_id *device, bool observe,
                    struct vlv_ledger **out) {
  struct vlv_ledger *ledger = calloc(1, sizeof *ledger);
  if (ledger == NULL) return -ENOMEM;
  *ledger = (struct vlv_ledger){.fd = -1, .observes = observe};
  int error = open_ledger(directory, device, ledger);
  if (error < 0) {
    vlv_ledger_close(ledger);
    return error;
  }
  *out = ledger;
  return 0;
}

void vlv_ledger_close(struct vlv_ledger *ledger) {
  if (ledger == NULL) return;
  if (ledger->file != NULL) munmap(ledger->file, sizeof *ledger->file);
  if (ledger->fd >= 0) close(ledger->fd);
  free(ledger);
}

const struct vlv_pages_file *vlv_ledger_file(const struct vlv_ledger *ledger) {
  return ledger->file;
}

int vlv_party_alive(const struct vlv_ledger *ledger, uint32_t row) {
  return row < party_rows.rows ? byte_is_locked(ledger->fd, row_offset(&party_rows, row)) : -EINVAL;
}

void vlv_ledger_announce(struct vlv_ledger *ledger) {
  add32(&ledger->file->changes, 1);
  word_wake(&ledger->file->changes);
}

static int set(struct vlv_ledger *ledger, VLV_ATOMIC(uint32_t) * word, uint32_t pages) {
  if (load32(word) == pages) return 0;
  store32(word, pages);
  vlv_ledger_announce(ledger);
  return 0;
}

int vlv_ledger_set_reserved(struct vlv_ledger *ledger, uint32_t pages) {
  return ledger->observes ? -EPERM : set(ledger, &ledger->file->reserved, pages);
}

int vlv_ledger_set_wanted(struct vlv_ledger *ledger, uint32_t pages) {
  return ledger->observes ? -EPERM : set(ledger, &ledger->file->wanted, pages);
}

uint32_t vlv_ledger_changes(const struct vlv_ledger *ledger) {
  return load32(&ledger->file->changes);
}

void vlv_ledger_wait(const struct vlv_ledger *ledger, uint32_t seen, uint64_t deadline_ns) {
  word_wait(&ledger->file->changes, seen, deadline_ns);
}
