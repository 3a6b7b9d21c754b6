#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "futex.h"
#include "valve/pool.h"
#include "words.h"

struct vlv_pool_table {
  struct vlv_pool_head *head;
  uint32_t pages; /* own copy: the file is the engine's too */
  size_t size;
};

static size_t size_of(uint32_t pages) {
  return VLV_POOL_WORDS_OFFSET + 2 * (size_t)pages * sizeof(uint32_t);
}

static int fill(int fd, uint32_t pages) {
  const struct vlv_pool_head head = {.magic = VLV_POOL_MAGIC,
                                     .version = VLV_POOL_VERSION,
                                     .page_bytes = (uint32_t)VLV_PAGE_BYTES,
                                     .pages = pages};
  int error = -posix_fallocate(fd, 0, (off_t)size_of(pages));
  if (error < 0) return error;
  return pwrite(fd, &head, sizeof head, 0) == (ssize_t)sizeof head ? 0 : -EIO;
}

int vlv_pool_table_make(const char *path, uint32_t pages) {
  if (pages == 0 || pages > VLV_PAGES_MAX) return -EINVAL;
  int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return -errno;
  int error = fill(fd, pages);
  close(fd);
  if (error < 0) unlink(path);
  return error;
}

static int check(int fd, uint32_t *pages) {
  struct vlv_pool_head head;
  struct stat file;
  if (fstat(fd, &file) != 0) return -errno;
  if (!S_ISREG(file.st_mode) || pread(fd, &head, sizeof head, 0) != (ssize_t)sizeof head) return -EPROTO;
  if (head.magic != VLV_POOL_MAGIC) return -EPROTO;
  if (head.version != VLV_POOL_VERSION) return -EPROTONOSUPPORT;
  bool whole = head.pages > 0 && head.pages <= VLV_PAGES_MAX && file.st_size == (off_t)size_of(head.pages);
  *pages = head.pages;
  return whole && head.page_bytes == VLV_PAGE_BYTES ? 0 : -EPROTO;
}

static int map(int fd, struct vlv_pool_table *table) {
  int error = check(fd, &table->pages);
  if (error < 0) return error;
  table->size = size_of(table->pages);
  void *memory = mmap(NULL, table->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (memory == MAP_FAILED) return -errno;
  table->head = memory;
  return 0;
}

int vlv_pool_table_open(const char *path, struct vlv_pool_table **out) {
  int fd = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return -errno;
  struct vlv_pool_table *table = calloc(1, sizeof *table);
  int error = table != NULL ? map(fd, table) : -ENOMEM;
  close(fd);
  if (error == 0) *out = table;
  if (error < 0) free(table);
  return error;
}

void vlv_pool_table_close(struct vlv_pool_table *table) {
  if (table == NULL) return;
  munmap(table->head, table->size);
  free(table);
}

struct vlv_pool_head *vlv_pool_table_head(const struct vlv_pool_table *table) {
  return table->head;
}
uint32_t vlv_pool_table_pages(const struct vlv_pool_table *table) {
  return table->pages;
}

VLV_ATOMIC(uint32_t) * vlv_pool_table_words(const struct vlv_pool_table *table) {
  return (void *)((char *)table->head + VLV_POOL_WORDS_OFFSET);
}
VLV_ATOMIC(uint32_t) * vlv_pool_table_costs(const struct vlv_pool_table *table) {
  return vlv_pool_table_words(table) + table->pages;
}

void vlv_pool_table_back(struct vlv_pool_table *table, uint32_t page) {
  VLV_ATOMIC(uint32_t) *word = vlv_pool_table_words(table) + page;
  store32(word, load32(word) | VLV_POOL_BACKED);
}

void vlv_pool_table_withdraw(struct vlv_pool_table *table, uint32_t page) {
  VLV_ATOMIC(uint32_t) *word = vlv_pool_table_words(table) + page;
  store32(word, load32(word) & ~VLV_POOL_BACKED);
}

void vlv_pool_table_lose(struct vlv_pool_table *table, uint32_t page) {
  VLV_ATOMIC(uint32_t) *word = vlv_pool_table_words(table) + page;
  store32(word, (load32(word) & ~VLV_POOL_BACKED) + VLV_POOL_LOST);
}

uint32_t vlv_pool_table_tell(struct vlv_pool_table *table) {
  store64(&table->head->told_ns, vlv_now_ns());
  uint32_t epoch = add32(&table->head->epoch, 1);
  word_wake(&table->head->epoch);
  return epoch;
}
