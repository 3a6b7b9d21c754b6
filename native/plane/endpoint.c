#include "endpoint.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static uint32_t wanted(const struct endpoint *endpoint) {
  uint32_t events = endpoint->paused ? 0 : EPOLLIN;
  if (endpoint->role == ROLE_CLIENT && !endpoint->keeps_half) events |= EPOLLRDHUP;
  if (endpoint->out.len > 0 || endpoint->connecting) events |= EPOLLOUT;
  return events;
}

static int control(struct endpoint *endpoint, int operation, uint32_t events) {
  struct epoll_event event = {.events = events, .data.ptr = endpoint};
  endpoint->watched = events;
  return epoll_ctl(endpoint->epoll_fd, operation, endpoint->fd, &event) < 0 ? -errno : 0;
}

int endpoint_open(struct endpoint *endpoint, enum role role, int epoll_fd, int fd) {
  endpoint->role = role;
  endpoint->epoll_fd = epoll_fd;
  endpoint->fd = fd;
  return control(endpoint, EPOLL_CTL_ADD, wanted(endpoint));
}

void endpoint_watch(struct endpoint *endpoint) {
  if (endpoint->fd < 0 || endpoint->lost) return;
  uint32_t events = wanted(endpoint);
  if (events != endpoint->watched) control(endpoint, EPOLL_CTL_MOD, events);
}

void endpoint_silence(struct endpoint *endpoint) {
  epoll_ctl(endpoint->epoll_fd, EPOLL_CTL_DEL, endpoint->fd, NULL);
  endpoint->lost = true;
}

void endpoint_pause(struct endpoint *endpoint, bool paused) {
  if (endpoint->fd < 0 || endpoint->paused == paused) return;
  endpoint->paused = paused;
  if (endpoint->lost && !paused) {
    endpoint->lost = false;
    control(endpoint, EPOLL_CTL_ADD, wanted(endpoint));
  }
  endpoint_watch(endpoint);
}

static void give_up(struct endpoint *endpoint) {
  endpoint->broken = true;
  bytes_free(&endpoint->out);
}

/* Keeps what is behind the first `sent` bytes. */
static void keep_rest(struct endpoint *endpoint, const struct pieces *pieces, size_t sent) {
  for (int i = 0; i < pieces->count; i++) {
    const struct iovec *vector = &pieces->vectors[i];
    size_t skipped = sent < vector->iov_len ? sent : vector->iov_len;
    sent -= skipped;
    if (!bytes_append(&endpoint->out, (char *)vector->iov_base + skipped, vector->iov_len - skipped))
      return give_up(endpoint);
  }
}

static ssize_t send_now(struct endpoint *endpoint, const struct pieces *pieces) {
  if (pieces->count == 1)
    return send(endpoint->fd, pieces->vectors[0].iov_base, pieces->vectors[0].iov_len, MSG_NOSIGNAL);
  struct msghdr message = {.msg_iov = (struct iovec *)pieces->vectors, .msg_iovlen = (size_t)pieces->count};
  return sendmsg(endpoint->fd, &message, MSG_NOSIGNAL);
}

static bool is_full(void) {
  return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == ENOBUFS;
}

void endpoint_send(struct endpoint *endpoint, const struct pieces *pieces) {
  if (endpoint->fd < 0 || endpoint->broken || pieces->count == 0) return;
  ssize_t sent = 0;
  if (endpoint->out.len == 0 && !endpoint->connecting) {
    sent = send_now(endpoint, pieces);
    if (sent < 0 && !is_full()) return give_up(endpoint);
    if (sent < 0) sent = 0;
  }
  if ((size_t)sent == pieces->total) return;
  keep_rest(endpoint, pieces, (size_t)sent);
  endpoint_watch(endpoint);
}

void endpoint_write(struct endpoint *endpoint, const void *data, size_t len) {
  struct pieces pieces;
  pieces.count = 0;
  pieces.total = 0;
  pieces_add(&pieces, data, len);
  endpoint_send(endpoint, &pieces);
}

void endpoint_flush(struct endpoint *endpoint) {
  if (endpoint->fd < 0 || endpoint->out.len == 0) return;
  ssize_t sent = send(endpoint->fd, bytes_at(&endpoint->out), endpoint->out.len, MSG_NOSIGNAL);
  if (sent > 0) bytes_drop(&endpoint->out, (size_t)sent);
  if (sent < 0 && !is_full()) give_up(endpoint);
  endpoint_watch(endpoint);
}

void endpoint_close(struct endpoint *endpoint, bool reset) {
  struct linger none = {.l_onoff = 1, .l_linger = 0};
  if (reset) setsockopt(endpoint->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
  /* Another process may hold a listening socket, too: epoll would go on to tell of it. */
  if (endpoint->role == ROLE_LISTENER) epoll_ctl(endpoint->epoll_fd, EPOLL_CTL_DEL, endpoint->fd, NULL);
  if (endpoint->fd >= 0) close(endpoint->fd);
  endpoint->closed = true;
  endpoint->fd = -1;
  bytes_free(&endpoint->out);
  list_remove(&endpoint->timer);
}
