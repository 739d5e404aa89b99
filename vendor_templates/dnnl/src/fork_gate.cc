#include "fork_gate.h"

#include <pthread.h>

#include <new>
#include <shared_mutex>

namespace byoc::onednn {
namespace {

// How many gates of the calling thread are open: only the first takes the lock.
thread_local int depth = 0;

std::shared_mutex* Gate() {
  // Never destroyed: threads may build while the process exits.
  static auto* gate = [] {
    static auto* made = new std::shared_mutex;
    pthread_atfork([] { made->lock(); }, [] { made->unlock(); },
                   // In the child threads that waited to pass would still be counted: begin anew.
                   [] { new (made) std::shared_mutex; });
    return made;
  }();
  return gate;
}

}  // namespace

ForkGate::ForkGate() {
  if (depth++ == 0) Gate()->lock_shared();
}

ForkGate::~ForkGate() {
  if (--depth == 0) Gate()->unlock_shared();
}

}  // namespace byoc::onednn
