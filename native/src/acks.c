#include "acks.h"

#include <errno.h>
#include <string.h>

#include "segment.h"
#include "words.h"

/* An entry is three 64-bit words, each copied whole and in order, so that the reader's second look at
 * ack_head tells whether the writer may have been at an entry meanwhile. */
enum { ACK_WORDS = sizeof(struct vlv_ack) / sizeof(uint64_t) };
_Static_assert(sizeof(struct vlv_ack) == 24, "an acknowledgement is three words");

static void copy_words(uint64_t *to, const uint64_t *from) {
  for (int i = 0; i < ACK_WORDS; i++)
    __atomic_store_n(&to[i], __atomic_load_n(&from[i], __ATOMIC_SEQ_CST), __ATOMIC_SEQ_CST);
}

static void copy_ack(struct vlv_ack *to, const struct vlv_ack *from) {
  copy_words((uint64_t *)(void *)to, (const uint64_t *)(const void *)from);
}

void acks_append(struct vlv_tenant_row *row, struct vlv_ack ack) {
  uint64_t head = load64(&row->ack_head);
  copy_ack(&row->acks[head % VLV_ACK_RING], &ack);
  store64(&row->ack_head, head + 1);
}

/* The oldest entry that is surely whole: the writer may be busy with entry `head`, in the place of head - 64.
 */
static uint64_t oldest_whole(uint64_t head) {
  return head < VLV_ACK_RING ? 0 : head - VLV_ACK_RING + 1;
}

/* The first number to copy. */
static uint64_t first_wanted(uint64_t since, uint64_t head) {
  uint64_t oldest = oldest_whole(head);
  if (since > head) since = 0;
  return since > oldest ? since : oldest;
}

int vlv_tenant_acks(const struct vlv_node *node, uint32_t row_index, uint64_t since, struct vlv_ack *out,
                    uint32_t capacity, uint64_t *next) {
  if (row_index >= VLV_TENANTS_MAX) return -EINVAL;
  const struct vlv_tenant_row *row = &node->tenants->rows[row_index];
  uint64_t head = load64(&row->ack_head);
  uint64_t first = first_wanted(since, head);
  uint32_t count = head - first < capacity ? (uint32_t)(head - first) : capacity;
  for (uint32_t i = 0; i < count; i++) copy_ack(&out[i], &row->acks[(first + i) % VLV_ACK_RING]);
  uint64_t oldest = oldest_whole(load64(&row->ack_head));
  uint64_t torn = oldest > first ? oldest - first : 0;
  if (torn > count) torn = count;
  memmove(out, out + torn, (count - torn) * sizeof *out);
  *next = first + count;
  return (int)(count - torn);
}
