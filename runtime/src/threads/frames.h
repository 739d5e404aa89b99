/// \file
/// Which regions the calling thread is in.
#ifndef BYOC_RUNTIME_THREADS_FRAMES_H_
#define BYOC_RUNTIME_THREADS_FRAMES_H_

namespace byoc {
namespace threads {

class Team;

/// One id of one region.
struct Frame {
  Team* team = nullptr;  ///< whose region it is; null for one with a single id
  int id = 0;
  int count = 1;
  int max = 1;  ///< what `Max` is when an id begins
};

/// While it lives, the calling thread runs an id of a region of `team`.
class InRegion {
 public:
  InRegion(Team* team, int id, int count, int max);
  ~InRegion();
  InRegion(const InRegion&) = delete;
  InRegion& operator=(const InRegion&) = delete;

 private:
  const int max_before_;
};

}  // namespace threads
}  // namespace byoc

#endif  // BYOC_RUNTIME_THREADS_FRAMES_H_
