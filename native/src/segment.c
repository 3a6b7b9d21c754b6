#include "segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"

static const struct file_kind holders_kind = {"holders", VLV_HOLDERS_MAGIC, sizeof(struct vlv_holders_file)};
static const struct file_kind tenants_kind = {"tenants", VLV_TENANTS_MAGIC, sizeof(struct vlv_tenants_file)};

static int open_and_map(int directory_fd, const struct file_kind *kind, enum vlv_side side, bool writable,
                        int *out_fd, void **out) {
  int fd = file_open(directory_fd, kind, writable, side != VLV_SIDE_OBSERVER);
  if (fd < 0) return fd;
  *out_fd = fd;
  return file_map(fd, kind, writable, out);
}

static int open_both(struct vlv_node *node, int directory_fd) {
  int error = open_and_map(directory_fd, &holders_kind, node->side, node->side == VLV_SIDE_HOLDER,
                           &node->holders_fd, (void **)&node->holders);
  if (error < 0) return error;
  return open_and_map(directory_fd, &tenants_kind, node->side, node->side == VLV_SIDE_TENANT,
                      &node->tenants_fd, (void **)&node->tenants);
}

static int open_node(const char *directory, struct vlv_node *node) {
  int directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory_fd < 0) return -errno;
  int error = open_both(node, directory_fd);
  close(directory_fd);
  return error;
}

int vlv_node_open(const char *directory, enum vlv_side side, struct vlv_node **out) {
  if (side < VLV_SIDE_HOLDER || side > VLV_SIDE_OBSERVER) return -EINVAL;
  struct vlv_node *node = calloc(1, sizeof *node);
  if (node == NULL) return -ENOMEM;
  *node = (struct vlv_node){.side = side, .holders_fd = -1, .tenants_fd = -1};
  int error = open_node(directory, node);
  if (error < 0) {
    vlv_node_close(node);
    return error;
  }
  *out = node;
  return 0;
}

void vlv_node_close(struct vlv_node *node) {
  if (node == NULL) return;
  if (node->holders != NULL) munmap(node->holders, sizeof *node->holders);
  if (node->tenants != NULL) munmap(node->tenants, sizeof *node->tenants);
  if (node->holders_fd >= 0) close(node->holders_fd);
  if (node->tenants_fd >= 0) close(node->tenants_fd);
  free(node);
}

/* A host that closes descriptors which it does not know has other files under their numbers later. */
static bool has_lost_its_name(int fd, const struct file_kind *kind) {
  struct stat file;
  if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode)) return false;
  return file.st_size == (off_t)kind->size && file.st_nlink == 0;
}

int vlv_node_is_removed(const struct vlv_node *node) {
  return has_lost_its_name(node->holders_fd, &holders_kind) ||
         has_lost_its_name(node->tenants_fd, &tenants_kind);
}

const struct vlv_holders_file *vlv_node_holders(const struct vlv_node *node) {
  return node->holders;
}
const struct vlv_tenants_file *vlv_node_tenants(const struct vlv_node *node) {
  return node->tenants;
}
