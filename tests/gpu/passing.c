#include "passing.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What carries STAGE_FILES_MAX descriptors, aligned as the kernel wants it. */
union control_buffer {
  struct cmsghdr header;
  char bytes[CMSG_SPACE(STAGE_FILES_MAX * sizeof(int))];
};

static int index_of(struct stage *stage, int fd) {
  for (uint32_t i = 0; i < stage->file_count; i++)
    if (stage->file_numbers[i] == fd) return (int)i;
  if (stage->file_count == STAGE_FILES_MAX) return -EMFILE;
  stage->file_numbers[stage->file_count] = fd;
  return (int)stage->file_count++;
}

/* A channel whose descriptor is gone cannot be passed. */
static int describe(struct stage *stage) {
  uint32_t count = own_channels_copy(stage->channels), kept = 0;
  stage->file_count = 0;
  for (uint32_t i = 0; i < count; i++) {
    struct channel channel = stage->channels[i];
    if (channel.fd < 0) continue;
    channel.fd = index_of(stage, channel.fd);
    if (channel.fd < 0) return channel.fd;
    stage->channels[kept++] = channel;
  }
  stage->channel_count = kept;
  return kept == 0 ? -ENOENT : 0;
}

static struct msghdr message_of(struct iovec *byte, union control_buffer *buffer, uint32_t files) {
  struct msghdr message = {.msg_iov = byte,
                           .msg_iovlen = 1,
                           .msg_control = buffer->bytes,
                           .msg_controllen = CMSG_SPACE(files * sizeof(int))};
  return message;
}

static void put_files(struct msghdr *message, const struct stage *stage) {
  struct cmsghdr *header = CMSG_FIRSTHDR(message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(stage->file_count * sizeof(int));
  memcpy(CMSG_DATA(header), stage->file_numbers, stage->file_count * sizeof(int));
}

int passing_send(int socket_fd, struct stage *stage) {
  union control_buffer buffer = {0};
  char mark = 'f';
  struct iovec byte = {&mark, 1};
  int error = describe(stage);
  if (error != 0) return error;
  struct msghdr message = message_of(&byte, &buffer, stage->file_count);
  put_files(&message, stage);
  return sendmsg(socket_fd, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int passing_receive(int socket_fd, const struct stage *stage, int files[STAGE_FILES_MAX]) {
  union control_buffer buffer = {0};
  char mark;
  struct iovec byte = {&mark, 1};
  struct msghdr message = message_of(&byte, &buffer, STAGE_FILES_MAX);
  if (recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC) < 0) return -errno;
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (header == NULL || header->cmsg_len != CMSG_LEN(stage->file_count * sizeof(int))) return -EPROTO;
  memcpy(files, CMSG_DATA(header), stage->file_count * sizeof(int));
  return 0;
}

int passing_steal(pid_t victim, const struct stage *stage, int files[STAGE_FILES_MAX]) {
  int pidfd = (int)syscall(SYS_pidfd_open, victim, 0), error = 0;
  if (pidfd < 0) return -errno;
  for (uint32_t i = 0; i < stage->file_count && error == 0; i++) {
    files[i] = (int)syscall(SYS_pidfd_getfd, pidfd, stage->file_numbers[i], 0);
    if (files[i] < 0) error = -errno;
  }
  close(pidfd);
  return error;
}

void passing_apply(const struct stage *stage, const int files[STAGE_FILES_MAX],
                   struct channel out[KIT_CHANNELS_MAX]) {
  for (uint32_t i = 0; i < stage->channel_count; i++) {
    out[i] = stage->channels[i];
    out[i].fd = files[stage->channels[i].fd];
  }
}
