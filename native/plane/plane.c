/* The data plane's thread: waits, hands events to their ends, keeps the time. */
#include "plane.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "hurry.h"

#define EVENTS_AT_ONCE 256
#define WELCOMES 32 /* rounds: as many clients as wait in a listener, and as many that come meanwhile */
#define NS_PER_S 1000000000ull
#define NS_PER_MS 1000000ull
#define ENGINES_BETWEEN 16 /* engines between two looks for arrivals */

void pieces_reset(struct pieces *pieces) {
  pieces->count = 0;
  pieces->total = 0;
}

void bury(struct vlv_plane *plane, struct endpoint *endpoint) {
  if (plane->listen_again_ns > 0) plane->listen_again_ns = plane->now_ns;
  list_append(&plane->dying, &endpoint->timer);
}

/* Of an eventfd. One that is full has been told already. */
static void tell(int fd) {
  uint64_t one = 1;
  if (fd >= 0 && write(fd, &one, sizeof one) < 0) return;
}

void exchange_counted(struct vlv_plane *plane, int change) {
  uint64_t now = atomic_load_explicit(&plane->exchanges, memory_order_relaxed) + (uint64_t)(int64_t)change;
  atomic_store_explicit(&plane->exchanges, now, memory_order_relaxed);
}

/* ---- what others ask of the thread ---- */

int vlv_plane_post(struct vlv_plane *plane, void (*task)(void *, uint64_t, uint64_t), void *context,
                   uint64_t first, uint64_t second) {
  pthread_mutex_lock(&plane->mutex);
  bool room = plane->task_count < VLV_TASKS_MAX;
  if (room) plane->tasks[plane->task_count++] = (struct task){task, context, first, second};
  pthread_mutex_unlock(&plane->mutex);
  tell(plane->wake.fd);
  return room ? 0 : -ENOBUFS;
}

static void run_tasks(struct vlv_plane *plane) {
  struct task tasks[VLV_TASKS_MAX];
  uint64_t times;
  if (read(plane->wake.fd, &times, sizeof times) < 0) return; /* told already */
  pthread_mutex_lock(&plane->mutex);
  size_t count = plane->task_count;
  memcpy(tasks, plane->tasks, count * sizeof *tasks);
  plane->task_count = 0;
  pthread_mutex_unlock(&plane->mutex);
  for (size_t i = 0; i < count; i++) tasks[i].run(tasks[i].context, tasks[i].first, tasks[i].second);
}

static void stop_listening(struct vlv_plane *plane) {
  for (size_t i = 0; i < plane->listener_count; i++)
    if (!plane->listeners[i].closed) endpoint_close(&plane->listeners[i], false);
  plane->listen_again_ns = 0;
}

/* Closing would reset them. More than a queue holds have come since. */
static void welcome_waiting(struct vlv_plane *plane) {
  for (size_t i = 0; i < plane->listener_count; i++) {
    int times = WELCOMES;
    while (!plane->listeners[i].closed && times-- > 0 && client_accept(plane, &plane->listeners[i]));
  }
}

void client_left(struct vlv_plane *plane) {
  if (plane->retiring && list_empty(&plane->clients)) tell(plane->deserted_fd);
}

static void retire_task(void *context, uint64_t fd, uint64_t patience_ns) {
  struct vlv_plane *plane = context;
  plane->retiring = true;
  plane->deserted_fd = (int)fd;
  plane->idle_timeout_ns = patience_ns;
  timers_restart(plane, &plane->idle);
  welcome_waiting(plane);
  stop_listening(plane);
  client_left(plane);
}

int vlv_plane_retire(struct vlv_plane *plane, int deserted_fd, uint64_t patience_ns) {
  return vlv_plane_post(plane, retire_task, plane, (uint64_t)deserted_fd, patience_ns);
}

void vlv_plane_echo(void *plane, uint64_t fd, uint64_t unused) {
  (void)plane, (void)unused;
  tell((int)fd);
}

void vlv_plane_reuse_streams(void *plane, uint64_t reuse, uint64_t unused) {
  (void)unused;
  ((struct vlv_plane *)plane)->reuses_streams = reuse;
}

uint64_t vlv_plane_exchanges(const struct vlv_plane *plane) {
  return atomic_load_explicit(&plane->exchanges, memory_order_relaxed);
}

void vlv_plane_set_engine(struct vlv_plane *plane, const struct sockaddr_storage *addresses,
                          const socklen_t *lengths, size_t count) {
  if (count > VLV_ADDRESSES_MAX) count = VLV_ADDRESSES_MAX;
  pthread_mutex_lock(&plane->mutex);
  memcpy(plane->addresses, addresses, count * sizeof *addresses);
  memcpy(plane->address_lengths, lengths, count * sizeof *lengths);
  plane->address_count = count;
  pthread_mutex_unlock(&plane->mutex);
}

/* ---- the thread ---- */

static bool is_idle_engine(const struct endpoint *endpoint) {
  return endpoint->role == ROLE_ENGINE && ((const struct engine *)endpoint)->state == ENGINE_IDLE;
}

static void serve_clients(struct vlv_plane *plane);

static void dispatch(struct vlv_plane *plane, struct endpoint *endpoint, uint32_t events) {
  if (endpoint->closed) return;
  switch (endpoint->role) {
    case ROLE_LISTENER:
      client_accept(plane, endpoint);
      return;
    case ROLE_CLIENTS:
      return serve_clients(plane);
    case ROLE_WAKE:
      return run_tasks(plane);
    case ROLE_CLIENT:
      return client_event((struct client *)endpoint, events);
    case ROLE_ENGINE:
      return engine_event((struct engine *)endpoint, events);
  }
}

/* Clients have an epoll of their own, so that a look at it finds arrivals however much engines have to say.
 */
static void serve_clients(struct vlv_plane *plane) {
  struct epoll_event events[EVENTS_AT_ONCE];
  int count = epoll_wait(plane->arrivals.fd, events, EVENTS_AT_ONCE, 0);
  if (count > 0) plane->now_ns = vlv_now_ns();
  for (int i = 0; i < count; i++) dispatch(plane, events[i].data.ptr, events[i].events);
}

static void serve_engine(struct vlv_plane *plane, const struct epoll_event *event, int number) {
  if (number % ENGINES_BETWEEN == ENGINES_BETWEEN - 1) serve_clients(plane);
  dispatch(plane, event->data.ptr, event->events);
}

/* Idle engines' ends first: what has closed is not used again. Then clients: arrivals close the gate before
 * anything else is done. Then what the engines say, and between them whoever has arrived meanwhile. */
static void handle(struct vlv_plane *plane, struct epoll_event *events, int count) {
  for (int i = 0; i < count; i++)
    if (is_idle_engine(events[i].data.ptr)) {
      dispatch(plane, events[i].data.ptr, events[i].events);
      events[i].events = 0;
    }
  for (int i = 0; i < count; i++)
    if (((struct endpoint *)events[i].data.ptr)->role != ROLE_ENGINE)
      dispatch(plane, events[i].data.ptr, events[i].events);
  for (int i = 0; i < count; i++)
    if (((struct endpoint *)events[i].data.ptr)->role == ROLE_ENGINE && events[i].events != 0)
      serve_engine(plane, &events[i], i);
}

static void free_dead(struct vlv_plane *plane) {
  struct endpoint *endpoint;
  while ((endpoint = timer_oldest(&plane->dying)) != NULL) {
    list_remove(&endpoint->timer);
    free(endpoint);
  }
}

static void close_everything(struct vlv_plane *plane) {
  stop_listening(plane);
  while (!list_empty(&plane->clients)) {
    struct client *client = member_of(struct client, all, plane->clients.next);
    bool busy = client->state == CLIENT_BUSY || client->state == CLIENT_TUNNEL;
    client_close(client, VLV_REFUSED, busy);
  }
  while (!list_empty(&plane->pool)) close_endpoint(timer_oldest(&plane->pool));
  while (!list_empty(&plane->ending)) close_endpoint(timer_oldest(&plane->ending));
  free_dead(plane);
}

/* To the nanosecond, since slices end on time; by its number, since older C libraries lack the function. */
static int wait_exactly(struct vlv_plane *plane, struct epoll_event *events, uint64_t left_ns) {
  struct timespec left = {(time_t)(left_ns / NS_PER_S), (long)(left_ns % NS_PER_S)};
  struct timespec *until = left_ns == UINT64_MAX ? NULL : &left;
#ifdef SYS_epoll_pwait2
  return (int)syscall(SYS_epoll_pwait2, plane->epoll_fd, events, EVENTS_AT_ONCE, until, NULL, 0);
#else
  (void)events, (void)until;
  errno = ENOSYS;
  return -1;
#endif
}

/* Kernels before 5.11, and sandboxes that do not know the call: to the millisecond, rounded up. */
static int wait_for(struct vlv_plane *plane, struct epoll_event *events) {
  uint64_t left_ns = time_left_ns(plane);
  int count = plane->coarse ? -1 : wait_exactly(plane, events, left_ns);
  bool refused = count < 0 && (errno == ENOSYS || errno == EPERM);
  plane->coarse = plane->coarse || refused;
  if (!plane->coarse) return count;
  int left_ms = left_ns == UINT64_MAX ? -1 : (int)((left_ns + NS_PER_MS - 1) / NS_PER_MS);
  return epoll_wait(plane->epoll_fd, events, EVENTS_AT_ONCE, left_ms);
}

static void *plane_main(void *argument) {
  struct vlv_plane *plane = argument;
  struct epoll_event events[EVENTS_AT_ONCE];
  hurry();
  plane->now_ns = vlv_now_ns();
  while (!atomic_load(&plane->stopping)) {
    keep_time(plane);
    int count = wait_for(plane, events);
    plane->now_ns = vlv_now_ns();
    if (count > 0) handle(plane, events, count);
    free_dead(plane);
  }
  close_everything(plane);
  return NULL;
}

int vlv_plane_start(struct vlv_plane *plane) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&plane->thread, NULL, plane_main, plane);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error == 0) pthread_setname_np(plane->thread, "valve-plane");
  plane->listening = error == 0;
  return -error;
}

/* ---- birth and death ---- */

static bool open_own(struct vlv_plane *plane, struct endpoint *endpoint, enum role role, int fd) {
  return fd >= 0 && endpoint_open(endpoint, role, plane->epoll_fd, fd) == 0;
}

static bool open_listeners(struct vlv_plane *plane, const struct vlv_plane_options *options) {
  plane->listeners = calloc(options->listener_count, sizeof *plane->listeners);
  if (plane->listeners == NULL) return false;
  plane->listener_count = options->listener_count;
  for (size_t i = 0; i < options->listener_count; i++)
    if (endpoint_open(&plane->listeners[i], ROLE_LISTENER, plane->arrivals.fd, options->listeners[i]) < 0)
      return false;
  return true;
}

static void init(struct vlv_plane *plane, const struct vlv_plane_options *options) {
  struct link *lists[] = {&plane->clients, &plane->idle,   &plane->connecting,
                          &plane->pool,    &plane->ending, &plane->dying};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) list_init(lists[i]);
  pthread_mutex_init(&plane->mutex, NULL);
  plane->wake.fd = plane->arrivals.fd = plane->deserted_fd = -1;
  plane->keepalive_ns = (uint64_t)(options->keepalive_s * KEEPALIVE_SHARE * 1e9);
  plane->connect_timeout_s = options->connect_timeout_s;
  plane->connect_timeout_ns = (uint64_t)(options->connect_timeout_s * 1e9);
  plane->idle_timeout_ns = (uint64_t)(options->idle_timeout_s * 1e9);
  plane->calls = *options->calls;
  plane->intake = options->intake;
}

static void destroy(struct vlv_plane *plane) {
  stop_listening(plane);
  if (plane->wake.fd >= 0) close(plane->wake.fd);
  if (plane->arrivals.fd >= 0) close(plane->arrivals.fd);
  if (plane->epoll_fd >= 0) close(plane->epoll_fd);
  pthread_mutex_destroy(&plane->mutex);
  free(plane->listeners);
  free(plane->engine_name);
  free(plane->authority);
  free(plane);
}

struct vlv_plane *vlv_plane_create(const struct vlv_plane_options *options) {
  struct vlv_plane *plane = calloc(1, sizeof *plane);
  if (plane == NULL) return NULL;
  init(plane, options);
  plane->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  plane->engine_name = strdup(options->engine);
  plane->authority = strdup(options->authority);
  bool texts = plane->engine_name != NULL && plane->authority != NULL;
  bool own = open_own(plane, &plane->wake, ROLE_WAKE, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) &&
             open_own(plane, &plane->arrivals, ROLE_CLIENTS, epoll_create1(EPOLL_CLOEXEC));
  if (texts && own && open_listeners(plane, options)) return plane;
  destroy(plane);
  return NULL;
}

void vlv_plane_stop(struct vlv_plane *plane) {
  if (plane->listening) {
    atomic_store(&plane->stopping, true);
    tell(plane->wake.fd);
    pthread_join(plane->thread, NULL);
  }
  destroy(plane);
}
