/* exact_mock.c - an engine whose tokens leave at times that are known exactly: the load generator's truth.
 *
 *   exact_mock TTFT_US GAP_US TOKENS LOG
 *
 * Serves OpenAI chat streams on a free port of 127.0.0.1, which it prints. A request gets its head and a
 * chunk with only the role at once, its first token TTFT after it arrived, the others GAP apart. Arrival is
 * the kernel's receive stamp of the request's last segment (SO_TIMESTAMPNS), so that how late this process
 * wakes does not count; a departure is the clock just before send(). While requests are in flight it spins:
 * give it a core of its own. On SIGTERM it writes one struct record per answered request to LOG.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 65536
#define TOKENS_MAX 4096
#define ID_SIZE 64
#define REQUEST_SIZE 16384
#define EVENTS 256
#define SECOND_NS 1000000000ull

#define HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
#define ROLE "{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}"
#define TOKEN                                                                        \
  "{\"id\":\"exact\",\"object\":\"chat.completion.chunk\",\"model\":\"exact-mock\"," \
  "\"choices\":[{\"index\":0,\"delta\":{\"content\":\" token\"},\"finish_reason\":null}]}"
#define FINISH "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}"
#define USAGE "{\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":%u,\"total_tokens\":%u}}"
#define MODELS "{\"status\":\"ok\",\"data\":[{\"id\":\"exact-mock\",\"object\":\"model\"}]}"
#define PLAIN "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s"

struct connection {
  uint32_t serial; /* tells a connection from an earlier one of the same descriptor */
  uint32_t held;   /* bytes of `request` */
  uint64_t received_ns;
  char request[REQUEST_SIZE];
};

struct record { /* what goes to LOG, followed by TOKENS departures */
  char id[ID_SIZE];
  uint64_t received_ns;
};

struct stream {
  int fd;
  uint32_t serial, sent;
  uint64_t due_ns;
  struct record record;
  uint64_t sent_ns[];
};

/* Due times only grow within a queue, since each adds one constant to the present: a ring is enough. */
struct queue {
  struct stream *streams[CONNECTIONS_MAX];
  uint32_t first, count;
};

static struct connection *connections[CONNECTIONS_MAX];
static struct queue starting, running;
static uint64_t ttft_ns, gap_ns, offset_ns;
static uint32_t tokens;
static char opening[1024], token[512], closing[1024]; /* before, during and with the last token */
static size_t opening_size, token_size, closing_size;
static FILE *log_file;
static volatile sig_atomic_t ended;

static uint64_t clock_ns(clockid_t id) {
  struct timespec now;
  clock_gettime(id, &now);
  return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void end(int number) {
  (void)number;
  ended = 1;
}

/* Appends one server-sent event as one HTTP chunk. */
static size_t put_event(char *at, size_t size, const char *payload) {
  int length = snprintf(at, size, "%zx\r\ndata: %s\n\n\r\n", strlen(payload) + 8, payload);
  return (size_t)length;
}

static void prepare_texts(void) {
  char usage[256];
  snprintf(usage, sizeof usage, USAGE, tokens, tokens + 1);
  opening_size = (size_t)snprintf(opening, sizeof opening, "%s", HEAD);
  opening_size += put_event(opening + opening_size, sizeof opening - opening_size, ROLE);
  token_size = put_event(token, sizeof token, TOKEN);
  closing_size = put_event(closing, sizeof closing, TOKEN);
  closing_size += put_event(closing + closing_size, sizeof closing - closing_size, FINISH);
  closing_size += put_event(closing + closing_size, sizeof closing - closing_size, usage);
  closing_size += put_event(closing + closing_size, sizeof closing - closing_size, "[DONE]");
  closing_size += (size_t)snprintf(closing + closing_size, sizeof closing - closing_size, "0\r\n\r\n");
}

static void push(struct queue *queue, struct stream *stream, uint64_t due_ns) {
  stream->due_ns = due_ns;
  queue->streams[(queue->first + queue->count++) % CONNECTIONS_MAX] = stream;
}

static struct stream *pop_due(struct queue *queue, uint64_t now_ns) {
  if (!queue->count || queue->streams[queue->first]->due_ns > now_ns) return NULL;
  struct stream *stream = queue->streams[queue->first];
  queue->first = (queue->first + 1) % CONNECTIONS_MAX;
  queue->count--;
  return stream;
}

static void write_all(int fd, const char *data, size_t size) {
  if (send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)size) shutdown(fd, SHUT_RDWR);
}

static void log_stream(const struct stream *stream) {
  fwrite(&stream->record, sizeof stream->record, 1, log_file);
  fwrite(stream->sent_ns, sizeof(uint64_t), tokens, log_file);
}

static void send_token(struct stream *stream) {
  struct connection *connection = connections[stream->fd];
  if (!connection || connection->serial != stream->serial) { /* the client has gone */
    free(stream);
    return;
  }
  int last = stream->sent + 1 == tokens;
  stream->sent_ns[stream->sent++] = clock_ns(CLOCK_MONOTONIC);
  write_all(stream->fd, last ? closing : token, last ? closing_size : token_size);
  if (!last) {
    push(&running, stream, stream->due_ns + gap_ns);
    return;
  }
  log_stream(stream);
  free(stream);
}

static void copy_id(char *id, const char *request) {
  const char *field = strcasestr(request, "\r\nx-request-id: ");
  if (!field) return;
  field += strlen("\r\nx-request-id: ");
  size_t length = strcspn(field, "\r");
  memcpy(id, field, length < ID_SIZE ? length : ID_SIZE - 1);
}

static void answer(int fd, const struct connection *connection) {
  if (strncmp(connection->request, "POST", 4) != 0) {
    char plain[512];
    int length = snprintf(plain, sizeof plain, PLAIN, strlen(MODELS), MODELS);
    write_all(fd, plain, (size_t)length);
    return;
  }
  struct stream *stream = calloc(1, sizeof *stream + tokens * sizeof(uint64_t));
  if (!stream) fail("calloc");
  stream->fd = fd;
  stream->serial = connection->serial;
  stream->record.received_ns = connection->received_ns;
  copy_id(stream->record.id, connection->request);
  write_all(fd, opening, opening_size);
  push(&starting, stream, connection->received_ns + ttft_ns);
}

/* The size of the request at the buffer's start; 0 if it is not all there. */
static size_t request_size(const char *request) {
  const char *blank = strstr(request, "\r\n\r\n");
  if (!blank) return 0;
  const char *field = strcasestr(request, "\r\ncontent-length: ");
  size_t body = field && field < blank ? strtoul(field + strlen("\r\ncontent-length: "), NULL, 10) : 0;
  return (size_t)(blank - request) + 4 + body;
}

static void drop(int fd) {
  free(connections[fd]);
  connections[fd] = NULL;
  close(fd);
}

/* CLOCK_REALTIME, of the kernel's stamps, less CLOCK_MONOTONIC; the closest of a few readings. */
static uint64_t realtime_offset_ns(void) {
  uint64_t closest_ns = UINT64_MAX, found_ns = 0;
  for (int i = 0; i < 16; i++) {
    uint64_t before_ns = clock_ns(CLOCK_MONOTONIC), real_ns = clock_ns(CLOCK_REALTIME);
    uint64_t apart_ns = clock_ns(CLOCK_MONOTONIC) - before_ns;
    if (apart_ns < closest_ns) {
      closest_ns = apart_ns;
      found_ns = real_ns - (before_ns + apart_ns / 2);
    }
  }
  return found_ns;
}

/* The kernel's stamp of the data just received, on CLOCK_MONOTONIC. */
static uint64_t received_ns(struct msghdr *message) {
  for (struct cmsghdr *each = CMSG_FIRSTHDR(message); each; each = CMSG_NXTHDR(message, each)) {
    if (each->cmsg_level == SOL_SOCKET && each->cmsg_type == SCM_TIMESTAMPNS) {
      struct timespec stamp;
      memcpy(&stamp, CMSG_DATA(each), sizeof stamp);
      return (uint64_t)stamp.tv_sec * SECOND_NS + (uint64_t)stamp.tv_nsec - offset_ns;
    }
  }
  return clock_ns(CLOCK_MONOTONIC);
}

static ssize_t receive(int fd, struct connection *connection) {
  char control[CMSG_SPACE(sizeof(struct timespec)) * 2];
  struct iovec vector = {connection->request + connection->held, REQUEST_SIZE - 1 - connection->held};
  struct msghdr message = {
      .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT);
  if (got > 0) {
    connection->received_ns = received_ns(&message);
    connection->held += (uint32_t)got;
    connection->request[connection->held] = '\0';
  }
  return got;
}

static void read_request(int fd) {
  struct connection *connection = connections[fd];
  ssize_t got = receive(fd, connection);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    drop(fd);
    return;
  }
  size_t size = request_size(connection->request);
  if (size && size <= connection->held) {
    answer(fd, connection);
    connection->held = 0; /* clients wait for the answer before they ask again */
  }
}

static void accept_all(int listener, int poll) {
  static uint32_t serials;
  int fd, yes = 1;
  while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (fd >= CONNECTIONS_MAX || !(connections[fd] = calloc(1, sizeof **connections))) {
      close(fd);
      continue;
    }
    connections[fd]->serial = ++serials;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &yes, sizeof yes);
    epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
  }
}

static int listen_anywhere(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) || listen(fd, 4096)) fail("listen");
  getsockname(fd, (struct sockaddr *)&address, &size);
  printf("%u\n", ntohs(address.sin_port));
  fflush(stdout);
  return fd;
}

static void send_due(void) {
  struct stream *stream;
  uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
  while ((stream = pop_due(&running, now_ns)) || (stream = pop_due(&starting, now_ns))) send_token(stream);
}

static void serve(int listener, int poll) {
  struct epoll_event events[EVENTS];
  while (!ended) {
    int busy = starting.count || running.count;
    int count = epoll_wait(poll, events, EVENTS, busy ? 0 : 100);
    for (int i = 0; i < count; i++) {
      if (events[i].data.fd == listener)
        accept_all(listener, poll);
      else
        read_request(events[i].data.fd);
      send_due();
    }
    send_due();
  }
}

int main(int argc, char **argv) {
  if (argc != 5 || (tokens = (uint32_t)atoi(argv[3])) < 1 || tokens > TOKENS_MAX) {
    fprintf(stderr, "usage: %s TTFT_US GAP_US TOKENS LOG\n", argv[0]);
    return 2;
  }
  ttft_ns = strtoull(argv[1], NULL, 10) * 1000;
  gap_ns = strtoull(argv[2], NULL, 10) * 1000;
  if (!(log_file = fopen(argv[4], "wb"))) fail(argv[4]);
  signal(SIGTERM, end);
  signal(SIGINT, end);
  prepare_texts();
  offset_ns = realtime_offset_ns();
  int listener = listen_anywhere(), poll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
  if (poll < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event)) fail("epoll");
  serve(listener, poll);
  return fclose(log_file) ? 1 : 0;
}
