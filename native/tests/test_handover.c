/* Descriptors go from one process to another with their page's number, or it is said that they did not. */
#include <sys/socket.h>
#include <sys/un.h>

#include "handover.h"
#include "node_scratch.h"

static const struct vlv_device_id GPU = {{0xfa}};

static struct parcel pack(uint32_t from, uint32_t count) {
  struct parcel parcel = {.from = from, .count = count};
  for (uint32_t i = 0; i < count; i++) {
    parcel.pages[i] = 100 + i;
    parcel.fds[i] = memfd_create("page", MFD_CLOEXEC);
    CHECK(write(parcel.fds[i], &parcel.pages[i], 4) == 4);
  }
  return parcel;
}

static void unpack(const struct parcel *parcel) {
  for (uint32_t i = 0; i < parcel->count; i++) {
    uint32_t content = 0;
    CHECK(pread(parcel->fds[i], &content, 4, 0) == 4 && content == parcel->pages[i]);
    CHECK((fcntl(parcel->fds[i], F_GETFD) & FD_CLOEXEC) != 0);
  }
}

static void drop(const struct parcel *parcel) {
  for (uint32_t i = 0; i < parcel->count; i++) close(parcel->fds[i]);
}

static struct handover_line line;

static void a_parcel_arrives_as_it_was_sent(void) {
  struct parcel came;
  int listener = handover_listen(scratch, &GPU, 3);
  CHECK(handover_open_line(&line) == 0);
  CHECK(listener >= 0 && handover_receive(listener, &came) == 0);
  for (uint32_t count = 1; count <= HANDOVER_PAGES; count *= 4) {
    struct parcel sent = pack(5, count);
    CHECK(handover_send(&line, scratch, &GPU, 3, &sent) == 0);
    drop(&sent);
    CHECK(handover_receive(listener, &came) == 1 && came.from == 5 && came.count == count);
    unpack(&came);
    drop(&came);
  }
  CHECK(handover_receive(listener, &came) == 0);
  handover_unlisten(listener, scratch, &GPU, 3);
  handover_close_line(&line);
  CHECK(scratch_entries(false) == 0);
}

static void who_does_not_listen_gets_nothing(void) {
  struct parcel came, sent = pack(5, 1);
  CHECK(handover_open_line(&line) == 0);
  CHECK(handover_send(&line, scratch, &GPU, 3, &sent) == -ENOENT);
  int listener = handover_listen(scratch, &GPU, 3);
  CHECK(handover_send(&line, scratch, &GPU, 3, &sent) == 0);
  close(listener); /* its owner has died */
  CHECK(handover_send(&line, scratch, &GPU, 3, &sent) == -ECONNREFUSED);
  listener = handover_listen(scratch, &GPU, 3); /* a successor */
  CHECK(listener >= 0 && handover_send(&line, scratch, &GPU, 3, &sent) == 0);
  CHECK(handover_receive(listener, &came) == 1);
  drop(&came);
  drop(&sent);
  handover_unlisten(listener, scratch, &GPU, 3);
  handover_close_line(&line);
}

static void a_line_can_lead_to_another(void) {
  struct parcel came, sent = pack(5, 1);
  int third = handover_listen(scratch, &GPU, 3), fourth = handover_listen(scratch, &GPU, 4);
  CHECK(handover_open_line(&line) == 0);
  CHECK(handover_send(&line, scratch, &GPU, 3, &sent) == 0 &&
        handover_send(&line, scratch, &GPU, 4, &sent) == 0);
  CHECK(handover_receive(third, &came) == 1);
  drop(&came);
  CHECK(handover_receive(third, &came) == 0 && handover_receive(fourth, &came) == 1);
  drop(&came);
  drop(&sent);
  handover_unlisten(third, scratch, &GPU, 3);
  handover_unlisten(fourth, scratch, &GPU, 4);
  handover_close_line(&line);
}

/* A child of the dead one keeps its socket alive, and nobody reads there any more. */
static void a_successor_gets_what_is_sent_to_its_row(void) {
  struct parcel came, sent = pack(5, 1);
  int listener = handover_listen(scratch, &GPU, 3);
  CHECK(handover_open_line(&line) == 0 && handover_send(&line, scratch, &GPU, 3, &sent) == 0);
  int successor = handover_listen(scratch, &GPU, 3);
  CHECK(successor >= 0 && handover_send(&line, scratch, &GPU, 3, &sent) == 0);
  CHECK(handover_receive(successor, &came) == 1);
  drop(&came);
  CHECK(handover_receive(listener, &came) == 1);
  drop(&came);
  CHECK(handover_receive(listener, &came) == 0);
  drop(&sent);
  close(listener);
  handover_unlisten(successor, scratch, &GPU, 3);
  handover_close_line(&line);
}

static int connect_to(const char *name) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", scratch, name);
  CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
  return fd;
}

/* One that says nonsense, one that sends no descriptors; then a real one. */
static void strangers_are_not_listened_to(void) {
  struct parcel came, sent = pack(5, 2), without = {.from = 5, .count = 2};
  int listener = handover_listen(scratch, &GPU, 3);
  int stranger = connect_to("pages.fa000000000000000000000000000000.3");
  CHECK(handover_open_line(&line) == 0);
  CHECK(send(stranger, "hello", 5, 0) == 5 && send(stranger, "", 0, 0) == 0);
  CHECK(send(stranger, &without, offsetof(struct parcel, fds), 0) > 0);
  CHECK(handover_send(&line, scratch, &GPU, 3, &sent) == 0);
  CHECK(handover_receive(listener, &came) == 1 && came.count == 2);
  unpack(&came);
  drop(&came);
  drop(&sent);
  close(stranger);
  handover_unlisten(listener, scratch, &GPU, 3);
  handover_close_line(&line);
}

/* A process of another user, which root may be. */
static void another_user_is_not_spoken_to(void) {
  if (geteuid() != 0) return;
  struct parcel sent = pack(5, 1), came;
  int listener = handover_listen(scratch, &GPU, 3), status;
  CHECK(chmod(scratch, 0777) == 0 &&
        chmod(scratch_path("pages.fa000000000000000000000000000000.3"), 0777) == 0);
  CHECK(handover_open_line(&line) == 0);
  pid_t child = fork();
  if (child == 0) {
    int theirs = setuid(65534) == 0 ? handover_listen(scratch, &GPU, 4) : -1;
    bool sends = handover_send(&line, scratch, &GPU, 3, &sent) == 0;
    _exit(theirs >= 0 && sends ? 0 : 1);
  }
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  CHECK(handover_receive(listener, &came) == 0);
  CHECK(handover_send(&line, scratch, &GPU, 4, &sent) == -EPERM);
  drop(&sent);
  handover_unlisten(listener, scratch, &GPU, 3);
  handover_close_line(&line);
  CHECK(unlink(scratch_path("pages.fa000000000000000000000000000000.4")) == 0);
}

int main(void) {
  RUN(a_parcel_arrives_as_it_was_sent);
  RUN(who_does_not_listen_gets_nothing);
  RUN(a_line_can_lead_to_another);
  RUN(a_successor_gets_what_is_sent_to_its_row);
  RUN(strangers_are_not_listened_to);
  RUN(another_user_is_not_spoken_to);
  return 0;
}
