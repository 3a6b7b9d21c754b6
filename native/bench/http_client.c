/* Exact measuring clients for HTTP/1.1 on 127.0.0.1; each prints its samples as one JSON document.
 *
 *   http_client latency PORT RPS SECONDS BODY_BYTES SEED   one connection, open loop: request to response, ns
 *   http_client streams PORT STREAMS CHUNKS GAP_US ROUNDS  request to the first event, ns; events received
 *   http_client wake CPU RPS SECONDS SEED                  a send to its being readable at a bare epoll, ns
 *   http_client idle PORT STREAMS                          opens streams, prints a line, holds them until
 * stdin ends
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATH "/v1/completions"
#define PROMPT_START "{\"model\":\"default\",\"stream\":false,\"prompt\":\""
#define PROMPT_END "\"}"

static uint16_t port;

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static void fail(const char *what) {
  fprintf(stderr, "http_client: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int connect_to(void) {
  int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) fail("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

static void send_all(int fd, const char *data, size_t len) {
  while (len > 0) {
    ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);
    if (sent < 0) fail("send");
    data += sent;
    len -= (size_t)sent;
  }
}

/* ---- latency ---- */

/* Reads one response with a Content-Length. */
static void read_response(int fd) {
  char input[65536];
  size_t have = 0, needed = SIZE_MAX;
  while (have < needed) {
    ssize_t got = recv(fd, input + have, sizeof input - 1 - have, 0);
    if (got <= 0) fail("recv");
    have += (size_t)got;
    input[have] = '\0';
    char *end = strstr(input, "\r\n\r\n"), *length = strcasestr(input, "content-length:");
    if (end != NULL && strncmp(input, "HTTP/1.1 200", 12) != 0) fail("not 200");
    if (end != NULL && length != NULL) needed = (size_t)(end + 4 - input) + strtoul(length + 15, NULL, 10);
  }
}

static void sleep_until(uint64_t at_ns) {
  struct timespec at = {(time_t)(at_ns / 1000000000ull), (long)(at_ns % 1000000000ull)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) continue;
}

static size_t write_request(char *out, unsigned number, size_t body_len) {
  return (size_t)sprintf(out,
                         "POST " PATH
                         " HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
                         "X-Request-Id: c-%u\r\nContent-Length: %zu\r\n\r\n",
                         port, number, body_len);
}

/* JSON, since some proxies read it: a prompt of as many bytes as are left. */
static void write_prompt(char *out, size_t len) {
  memset(out, 'x', len);
  memcpy(out, PROMPT_START, sizeof PROMPT_START - 1);
  memcpy(out + len - (sizeof PROMPT_END - 1), PROMPT_END, sizeof PROMPT_END - 1);
}

static void measure_latency(double rps, double seconds, size_t body_len, unsigned seed) {
  unsigned count = (unsigned)(rps * seconds);
  char *request = malloc(1024 + body_len);
  int fd = connect_to();
  uint64_t next_ns = now_ns() + 20000000ull;
  printf("[");
  for (unsigned i = 0; i < count; i++) {
    size_t head_len = write_request(request, i, body_len);
    write_prompt(request + head_len, body_len);
    next_ns += (uint64_t)((0.5 + rand_r(&seed) / (RAND_MAX + 1.0)) * 1e9 / rps);
    sleep_until(next_ns);
    uint64_t sent_ns = now_ns();
    send_all(fd, request, head_len + body_len);
    read_response(fd);
    printf("%s[%llu,%llu]", i > 0 ? "," : "", (unsigned long long)sent_ns,
           (unsigned long long)(now_ns() - sent_ns));
  }
  printf("]\n");
  free(request);
}

/* ---- wake: the least that any proxy of this machine could be told in ---- */

static int listen_anywhere(void) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof address;
  if (bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, 1) < 0) fail("listen");
  getsockname(fd, (struct sockaddr *)&address, &len);
  port = ntohs(address.sin_port);
  return fd;
}

/* Each message is the time when it was sent. */
static void stamp_arrivals(int fd, int cpu) {
  cpu_set_t cpus;
  struct epoll_event event = {.events = EPOLLIN};
  uint64_t sent_ns;
  int epoll = epoll_create1(0);
  CPU_ZERO(&cpus);
  CPU_SET(cpu, &cpus);
  if (sched_setaffinity(0, sizeof cpus, &cpus) < 0) fail("sched_setaffinity");
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  for (bool first = true; epoll_wait(epoll, &event, 1, -1) == 1; first = false) {
    uint64_t now = now_ns();
    if (recv(fd, &sent_ns, sizeof sent_ns, MSG_WAITALL) <= 0) return;
    printf("%s[%llu,%llu]", first ? "[" : ",", (unsigned long long)sent_ns,
           (unsigned long long)(now - sent_ns));
  }
}

static void send_times(int fd, double rps, double seconds, unsigned seed) {
  uint64_t next_ns = now_ns() + 20000000ull;
  for (unsigned i = 0; i < (unsigned)(rps * seconds); i++) {
    next_ns += (uint64_t)((0.5 + rand_r(&seed) / (RAND_MAX + 1.0)) * 1e9 / rps);
    sleep_until(next_ns);
    uint64_t sent_ns = now_ns();
    send_all(fd, (char *)&sent_ns, sizeof sent_ns);
  }
  close(fd);
}

static void measure_wakes(int cpu, double rps, double seconds, unsigned seed) {
  int listener = listen_anywhere(), sender = connect_to(), receiver = accept(listener, NULL, NULL);
  pid_t child = fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    close(receiver);
    send_times(sender, rps, seconds, seed);
    _exit(0);
  }
  close(sender);
  stamp_arrivals(receiver, cpu);
  printf("]\n");
  waitpid(child, NULL, 0);
}

/* ---- streams ---- */

struct stream {
  int fd;
  unsigned rounds, events;
  uint64_t sent_ns, first_ns;
  char tail[16];
  bool ended;
};

static int epoll_fd;
static unsigned chunks, gap_us, printed;
static uint64_t events_seen;

static void begin(struct stream *stream) {
  char request[512], body[128];
  int body_len = sprintf(body, "{\"model\":\"default\",\"stream\":true,\"prompt\":\"chunks=%u&gap_us=%u\"}",
                         chunks, gap_us);
  int len = sprintf(request,
                    "POST " PATH
                    " HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
                    "Content-Length: %d\r\n\r\n%s",
                    port, body_len, body);
  if (stream->fd < 0) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = stream};
    stream->fd = connect_to();
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, stream->fd, &event);
  }
  stream->events = 0;
  stream->first_ns = 0;
  stream->ended = false;
  memset(stream->tail, 0, sizeof stream->tail);
  stream->sent_ns = now_ns();
  send_all(stream->fd, request, (size_t)len);
}

/* Events in the bytes that came; they are never cut inside "data:" by the backend's writes. */
static void count_events(struct stream *stream, const char *data, size_t len) {
  const char *at = data, *end = data + len;
  while ((at = memmem(at, (size_t)(end - at), "data:", 5)) != NULL) {
    if (stream->first_ns == 0) stream->first_ns = now_ns();
    stream->events++;
    at += 5;
  }
  stream->ended =
      memmem(data, len, "\r\n0\r\n\r\n", 7) != NULL || (len == 5 && memcmp(data, "0\r\n\r\n", 5) == 0);
}

static bool read_stream(struct stream *stream) {
  static char input[262144];
  ssize_t got = recv(stream->fd, input, sizeof input, MSG_DONTWAIT);
  if (got < 0 && errno == EAGAIN) return false;
  if (got <= 0) fail("a stream ended early");
  count_events(stream, input, (size_t)got);
  if (!stream->ended && stream->events < chunks) return false;
  return stream->ended;
}

static void note(struct stream *stream) {
  printf("%s%llu", printed++ > 0 ? "," : "", (unsigned long long)(stream->first_ns - stream->sent_ns));
  events_seen += stream->events;
}

static struct timespec until(uint64_t at_ns) {
  uint64_t now = now_ns(), left_ns = at_ns > now ? at_ns - now : 0;
  return (struct timespec){(time_t)(left_ns / 1000000000ull), (long)(left_ns % 1000000000ull)};
}

/* The first streams begin spread over one gap, and what has come is read between them. */
static void measure_streams(unsigned count, unsigned rounds) {
  struct stream *streams = calloc(count, sizeof *streams);
  struct epoll_event events[256];
  unsigned running = count, begun = 0;
  uint64_t start_ns = now_ns(), spacing_ns = gap_us * 1000ull / count;
  epoll_fd = epoll_create1(0);
  printf("{\"ttft_ns\":[");
  while (running > 0) {
    uint64_t due_ns = start_ns + begun * spacing_ns;
    if (begun < count && now_ns() >= due_ns) {
      streams[begun] = (struct stream){.fd = -1, .rounds = rounds};
      begin(&streams[begun++]);
    }
    struct timespec left = until(begun < count ? start_ns + begun * spacing_ns : now_ns() + 10000000000ull);
    int got = epoll_pwait2(epoll_fd, events, 256, &left, NULL);
    if (got == 0 && begun == count) fail("nothing came for 10 s");
    for (int i = 0; i < got; i++) {
      struct stream *stream = events[i].data.ptr;
      if (!read_stream(stream)) continue;
      note(stream);
      if (--stream->rounds > 0)
        begin(stream);
      else
        close(stream->fd), running--;
    }
  }
  printf("],\"events\":%llu,\"wall_ns\":%llu}\n", (unsigned long long)events_seen,
         (unsigned long long)(now_ns() - start_ns));
}

static void hold_streams(unsigned count) {
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  struct stream *streams = calloc(count, sizeof *streams);
  char input[4096];
  epoll_fd = epoll_create1(0);
  chunks = 2;
  gap_us = 3600000000u;
  for (unsigned i = 0; i < count; i++) {
    streams[i].fd = -1;
    begin(&streams[i]);
    if (recv(streams[i].fd, input, sizeof input, 0) <= 0) fail("recv");
  }
  printf("{\"open\":%u}\n", count);
  fflush(stdout);
  while (read(0, input, sizeof input) > 0) continue;
}

static double number(char **argv, int index) {
  return argv[index] != NULL ? atof(argv[index]) : 0;
}

int main(int argc, char **argv) {
  if (argc < 4) return fprintf(stderr, "see the top of http_client.c\n"), 2;
  prctl(PR_SET_TIMERSLACK, 1ul);
  port = (uint16_t)atoi(argv[2]);
  if (strcmp(argv[1], "wake") == 0) {
    measure_wakes((int)port, number(argv, 3), number(argv, 4), (unsigned)number(argv, 5));
  } else if (strcmp(argv[1], "latency") == 0) {
    measure_latency(number(argv, 3), number(argv, 4), (size_t)number(argv, 5), (unsigned)number(argv, 6));
  } else if (strcmp(argv[1], "streams") == 0) {
    chunks = (unsigned)number(argv, 4);
    gap_us = (unsigned)number(argv, 5);
    measure_streams((unsigned)number(argv, 3), (unsigned)number(argv, 6));
  } else {
    hold_streams((unsigned)number(argv, 3));
  }
}
