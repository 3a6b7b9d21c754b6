#include "handover.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define SEND_TRIES 1000
#define SEND_PAUSE_NS 100000
#define NAME_SIZE 64

union control { /* aligned as the kernel wants it */
  struct cmsghdr header;
  char space[CMSG_SPACE(HANDOVER_PAGES * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
};

static int open_socket(void) {
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  return fd >= 0 ? fd : -errno;
}

static bool is_friend(uid_t user) {
  return user == geteuid() || user == 0;
}

/* ---- the socket's name ---- */

static void name_socket(const struct vlv_device_id *device, uint32_t row, char name[NAME_SIZE]) {
  int length = snprintf(name, NAME_SIZE, "pages.");
  for (size_t i = 0; i < sizeof device->bytes; i++)
    length += snprintf(name + length, NAME_SIZE - (size_t)length, "%02x", device->bytes[i]);
  snprintf(name + length, NAME_SIZE - (size_t)length, ".%u", row);
}

static int open_directory(const char *directory) {
  int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return fd >= 0 ? fd : -errno;
}

/* Through /proc, since a socket's path may not be long and a directory's may. */
static struct sockaddr_un address_in(int directory_fd, const char *name) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", directory_fd, name);
  return address;
}

/* ---- giving ---- */

int handover_open_line(struct handover_line *line) {
  *line = (struct handover_line){.fd = open_socket(), .row = HANDOVER_NOBODY};
  return line->fd >= 0 ? 0 : line->fd;
}

void handover_close_line(struct handover_line *line) {
  if (line->fd >= 0) close(line->fd);
  *line = (struct handover_line){.fd = -1, .row = HANDOVER_NOBODY};
}

/* It is the owner of the very file that is looked at who is spoken to. */
static int connect_to(struct handover_line *line, int socket_fd) {
  struct stat *file = &line->file;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (fstat(socket_fd, file) != 0) return -errno;
  if (!S_ISSOCK(file->st_mode) || !is_friend(file->st_uid)) return -EPERM;
  snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", socket_fd);
  return connect(line->fd, (struct sockaddr *)&address, sizeof address) == 0 ? 0 : -errno;
}

static int connect_in(struct handover_line *line, int directory_fd, const char *name) {
  int socket_fd = openat(directory_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (socket_fd < 0) return -errno;
  int error = connect_to(line, socket_fd);
  close(socket_fd);
  return error;
}

static int lead(struct handover_line *line, const char *directory, const struct vlv_device_id *device,
                uint32_t row) {
  char name[NAME_SIZE];
  int directory_fd = open_directory(directory);
  if (directory_fd < 0) return directory_fd;
  name_socket(device, row, name);
  int error = connect_in(line, directory_fd, name);
  close(directory_fd);
  line->row = error == 0 ? row : HANDOVER_NOBODY;
  return error;
}

static void enclose(struct msghdr *message, const struct parcel *parcel) {
  struct cmsghdr *header = CMSG_FIRSTHDR(message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(parcel->count * sizeof(int));
  memcpy(CMSG_DATA(header), parcel->fds, parcel->count * sizeof(int));
}

/* The receiver empties its queue when it wakes. */
static int send_patiently(int fd, const struct msghdr *message) {
  const struct timespec pause = {.tv_nsec = SEND_PAUSE_NS};
  for (int tries = 0; tries < SEND_TRIES; tries++) {
    if (sendmsg(fd, message, MSG_NOSIGNAL) >= 0) return 0;
    if (errno != EAGAIN && errno != EINTR && errno != ETOOMANYREFS && errno != ENOBUFS) return -errno;
    nanosleep(&pause, NULL);
  }
  return -ETIMEDOUT;
}

static int send_parcel(int fd, const struct parcel *parcel) {
  union control control = {.space = {0}};
  struct iovec body = {(void *)(uintptr_t)parcel, offsetof(struct parcel, fds)};
  struct msghdr message = {.msg_iov = &body,
                           .msg_iovlen = 1,
                           .msg_control = control.space,
                           .msg_controllen = CMSG_SPACE(parcel->count * sizeof(int))};
  enclose(&message, parcel);
  return send_patiently(fd, &message);
}

static bool leads_to(const struct handover_line *line, const char *directory,
                     const struct vlv_device_id *device, uint32_t row) {
  char name[NAME_SIZE], path[PATH_MAX];
  struct stat file;
  const struct stat *led = &line->file;
  name_socket(device, row, name);
  if (line->row != row || snprintf(path, sizeof path, "%s/%s", directory, name) >= (int)sizeof path)
    return false;
  return stat(path, &file) == 0 && file.st_ino == led->st_ino && file.st_dev == led->st_dev &&
         file.st_ctim.tv_sec == led->st_ctim.tv_sec && file.st_ctim.tv_nsec == led->st_ctim.tv_nsec;
}

/* After an error the kernel may have taken the line's end away. */
int handover_send(struct handover_line *line, const char *directory, const struct vlv_device_id *device,
                  uint32_t row, const struct parcel *parcel) {
  int error = leads_to(line, directory, device, row) ? 0 : lead(line, directory, device, row);
  if (error == 0) error = send_parcel(line->fd, parcel);
  if (error < 0) line->row = HANDOVER_NOBODY;
  return error;
}

/* ---- receiving ---- */

static int bind_in(int directory_fd, const char *name) {
  const int yes = 1;
  struct sockaddr_un address = address_in(directory_fd, name);
  unlinkat(directory_fd, name, 0);
  int fd = open_socket();
  if (fd < 0) return fd;
  bool bound = setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes) == 0 &&
               bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
  if (bound) return fd;
  int error = -errno;
  close(fd);
  return error;
}

int handover_listen(const char *directory, const struct vlv_device_id *device, uint32_t row) {
  char name[NAME_SIZE];
  int directory_fd = open_directory(directory);
  if (directory_fd < 0) return directory_fd;
  name_socket(device, row, name);
  int fd = bind_in(directory_fd, name);
  close(directory_fd);
  return fd;
}

void handover_unlisten(int listener, const char *directory, const struct vlv_device_id *device,
                       uint32_t row) {
  char name[NAME_SIZE];
  int directory_fd = open_directory(directory);
  name_socket(device, row, name);
  if (directory_fd >= 0) {
    unlinkat(directory_fd, name, 0);
    close(directory_fd);
  }
  close(listener);
}

struct enclosed { /* what a message carries besides its body */
  uint32_t count;
  bool from_friend;
};

static void take_out_one(struct cmsghdr *header, struct parcel *parcel, struct enclosed *enclosed) {
  if (header->cmsg_level != SOL_SOCKET) return;
  if (header->cmsg_type == SCM_RIGHTS) {
    enclosed->count = (uint32_t)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(parcel->fds, CMSG_DATA(header), enclosed->count * sizeof(int));
  } else if (header->cmsg_type == SCM_CREDENTIALS) {
    struct ucred sender;
    memcpy(&sender, CMSG_DATA(header), sizeof sender);
    enclosed->from_friend = is_friend(sender.uid);
  }
}

static struct enclosed take_out(struct msghdr *message, struct parcel *parcel) {
  struct enclosed enclosed = {0};
  for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL; header = CMSG_NXTHDR(message, header))
    take_out_one(header, parcel, &enclosed);
  return enclosed;
}

/* Its numbers are looked at by the ledger, which knows what was handed by whom. */
static bool is_whole(const struct parcel *parcel, ssize_t length, struct enclosed enclosed) {
  bool right_size = length == (ssize_t)offsetof(struct parcel, fds);
  return right_size && enclosed.from_friend && parcel->count == enclosed.count &&
         parcel->from < VLV_PARTIES_MAX;
}

/* -errno: there is none; 0: it was not one of ours. */
static int read_parcel(int listener, struct parcel *parcel) {
  union control control;
  struct iovec body = {parcel, offsetof(struct parcel, fds)};
  struct msghdr message = {.msg_iov = &body,
                           .msg_iovlen = 1,
                           .msg_control = control.space,
                           .msg_controllen = sizeof control.space};
  ssize_t length = recvmsg(listener, &message, MSG_CMSG_CLOEXEC);
  if (length < 0) return -errno;
  struct enclosed enclosed = take_out(&message, parcel);
  if (is_whole(parcel, length, enclosed)) return 1;
  for (uint32_t i = 0; i < enclosed.count; i++) close(parcel->fds[i]);
  return 0;
}

int handover_receive(int listener, struct parcel *parcel) {
  int came = 0;
  while (came == 0 || came == -EINTR) came = read_parcel(listener, parcel);
  return came == 1;
}
