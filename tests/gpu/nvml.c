#include "nvml.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>

#include "figures.h"
#include "report.h"

#define EVERY_NS 50000000ull
#define EVENT_XID 0x8ull

struct nvml_event { /* nvmlEventData_t */
  void *device;
  unsigned long long type, data; /* data: the Xid's number */
  unsigned gpu_instance, compute_instance;
};

struct nvml_rates {
  unsigned gpu, memory; /* percent */
};

static struct {
  int (*init)(void);
  int (*device)(unsigned index, void **device);
  int (*rates)(void *device, struct nvml_rates *rates);
  int (*event_set)(void **set);
  int (*listen)(void *device, unsigned long long types, void *set);
  int (*wait)(void *set, struct nvml_event *event, unsigned timeout_ms);
  void *handle;
  bool tried, usable;
} nvml;

static struct {
  pthread_t thread;
  bool running;
  _Atomic bool end;
  double sum;
  unsigned count;
} sampling;

static void load(void) {
  void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW);
  nvml.tried = true;
  if (library == NULL) return;
  nvml.init = (int (*)(void))dlsym(library, "nvmlInit_v2");
  nvml.device = (int (*)(unsigned, void **))dlsym(library, "nvmlDeviceGetHandleByIndex_v2");
  nvml.rates = (int (*)(void *, struct nvml_rates *))dlsym(library, "nvmlDeviceGetUtilizationRates");
  nvml.event_set = (int (*)(void **))dlsym(library, "nvmlEventSetCreate");
  nvml.listen = (int (*)(void *, unsigned long long, void *))dlsym(library, "nvmlDeviceRegisterEvents");
  nvml.wait = (int (*)(void *, struct nvml_event *, unsigned))dlsym(library, "nvmlEventSetWait_v2");
  if (nvml.init == NULL || nvml.device == NULL || nvml.rates == NULL || nvml.init() != 0) return;
  nvml.usable = nvml.device(0, &nvml.handle) == 0;
}

static void *sample(void *unused) {
  (void)unused;
  for (; !sampling.end; sleep_ns(EVERY_NS)) {
    struct nvml_rates rates;
    if (nvml.rates(nvml.handle, &rates) != 0) continue;
    sampling.sum += rates.gpu;
    sampling.count++;
  }
  return NULL;
}

bool utilisation_begin(void) {
  if (!nvml.tried) load();
  if (!nvml.usable) return false;
  sampling.end = false;
  sampling.sum = sampling.count = 0;
  sampling.running = pthread_create(&sampling.thread, NULL, sample, NULL) == 0;
  return sampling.running;
}

double utilisation_end(void) {
  if (!sampling.running) return -1;
  sampling.end = true;
  pthread_join(sampling.thread, NULL);
  sampling.running = false;
  return sampling.count ? sampling.sum / sampling.count : -1;
}

static volatile sig_atomic_t ended;

static void on_end(int number) {
  (void)number;
  ended = 1;
}

static bool listen_for_xids(void **set) {
  load();
  if (!nvml.usable || nvml.event_set == NULL || nvml.listen == NULL || nvml.wait == NULL) return false;
  return nvml.event_set(set) == 0 && nvml.listen(nvml.handle, EVENT_XID, *set) == 0;
}

static void tell_xids(bool listening, double count, double last) {
  struct record record;
  record_begin(&record, "Xids by NVML");
  if (listening) record_number(&record, "count", count);
  if (count > 0) record_number(&record, "last", last);
  record_end(&record, !listening ? "skipped" : count > 0 ? "failed" : "ok");
}

int xids_main(void) {
  void *set = NULL;
  double count = 0, last = 0;
  signal(SIGTERM, on_end);
  bool listening = listen_for_xids(&set);
  while (listening && !ended) {
    struct nvml_event event = {0};
    if (nvml.wait(set, &event, 200) != 0) continue;
    count++;
    last = (double)event.data;
  }
  tell_xids(listening, count, last);
  return count > 0 ? 1 : 0;
}
