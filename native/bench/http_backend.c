/* An engine that computes nothing: answers each POST with the same completion, or streams one.
 *
 * `http_backend PORT` (0: any; prints it) serves HTTP/1.1 on 127.0.0.1 until it is killed. A POST whose body
 * has chunks=N&gap_us=G in its first bytes gets N events, the first at once and the others G microseconds
 * apart. Fast enough to stand behind any proxy; not a parser to trust with foreign bytes.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BODY                                                                                            \
  "{\"object\":\"text_completion\",\"choices\":[{\"index\":0,\"text\":\" constant\",\"finish_reason\":" \
  "\"length\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1,\"total_tokens\":2}}"
#define EVENT                                                                                              \
  "data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":1700000000,\"model\":\"constant\"," \
  "\"choices\":[{\"index\":0,\"text\":\" token\",\"logprobs\":null,\"finish_reason\":null}]}\n\n"
#define STREAM_HEAD                                                                   \
  "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n" \
  "Transfer-Encoding: chunked\r\n\r\n"
#define INPUT 65536
#define PROMPT 1024
#define CONNECTIONS 65536

struct connection {
  int fd, slot;                        /* slot: in `streams`, or -1 */
  char head[4096], prompt[PROMPT + 1]; /* the first bytes of the body */
  size_t head_len, body_left, prompt_len;
  unsigned chunks, gap_us;
  uint64_t next_ns;
};

static struct connection *streams[CONNECTIONS];
static int stream_count, epoll_fd;
static char answer[1024], chunk[1024];
static size_t answer_len, chunk_len;

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static void leave_streams(struct connection *connection) {
  if (connection->slot < 0) return;
  streams[connection->slot] = streams[--stream_count];
  streams[connection->slot]->slot = connection->slot;
  connection->slot = -1;
}

static void hang_up(struct connection *connection) {
  leave_streams(connection);
  close(connection->fd);
  free(connection);
}

static void say(struct connection *connection, const char *data, size_t len) {
  if (send(connection->fd, data, len, MSG_NOSIGNAL) < 0 && errno == EAGAIN)
    return; /* a slow reader misses it */
}

static void send_event(struct connection *connection, uint64_t at_ns) {
  say(connection, chunk, chunk_len);
  connection->next_ns = at_ns + connection->gap_us * 1000ull;
  if (--connection->chunks > 0) return;
  say(connection, "0\r\n\r\n", 5);
  leave_streams(connection);
}

static void begin_stream(struct connection *connection) {
  char first[2048];
  memcpy(first, STREAM_HEAD, sizeof STREAM_HEAD - 1);
  memcpy(first + sizeof STREAM_HEAD - 1, chunk, chunk_len);
  say(connection, first, sizeof STREAM_HEAD - 1 + chunk_len);
  connection->chunks--;
  connection->next_ns = now_ns() + connection->gap_us * 1000ull;
  connection->slot = stream_count;
  streams[stream_count++] = connection;
}

/* Proxies that write JSON anew leave a prompt as it is; some drop the query. */
static void read_prompt(struct connection *connection) {
  connection->prompt[connection->prompt_len] = '\0';
  const char *wanted = strstr(connection->prompt, "chunks=");
  connection->chunks = connection->gap_us = 0;
  if (wanted != NULL) sscanf(wanted, "chunks=%u&gap_us=%u", &connection->chunks, &connection->gap_us);
}

static void respond(struct connection *connection) {
  connection->head_len = 0;
  read_prompt(connection);
  if (connection->chunks > 1)
    begin_stream(connection);
  else
    say(connection, answer, answer_len);
}

static size_t length_of(const char *head) {
  const char *field = strcasestr(head, "\r\ncontent-length:");
  return field != NULL ? strtoul(field + 17, NULL, 10) : 0;
}

static void read_head(struct connection *connection) {
  connection->prompt_len = 0;
  connection->body_left = length_of(connection->head);
}

/* Returns how many bytes of `data` belonged to the head. */
static size_t take_head(struct connection *connection, const char *data, size_t len, bool *complete) {
  size_t room = sizeof connection->head - 1 - connection->head_len, taken = len < room ? len : room;
  memcpy(connection->head + connection->head_len, data, taken);
  size_t before = connection->head_len;
  connection->head_len += taken;
  connection->head[connection->head_len] = '\0';
  char *end = strstr(connection->head, "\r\n\r\n");
  *complete = end != NULL;
  if (end == NULL) return taken;
  end[4] = '\0';
  read_head(connection);
  return (size_t)(end + 4 - connection->head) - before;
}

static size_t take_body(struct connection *connection, const char *data, size_t len) {
  size_t taken = len < connection->body_left ? len : connection->body_left;
  size_t room = PROMPT - connection->prompt_len, kept = taken < room ? taken : room;
  memcpy(connection->prompt + connection->prompt_len, data, kept);
  connection->prompt_len += kept;
  connection->body_left -= taken;
  return taken;
}

static void take(struct connection *connection, const char *data, size_t len) {
  static bool in_body[CONNECTIONS];
  bool *body = &in_body[connection->fd];
  if (connection->head_len == 0) *body = false;
  while (len > 0) {
    size_t taken;
    if (!*body)
      taken = take_head(connection, data, len, body);
    else
      taken = take_body(connection, data, len);
    data += taken;
    len -= taken;
    if (!*body || connection->body_left > 0) continue;
    *body = false;
    respond(connection);
  }
}

static void welcome(int listener) {
  int on = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
  if (fd < 0) return;
  struct connection *connection = calloc(1, sizeof *connection);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
  connection->fd = fd;
  connection->slot = -1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void serve(struct connection *connection) {
  static char input[INPUT];
  ssize_t got = recv(connection->fd, input, sizeof input, 0);
  if (got > 0)
    take(connection, input, (size_t)got);
  else if (got == 0 || errno != EAGAIN)
    hang_up(connection);
}

/* Sends what is due. Returns the time until something is. */
static struct timespec stream(void) {
  uint64_t now = now_ns(), next = now + 1000000000ull;
  for (int i = stream_count - 1; i >= 0; i--) {
    struct connection *connection = streams[i];
    if (connection->next_ns <= now) send_event(connection, connection->next_ns);
    if (connection->slot >= 0 && connection->next_ns < next) next = connection->next_ns;
  }
  uint64_t left = next > now ? next - now : 0;
  return (struct timespec){(time_t)(left / 1000000000ull), (long)(left % 1000000000ull)};
}

static int listen_on(uint16_t port) {
  int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  socklen_t len = sizeof address;
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 4096) < 0) {
    perror("http_backend");
    exit(1);
  }
  getsockname(fd, (struct sockaddr *)&address, &len);
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  return fd;
}

static void prepare(void) {
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max < CONNECTIONS ? files.rlim_max : CONNECTIONS;
  setrlimit(RLIMIT_NOFILE, &files);
  answer_len = (size_t)sprintf(
      answer, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
      sizeof BODY - 1, BODY);
  chunk_len = (size_t)sprintf(chunk, "%zx\r\n%s\r\n", sizeof EVENT - 1, EVENT);
  epoll_fd = epoll_create1(0);
}

/* By its number: the function is in glibc 2.35 and later only, the call in Linux 5.11. */
static int wait_for_events(struct epoll_event *events, int most, const struct timespec *left) {
  return (int)syscall(SYS_epoll_pwait2, epoll_fd, events, most, left, NULL, 0);
}

int main(int argc, char **argv) {
  prepare();
  int listener = listen_on((uint16_t)(argc > 1 ? atoi(argv[1]) : 0));
  struct epoll_event events[256], wanted = {.events = EPOLLIN, .data.ptr = NULL};
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &wanted);
  for (;;) {
    struct timespec left = stream();
    int count = wait_for_events(events, 256, &left);
    for (int i = 0; i < count; i++)
      if (events[i].data.ptr == NULL)
        welcome(listener);
      else
        serve(events[i].data.ptr);
  }
}
