/* The data plane without memory: whatever allocation fails, its host lives on, and so does the next request.
 */
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "node_scratch.h"
#include "valve/intake.h"

#define REQUEST_START "POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Le"
#define REQUEST_END "ngth: 2\r\n\r\n{}"
#define ANSWER_START "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Enco"
#define ANSWER_END "ding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
#define SOME_ALLOCATIONS 6 /* a request has more than these, or the test tests nothing */

/* ---- the allocation that fails: on the plane's thread only ---- */

static pthread_t plane_thread;
static _Atomic int left = -1; /* allocations before the one that fails; below 0: none does */

static bool fails(void) {
  if (atomic_load(&left) < 0 || !pthread_equal(pthread_self(), plane_thread)) return false;
  return atomic_fetch_sub(&left, 1) == 0;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

void *__wrap_malloc(size_t size) {
  return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
  return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size) {
  return fails() ? NULL : __real_realloc(memory, size);
}

/* ---- the world ---- */

static struct sockaddr_storage address_of(const char *name) {
  struct sockaddr_storage address = {0};
  address.ss_family = AF_UNIX;
  strcpy(((struct sockaddr_un *)&address)->sun_path, scratch_path(name));
  return address;
}

static int listen_at(const char *name) {
  struct sockaddr_storage address = address_of(name);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(bind(fd, (struct sockaddr *)&address, sizeof(struct sockaddr_un)) == 0 && listen(fd, 16) == 0);
  return fd;
}

static void say(int fd, const char *text) {
  if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0) return; /* it has closed: the reader sees that */
}

/* Answers each request in two pieces, and closes. Ends with its listener. */
static void *be_engine(void *listener) {
  int fd;
  while ((fd = accept(*(int *)listener, NULL, NULL)) >= 0) {
    char input[1024];
    size_t have = 0;
    ssize_t got;
    while ((got = recv(fd, input + have, sizeof input - have, 0)) > 0) {
      have += (size_t)got;
      if (have < 2 || memcmp(input + have - 2, "{}", 2) != 0) continue;
      say(fd, ANSWER_START);
      nap_ms(1);
      say(fd, ANSWER_END);
      break;
    }
    close(fd);
  }
  return NULL;
}

/* Until the proxy closes. Returns how many bytes came. */
static size_t read_all(int fd, char *out, size_t size) {
  size_t have = 0;
  ssize_t got;
  while ((got = recv(fd, out + have, size - 1 - have, 0)) > 0) have += (size_t)got;
  out[have] = '\0';
  return have;
}

/* The status of the answer; 0: the connection ended without a whole one. */
static int ask(void) {
  struct sockaddr_storage address = address_of("plane");
  struct timeval patience = {.tv_sec = 60};
  char answer[4096];
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), status = 0;
  CHECK(connect(fd, (struct sockaddr *)&address, sizeof(struct sockaddr_un)) == 0);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  say(fd, REQUEST_START);
  nap_ms(1);
  say(fd, REQUEST_END);
  size_t len = read_all(fd, answer, sizeof answer);
  close(fd);
  if (sscanf(answer, "HTTP/1.1 %d", &status) != 1) return 0;
  return status != 200 || memcmp(answer + len - 5, "0\r\n\r\n", 5) == 0 ? status : 0;
}

static uint8_t operation(const char *method, size_t method_len, const char *path, size_t path_len,
                         bool upgrade) {
  (void)method, (void)method_len, (void)path, (void)path_len, (void)upgrade;
  return 1;
}

static struct vlv_intake *intake;

static struct vlv_plane *make_plane(void) {
  int listener = listen_at("plane");
  struct vlv_intake_options wanted = {
      .gated = true, .notice_fd = -1, .trace_share = 1, .operation = operation};
  intake = vlv_intake_create(&wanted);
  struct vlv_plane_options options = {
      .listeners = &listener,
      .listener_count = 1,
      .engine = "engine",
      .authority = "engine",
      .keepalive_s = 5,
      .connect_timeout_s = 5,
      .idle_timeout_s = 75,
      .calls = vlv_intake_calls(),
      .intake = intake,
  };
  CHECK(fcntl(listener, F_SETFL, O_NONBLOCK) == 0);
  struct vlv_plane *plane = vlv_plane_create(&options);
  CHECK(plane != NULL);
  struct sockaddr_storage engine = address_of("engine");
  vlv_plane_set_engine(plane, &engine, &(socklen_t){sizeof(struct sockaddr_un)}, 1);
  return plane;
}

static void end(struct vlv_plane *plane) {
  vlv_plane_stop(plane);
  vlv_intake_destroy(intake);
}

/* ---- tests ---- */

static _Atomic int ran;

static void note_thread(void *context, uint64_t first, uint64_t second) {
  (void)context, (void)first, (void)second;
  plane_thread = pthread_self();
  atomic_fetch_add(&ran, 1);
}

static void each_allocation_may_fail(void) {
  int listener = listen_at("engine"), number = -1;
  pthread_t engine;
  struct vlv_plane *plane = make_plane();
  CHECK(pthread_create(&engine, NULL, be_engine, &listener) == 0);
  atomic_store(&ran, 0);
  CHECK(vlv_plane_post(plane, note_thread, NULL, 0, 0) == 0 && vlv_plane_start(plane) == 0);
  EVENTUALLY(atomic_load(&ran) == 1);
  do {
    atomic_store(&left, ++number);
    int status = ask();
    CHECK(status == 0 || status == 200 || status == 502);
    bool failed = atomic_exchange(&left, -1) < 0;
    CHECK(ask() == 200);
    if (!failed) break;
  } while (number < 1000);
  CHECK(number > SOME_ALLOCATIONS);
  end(plane);
  shutdown(listener, SHUT_RDWR);
  pthread_join(engine, NULL);
  close(listener);
}

static void more_orders_than_there_is_room_for_are_refused(void) {
  struct vlv_plane *plane = make_plane();
  atomic_store(&ran, 0);
  for (int i = 0; i < VLV_TASKS_MAX; i++) CHECK(vlv_plane_post(plane, note_thread, NULL, 0, 0) == 0);
  CHECK(vlv_plane_post(plane, note_thread, NULL, 0, 0) == -ENOBUFS);
  CHECK(vlv_plane_retire(plane, -1, 0) == -ENOBUFS);
  CHECK(vlv_plane_start(plane) == 0);
  EVENTUALLY(atomic_load(&ran) == VLV_TASKS_MAX);
  CHECK(vlv_plane_post(plane, note_thread, NULL, 0, 0) == 0);
  EVENTUALLY(atomic_load(&ran) == VLV_TASKS_MAX + 1);
  end(plane);
}

int main(void) {
  RUN(each_allocation_may_fail);
  RUN(more_orders_than_there_is_room_for_are_refused);
  return 0;
}
