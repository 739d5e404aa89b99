/// \file fork_gate.h
/// \brief Locks that a forked child must not find held: fork waits until nobody holds one.
///
/// Only the forking thread lives on in a child; a lock that another one held is never given back
/// there. So whoever takes a lock of this library, or makes primitives (oneDNN has locks, too),
/// holds a `ForkGate` meanwhile. Runs of instances that are built take no lock at all.
#ifndef BYOC_DNNL_FORK_GATE_H_
#define BYOC_DNNL_FORK_GATE_H_

namespace byoc::onednn {

/// While one lives, no thread can fork; any number may live at the same time, also in one thread.
class ForkGate {
 public:
  ForkGate();
  ~ForkGate();
  ForkGate(const ForkGate&) = delete;
  ForkGate& operator=(const ForkGate&) = delete;
};

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_FORK_GATE_H_
