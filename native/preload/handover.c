#include "handover.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define SEND_TRIES 1000
#define SEND_PAUSE_NS 100000
#define PATIENCE_MS 10
#define NAME_SIZE 64

union control { /* aligned as the kernel wants it */
  struct cmsghdr header;
  char space[CMSG_SPACE(HANDOVER_PAGES * sizeof(int))];
};

/* ---- the socket's name ---- */

static void name_socket(const struct vlv_device_id *device, uint32_t row, char name[NAME_SIZE]) {
  int length = snprintf(name, NAME_SIZE, "pages.");
  for (size_t i = 0; i < sizeof device->bytes; i++)
    length += snprintf(name + length, NAME_SIZE - (size_t)length, "%02x", device->bytes[i]);
  snprintf(name + length, NAME_SIZE - (size_t)length, ".%u", row);
}

/* Through /proc, since a socket's path may not be long and a directory's may. */
static struct sockaddr_un address_in(int directory_fd, const char *name) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", directory_fd, name);
  return address;
}

/* ---- both ends ---- */

static int open_socket(void) {
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  return fd >= 0 ? fd : -errno;
}

static bool is_friend(int fd) {
  struct ucred peer;
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  return peer.uid == geteuid() || peer.uid == 0;
}

typedef int attach(int fd, const struct sockaddr *address, socklen_t size);

static int attach_in(int directory_fd, const char *name, attach *how) {
  struct sockaddr_un address = address_in(directory_fd, name);
  int fd = open_socket();
  if (fd < 0 || how(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
  int error = -errno;
  close(fd);
  return error;
}

static int attach_to(const char *directory, const struct vlv_device_id *device, uint32_t row, attach *how) {
  char name[NAME_SIZE];
  int directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory_fd < 0) return -errno;
  name_socket(device, row, name);
  if (how == bind) unlinkat(directory_fd, name, 0);
  int fd = attach_in(directory_fd, name, how);
  close(directory_fd);
  return fd;
}

/* ---- giving ---- */

static void enclose(struct msghdr *message, const struct parcel *parcel) {
  struct cmsghdr *header = CMSG_FIRSTHDR(message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(parcel->count * sizeof(int));
  memcpy(CMSG_DATA(header), parcel->fds, parcel->count * sizeof(int));
}

/* The receiver empties its queue when it wakes. */
static int send_patiently(int connection, const struct msghdr *message) {
  const struct timespec pause = {.tv_nsec = SEND_PAUSE_NS};
  for (int tries = 0; tries < SEND_TRIES; tries++) {
    if (sendmsg(connection, message, MSG_NOSIGNAL) >= 0) return 0;
    if (errno != EAGAIN && errno != EINTR && errno != ETOOMANYREFS && errno != ENOBUFS) return -errno;
    nanosleep(&pause, NULL);
  }
  return -ETIMEDOUT;
}

static int send_parcel(int connection, const struct parcel *parcel) {
  union control control = {.space = {0}};
  struct iovec body = {(void *)(uintptr_t)parcel, offsetof(struct parcel, fds)};
  struct msghdr message = {.msg_iov = &body,
                           .msg_iovlen = 1,
                           .msg_control = control.space,
                           .msg_controllen = CMSG_SPACE(parcel->count * sizeof(int))};
  enclose(&message, parcel);
  return send_patiently(connection, &message);
}

int handover_send(const char *directory, const struct vlv_device_id *device, uint32_t row,
                  const struct parcel *parcel) {
  int fd = attach_to(directory, device, row, connect);
  if (fd < 0) return fd;
  int error = is_friend(fd) ? send_parcel(fd, parcel) : -EPERM;
  close(fd);
  return error;
}

/* ---- receiving ---- */

int handover_listen(const char *directory, const struct vlv_device_id *device, uint32_t row) {
  int fd = attach_to(directory, device, row, bind);
  if (fd < 0 || listen(fd, VLV_PARTIES_MAX) == 0) return fd;
  int error = -errno;
  close(fd);
  return error;
}

void handover_unlisten(int listener, const char *directory, const struct vlv_device_id *device,
                       uint32_t row) {
  char name[NAME_SIZE];
  int directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  name_socket(device, row, name);
  if (directory_fd >= 0) {
    unlinkat(directory_fd, name, 0);
    close(directory_fd);
  }
  close(listener);
}

static void drop(const int *fds, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) close(fds[i]);
}

static uint32_t take_out(struct msghdr *message, int fds[HANDOVER_PAGES]) {
  struct cmsghdr *header = CMSG_FIRSTHDR(message);
  if (header == NULL || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) return 0;
  uint32_t count = (uint32_t)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
  memcpy(fds, CMSG_DATA(header), count * sizeof(int));
  return count;
}

/* Its numbers are looked at by the ledger, which knows what was handed by whom. */
static bool is_whole(const struct parcel *parcel, ssize_t length, uint32_t fds) {
  bool right_size = length == (ssize_t)offsetof(struct parcel, fds);
  return right_size && parcel->count == fds && parcel->from < VLV_PARTIES_MAX;
}

/* A giver sends as soon as it is connected; one that does not is left standing. */
static bool read_parcel(int connection, struct parcel *parcel) {
  union control control;
  struct pollfd arrival = {.fd = connection, .events = POLLIN};
  struct iovec body = {parcel, offsetof(struct parcel, fds)};
  struct msghdr message = {.msg_iov = &body,
                           .msg_iovlen = 1,
                           .msg_control = control.space,
                           .msg_controllen = sizeof control.space};
  if (poll(&arrival, 1, PATIENCE_MS) != 1) return false;
  ssize_t length = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
  uint32_t fds = length >= 0 ? take_out(&message, parcel->fds) : 0;
  if (is_whole(parcel, length, fds)) return true;
  drop(parcel->fds, fds);
  return false;
}

int handover_receive(int listener, struct parcel *parcel) {
  for (;;) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return 0;
    bool whole = is_friend(fd) && read_parcel(fd, parcel);
    close(fd);
    if (whole) return 1;
  }
}
